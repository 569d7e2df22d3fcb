//! Places in an inner service that admits a few requests at a time: they are held only while the
//! handler runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::sync::{Notify, Semaphore};
use tower::limit::ConcurrencyLimitLayer;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_persistence::{BoxError, OnConflict, PersistenceLayer};

use crate::common::*;

type UnsyncBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// A handler that waits until it is released, behind a limit of 8.
macro_rules! limited {
    ($layer:expr, $go:expr) => {{
        let go: Arc<Semaphore> = Arc::clone(&$go);
        let handler = service_fn(move |_| {
            let go = Arc::clone(&go);
            async move {
                go.acquire().await?.forget();
                Ok::<_, BoxError>(reply(200, "{}"))
            }
        });
        $layer.layer(ConcurrencyLimitLayer::new(8).layer(handler))
    }};
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_user_take_one_place() {
    let layer = PersistenceLayer::new(TestDb::default()).queue_timeout(Duration::from_secs(60));
    let go = Arc::new(Semaphore::new(0));
    let mut service = limited!(layer, go);
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let ready = std::future::poll_fn(|cx| Service::<HttpRequest>::poll_ready(&mut service, cx));
        ready.await.unwrap();
        waiting.push(tokio::spawn(service.call(post(alexa("anna").to_string()))));
        tokio::task::yield_now().await;
    }
    // Another user is served at once.
    let other = tokio::spawn(service.clone().oneshot(post(alexa("bert").to_string())));
    go.add_permits(2);
    other.await.unwrap().unwrap();
    go.add_permits(20);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_body_is_slow_takes_none() {
    let layer = PersistenceLayer::new(TestDb::default());
    let served = service_fn(async |_: http::Request<UnsyncBody>| {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    });
    let mut service = layer.layer(ConcurrencyLimitLayer::new(1).layer(served));
    let slow = StreamBody::new(futures_util::stream::pending::<Result<_, BoxError>>());
    let request = |body: UnsyncBody| {
        let request = http::Request::post("/").header("content-type", "application/json");
        request.body(body).unwrap()
    };
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx));
    ready.await.unwrap();
    let slow = tokio::spawn(service.call(request(UnsyncBody::new(slow))));
    tokio::task::yield_now().await;
    let body = Full::new(Bytes::from(alexa("anna").to_string()));
    let quick = request(UnsyncBody::new(body.map_err(|never| match never {})));
    let answered = tokio::time::timeout(Duration::from_secs(1), service.oneshot(quick)).await;
    assert_eq!(answered.unwrap().unwrap().status(), 200);
    slow.abort();
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_database_is_slow_takes_none() {
    let layer = PersistenceLayer::new(TestDb::default());
    layer.database().on_load(Behaviour::Hangs);
    let handler = service_fn(async |_: HttpRequest| Ok::<_, BoxError>(reply(200, "{}")));
    let mut service = layer.layer(ConcurrencyLimitLayer::new(1).layer(handler));
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx));
    ready.await.unwrap();
    let slow = tokio::spawn(service.call(post(alexa("anna").to_string())));
    tokio::task::yield_now().await;
    let get = http::Request::get("/").body(Full::default()).unwrap();
    let answered = tokio::time::timeout(Duration::from_millis(1), service.oneshot(get)).await;
    assert_eq!(answered.unwrap().unwrap().status(), 200);
    assert_eq!(slow.await.unwrap().unwrap().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_place_counts_against_the_turns_timeout() {
    let layer = PersistenceLayer::new(TestDb::default());
    let go = Arc::new(Semaphore::new(0));
    let service = limited!(layer, go);
    let busy: Vec<_> = (0..8)
        .map(|user| {
            let request = post(alexa(&format!("user-{user}")).to_string());
            tokio::spawn(service.clone().oneshot(request))
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    // Already ready, and so past the limit's own queue; then its turn has to wait for a load.
    layer.database().on_load(Behaviour::Waits);
    go.add_permits(1);
    let request = post(alexa("anna").to_string());
    let late = tokio::spawn(service.clone().oneshot(request));
    layer.database().until_waiting().await;
    layer.database().on_load(Behaviour::Works);
    // Another request takes the place that was given back.
    let thief = tokio::spawn(service.clone().oneshot(post(alexa("bert").to_string())));
    tokio::time::sleep(Duration::from_millis(10)).await;
    layer.database().go();
    let began = tokio::time::Instant::now();
    let response = late.await.unwrap().unwrap();
    assert_eq!(response.status(), 503);
    let error = response.extensions().get::<tower_persistence::Error>().unwrap();
    assert!(error.is_timeout() && error.to_string().contains("inner service"), "{error}");
    assert!(began.elapsed() <= Duration::from_secs(2));
    drop((busy, thief));
}

/// The handler runs again in the place of its first run, while others of the same user wait.
#[tokio::test(start_paused = true)]
async fn a_rerun_finds_a_place() {
    let layer = PersistenceLayer::new(TestDb::default());
    let layer = layer.on_conflict(OnConflict::Rerun { attempts: 3 });
    let runs = Arc::new(AtomicUsize::new(0));
    let ran = Arc::clone(&runs);
    let handler = service_fn(move |request: HttpRequest| {
        ran.fetch_add(1, Ordering::Relaxed);
        async move {
            handles(&request).unwrap().0.increment("visits", 1)?;
            Ok::<_, BoxError>(reply(200, "{}"))
        }
    });
    let service = layer.layer(ConcurrencyLimitLayer::new(1).layer(handler));
    layer.database().on_save(Behaviour::Waits);
    let request = || post(alexa("anna").to_string());
    let first = tokio::spawn(service.clone().oneshot(request()));
    layer.database().until_waiting().await;
    layer.database().on_save(Behaviour::Works);
    let others: Vec<_> = (0..4).map(|_| tokio::spawn(service.clone().oneshot(request()))).collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let theirs = serde_json::json!({ "user": { "data": { "visits": 10 } } });
    store(&layer.database().items, "anna", &theirs).await;
    layer.database().go();
    for answered in [first].into_iter().chain(others) {
        assert_eq!(answered.await.unwrap().unwrap().status(), 200);
    }
    let record = stored(&layer.database().items, "anna").await.unwrap();
    assert_eq!(record["user"]["data"]["visits"], 15);
    assert_eq!(runs.load(Ordering::Relaxed), 6);
}

/// The client has hung up, and the program ends as soon as the layer allows it.
#[test]
fn close_waits_for_saves_that_go_on_alone() {
    let database = TestDb::default();
    let go = Arc::new(Notify::new());
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime().block_on(async {
        let layer = PersistenceLayer::new(database.clone());
        let app = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
        database.on_save(Behaviour::Waits);
        let client = tokio::spawn(async move { send_json(&app, &alexa("anna")).await.status });
        database.until_waiting().await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        let mut close = tokio_test::task::spawn(layer.close());
        assert!(close.poll().is_pending());
        database.go();
        go.notify_one();
        close.await.unwrap();
    });
    let record = runtime().block_on(stored(&database.items, "anna")).unwrap();
    assert_eq!(record["user"]["data"]["visits"], 1);
}
