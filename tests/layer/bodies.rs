//! The request bodies that the layer reads, for how long, and the handling of all others.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post as route;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::platform::FacebookMessenger;
use tower_persistence::{BoxError, Error, OriginalBody, PersistenceLayer, User};

use crate::common::*;

type Streaming = BoxBody<Bytes, BoxError>;

/// Returns a body of these parts, without an announced length; `ends` tells whether it ends.
fn streaming(parts: &[&str], ends: bool) -> Streaming {
    let parts: Vec<_> = parts.iter().map(|part| Bytes::from((*part).to_owned())).collect();
    let parts = stream::iter(parts.into_iter().map(|part| Ok::<_, BoxError>(Frame::data(part))));
    match ends {
        true => BodyExt::boxed(StreamBody::new(parts)),
        false => BodyExt::boxed(StreamBody::new(parts.chain(stream::pending()))),
    }
}

/// Sends the body to a handler that ignores it, and returns the user id or the error.
async fn user_id_of(
    layer: &PersistenceLayer<TestDb>,
    content_type: Option<&str>,
    body: Streaming,
) -> Result<String, Error> {
    let service = layer.layer(service_fn(async |request: Request<Streaming>| {
        let user = request.extensions().get::<User>().map(|user| user.id().to_owned());
        let user = user.unwrap_or_else(|| "none".to_owned());
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(user))))
    }));
    let mut request = Request::post("/").body(body).unwrap();
    if let Some(content_type) = content_type {
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
    }
    let response = service.oneshot(request);
    let response = tokio::time::timeout(Duration::from_secs(60), response);
    let response = response.await.expect("the body is waited for").unwrap();
    match response.extensions().get::<Error>() {
        Some(error) => Err(error.clone()),
        None => {
            let body = response.into_body().collect().await.unwrap().to_bytes();
            Ok(String::from_utf8(body.to_vec()).unwrap())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_declared_as_json_is_never_waited_for() {
    let layer = PersistenceLayer::new(TestDb::default());
    let body = alexa("user-1").to_string();
    for content_type in [
        None,
        Some(""),
        Some("application/grpc+json"),
        Some("application/gRPC+JSON; charset=utf-8"),
        Some("application/grpc-web+json"),
        Some("application/connect+json"),
        Some("application/stream+json"),
        Some("application/json-seq"),
        Some("application/geo+json-seq"),
        Some("application/x-ndjson"),
        Some("application/ndjson"),
        Some("application/jsonlines"),
        Some("application/octet-stream"),
        Some("text/plain"),
        Some("json"),
    ] {
        let user_id = user_id_of(&layer, content_type, streaming(&[&body], false)).await;
        assert_eq!(user_id.unwrap(), "none", "{content_type:?}");
    }
    assert_eq!(layer.database().calls(), Calls::default());
}

#[tokio::test]
async fn json_is_declared_in_many_ways() {
    let layer = PersistenceLayer::new(TestDb::default());
    let body = alexa("user-1").to_string();
    for content_type in [
        "application/json",
        "application/json,charset=utf-8",
        "application/json , charset=utf-8",
        "application/json, application/json",
        "application/json;charset=utf-8",
        "APPLICATION/Json ;Charset=UTF-8",
        "  application/json",
        "application/json;",
        "text/json",
        "Text/JSON; charset=utf-8",
        "application/vnd.api+json",
        "application/ld+JSON ; profile=x",
        "application/cloudevents+json,charset=utf-8",
        "application/connected-car+json",
    ] {
        let user_id = user_id_of(&layer, Some(content_type), streaming(&[&body], true)).await;
        assert_eq!(user_id.unwrap(), "user-1", "{content_type}");
    }
}

#[tokio::test]
async fn without_content_type_it_is_read_if_its_length_is_announced_and_within_the_limit() {
    let body = alexa("user-1").to_string();
    for (limit, read) in [(body.len(), "user-1"), (body.len() - 1, "none")] {
        let layer = PersistenceLayer::new(TestDb::default()).body_limit(limit);
        // The length comes from the body itself.
        let full = Full::new(Bytes::from(body.clone())).map_err(|never: Infallible| match never {});
        assert_eq!(user_id_of(&layer, None, full.boxed()).await.unwrap(), read);
        // The length comes from the head.
        let app = layer.layer(service_fn(async |request: Request<Streaming>| {
            let has_user = request.extensions().get::<User>().is_some();
            let body = request.into_body().collect().await?.to_bytes();
            let response = Response::builder().header("x-user", has_user.to_string());
            Ok::<_, BoxError>(response.body(Full::new(body))?)
        }));
        let request = Request::post("/").header("content-length", body.len());
        let request = request.body(streaming(&[&body], true)).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-user"], (read != "none").to_string());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
}

#[tokio::test]
async fn two_megabytes_without_content_type_pass_through_and_declared_json_is_413() {
    let layer = PersistenceLayer::new(TestDb::default());
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000_000));
    let app = serve(&layer, |request| async move { Ok(Response::new(request.into_body())) });
    let request = Request::post("/").body(Full::new(Bytes::from(long.clone()))).unwrap();
    let answer = send(&app, request).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, long.len()));
    assert_eq!(send(&app, post(long)).await.status, 413, "with or without a user");
}

#[tokio::test(start_paused = true)]
async fn reading_ends_after_a_while_with_a_408() {
    let layer = PersistenceLayer::new(TestDb::default());
    let before = tokio::time::Instant::now();
    for (layer, seconds) in
        [(layer.clone(), 10), (layer.clone().body_timeout(Duration::from_secs(3)), 13)]
    {
        let body = streaming(&["{\"version\":", "\"1.0\""], false);
        let error = user_id_of(&layer, Some("application/json"), body).await.unwrap_err();
        assert!(error.is_body_timeout() && !error.is_timeout(), "{error}");
        assert_eq!(error.status(), 408);
        assert!(error.to_string().contains("body_timeout"), "{error}");
        assert_eq!(before.elapsed().as_secs(), seconds);
    }
    assert_eq!(layer.database().calls(), Calls::default());
    // The time-out applies neither to bodies that pass through nor to bodies that are in time.
    let body = alexa("user-1").to_string();
    let layer = layer.body_timeout(Duration::MAX);
    let user_id = user_id_of(&layer, Some("application/json"), streaming(&[&body], true)).await;
    assert_eq!(user_id.unwrap(), "user-1");
}

#[tokio::test(start_paused = true)]
async fn an_unread_body_is_refused_if_a_user_is_required() {
    let layer = PersistenceLayer::new(TestDb::default()).require_user(true);
    for content_type in [None, Some("text/plain"), Some("application/grpc+json")] {
        let error = user_id_of(&layer, content_type, streaming(&["{"], false)).await.unwrap_err();
        assert!(error.is_missing_user(), "{error}");
    }
}

#[tokio::test]
async fn trailers_of_a_body_that_was_read_are_dropped_and_others_stay() {
    let layer = PersistenceLayer::new(TestDb::default());
    let body = alexa("user-1").to_string();
    for (content_type, kept) in [("application/json", false), ("application/grpc+json", true)] {
        let app = layer.layer(service_fn(async |request: Request<Streaming>| {
            let collected = request.into_body().collect().await?;
            let has_trailers = collected.trailers().is_some();
            let response = Response::builder().header("x-trailers", has_trailers.to_string());
            Ok::<_, BoxError>(response.body(Full::new(collected.to_bytes()))?)
        }));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "7".parse().unwrap());
        let frames = [Frame::data(Bytes::from(body.clone())), Frame::trailers(trailers)];
        let frames = frames.into_iter().map(Ok::<_, BoxError>);
        let request = Request::post("/").header("content-type", content_type);
        let request = request.body(BodyExt::boxed(StreamBody::new(stream::iter(frames)))).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-trailers"], kept.to_string());
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }
}

/// A server that echoes the body as it arrives, and reports whether the request has a user.
async fn echo_server() -> std::net::SocketAddr {
    let echo = |user: Option<User>, request: Request<Body>| async move {
        ([("x-user", user.is_some().to_string())], request.into_body())
    };
    let app = Router::new().route("/", route(echo));
    let app = app.layer(PersistenceLayer::new(TestDb::default()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&bytes[..count]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time");
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn client_and_handler_talk_in_both_directions_over_a_socket() {
    let address = echo_server().await;
    for content_type in ["", "content-type: application/grpc+json\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n{content_type}\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("x-user: false"), "{answer}");
        for word in ["one", "two"] {
            stream.write_all(format!("3\r\n{word}\r\n").as_bytes()).await.unwrap();
            read_until(&mut stream, word).await;
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        read_until(&mut stream, "0\r\n\r\n").await;
    }
}

/// Returns the bodies of the handler's requests, and the original bodies.
async fn originals(body: &str) -> Vec<(Bytes, Option<Bytes>)> {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let layer = PersistenceLayer::new(TestDb::default())
        .platforms(vec![Box::new(FacebookMessenger::new())]);
    let notes = seen.clone();
    let app = serve(&layer, move |request| {
        let notes = notes.clone();
        async move {
            let original = request.extensions().get::<OriginalBody>().cloned();
            let body = request.into_body().collect().await?.to_bytes();
            notes.lock().unwrap().push((body, original.map(|OriginalBody(bytes)| bytes)));
            Ok(reply(200, "{}"))
        }
    });
    send(&app, post(body.to_owned())).await.assert_ok();
    std::mem::take(&mut *seen.lock().unwrap())
}

/// A signature check inside the layer needs the original body.
#[tokio::test]
async fn every_event_out_of_several_has_the_original_body_beside_its_own() {
    let message = |user: &str, mid: &str| {
        format!(
            r#"{{"sender":{{"id":"{user}"}},"timestamp":1,"message":{{"mid":"{mid}","text":"x\/y\u0040"}}}}"#
        )
    };
    let batch = |messages: &[String]| {
        let messages = messages.join(" , ");
        format!(r#"{{ "object":"page","entry":[{{"id":"p","time":1,"messaging":[{messages}]}}]}}"#)
    };
    let two = batch(&[message("user-1", "m-1"), message("user-2", "m-2")]);
    let seen = originals(&two).await;
    assert_eq!(seen.len(), 2);
    for (body, original) in &seen {
        assert_ne!(body, two.as_bytes());
        assert_eq!(original.as_deref(), Some(two.as_bytes()));
    }
    assert!(!format!("{:?}", OriginalBody(two.into())).contains("user-1"));

    // The original also stands beside a single event if the others, such as echoes, are skipped.
    let echo = r#"{"sender":{"id":"p"},"timestamp":1,"message":{"mid":"m-2","is_echo":true}}"#;
    let with_echo = batch(&[message("user-1", "m-1"), echo.to_owned()]);
    let seen = originals(&with_echo).await;
    assert!(!seen.is_empty());
    for (body, original) in seen {
        assert_eq!(original.unwrap_or(body), with_echo.as_bytes());
    }

    // The body of a single event is the one that was sent.
    let one = batch(&[message("user-1", "m-1")]);
    let [(body, original)] = &originals(&one).await[..] else { panic!("one event") };
    let signed = original.as_ref().unwrap_or(body);
    assert_eq!(signed, one.as_bytes());
}
