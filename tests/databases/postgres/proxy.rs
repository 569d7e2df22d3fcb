//! Stands between client and server, reads their messages, and gets in the way.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::cuts::Cuts;

const PROTOCOL: u32 = 3 << 16;
const SSL_REQUEST: u32 = 80_877_103;

#[derive(Clone)]
pub(super) struct Proxy {
    /// Host and port.
    pub(super) address: String,
    server: String,
    /// Statements, with the names under which they were prepared.
    statements: Arc<Mutex<Vec<(String, String)>>>,
    round_trips: Arc<AtomicU32>,
    /// The beginning of a statement whose answer is lost, once.
    loses: Arc<Mutex<Option<&'static str>>>,
    pub(super) lost: Arc<Notify>,
    pub(super) go: Arc<Notify>,
    is_standby: Arc<AtomicBool>,
    cuts: Cuts,
}

impl Proxy {
    pub(super) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            server,
            statements: Arc::default(),
            round_trips: Arc::default(),
            loses: Arc::default(),
            lost: Arc::default(),
            go: Arc::default(),
            is_standby: Arc::default(),
            cuts: Cuts::default(),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let proxy = accepting.clone();
                tokio::spawn(accepting.cuts.run(async move { proxy.forward(client).await }));
            }
        });
        proxy
    }

    /// Closes all connections.
    pub(super) async fn cut(&self) {
        self.cuts.cut().await;
    }

    /// Loses the answer to the next statement that begins so.
    pub(super) fn lose(&self, statement: &'static str) {
        *self.loses.lock().unwrap() = Some(statement);
    }

    /// Has new sessions be read-only, as those of a standby are.
    pub(super) fn be_standby(&self, is_standby: bool) {
        self.is_standby.store(is_standby, Ordering::Relaxed);
    }

    /// Takes the number of round trips since the last call.
    pub(super) fn round_trips(&self) -> u32 {
        self.round_trips.swap(0, Ordering::Relaxed)
    }

    pub(super) fn statements(&self) -> Vec<(String, String)> {
        self.statements.lock().unwrap().clone()
    }

    async fn forward(&self, mut client: TcpStream) -> std::io::Result<()> {
        let mut server = TcpStream::connect(&self.server).await?;
        let (mut code, mut rest) = first(&mut client).await?;
        if code == SSL_REQUEST {
            client.write_all(b"N").await?;
            (code, rest) = first(&mut client).await?;
        }
        if code == PROTOCOL && self.is_standby.load(Ordering::Relaxed) {
            rest.pop();
            rest.extend(b"options\0-c default_transaction_read_only=on\0\0");
        }
        server.write_u32(8 + rest.len() as u32).await?;
        server.write_u32(code).await?;
        server.write_all(&rest).await?;
        let is_lost = AtomicBool::new(false);
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let questions = async {
            loop {
                let (kind, body) = read(&mut from_client).await?;
                if kind == b'P' {
                    let mut texts = body.split(|byte| *byte == 0);
                    let mut text =
                        || String::from_utf8_lossy(texts.next().unwrap_or_default()).into_owned();
                    let (name, sql) = (text(), text());
                    let mut loses = self.loses.lock().unwrap();
                    if loses.is_some_and(|begin| sql.starts_with(begin)) {
                        *loses = None;
                        is_lost.store(true, Ordering::SeqCst);
                    }
                    self.statements.lock().unwrap().push((name, sql));
                }
                if matches!(kind, b'S' | b'Q') {
                    self.round_trips.fetch_add(1, Ordering::Relaxed);
                }
                write(&mut to_server, kind, &body).await?;
            }
        };
        let answers = async {
            loop {
                let (kind, body) = read(&mut from_server).await?;
                // What was sent took effect when the server is ready for more.
                if is_lost.load(Ordering::SeqCst) {
                    if kind == b'Z' {
                        self.lost.notify_one();
                        self.go.notified().await;
                        return to_client.shutdown().await;
                    }
                    continue;
                }
                write(&mut to_client, kind, &body).await?;
            }
        };
        tokio::select! {
            result = questions => result,
            result = answers => result,
        }
    }
}

/// Reads a client's first message: its code and the rest.
pub(super) async fn first(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u32, Vec<u8>)> {
    let length = from.read_u32().await?;
    let code = from.read_u32().await?;
    let mut rest = vec![0; length as usize - 8];
    from.read_exact(&mut rest).await?;
    Ok((code, rest))
}

/// Reads a message: its kind and body.
pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, Vec<u8>)> {
    let kind = from.read_u8().await?;
    let length = from.read_u32().await?;
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body).await?;
    Ok((kind, body))
}

pub(super) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    body: &[u8],
) -> std::io::Result<()> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    to.write_all(&message).await
}

/// Starts a server that answers each client with this error.
pub(super) async fn refusing(code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (code_of_client, _) = first(&mut client).await?;
                if code_of_client == SSL_REQUEST {
                    client.write_all(b"N").await?;
                    first(&mut client).await?;
                }
                let text = format!("SFATAL\0VFATAL\0C{code}\0Mfor user \"SECRET\"\0DSECRET\0\0");
                write(&mut client, b'E', text.as_bytes()).await
            });
        }
    });
    address
}
