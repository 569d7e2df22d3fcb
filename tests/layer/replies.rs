//! Replies on the wire, and the values that they hand over to the platform.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::post as route;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{BoxError, Error, PersistenceLayer, Session, StoredElements, User};

use crate::common::*;

/// The end of a body in these tests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Error,
    Trailers,
    Never,
}

fn body(text: &'static str, end: End) -> BoxBody<Bytes, BoxError> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("7"));
    let last = match end {
        End::Error => stream::iter([Err(BoxError::from("broken"))]).left_stream(),
        End::Trailers => stream::iter([Ok(Frame::trailers(trailers))]).left_stream(),
        End::Never => stream::pending().right_stream(),
    };
    let first = stream::iter([Ok(Frame::data(Bytes::from_static(text.as_bytes())))]);
    BodyExt::boxed(StreamBody::new(first.chain(last)))
}

/// Returns a request of a verified Google user without an id.
fn new_on_google() -> Value {
    json!({
        "handler": { "name": "start" },
        "session": { "id": "session-1", "params": {} },
        "user": { "params": {}, "verificationStatus": "VERIFIED" },
        "device": { "capabilities": ["SPEECH"] },
    })
}

async fn start(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Sends the request and reads until the connection is closed, or `end` has arrived.
async fn exchange(address: SocketAddr, request: &Value, end: Option<&str>) -> String {
    let request = request.to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close, te\r\nte: trailers\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n",
        request.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all((head + &request).as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let reading = async {
        loop {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap_or(0);
            read.extend_from_slice(&bytes[..count]);
            if count == 0 || end.is_some_and(|end| String::from_utf8_lossy(&read).contains(end)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("an answer in time");
    String::from_utf8(read).unwrap()
}

/// Returns layers that read a reply, for each possible reason, with a request for each.
fn readers() -> Vec<(&'static str, PersistenceLayer<TestDb>, Value)> {
    let layer = PersistenceLayer::new(TestDb::default()).reply_timeout(Duration::from_millis(50));
    let history = StoredElements::new().session(true).history(HistoryElement::new().response(true));
    vec![
        ("a session", layer.clone(), alexa("user-1")),
        ("the history", layer.clone().stored_elements(history), alexa("user-1")),
        ("a created id", layer, new_on_google()),
    ]
}

async fn answer(layer: PersistenceLayer<TestDb>, end: End) -> SocketAddr {
    let answer = move |session: Session| async move {
        session.set("lives", 3)?;
        let response = Response::builder().header("content-type", "application/json");
        let response = response.header("trailer", "x-sum").body(Body::new(body("{\"a\":1}", end)));
        response.map_err(|_| Error::database("no response"))
    };
    start(Router::new().route("/", route(answer)).layer(layer)).await
}

#[tokio::test]
async fn a_reply_that_breaks_off_breaks_off_on_the_wire() {
    for (what, layer, request) in readers() {
        let address = answer(layer, End::Error).await;
        let answer = exchange(address, &request, None).await;
        assert!(!answer.to_lowercase().contains("content-length"), "{what}: {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{what}: {answer}");
    }
}

#[tokio::test]
async fn trailers_of_a_reply_arrive() {
    for (what, layer, request) in readers() {
        let address = answer(layer, End::Trailers).await;
        let answer = exchange(address, &request, None).await;
        assert!(answer.ends_with("0\r\nx-sum: 7\r\n\r\n"), "{what}: {answer}");
        assert_eq!(answer.contains("lives"), what != "the history", "{what}: {answer}");
    }
}

#[tokio::test]
async fn a_reply_that_never_ends_begins_all_the_same() {
    for (what, layer, request) in readers() {
        let address = answer(layer, End::Never).await;
        let answer = exchange(address, &request, Some("{\"a\":1}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        assert!(!answer.to_lowercase().contains("content-length"), "{what}: {answer}");
    }
}

/// The session does not hold up a streamed text.
#[tokio::test(start_paused = true)]
async fn a_streamed_text_is_not_waited_for() {
    for content_type in ["text/plain", ""] {
        let layer = PersistenceLayer::new(TestDb::default());
        let service = layer.layer(service_fn(move |request: HttpRequest| async move {
            request.extensions().get::<Session>().unwrap().set("lives", 3)?;
            let response = Response::builder().header("content-type", content_type);
            Ok::<_, BoxError>(response.body(body("Once upon a time", End::Never))?)
        }));
        let before = tokio::time::Instant::now();
        let response = service.oneshot(post(alexa("user-1").to_string())).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        let first = response.into_body().frame().await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap(), "Once upon a time");
    }
}

/// Returns replies into which nothing can be written, with the reason.
fn unwritable() -> Vec<(&'static str, Response<BoxBody<Bytes, BoxError>>)> {
    let full = |text: &str| {
        let bytes = Bytes::from(text.to_owned());
        http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed()
    };
    let reply = |name: &'static str, value: &'static str, body| {
        let response = Response::builder().header(name, value).body(body).unwrap();
        (value, response)
    };
    let json = |body| reply("content-type", "application/json", body);
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(2000));
    vec![
        ("compressed", reply("content-encoding", "gzip", full("{}")).1),
        ("compressed", reply("content-encoding", "br", full("{}")).1),
        ("content_type", reply("content-type", "text/html", full("{}")).1),
        ("content_type", reply("content-type", "application/octet-stream", full("{}")).1),
        ("not_object", reply("content-type", "text/plain", full("hello")).1),
        ("not_object", reply("x-none", "", full("hello")).1),
        ("not_object", json(full("")).1),
        ("not_object", json(full("[1]")).1),
        ("not_object", json(full("\"{}\"")).1),
        ("not_object", json(full("{\"a\":")).1),
        ("too_long", json(full(&long)).1),
        ("too_long", reply("x-none", "", full(&long)).1),
        ("too_slow", json(body("{", End::Never)).1),
        ("broken", json(body("{}", End::Error)).1),
    ]
}

/// Returns a service that answers with the reply of that number.
async fn answered(
    layer: &PersistenceLayer<TestDb>,
    request: &Value,
    number: usize,
) -> Response<tower_persistence::ResponseBody<BoxBody<Bytes, BoxError>>> {
    let layer = layer.clone().reply_limit(1000).save_timeout(Duration::MAX);
    let service = layer.layer(service_fn(move |request: HttpRequest| async move {
        request.extensions().get::<Session>().expect("a session").set("lives", 3)?;
        if let Some(user) = request.extensions().get::<User>() {
            user.increment("visits", 1)?;
        }
        Ok::<_, BoxError>(unwritable().swap_remove(number).1)
    }));
    service.oneshot(post(request.to_string())).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_user_is_not_stored_if_the_reply_cannot_hold_the_created_id() {
    for (number, (reason, _)) in unwritable().into_iter().enumerate() {
        let layer = PersistenceLayer::new(TestDb::default());
        let response = answered(&layer, &new_on_google(), number).await;
        assert_eq!(response.status(), 200, "{reason}");
        assert_eq!(layer.database().calls().saves, 0, "{reason}");
        // A user with an existing id is stored.
        let response = answered(&layer, &alexa("user-1"), number).await;
        assert_eq!(response.status(), 200, "{reason}");
        assert_eq!(layer.database().calls().saves, 1, "{reason}");
    }
}

/// The handler writes another id in the place of the created one.
#[tokio::test]
async fn a_created_id_that_finds_its_place_taken_is_not_stored() {
    let layer = PersistenceLayer::new(TestDb::default());
    for (params, saves) in [
        (r#"{"_GOOGLE_ASSISTANT_USER_ID_":"mine"}"#, 0),
        (r#""text""#, 0),
        (r#"{"theme":"dark"}"#, 1),
        ("null", 2),
    ] {
        let body = format!(r#"{{"user":{{"params":{params}}}}}"#);
        let app = serve(&layer, move |request| {
            let changed = request.extensions().get::<User>().unwrap().set("a", 1);
            let body = body.clone();
            async move {
                changed?;
                Ok(reply(200, &body))
            }
        });
        send_json(&app, &new_on_google()).await.assert_ok();
        assert_eq!(layer.database().calls().saves, saves, "{params}");
    }
}

/// A platform may send any params for its user, and they are sent back.
#[tokio::test]
async fn params_that_google_keeps_for_a_user_stay_as_they_are() {
    let app = serve(&PersistenceLayer::new(TestDb::default()), |_| async { Ok(reply(200, "{}")) });
    let request = new_on_google().to_string();
    let request = request.replacen(
        r#""user":{"params":{}"#,
        r#""user":{"params":{"nick":"\ud83d","n":1e400}"#,
        1,
    );
    let answer = send(&app, post(request)).await;
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains(r#""params":{"nick":"\ud83d","n":1e400,"_GOOGLE"#), "{body}");
}

#[tokio::test]
async fn json_without_a_content_type_or_as_text_is_json() {
    let layer = PersistenceLayer::new(TestDb::default());
    let types = [
        None,
        Some(""),
        Some("text/plain"),
        Some("Text/Plain; charset=utf-8"),
        Some("application/json,charset=utf-8"),
        Some("application/hal+json"),
    ];
    for content_type in types {
        let app = serve(&layer, move |request| {
            let changed = request.extensions().get::<Session>().unwrap().set("lives", 3);
            async move {
                changed?;
                let mut response = reply(200, r#" {"prompt":{}} "#);
                response.headers_mut().remove("content-type");
                if let Some(content_type) = content_type {
                    response.headers_mut().insert("content-type", content_type.parse()?);
                }
                response.headers_mut().insert("content-encoding", "identity".parse()?);
                Ok(response)
            }
        });
        let reply: Value =
            serde_json::from_slice(&send_json(&app, &new_on_google()).await.body).unwrap();
        assert_eq!(reply["session"]["params"]["data"]["lives"], 3, "{content_type:?}");
        let id = reply["user"]["params"]["_GOOGLE_ASSISTANT_USER_ID_"].as_str().unwrap();
        assert!(stored(layer.database(), id).await.is_some());
    }
}

/// Only its own client waits for a reply.
#[tokio::test]
async fn the_next_request_of_the_user_does_not_wait_for_the_reply() {
    let layer = PersistenceLayer::new(TestDb::default()).reply_timeout(Duration::MAX);
    let (is_served, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (served, wait) = (is_served.clone(), go.clone());
    let service = layer.layer(service_fn(move |request: HttpRequest| {
        let (served, wait) = (served.clone(), wait.clone());
        async move {
            request.extensions().get::<Session>().unwrap().set("lives", 3)?;
            let visits = request.extensions().get::<User>().unwrap().increment("visits", 1)?;
            let last = async move {
                if visits == 1 {
                    served.notify_one();
                    wait.notified().await;
                }
                Ok::<_, BoxError>(Frame::data(Bytes::from(format!("{{\"visits\":{visits}}}"))))
            };
            let response = Response::builder().header("content-type", "application/json");
            Ok::<_, BoxError>(response.body(StreamBody::new(Box::pin(stream::once(last))))?)
        }
    }));
    let first = tokio::spawn(service.clone().oneshot(post(alexa("user-1").to_string())));
    is_served.notified().await;
    let second = service.oneshot(post(alexa("user-1").to_string()));
    let second = tokio::time::timeout(Duration::from_secs(10), second).await.expect("no waiting");
    let text = async |response: Response<tower_persistence::ResponseBody<_>>| {
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert!(text(second.unwrap()).await.starts_with("{\"visits\":2,"));
    go.notify_one();
    let first = text(first.await.unwrap().unwrap()).await;
    assert!(first.starts_with("{\"visits\":1,\"sessionAttributes\""), "{first}");
}

#[tokio::test]
async fn every_time_limit_may_be_as_long_as_can_be() {
    let history = HistoryElement::new().response(true);
    let layer = PersistenceLayer::new(TestDb::default())
        .stored_elements(StoredElements::new().history(history))
        .body_timeout(Duration::MAX)
        .reply_timeout(Duration::MAX)
        .ready_timeout(Duration::MAX)
        .queue_timeout(Duration::MAX)
        .load_timeout(Duration::MAX)
        .save_timeout(Duration::MAX);
    let app = sync_app(&layer, |_, session, _| session.set("lives", 3));
    let answer = send_json(&app, &alexa("user-1")).await;
    answer.assert_ok();
    assert!(String::from_utf8_lossy(&answer.body).contains("lives"));
}
