use std::fmt;
use std::future::{Future, poll_fn, ready};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;
use tower_resilience_circuitbreaker::classifier::FailureClassifier;
use tower_resilience_circuitbreaker::{
    CircuitBreaker as Breaker, CircuitBreakerError, CircuitBreakerLayer, CircuitState,
};
use tower_service::Service;
use tracing::Instrument;

use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::{Error, Kind};
use crate::record::Record;

/// How long [`Database::ensure_ready`] may take: as long as the layer waits for it by default, since it may create a table.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// A circuit breaker around any database: one that does not answer is not waited for, request after request, and is found again
/// soon after it is back (feature `circuit-breaker`).
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::{CircuitBreaker, MemoryDb, OnOutage, PersistenceLayer};
///
/// let db = CircuitBreaker::new(MemoryDb::new()).failure_threshold(3).open_for(Duration::from_secs(1));
/// let layer = PersistenceLayer::new(db).on_outage(OnOutage::Degrade);
/// ```
///
/// After [`failure_threshold`](Self::failure_threshold) failures in a row it *opens*: each call is answered at once with an error that
/// [is one of the database](Error::is_database). After [`open_for`](Self::open_for) the next call is let through as a
/// trial, one at a time. If it succeeds, all calls go through again; if not, it stays open for as long once more. A warning is logged when it
/// opens, and an info when it closes.
///
/// A failure is an error of the database, or no answer within [`timeout`](Self::timeout). What the database says about one item
/// is an answer: a conflict, an item or a value that it [cannot read](Error::is_decode) or [hold](Error::is_encode).
///
/// It is the database that is judged, and not who waits for it: a call that is given up, by a time-out of the layer or by a client that
/// hangs up, goes on alone until it is answered or its time is over. So a time-out of the layer that is shorter than the
/// one here counts, too, and a client that hangs up does not.
///
/// [`ensure_ready`](Database::ensure_ready) may take 30 seconds, since it may create a table. Where it is ready without asking
/// the database, it says nothing about it, and is not counted. [`close`](Database::close) is passed on as it is.
///
/// Clones share the state. The states are those of
/// [`tower-resilience-circuitbreaker`](https://docs.rs/tower-resilience-circuitbreaker).
pub struct CircuitBreaker<D> {
    database: Arc<D>,
    settings: Settings,
    breaker: Breaker<Run, Outage>,
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    failure_threshold: usize,
    open_for: Duration,
    timeout: Duration,
}

impl Default for Settings {
    /// A database that comes back while a trial waits for it in vain is found again after `timeout` and `open_for` at the latest.
    fn default() -> Self {
        let two_seconds = Duration::from_secs(2);
        Self { failure_threshold: 5, open_for: two_seconds, timeout: two_seconds }
    }
}

impl<D: Database> CircuitBreaker<D> {
    /// A circuit breaker around `database`.
    pub fn new(database: D) -> Self {
        let settings = Settings::default();
        let breaker = breaker(settings, database.name());
        Self { database: Arc::new(database), settings, breaker }
    }

    /// After how many failures in a row it opens, at least 1. Default: 5.
    #[must_use]
    pub fn failure_threshold(self, failure_threshold: usize) -> Self {
        self.with(|settings| settings.failure_threshold = failure_threshold.max(1))
    }

    /// How long nothing is asked of the database while it is open. Default: 2 seconds.
    ///
    /// A database that is back is found after this time and one `timeout` at the latest, if there are requests.
    #[must_use]
    pub fn open_for(self, open_for: Duration) -> Self {
        self.with(|settings| settings.open_for = open_for)
    }

    /// How long a load, a save or a deletion may take; then it is given up with an error that [is a time-out](Error::is_timeout).
    /// Default: 2 seconds.
    ///
    /// Whoever sets a longer `load_timeout` or `save_timeout` has to set this one, too.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// Begins anew with changed settings.
    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.breaker = breaker(self.settings, self.database.name());
        self
    }

    /// Lets `call` through, if any is, and judges the database by what becomes of it.
    async fn run<T: Send + 'static>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let in_time = async move {
            timeout(limit, call).await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Timeout, format!("the database took longer than {limit:?}")))
            })
        };
        let (mut breaker, call): (_, Call<T>) = (self.breaker.clone(), Box::pin(in_time));
        // In a task of its own: the verdict does not depend on who still waits.
        let called = tokio::spawn(
            async move {
                poll_fn(|cx| Service::<Call<T>>::poll_ready(&mut breaker, cx)).await?;
                breaker.call(call).await
            }
            .in_current_span(),
        );
        match called.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(CircuitBreakerError::Inner(error))) => Err(error),
            Ok(Err(CircuitBreakerError::OpenCircuit)) => Err(self.refusal().await),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => Err(Error::database("the task that asks it was cancelled")),
        }
    }

    /// How long nothing is asked any more, if it is open.
    async fn pause(&self) -> Option<Duration> {
        if self.breaker.state_sync() != CircuitState::Open {
            return None;
        }
        let since = self.breaker.metrics().await.time_since_state_change;
        self.settings.open_for.checked_sub(since).filter(|left| !left.is_zero())
    }

    /// The error of a call that is not let through.
    async fn refusal(&self) -> Error {
        let when = match self.pause().await {
            Some(left) => format!("in {} s", left.as_millis().div_ceil(1000)),
            None => "right now".to_owned(),
        };
        Error::database(format!("it has failed several times, and is tried again {when}"))
    }
}

fn breaker(settings: Settings, database: &str) -> Breaker<Run, Outage> {
    let Settings { failure_threshold, open_for, .. } = settings;
    let database = database.to_owned();
    let layer = CircuitBreakerLayer::builder()
        .failure_classifier_type(Outage)
        .consecutive_failures(failure_threshold)
        .wait_duration_in_open(open_for)
        .on_state_transition(move |from, to| match (from, to) {
            (CircuitState::Closed, CircuitState::Open) => tracing::warn!(
                db.system.name = database,
                "the database has failed {failure_threshold} times in a row; until it answers again, it is asked once in {open_for:?}"
            ),
            (_, CircuitState::Closed) => {
                tracing::info!(db.system.name = database, "the database answers again");
            }
            _ => {}
        })
        .build();
    // What can be wrong are rates, windows and no failures at all: the first two are the library's own defaults, and
    // `failure_threshold` is at least 1.
    #[allow(clippy::expect_used)]
    layer.expect("the settings are valid").layer_fn(Run)
}

/// A call to the database that has what it needs.
type Call<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// The service whose requests are calls to the database.
#[derive(Clone)]
struct Run;

impl<T> Service<Call<T>> for Run {
    type Response = T;
    type Error = Error;
    type Future = Call<T>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call<T>) -> Call<T> {
        call
    }
}

/// What is a failure of the database, and not of one item.
#[derive(Clone)]
struct Outage;

impl<T> FailureClassifier<T, Error> for Outage {
    fn classify(&self, result: &Result<T, Error>) -> bool {
        matches!(result, Err(error) if error.is_database() || error.is_timeout())
    }
}

impl<D: Database> Database for CircuitBreaker<D> {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        let (database, id) = (Arc::clone(&self.database), id.to_owned());
        self.run(self.settings.timeout, async move { database.load(&id).await }).await
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let (database, id) = (Arc::clone(&self.database), id.to_owned());
        self.run(self.settings.timeout, async move { database.load_for_update(&id).await }).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let (database, id) = (Arc::clone(&self.database), id.to_owned());
        let (record, over) = (record.clone(), expected.version().cloned());
        let save = async move { database.save(&id, &record, Expected::from(over.as_ref())).await };
        self.run(self.settings.timeout, save).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let (database, id) = (Arc::clone(&self.database), id.to_owned());
        self.run(self.settings.timeout, async move { database.delete(&id).await }).await
    }

    async fn ensure_ready(&self) -> Result<(), Error> {
        if self.pause().await.is_some() {
            return Err(self.refusal().await);
        }
        let database = Arc::clone(&self.database);
        let mut call: Call<()> = Box::pin(async move { database.ensure_ready().await });
        match poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
            Poll::Ready(Ok(())) => Ok(()),
            Poll::Ready(failed) => self.run(READY_TIMEOUT, ready(failed)).await,
            Poll::Pending => self.run(READY_TIMEOUT, call).await,
        }
    }

    async fn close(&self) -> Result<(), Error> {
        self.database.close().await
    }

    fn name(&self) -> &str {
        self.database.name()
    }

    fn collection(&self) -> Option<&str> {
        self.database.collection()
    }
}

impl<D> Clone for CircuitBreaker<D> {
    fn clone(&self) -> Self {
        let (database, breaker) = (Arc::clone(&self.database), self.breaker.clone());
        Self { database, settings: self.settings, breaker }
    }
}

impl<D: fmt::Debug> fmt::Debug for CircuitBreaker<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { failure_threshold, open_for, timeout } = &self.settings;
        f.debug_struct("CircuitBreaker")
            .field("database", &self.database)
            .field("state", &self.breaker.state_sync())
            .field("failure_threshold", failure_threshold)
            .field("open_for", open_for)
            .field("timeout", timeout)
            .finish()
    }
}
