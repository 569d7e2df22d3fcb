//! The layer on `tower_test::mock`: its calls to the inner service, and their order.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::Layer;
use tower::limit::ConcurrencyLimitLayer;
use tower_persistence::{BoxError, MemoryDb, PersistenceLayer, User};
use tower_test::mock;

use crate::common::*;

type Mock = mock::Mock<HttpRequest, HttpResponse>;

fn layer() -> PersistenceLayer<MemoryDb> {
    PersistenceLayer::new(MemoryDb::new())
}

#[tokio::test]
async fn back_pressure_is_passed_on() {
    let (mut service, mut handle) = mock::spawn_layer::<HttpRequest, HttpResponse, _>(layer());
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = tokio_test::task::spawn(service.call(post(alexa("user-1").to_string())));
    assert_pending!(call.poll());
    let (request, respond) = handle.next_request().await.unwrap();
    assert_eq!(request.extensions().get::<User>().unwrap().id(), "user-1");
    respond.send_response(Response::new(Full::default()));
    assert_eq!(assert_ready_ok!(call.poll()).status(), 200);
    assert_pending!(service.poll_ready());
}

#[tokio::test]
async fn an_error_of_readiness_is_passed_on() {
    let (mut service, mut handle) = mock::spawn_layer::<HttpRequest, HttpResponse, _>(layer());
    handle.send_error("not today");
    let error: BoxError = assert_ready!(service.poll_ready()).unwrap_err();
    assert_eq!(error.to_string(), "not today");
}

/// Panics if it is called without having been ready itself; a clone is not ready.
#[derive(Debug, Default)]
struct OnlyWhenReady {
    ready: bool,
}

impl Clone for OnlyWhenReady {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl tower::Service<HttpRequest> for OnlyWhenReady {
    type Response = HttpResponse;
    type Error = BoxError;
    type Future = std::future::Ready<Result<HttpResponse, BoxError>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), BoxError>> {
        self.ready = true;
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: HttpRequest) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        std::future::ready(Ok(Response::new(Full::default())))
    }
}

#[tokio::test]
async fn the_service_that_was_ready_is_the_one_that_is_called() {
    let mut service = tower_test::mock::Spawn::new(layer().layer(OnlyWhenReady::default()));
    for request in [
        post(alexa("user-1").to_string()),
        post("{}"),
        Request::get("/").body(Full::default()).unwrap(),
        post(alexa("user-1").to_string()),
    ] {
        assert_ready_ok!(service.poll_ready());
        service.call(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_request_takes_no_place_inside_for_long() {
    let (inner, mut handle) = mock::pair::<HttpRequest, HttpResponse>();
    let limited = ConcurrencyLimitLayer::new(1).layer(inner);
    let service = layer().body_limit(10).layer(limited);
    let mut service = tower_test::mock::Spawn::new(service);
    handle.allow(2);
    assert_ready_ok!(service.poll_ready());
    let refused = service.call(post(alexa("user-1").to_string())).await.unwrap();
    assert_eq!(refused.status(), 413);
    drop(refused);
    // The place that the refused request had reserved is free again.
    assert_ready_ok!(service.poll_ready());
    let mut call = tokio_test::task::spawn(service.call(post("{}")));
    assert_pending!(call.poll());
    let (_, respond) = handle.next_request().await.unwrap();
    respond.send_response(Response::new(Full::<Bytes>::default()));
    assert_eq!(assert_ready_ok!(call.poll()).status(), 200);
}

#[tokio::test]
async fn the_inner_service_is_called_only_after_the_load() {
    let layer = PersistenceLayer::new(TestDb::default());
    layer.database().on_load(Behaviour::Waits);
    let (inner, mut handle): (Mock, _) = mock::pair();
    handle.allow(1);
    let mut service = tower_test::mock::Spawn::new(layer.layer(inner));
    assert_ready_ok!(service.poll_ready());
    let mut call = tokio_test::task::spawn(service.call(post(alexa("user-1").to_string())));
    assert_pending!(call.poll());
    layer.database().until_waiting().await;
    let mut called = tokio_test::task::spawn(handle.next_request());
    assert_pending!(called.poll());
    layer.database().go();
    assert_pending!(call.poll());
    assert!(assert_ready!(called.poll()).is_some());
}
