//! Streams over a socket: axum's server-sent events, and a raw body on hyper, with a client of
//! hyper's.

use std::net::SocketAddr;
use std::time::Duration;

use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_persistence::{BoxError, Error, OnHangUp, PersistenceLayer, StreamedTurn, TurnEnd, User};

use super::script::Step::*;
use super::script::*;
use crate::common::{Behaviour, TestDb, alexa, post};

fn layer() -> PersistenceLayer<TestDb> {
    PersistenceLayer::new(TestDb::default()).turn_end(TurnEnd::Body)
}

/// Serves on hyper until the test ends.
async fn start(app: App) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let app = app.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let app = app.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = Full::new(body.collect().await?.to_bytes());
                    app.oneshot(Request::from_parts(parts, body)).await
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

/// A client on a connection of its own.
struct Caller {
    body: Incoming,
    connection: JoinHandle<()>,
}

impl Caller {
    async fn ask(address: SocketAddr) -> Self {
        Self::try_ask(address).await.expect("a response")
    }

    /// Returns nothing if the stream broke off before its head was sent.
    async fn try_ask(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move { drop(connection.await) });
        let mut request = post(alexa("user-1").to_string());
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        let response: Response<Incoming> = sender.send_request(request).await.ok()?;
        assert_eq!(response.status(), 200);
        Some(Self { body: response.into_body(), connection })
    }

    /// Returns the next frame; `!` if the stream broke off.
    async fn next(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame()).await;
        match frame.expect("in time")? {
            Ok(frame) => Some(match frame.into_data() {
                Ok(data) => String::from_utf8(data.into()).unwrap(),
                Err(_) => ".".to_owned(),
            }),
            Err(_) => Some("!".to_owned()),
        }
    }

    async fn rest(&mut self) -> String {
        let mut read = String::new();
        while let Some(frame) = self.next().await {
            read += &frame;
            if frame == "!" {
                break;
            }
        }
        read
    }

    async fn hang_up(self) {
        drop(self.body);
        self.connection.abort();
        let _ = self.connection.await;
    }
}

#[tokio::test]
async fn a_failed_save_breaks_a_raw_body_off() {
    let cases = [(&[][..], None), (&[Trailers], None), (&[], Some(3))];
    for (more, length) in cases {
        for fails in [false, true] {
            let layer = layer();
            let scene = Scene::new();
            let (inner, steps) = (scene.clone(), [&words(&["a", "b", "c"])[..], more].concat());
            let app = scene.serve(&layer, move |request| {
                let (user, turn) = inner.user_and_turn(&request);
                let mut response = Response::new(inner.stream(user, turn, steps.clone()));
                if let Some(length) = length {
                    response.headers_mut().insert(CONTENT_LENGTH, length.into());
                }
                response
            });
            let address = start(app).await;
            if fails {
                layer.database().on_save(Behaviour::Fails);
            }
            let read = match Caller::try_ask(address).await {
                Some(mut caller) => caller.rest().await,
                None => "!".to_owned(),
            };
            assert_eq!(read.ends_with('!'), fails, "{read} with {length:?}");
            if !fails {
                assert_eq!(read, "abc");
                assert_eq!(said(&layer.database().items).await.as_deref(), Some("abc"));
            }
            assert_eq!(scene.notes(), "");
        }
    }
}

#[tokio::test]
async fn hang_ups_at_each_frame_of_a_raw_body() {
    for on_hang_up in [OnHangUp::Save, OnHangUp::Discard] {
        for frames in 0..=3 {
            let layer = layer().on_hang_up(on_hang_up);
            let scene = Scene::new();
            let steps = [
                &[Wait][..],
                &words(&["a"]),
                &[Wait],
                &words(&["b"]),
                &[Wait],
                &words(&["c"]),
                &[Wait],
            ];
            let address = start(scene.app(&layer, &steps.concat())).await;
            let mut caller = Caller::ask(address).await;
            for frame in ["a", "b", "c"].into_iter().take(frames) {
                scene.go();
                assert_eq!(caller.next().await.as_deref(), Some(frame));
            }
            caller.hang_up().await;
            assert!(scene.turn().hung_up().await);
            let result = scene.turn().finish().await;
            let expected = match on_hang_up {
                OnHangUp::Save => Some(&"abc"[..frames]),
                _ => None,
            };
            assert_eq!(result.is_ok(), expected.is_some());
            assert_eq!(said(&layer.database().items).await.as_deref(), expected);
        }
    }
}

/// The client takes no more, so that hyper polls no more.
#[tokio::test]
async fn a_client_that_does_not_read_is_noticed() {
    let layer = layer().stream_idle_timeout(Duration::from_millis(300));
    let scene = Scene::new();
    let inner = scene.clone();
    let app = scene.serve(&layer, move |request| {
        let (user, _) = inner.user_and_turn(&request);
        let megabyte = Bytes::from(vec![b'a'; 1 << 20]);
        let frames = stream::unfold(0, move |frames: u64| {
            user.set("frames", frames).unwrap();
            let frame = Ok::<_, BoxError>(http_body::Frame::data(megabyte.clone()));
            async move { Some((frame, frames + 1)) }
        });
        Response::new(StreamBody::new(frames).boxed_unsync())
    });
    let address = start(app).await;
    let mut caller = Caller::ask(address).await;
    assert!(caller.next().await.is_some());
    assert!(scene.turn().hung_up().await);
    scene.turn().finish().await.unwrap();
    let stored = crate::common::stored(&layer.database().items, "user-1").await.unwrap();
    let frames = stored["user"]["data"]["frames"].as_u64().unwrap();
    assert!((1..500).contains(&frames), "the socket's buffers hold {frames} MB");
    // What is on its way still arrives, and then the stream breaks off.
    assert!(caller.rest().await.ends_with('!'));
}

/// Streams the tokens that a task sends, and `[DONE]` after the turn is stored.
async fn chat(
    user: User,
    turn: StreamedTurn,
    Extension(model): Extension<Model>,
) -> impl IntoResponse {
    let tokens = model.lock().await.take().expect("one request");
    let events = events(user, turn, tokens);
    let sse = Sse::new(events).keep_alive(KeepAlive::default());
    (Extension(TurnEnd::Body), sse)
}

type Model = std::sync::Arc<tokio::sync::Mutex<Option<mpsc::Receiver<&'static str>>>>;

fn events(
    user: User,
    turn: StreamedTurn,
    tokens: mpsc::Receiver<&'static str>,
) -> impl Stream<Item = Result<Event, Error>> {
    stream::unfold(Some((user, turn, tokens)), |state| async {
        let (user, turn, mut tokens) = state?;
        let event = match tokens.recv().await {
            Some(token) => {
                let written = append(&user, token);
                let event = written.map(|()| Event::default().data(token));
                return Some((event, Some((user, turn, tokens))));
            }
            None => turn.finish().await.map(|()| Event::default().data("[DONE]")),
        };
        Some((event, None))
    })
}

async fn start_axum(layer: &PersistenceLayer<TestDb>) -> (SocketAddr, mpsc::Sender<&'static str>) {
    let (tokens, model) = mpsc::channel(1);
    let model = Model::new(Some(model).into());
    let app = Router::new()
        .route("/", axum::routing::post(chat))
        .layer(layer.clone())
        .layer(Extension(model));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (address, tokens)
}

#[tokio::test]
async fn server_sent_events_of_axum_end_after_the_save() {
    for fails in [false, true] {
        let layer = PersistenceLayer::new(TestDb::default());
        let (address, tokens) = start_axum(&layer).await;
        let mut caller = Caller::ask(address).await;
        for token in ["one", "two", "three"] {
            tokens.send(token).await.unwrap();
            // Each arrives before the next is made.
            assert_eq!(caller.next().await, Some(format!("data: {token}\n\n")));
        }
        assert_eq!(layer.database().calls().saves, 0);
        if fails {
            layer.database().on_save(Behaviour::Fails);
        }
        drop(tokens);
        let rest = caller.rest().await;
        if fails {
            assert_eq!(rest, "!", "no marker, and no clean end");
        } else {
            assert_eq!(rest, "data: [DONE]\n\n");
            let said = said(&layer.database().items).await;
            assert_eq!(said.as_deref(), Some("onetwothree"));
        }
    }
}

#[tokio::test]
async fn hang_ups_at_each_event_of_axum() {
    let all = ["one", "two", "three"];
    for events in 0..=all.len() {
        let layer = PersistenceLayer::new(TestDb::default());
        let (address, tokens) = start_axum(&layer).await;
        let mut caller = Caller::ask(address).await;
        for token in &all[..events] {
            tokens.send(token).await.unwrap();
            assert_eq!(caller.next().await, Some(format!("data: {token}\n\n")));
        }
        caller.hang_up().await;
        // The body is dropped, and its receiver with it.
        tokens.closed().await;
        layer.close().await.unwrap();
        let said = said(&layer.database().items).await;
        assert_eq!(said, Some(all[..events].concat()));
    }
}

/// A compression outside ends its own stream after that of the layer.
#[tokio::test]
async fn a_compression_outside_is_broken_off_as_well() {
    for fails in [false, true] {
        let layer = layer();
        let scene = Scene::new();
        let app = scene.app(&layer, &words(&["a long text ", "and another one"]));
        let app = tower::ServiceBuilder::new().layer(CompressionLayer::new()).service(app);
        if fails {
            layer.database().on_save(Behaviour::Fails);
        }
        let mut request = post(json!(alexa("user-1")).to_string());
        request.headers_mut().insert(ACCEPT_ENCODING, "gzip".parse().unwrap());
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(response.into_body().collect().await.is_err(), fails);
    }
}
