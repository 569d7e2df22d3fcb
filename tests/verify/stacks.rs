//! The layer with the persistence layer, and alone, under axum, `ServiceBuilder`, hyper and Lambda.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{
    BoxError, Error, MemoryDb, OriginalBody, PersistenceLayer, User, Verified, VerifyLayer,
};

use super::common::{ALEXA, MESSENGER, WEB, hex, meta, post as request, sha256_hmac};

async fn visit(user: User) -> Result<String, Error> {
    Ok(format!("visit {}", user.increment("visits", 1)?))
}

fn verify() -> VerifyLayer {
    VerifyLayer::new().meta("secret", "token").trust("web")
}

async fn answer(app: &Router, request: Request<Full<Bytes>>) -> (u16, String) {
    let response = app.clone().oneshot(request.map(Body::new)).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn around_the_persistence_layer_under_axum() {
    let database = MemoryDb::new();
    let memory = PersistenceLayer::new(database.clone()).require_verified(true);
    let app = Router::new().route("/", post(visit)).layer(memory).layer(verify());
    assert_eq!(answer(&app, meta("secret", MESSENGER)).await, (200, "visit 1".to_owned()));
    assert_eq!(answer(&app, meta("other", MESSENGER)).await.0, 401);
    assert_eq!(answer(&app, request(WEB, &[])).await, (200, "visit 2".to_owned()));
    assert_eq!(answer(&app, request(ALEXA, &[])).await.0, 401);
    assert_eq!(database.len(), 1, "user-1 of Messenger and Web, as Jovo stores them");
}

#[tokio::test]
async fn the_persistence_layer_insists_on_the_same_platform() {
    let database = MemoryDb::new();
    let memory = PersistenceLayer::new(database.clone()).require_verified(true);
    let alone = Router::new().route("/", post(visit)).layer(memory.clone());
    let (status, body) = answer(&alone, request(WEB, &[])).await;
    assert_eq!((status, &*body), (401, "the request was not verified"));
    // A request without a user or a session needs no proof.
    let open = Router::new().route("/", post(async || "served")).layer(memory.clone());
    assert_eq!(answer(&open, request(r#"{"a":1}"#, &[])).await, (200, "served".to_owned()));

    // The check of another platform does not count: here the two layers know different ones.
    let mine = JsonPlatform::new("mine").detect("/object").user_id("/entry/0/id");
    let apart = Router::new().route("/", post(visit)).layer(memory.platform(mine)).layer(verify());
    assert_eq!(answer(&apart, meta("secret", MESSENGER)).await.0, 401);
    // Neither does a check of a platform that the verifying layer does not know.
    let kiosk = || JsonPlatform::new("kiosk").detect("/kiosk").user_id("/kiosk/id");
    let memory = PersistenceLayer::new(database.clone()).require_verified(true).platform(kiosk());
    let apart = Router::new().route("/", post(visit)).layer(memory.clone()).layer(verify());
    let badge = r#"{"kiosk":{"id":"user-9"}}"#;
    assert_eq!(answer(&apart, request(badge, &[])).await.0, 401);
    assert!(database.is_empty());
    let together = verify().platform(kiosk()).trust("kiosk");
    let together = Router::new().route("/", post(visit)).layer(memory).layer(together);
    assert_eq!(answer(&together, request(badge, &[])).await, (200, "visit 1".to_owned()));
}

#[tokio::test]
async fn a_check_of_ones_own_hands_on_its_proof() {
    let memory = PersistenceLayer::new(MemoryDb::new()).require_verified(true);
    let service = memory.layer(service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("served")))
    }));
    for (platform, expected) in [("web", 200), ("alexa", 401)] {
        let mut request = request(WEB, &[]);
        request.extensions_mut().insert(Verified::new(platform));
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected, "{platform}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_a_408() {
    let layer = verify().body_timeout(Duration::from_secs(3));
    let app = Router::new().route("/", post(async || "served")).layer(layer);
    let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, BoxError>>());
    let began = tokio::time::Instant::now();
    let response = app.oneshot(request("", &[]).map(|_| body)).await.unwrap();
    assert_eq!((response.status().as_u16(), began.elapsed()), (408, Duration::from_secs(3)));
}

/// The bytes are read once: the handler gets those that were read, at the same place in memory.
#[tokio::test]
async fn the_body_is_not_copied() {
    let place = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&place);
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        let seen = Arc::clone(&seen);
        async move {
            let bytes = request.into_body().collect().await?.to_bytes();
            seen.lock().unwrap().push(bytes.as_ptr() as usize);
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        }
    });
    let memory = PersistenceLayer::new(MemoryDb::new()).require_verified(true);
    let service = ServiceBuilder::new().layer(verify()).layer(memory).service(inner);
    let request = meta("secret", MESSENGER);
    let sent = request.body().clone().collect().await.unwrap().to_bytes().as_ptr() as usize;
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(*place.lock().unwrap(), [sent]);
}

/// Inside the persistence layer, a batch is split, and the whole was signed.
#[tokio::test]
async fn inside_the_persistence_layer_the_whole_batch_is_checked() {
    let message = |user: &str| {
        format!(
            r#"{{"sender":{{"id":"{user}"}},"timestamp":1,"message":{{"mid":"m-{user}","text":"x\/y"}}}}"#
        )
    };
    let body = format!(
        r#"{{"object":"page","entry":[{{"id":"p","time":1,"messaging":[{},{}]}}]}}"#,
        message("user-1"),
        message("user-2")
    );
    let database = MemoryDb::new();
    let handler = async |user: User, original: axum::Extension<OriginalBody>, body: String| {
        assert!(body.len() < original.0.0.len());
        user.set("seen", true)
    };
    let app = Router::new()
        .route("/", post(handler))
        .layer(verify())
        .layer(PersistenceLayer::new(database.clone()));
    assert_eq!(answer(&app, meta("secret", &body)).await.0, 200);
    assert_eq!(database.len(), 2);
    assert_eq!(answer(&app, meta("other", &body.replace("user-", "other-"))).await.0, 401);
    assert_eq!(database.len(), 2);
}

#[tokio::test]
async fn alone_on_a_hyper_server() {
    let handler = service_fn(async |request: Request<BoxBody<Bytes, hyper::Error>>| {
        let is_verified = request.extensions().get::<Verified>().is_some();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(is_verified.to_string())))
    });
    let service = verify().layer(handler);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            let service =
                hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    service.clone().oneshot(request.map(BodyExt::boxed))
                });
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
            );
        }
    });
    let signature = hex(&sha256_hmac("secret", MESSENGER.as_bytes()));
    for (signature, status, body) in [
        (&*signature, "HTTP/1.1 200 OK", "true"),
        (&"0".repeat(64), "HTTP/1.1 401 Unauthorized", "the request was not verified"),
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\
             x-hub-signature-256: sha256={signature}\r\n\r\n{MESSENGER}",
            MESSENGER.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        assert!(reply.starts_with(status) && reply.ends_with(body), "{reply}");
    }
}

/// A request that waits for its body takes no place of the service behind.
#[tokio::test]
async fn a_slow_body_holds_no_place() {
    let limited = ServiceBuilder::new().layer(verify()).concurrency_limit(1).service(service_fn(
        async |_: Request<BoxBody<Bytes, BoxError>>| {
            Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
        },
    ));
    let pending = http_body_util::StreamBody::new(futures_util::stream::pending::<
        Result<http_body::Frame<Bytes>, BoxError>,
    >());
    let slow = Request::post("/").header("content-type", "application/json");
    let slow = slow.body(BodyExt::boxed(SyncBody(pending))).unwrap();
    let mut first = limited.clone();
    let waiting = tokio::spawn(first.ready().await.unwrap().call(slow));
    tokio::task::yield_now().await;
    let quick = request(r#"{"a":1}"#, &[]).map(|body| body.map_err(|never| match never {}).boxed());
    let served = tokio::time::timeout(std::time::Duration::from_secs(5), limited.oneshot(quick));
    assert_eq!(served.await.expect("a place is free").unwrap().status(), StatusCode::OK);
    waiting.abort();
}

/// A body that never yields; `BoxBody` asks for `Sync`.
struct SyncBody<B>(B);

impl<B: http_body::Body + Unpin> http_body::Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        std::pin::Pin::new(&mut self.0).poll_frame(cx)
    }
}

#[cfg(feature = "lambda")]
#[tokio::test]
async fn alone_on_lambda() {
    let handler = service_fn(async |request: Request<lambda_http::Body>| {
        assert!(request.extensions().get::<Verified>().is_some());
        assert_eq!(request.body().as_ref(), MESSENGER.as_bytes());
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    });
    let service = verify().layer(handler);
    for (secret, expected) in [("secret", 200), ("other", 401)] {
        let request = meta(secret, MESSENGER).map(|_| lambda_http::Body::from(MESSENGER));
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), expected, "{secret}");
    }
}
