//! The layer on a raw hyper server: bodies in chunks, bodies that break off or are too long, and
//! clients that hang up.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use bytes::Bytes;
use http::Response;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower::{ServiceBuilder, service_fn};
use tower_persistence::{BoxError, Error, PersistenceLayer, Session, User};

use crate::common::{Behaviour, Calls, TestDb, alexa, stored};

type Request = http::Request<BoxBody<Bytes, hyper::Error>>;

async fn visit(request: Request) -> Result<Response<Full<Bytes>>, BoxError> {
    let visits = match request.extensions().get::<User>() {
        Some(user) => user.increment("visits", 1)?,
        None => 0,
    };
    let body = request.into_body().collect().await?.to_bytes();
    Ok(Response::new(format!("visit {visits} of {} bytes", body.len()).into()))
}

/// Serves until the test ends.
async fn start(layer: PersistenceLayer<TestDb>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = ServiceBuilder::new()
        .map_request(|request: http::Request<hyper::body::Incoming>| request.map(BodyExt::boxed))
        .layer(layer)
        .service(service_fn(visit));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    address
}

/// Sends `text` on its own connection and returns the whole response.
pub(crate) async fn exchange(address: SocketAddr, text: String) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The server may reset the connection of a body that it did not read to its end.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn head(headers: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}\r\n\r\n"
    )
}

pub(crate) fn whole(body: &str) -> String {
    format!("{}{body}", head(&format!("content-length: {}", body.len())))
}

#[tokio::test]
async fn visits_are_counted_whole_and_in_chunks() {
    let layer = PersistenceLayer::new(TestDb::default());
    let address = start(layer.clone()).await;
    let body = alexa("user-1").to_string();
    let answer = exchange(address, whole(&body)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(&format!("visit 1 of {} bytes", body.len())), "{answer}");

    let chunks: String = body
        .as_bytes()
        .chunks(7)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), std::str::from_utf8(chunk).unwrap()))
        .collect();
    let text = format!("{}{chunks}0\r\n\r\n", head("transfer-encoding: chunked"));
    let answer = exchange(address, text).await;
    assert!(answer.ends_with(&format!("visit 2 of {} bytes", body.len())), "{answer}");
    assert_eq!(stored(layer.database(), "user-1").await.unwrap()["user"]["data"]["visits"], 2);

    let text = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned();
    assert!(exchange(address, text).await.ends_with("visit 0 of 0 bytes"));
}

/// axum writes the length of the handler's reply into the head before the layer sees it.
#[tokio::test]
async fn the_length_of_a_reply_with_a_session_in_it_is_right() {
    async fn answer(session: Session) -> Result<Json<Value>, Error> {
        session.set("lives", 3)?;
        Ok(Json(json!({ "version": "1.0" })))
    }
    let layer = PersistenceLayer::new(TestDb::default());
    let app = axum::Router::new().route("/", axum::routing::post(answer)).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let answer = exchange(address, whole(&alexa("user-1").to_string())).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.to_lowercase().contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["sessionAttributes"]["data"], json!({ "lives": 3 }));
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_announced_or_not() {
    let layer = PersistenceLayer::new(TestDb::default()).body_limit(1000);
    let address = start(layer.clone()).await;
    // An announced length is refused before any of the body was sent.
    let answer = exchange(address, head("content-length: 1001")).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", " ".repeat(1001));
    let answer = exchange(address, head("transfer-encoding: chunked") + &chunk).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(layer.database().calls(), Calls::default());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_400_and_not_served() {
    let layer = PersistenceLayer::new(TestDb::default());
    let address = start(layer.clone()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = alexa("user-1").to_string();
    let text = head(&format!("content-length: {}", body.len() + 1)) + &body;
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(layer.database().calls(), Calls::default());
}

#[tokio::test]
async fn a_client_that_hangs_up_while_saving_loses_nothing() {
    let layer = PersistenceLayer::new(TestDb::default());
    layer.database().on_save(Behaviour::Waits);
    let address = start(layer.clone()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(whole(&alexa("user-1").to_string()).as_bytes()).await.unwrap();
    layer.database().until_waiting().await;
    drop(stream);
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    let answer = exchange(address, whole(&alexa("user-1").to_string())).await;
    assert!(answer.contains("visit 2 of"), "{answer}");
}

#[tokio::test]
async fn many_clients_at_once() {
    let layer = PersistenceLayer::new(TestDb::default());
    let address = start(layer.clone()).await;
    let ready = Arc::new(Notify::new());
    let clients = (0..40).map(|number| {
        let user = format!("user-{}", number % 4);
        let ready = Arc::clone(&ready);
        tokio::spawn(async move {
            ready.notified().await;
            let answer = exchange(address, whole(&alexa(&user).to_string())).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        })
    });
    let clients: Vec<_> = clients.collect();
    while !clients.iter().all(tokio::task::JoinHandle::is_finished) {
        ready.notify_waiters();
        tokio::task::yield_now().await;
    }
    for client in clients {
        client.await.unwrap();
    }
    for user in ["user-0", "user-1", "user-2", "user-3"] {
        assert_eq!(stored(layer.database(), user).await.unwrap()["user"]["data"]["visits"], 10);
    }
}
