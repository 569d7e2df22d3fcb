//! The layer among others: axum's router, `ServiceBuilder`, and tower-http's layers on both sides.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Json, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::map_request_body::MapRequestBodyLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;
use tower_persistence::{
    BoxError, Error, History, MemoryDb, Persistence, PersistenceLayer, Session, StoredElements,
    User,
};

use crate::common::{alexa, stored};

fn assert_shareable<T: Clone + Send + Sync + 'static>(_: &T) {}

#[test]
fn layer_and_service_are_clone_send_and_sync() {
    let layer = PersistenceLayer::new(MemoryDb::new());
    assert_shareable(&layer);
    let service: Persistence<_, _> =
        layer.layer(service_fn(|_: http::Request<Full<Bytes>>| async {
            Ok::<_, BoxError>(http::Response::new(Full::<Bytes>::default()))
        }));
    assert_shareable(&service);
    fn assert_future<T: Send>(_: T) {}
    assert_future(service.oneshot(http::Request::new(Full::default())));
}

async fn visit(user: User, Json(request): Json<Value>) -> Result<String, Error> {
    assert_eq!(request["version"], "1.0", "the handler reads the same body");
    Ok(format!("visit {}", user.increment("visits", 1)?))
}

async fn panics(user: User) -> String {
    user.set("visits", 99).unwrap();
    panic!("on purpose")
}

async fn hangs(user: User) -> String {
    user.set("visits", 99).unwrap();
    std::future::pending().await
}

fn router() -> Router {
    Router::new()
        .route("/", post(visit))
        .route("/panics", post(panics))
        .route("/hangs", post(hangs))
        .route("/healthz", get(|| async { "fine" }))
}

fn request(path: &str) -> Request {
    let request = http::Request::post(path).header("content-type", "application/json");
    request.body(Body::from(alexa("user-1").to_string())).unwrap()
}

async fn answer<S, B>(service: S, request: Request) -> (StatusCode, String)
where
    S: Service<Request, Response = http::Response<B>>,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    let response = service.oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Checks two visits, a panic and a health check.
async fn assert_remembers<S, B>(service: S, db: &MemoryDb)
where
    S: Service<Request, Response = http::Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: http_body::Body,
    B::Error: std::fmt::Debug,
{
    for visit in 1..=2 {
        let (status, body) = answer(service.clone(), request("/")).await;
        assert_eq!((status.as_u16(), body), (200, format!("visit {visit}")));
    }
    let health = http::Request::get("/healthz").body(Body::empty()).unwrap();
    assert_eq!(answer(service, health).await.1, "fine");
    assert_eq!(stored(db, "user-1").await.unwrap()["user"]["data"]["visits"], 2);
}

#[tokio::test]
async fn under_a_router() {
    let db = MemoryDb::new();
    assert_remembers(router().layer(PersistenceLayer::new(db.clone())), &db).await;

    let db = MemoryDb::new();
    assert_remembers(router().route_layer(PersistenceLayer::new(db.clone())), &db).await;
}

async fn adds_a_header(request: Request, next: Next) -> Response {
    assert!(
        request.method() == http::Method::GET || request.extensions().get::<User>().is_some(),
        "a middleware inside sees the handles"
    );
    let mut response = next.run(request).await;
    response.headers_mut().insert("x-inside", HeaderValue::from_static("yes"));
    response
}

#[tokio::test]
async fn under_a_service_builder_with_from_fn_directly_inside() {
    let db = MemoryDb::new();
    let service = ServiceBuilder::new()
        .layer(PersistenceLayer::new(db.clone()))
        .layer(from_fn(adds_a_header))
        .service(router());
    assert_remembers(service, &db).await;
    // And outside, on a router.
    let db = MemoryDb::new();
    let both = ServiceBuilder::new()
        .layer(from_fn(|request, next: Next| async { next.run(request).await }))
        .layer(PersistenceLayer::new(db.clone()))
        .layer(from_fn(adds_a_header));
    assert_remembers(router().layer(both), &db).await;
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, Duration::from_secs(1))
}

#[tokio::test]
async fn tower_https_layers_outside() {
    let db = MemoryDb::new();
    let service = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(timeout())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(PersistenceLayer::new(db.clone()))
        .service(router());
    assert_remembers(service, &db).await;
}

#[tokio::test]
async fn tower_https_layers_inside() {
    let db = MemoryDb::new();
    let service = ServiceBuilder::new()
        .layer(PersistenceLayer::new(db.clone()))
        .layer(TraceLayer::new_for_http())
        .layer(timeout())
        .layer(CompressionLayer::new())
        .layer(CatchPanicLayer::new())
        .layer(RequestBodyLimitLayer::new(100_000))
        .service(router());
    assert_remembers(service, &db).await;
}

#[tokio::test]
async fn a_request_body_limit_directly_outside_needs_a_body_that_can_be_made_from_bytes() {
    let db = MemoryDb::new();
    let service = ServiceBuilder::new()
        .layer(RequestBodyLimitLayer::new(2000))
        .layer(MapRequestBodyLayer::new(Body::new))
        .layer(PersistenceLayer::new(db.clone()))
        .service(router());
    assert_remembers(service.clone(), &db).await;
    // A body of unknown length that turns out to be too long fails while the layer reads it.
    let chunks = futures_chunks(vec![Bytes::from(vec![b' '; 3000])]);
    let long = http::Request::post("/").header("content-type", "application/json");
    let (status, _) = answer(service, long.body(chunks).unwrap()).await;
    assert_eq!(status, 413);

    let db = MemoryDb::new();
    let separate =
        router().layer(PersistenceLayer::new(db.clone())).layer(RequestBodyLimitLayer::new(2000));
    assert_remembers(separate, &db).await;
}

/// A body in chunks, of unknown length.
fn futures_chunks(chunks: Vec<Bytes>) -> Body {
    struct Chunks(std::vec::IntoIter<Bytes>);
    impl http_body::Body for Chunks {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Ready(self.0.next().map(|chunk| Ok(http_body::Frame::data(chunk))))
        }
    }
    Body::new(Chunks(chunks.into_iter()))
}

#[tokio::test]
async fn a_panic_caught_on_either_side_stores_nothing_and_leaves_no_lock() {
    let db = MemoryDb::new();
    let outside = ServiceBuilder::new()
        .layer(CatchPanicLayer::new())
        .layer(PersistenceLayer::new(db.clone()))
        .service(router());
    assert_eq!(answer(outside.clone(), request("/panics")).await.0, 500);
    assert!(db.is_empty());
    assert_remembers(outside, &db).await;

    let db = MemoryDb::new();
    let inside = ServiceBuilder::new()
        .layer(PersistenceLayer::new(db.clone()))
        .layer(CatchPanicLayer::new())
        .service(router());
    assert_eq!(answer(inside.clone(), request("/panics")).await.0, 500);
    assert!(db.is_empty());
    assert_remembers(inside, &db).await;
}

#[tokio::test(start_paused = true)]
async fn a_time_out_on_either_side_stores_nothing_and_leaves_no_lock() {
    let db = MemoryDb::new();
    let outside = ServiceBuilder::new()
        .layer(timeout())
        .layer(PersistenceLayer::new(db.clone()))
        .service(router());
    assert_eq!(answer(outside.clone(), request("/hangs")).await.0, 408);
    assert!(db.is_empty());
    assert_remembers(outside, &db).await;

    // Inside, a 408 is the handler's answer. Earlier changes are stored, as for every answer below
    // 500.
    let db = MemoryDb::new();
    let inside = ServiceBuilder::new()
        .layer(PersistenceLayer::new(db.clone()))
        .layer(timeout())
        .service(router());
    assert_eq!(answer(inside.clone(), request("/hangs")).await.0, 408);
    assert_eq!(stored(&db, "user-1").await.unwrap()["user"]["data"]["visits"], 99);
}

#[tokio::test]
async fn a_compressed_reply_is_compressed_and_remembered() {
    for layer_inside in [true, false] {
        let db = MemoryDb::new();
        let elements = StoredElements::new()
            .history(tower_persistence::stored_elements::HistoryElement::new().response(true));
        let persistence = PersistenceLayer::new(db.clone()).stored_elements(elements);
        let long = Router::new().route(
            "/",
            post(|| async { Json(serde_json::json!({ "text": "long ".repeat(100) })) }),
        );
        let app = if layer_inside {
            long.layer(persistence).layer(CompressionLayer::new())
        } else {
            long.layer(CompressionLayer::new()).layer(persistence)
        };
        let mut request = request("/");
        request.headers_mut().insert("accept-encoding", HeaderValue::from_static("gzip"));
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(body.starts_with(&[0x1f, 0x8b]));
        let items = &stored(&db, "user-1").await.unwrap()["history"]["items"];
        assert_eq!(items[0]["response"].is_object(), layer_inside, "{items}");
    }
}

#[tokio::test]
async fn extractors_say_what_is_missing() {
    let with_layer = |router: Router| router.layer(PersistenceLayer::new(MemoryDb::new()));
    let all = || {
        Router::new()
            .route("/user", post(|_: User| async {}).get(|_: User| async {}))
            .route("/session", post(|_: Session| async {}))
            .route("/history", post(|_: History| async {}))
            .route(
                "/optional",
                post(|user: Option<User>| async move { user.is_some().to_string() })
                    .get(|user: Option<User>| async move { user.is_some().to_string() }),
            )
    };
    let error = |response: Response| response.extensions().get::<Error>().cloned().unwrap();
    let send = |app: Router, request: Request| async { app.oneshot(request).await.unwrap() };
    let without_user = |path: &str| {
        let mut request = request(path);
        *request.body_mut() = Body::from("{}");
        request
    };
    for path in ["/user", "/session", "/history"] {
        assert_eq!(send(with_layer(all()), request(path)).await.status(), 200);

        let response = send(all(), request(path)).await;
        assert_eq!(response.status(), 500);
        let error_without_layer = error(response);
        assert!(error_without_layer.is_layer_missing());
        assert!(error_without_layer.to_string().contains("PersistenceLayer::new"));

        let response = send(with_layer(all()), without_user(path)).await;
        assert_eq!(response.status(), 400);
        assert!(error(response).is_missing_user());
    }
    // A GET has no user, with or without the layer.
    let get = || http::Request::get("/user").body(Body::empty()).unwrap();
    assert!(error(send(with_layer(all()), get()).await).is_missing_user());
    let empty = http::Request::post("/user").header("content-type", "application/json");
    let response = send(with_layer(all()), empty.body(Body::empty()).unwrap()).await;
    assert!(error(response).is_missing_user());

    assert_eq!(answer(with_layer(all()), request("/optional")).await.1, "true");
    assert_eq!(answer(with_layer(all()), without_user("/optional")).await.1, "false");
    assert_eq!(send(all(), request("/optional")).await.status(), 500);
}

#[tokio::test]
async fn an_error_is_a_response_that_tells_no_secrets_and_stores_nothing() {
    let db = MemoryDb::new();
    let router = Router::new().route(
        "/",
        post(|user: User| async move {
            user.set("visits", "many")?;
            user.increment("visits", 1)?;
            Ok::<_, Error>(())
        }),
    );
    let response =
        router.layer(PersistenceLayer::new(db.clone())).oneshot(request("/")).await.unwrap();
    assert_eq!(response.status(), 500);
    assert!(response.extensions().get::<Error>().unwrap().is_decode());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "the request could not be served");
    assert!(db.is_empty());
    assert_eq!(Error::database("x").into_response().status(), 503);
}

#[tokio::test]
async fn a_stack_of_its_own_error_type_keeps_it() {
    #[derive(Debug, PartialEq)]
    struct Mine;
    let service = PersistenceLayer::new(MemoryDb::new())
        .layer(service_fn(|_: Request| async { Err::<http::Response<Body>, _>(Mine) }));
    assert_eq!(service.oneshot(request("/")).await.err(), Some(Mine));
}

#[tokio::test]
async fn a_reply_that_streams_is_not_read_before_it_leaves() {
    let name = HeaderName::from_static("content-type");
    let router = Router::new().route(
        "/",
        post(move |user: User| async move {
            user.increment("visits", 1)?;
            let body = Body::new(Endless);
            Ok::<_, Error>(([(name, "application/json")], body))
        }),
    );
    let db = MemoryDb::new();
    let elements = StoredElements::new().history(true);
    let app = router.layer(PersistenceLayer::new(db.clone()).stored_elements(elements));
    let response = app.oneshot(request("/")).await.unwrap();
    assert_eq!(stored(&db, "user-1").await.unwrap()["user"]["data"]["visits"], 1);
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
}

/// Never ends.
struct Endless;

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(b"x")))))
    }
}

#[tokio::test]
async fn a_captured_reply_longer_than_the_limit_goes_out_whole() {
    let elements = StoredElements::new()
        .history(tower_persistence::stored_elements::HistoryElement::new().response(true));
    let db = MemoryDb::new();
    let layer = PersistenceLayer::new(db.clone()).stored_elements(elements).reply_limit(1000);
    let chunks: Vec<Bytes> = (0..50).map(|number| Bytes::from(format!("{number:0>99},"))).collect();
    let expected = chunks.concat();
    let router = Router::new().route(
        "/",
        post(
            move || async move { ([("content-type", "application/json")], futures_chunks(chunks)) },
        ),
    );
    let (status, body) = answer(router.layer(layer), request("/")).await;
    assert_eq!((status.as_u16(), body.as_bytes()), (200, &expected[..]));
    let items = &stored(&db, "user-1").await.unwrap()["history"]["items"];
    assert!(items[0].get("response").is_none());
}
