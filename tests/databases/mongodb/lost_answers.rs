//! Writes that take effect although their answer is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tower_persistence::MongoDb;

use super::Place;
use crate::common::{App, alexa, send_json, sync_app};
use crate::erasure::patient;
use crate::layer::count;

/// Stands between client and server, and loses one answer to a write.
#[derive(Clone)]
struct Proxy {
    uri: String,
    server: String,
    loses: Arc<AtomicBool>,
    lost: Arc<Notify>,
    go: Arc<Notify>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!(
            "mongodb://{}/?directConnection=true&serverSelectionTimeoutMS=20000",
            listener.local_addr().unwrap()
        );
        let loses = Arc::new(AtomicBool::new(false));
        let proxy = Self { uri, server, loses, lost: Arc::default(), go: Arc::default() };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let proxy = accepting.clone();
                // An error is a closed connection.
                tokio::spawn(async move { proxy.forward(client).await.ok() });
            }
        });
        proxy
    }

    async fn forward(self, client: TcpStream) -> std::io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let server = TcpStream::connect(&self.server).await?;
        let (from_server, mut to_server) = server.into_split();
        let is_lost = Arc::new(AtomicBool::new(false));
        let (proxy, loses) = (self.clone(), is_lost.clone());
        tokio::spawn(async move { proxy.answer(from_server, &mut to_client, &loses).await.ok() });
        loop {
            let message = read(&mut from_client).await?;
            // The first field of the command's document, after two headers and the kind of section.
            let is_write = [&b"\x02update\0"[..], b"\x02insert\0"]
                .iter()
                .any(|name| message.get(25..).is_some_and(|rest| rest.starts_with(name)));
            if is_write && self.loses.swap(false, Ordering::SeqCst) {
                is_lost.store(true, Ordering::SeqCst);
            }
            to_server.write_all(&message).await?;
        }
    }

    async fn answer(
        &self,
        mut from_server: OwnedReadHalf,
        to_client: &mut OwnedWriteHalf,
        is_lost: &AtomicBool,
    ) -> std::io::Result<()> {
        loop {
            let message = read(&mut from_server).await?;
            if is_lost.load(Ordering::SeqCst) {
                self.lost.notify_one();
                self.go.notified().await;
                return to_client.shutdown().await;
            }
            to_client.write_all(&message).await?;
        }
    }
}

async fn read(from: &mut OwnedReadHalf) -> std::io::Result<Vec<u8>> {
    let length = from.read_u32_le().await?;
    let mut message = length.to_le_bytes().to_vec();
    message.resize(length as usize, 0);
    from.read_exact(&mut message[4..]).await?;
    Ok(message)
}

fn counting(database: MongoDb) -> App {
    sync_app(&patient(database), |user, _, _| user.increment("count", 1).map(drop))
}

/// Returns the status of a turn whose first write takes effect without an answer, and how often
/// that turn and another one are stored.
async fn overtaken(place: &Place, options: &str, is_new: bool) -> (u16, u64) {
    let id = if is_new { "new" } else { "known" };
    let elsewhere = counting(place.db().await);
    if !is_new {
        send_json(&elsewhere, &alexa(id)).await.assert_ok();
    }
    let proxy = Proxy::start(place.address()).await;
    let uri = format!("{}{options}", proxy.uri);
    let here = counting(place.builder().uri(uri).connect().await.unwrap());
    // Connects, so that the next write is the turn's.
    send_json(&here, &alexa("another")).await.assert_ok();
    proxy.loses.store(true, Ordering::SeqCst);
    let turn = tokio::spawn(async move { send_json(&here, &alexa(id)).await.status });
    proxy.lost.notified().await;
    send_json(&elsewhere, &alexa(id)).await.assert_ok();
    proxy.go.notify_one();
    let status = turn.await.unwrap().as_u16();
    let stored = count(&place.db().await, id).await;
    (status, stored - u64::from(!is_new))
}

/// The driver repeats the write, and the server recognises it by the number of its session.
pub(crate) async fn no_turn_is_applied_twice(place: Place) {
    for is_new in [true, false] {
        assert_eq!(overtaken(&place, "", is_new).await, (200, 2), "{is_new}");
    }
}

/// As on a standalone server, where the driver repeats no write.
pub(crate) async fn without_a_repeated_write_the_outcome_is_unknown(place: Place) {
    for is_new in [true, false] {
        assert_eq!(overtaken(&place, "&retryWrites=false", is_new).await, (503, 2), "{is_new}");
    }
}
