//! The breaker fails fast while the database is down and finds it when it recovers. Nothing but the
//! database opens it.
//!
//! The breaker's pause is real time, which no runtime can skip: an hour where the database must not
//! be asked, and no time or a moment where it must. All other time is tokio's, which advances only
//! while all tasks wait.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::testing::{Fault, Faulty, conformance};
use tower_persistence::{
    CircuitBreaker, Database, Error, Expected, MemoryDb, OnOutage, PersistenceLayer, Record, Saved,
    User, VersionedRecord,
};

const USER: &str = "user-of-the-test";
const HOUR: Duration = Duration::from_secs(3600);
const DEAD: Fault = Fault::Outage { calls: u32::MAX };
const SILENT: Fault = Fault::Delay(HOUR);

type Breaker = CircuitBreaker<Faulty<MemoryDb>>;

/// Returns the breaker and the database behind it. Once open, the breaker stays open.
fn faulty(faults: impl IntoIterator<Item = Fault>) -> (Breaker, Faulty<MemoryDb>) {
    let database = Faulty::new(MemoryDb::new());
    database.script(faults);
    (CircuitBreaker::new(database.clone()).open_for(HOUR), database)
}

fn is_open(breaker: &impl std::fmt::Debug) -> bool {
    format!("{breaker:?}").contains("state: Open")
}

async fn open(breaker: &Breaker) {
    while !is_open(breaker) {
        breaker.load(USER).await.unwrap_err();
    }
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = result.unwrap_err();
    assert!(error.is_database(), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("tried again in 3600 s") && !text.contains(USER), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_database_conforms() {
    let breaker = CircuitBreaker::new(MemoryDb::new());
    conformance(async || breaker.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_database_is_no_longer_asked() {
    let (breaker, database) = faulty([DEAD]);
    for _ in 0..5 {
        assert!(!is_open(&breaker));
        breaker.load(USER).await.unwrap_err();
    }
    assert!(is_open(&breaker));
    let (asked, began) = (database.log().len(), Instant::now());
    assert_eq!(asked, 5);
    let clone = breaker.clone();
    for _ in 0..10 {
        assert_refused(clone.load(USER).await);
        assert_refused(clone.save(USER, &Record::default(), Expected::Absent).await);
        assert_refused(clone.delete(USER).await);
        assert_refused(clone.ensure_ready().await);
    }
    assert_eq!((database.log().len(), began.elapsed()), (asked, Duration::ZERO));
    assert_eq!((breaker.name(), breaker.collection()), ("memory", None));
    breaker.close().await.unwrap();
}

/// Uses the default settings: the worst case is a caller that waits in vain for a database that has
/// just recovered.
#[test]
fn a_recovered_database_is_found_within_five_seconds() {
    let shown = format!("{:?}", CircuitBreaker::new(MemoryDb::new()));
    assert!(shown.contains("open_for: 2s, timeout: 2s"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_recovered_database_is_found_again() {
    let (breaker, database) = faulty([DEAD]);
    let breaker = breaker.open_for(Duration::from_millis(10));
    open(&breaker).await;
    database.heal();
    let began = std::time::Instant::now();
    while breaker.load(USER).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "it is never asked again");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!is_open(&breaker));
    for _ in 0..10 {
        breaker.load(USER).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn there_is_one_trial_at_a_time() {
    let slow = Fault::Delay(Duration::from_secs(1));
    let (breaker, database) = faulty([Fault::Outage { calls: 5 }, slow, slow]);
    let breaker = breaker.open_for(Duration::ZERO);
    open(&breaker).await;
    let began = Instant::now();
    let trial = tokio::spawn({
        let breaker = breaker.clone();
        async move { breaker.load(USER).await }
    });
    while is_open(&breaker) {
        tokio::task::yield_now().await;
    }
    for _ in 0..10 {
        let error = breaker.load(USER).await.unwrap_err();
        assert!(format!("{error:?}").contains("tried again right now"), "{error:?}");
        // Ready without asking: not a trial, so the breaker stays open.
        breaker.ensure_ready().await.unwrap();
    }
    assert_eq!((began.elapsed(), database.log().len()), (Duration::ZERO, 6));
    trial.await.unwrap().unwrap();
    breaker.load(USER).await.unwrap();
    assert_eq!(database.log().len(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_fails_keeps_it_open() {
    let (breaker, database) = faulty([DEAD]);
    let breaker = breaker.open_for(Duration::ZERO);
    open(&breaker).await;
    for trials in 1..4 {
        breaker.load(USER).await.unwrap_err();
        assert!(is_open(&breaker));
        assert_eq!(database.log().len(), 5 + trials);
    }
}

#[tokio::test(start_paused = true)]
async fn failures_count_in_a_row() {
    let fails = Fault::ErrorBefore;
    let (breaker, _) = faulty([fails, fails, Fault::None, fails, fails, fails]);
    let breaker = breaker.failure_threshold(3);
    for expected in [false, false, false, false, false, true] {
        // The layer asks before each load. A database that is ready already has not been asked.
        breaker.ensure_ready().await.unwrap();
        let _ = breaker.load(USER).await;
        assert_eq!(is_open(&breaker), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_database_is_given_up() {
    let (breaker, database) = faulty([SILENT; 5]);
    let began = Instant::now();
    for _ in 0..5 {
        assert!(breaker.load(USER).await.unwrap_err().is_timeout());
    }
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_refused(breaker.load(USER).await);
    assert_eq!(database.log().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_layers_shorter_time_out_counts() {
    let (breaker, database) = faulty([SILENT; 5]);
    let layer = PersistenceLayer::new(breaker.clone()).load_timeout(Duration::from_millis(500));
    for _ in 0..5 {
        assert_eq!(visit(&layer).await, 503);
    }
    // A call that the layer has given up is judged when its own time is over.
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(visit(&layer).await, 503);
    }
    assert_eq!((began.elapsed(), database.log().len()), (Duration::ZERO, 5));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_does_not_open_it() {
    let (breaker, database) = faulty([Fault::Delay(Duration::from_secs(1)); 20]);
    let breaker = breaker.failure_threshold(1);
    let layer = PersistenceLayer::new(breaker.clone());
    for _ in 0..20 {
        timeout(Duration::from_millis(500), visit(&layer)).await.unwrap_err();
    }
    sleep(HOUR).await;
    assert!(!is_open(&breaker));
    assert_eq!(database.log().len(), 20);
    assert_eq!(visit(&layer).await, 200);
}

#[tokio::test(start_paused = true)]
async fn an_answer_about_one_record_does_not_open_it() {
    let (breaker, database) = faulty([Fault::SpuriousConflict; 10]);
    database.inner().save(USER, &Record::default(), Expected::Absent).await.unwrap();
    let breaker = breaker.failure_threshold(1);
    for _ in 0..10 {
        let saved = breaker.save(USER, &Record::default(), Expected::Absent).await.unwrap();
        assert!(matches!(saved, Saved::Conflict(Some(_))));
    }
    assert_eq!(database.log().len(), 10);

    let breaker = CircuitBreaker::new(Odd(Error::decode("/user is a number"))).failure_threshold(1);
    for _ in 0..10 {
        assert!(breaker.load(USER).await.unwrap_err().is_decode());
    }
    let breaker =
        CircuitBreaker::new(Odd(Error::encode("/user is too large"))).failure_threshold(1);
    for _ in 0..10 {
        assert!(breaker.load(USER).await.unwrap_err().is_encode());
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_never_becomes_ready_opens_it() {
    let odd = Odd(Error::database("no such host"));
    let breaker = CircuitBreaker::new(odd).failure_threshold(2).open_for(HOUR);
    for _ in 0..2 {
        let error = breaker.ensure_ready().await.unwrap_err();
        assert!(format!("{error:?}").contains("no such host"));
    }
    assert_refused(breaker.ensure_ready().await);
}

#[tokio::test(start_paused = true)]
async fn requests_without_memory_are_served_at_once() {
    let (breaker, _) = faulty([DEAD]);
    open(&breaker).await;
    let layer = PersistenceLayer::new(breaker).on_outage(OnOutage::Degrade);
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(visit(&layer).await, 206);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_panic_is_passed_on() {
    let breaker = CircuitBreaker::new(Panics);
    let panicked = tokio::spawn(async move { breaker.load(USER).await }).await.unwrap_err();
    assert!(panicked.is_panic());
}

#[tokio::test(start_paused = true)]
async fn opening_and_closing_are_each_logged_once() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer({
        let log = log.clone();
        move || log.clone()
    });
    let _guard = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
    let (breaker, database) = faulty([DEAD]);
    let breaker = breaker.open_for(Duration::ZERO);
    open(&breaker).await;
    for _ in 0..3 {
        breaker.load(USER).await.unwrap_err();
    }
    database.heal();
    for _ in 0..3 {
        breaker.load(USER).await.unwrap();
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines[0].contains("WARN") && lines[0].contains("failed 5 times in a row"), "{log}");
    assert!(lines[1].contains("INFO") && lines[1].contains("answers again"), "{log}");
    assert!(log.contains("db.system.name=\"memory\"") && !log.contains(USER), "{log}");
}

/// Returns 200, or 206 if the handler ran without memory.
async fn visit(layer: &PersistenceLayer<Breaker>) -> u16 {
    let handler = service_fn(async |request: Request<Full<Bytes>>| {
        let user = request.extensions().get::<User>().unwrap();
        user.increment("visits", 1)?;
        let status = if user.is_degraded() { 206 } else { 200 };
        let response = Response::builder().status(status).body(Full::<Bytes>::default());
        Ok::<_, Error>(response.unwrap())
    });
    let body = json!({
        "version": "1.0",
        "context": { "System": { "user": { "userId": USER } } },
        "request": { "type": "LaunchRequest", "requestId": "request-1" },
    });
    let request = Request::post("/").body(Full::from(body.to_string())).unwrap();
    layer.layer(handler).oneshot(request).await.unwrap().status().as_u16()
}

/// Answers every call about a record, and about itself, with this error.
#[derive(Debug)]
struct Odd(Error);

impl Database for Odd {
    async fn load(&self, _: &str) -> Result<Option<VersionedRecord>, Error> {
        Err(self.0.clone())
    }

    async fn save(&self, _: &str, _: &Record, _: Expected<'_>) -> Result<Saved, Error> {
        Err(self.0.clone())
    }

    async fn delete(&self, _: &str) -> Result<(), Error> {
        Err(self.0.clone())
    }

    async fn ensure_ready(&self) -> Result<(), Error> {
        sleep(Duration::from_secs(1)).await;
        Err(self.0.clone())
    }
}

#[derive(Debug)]
struct Panics;

impl Database for Panics {
    async fn load(&self, _: &str) -> Result<Option<VersionedRecord>, Error> {
        panic!("a defect of the database")
    }

    async fn save(&self, _: &str, _: &Record, _: Expected<'_>) -> Result<Saved, Error> {
        unreachable!()
    }

    async fn delete(&self, _: &str) -> Result<(), Error> {
        unreachable!()
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
