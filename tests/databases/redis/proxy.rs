//! Stands between client and server: counts the commands, and loses answers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::cuts::Cuts;

/// The commands of interest.
const COMMANDS: [&str; 4] = ["HMGET", "EVALSHA", "EVAL", "WAIT"];

#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) url: String,
    server: Arc<Mutex<String>>,
    commands: Arc<Mutex<Vec<&'static str>>>,
    loses: Arc<AtomicBool>,
    /// An answer came and is withheld.
    pub(super) lost: Arc<Notify>,
    /// The connection may break off.
    pub(super) go: Arc<Notify>,
    cuts: Cuts,
    /// Connections so far, and how many of them are cut off.
    opened: Arc<AtomicUsize>,
    cut_off: Arc<AtomicUsize>,
}

impl Proxy {
    pub(super) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            url: format!("redis://{}", listener.local_addr().unwrap()),
            server: Arc::new(Mutex::new(server)),
            commands: Arc::default(),
            loses: Arc::default(),
            lost: Arc::default(),
            go: Arc::default(),
            cuts: Cuts::default(),
            opened: Arc::default(),
            cut_off: Arc::default(),
        };
        let accepting = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(accepting.cuts.run(accepting.clone().forward(client)));
            }
        });
        proxy
    }

    /// Returns the commands since the last call of this function.
    pub(super) fn commands(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.commands.lock().unwrap())
    }

    /// Loses the answer to the next script.
    pub(super) fn lose(&self) {
        self.loses.store(true, Ordering::SeqCst);
    }

    /// Forwards connections that are opened from now on to another server.
    pub(super) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.server.lock().unwrap());
    }

    /// Swallows what comes over the connections, which stay open, as a firewall does that has
    /// forgotten them.
    pub(super) fn cut_off(&self) {
        self.cut_off.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// Closes all connections.
    pub(super) async fn cut(&self) {
        self.cuts.cut().await;
    }

    async fn forward(self, client: TcpStream) -> std::io::Result<()> {
        let (mut from_client, mut to_client) = client.into_split();
        let server = self.server.lock().unwrap().clone();
        let (mut from_server, mut to_server) = TcpStream::connect(server).await?.into_split();
        let is_lost = Arc::new(AtomicBool::new(false));
        let (proxy, loses) = (self.clone(), Arc::clone(&is_lost));
        let answers = async move {
            let mut bytes = vec![0; 1 << 16];
            loop {
                let count = from_server.read(&mut bytes).await?;
                if loses.load(Ordering::SeqCst) {
                    proxy.lost.notify_one();
                    proxy.go.notified().await;
                    break to_client.shutdown().await;
                }
                if count == 0 {
                    break to_client.shutdown().await;
                }
                to_client.write_all(&bytes[..count]).await?;
            }
        };
        tokio::select! {
            result = answers => result,
            result = self.commands_of(&mut from_client, &mut to_server, &is_lost) => result,
        }
    }

    async fn commands_of(
        &self,
        from_client: &mut OwnedReadHalf,
        to_server: &mut OwnedWriteHalf,
        is_lost: &AtomicBool,
    ) -> std::io::Result<()> {
        let number = self.opened.fetch_add(1, Ordering::SeqCst);
        let mut bytes = vec![0; 1 << 16];
        loop {
            let count = from_client.read(&mut bytes).await?;
            if count == 0 {
                return to_server.shutdown().await;
            }
            if number < self.cut_off.load(Ordering::SeqCst) {
                continue;
            }
            let text = String::from_utf8_lossy(&bytes[..count]);
            for word in text.split("\r\n") {
                if let Some(command) = COMMANDS.iter().find(|command| **command == word) {
                    self.commands.lock().unwrap().push(command);
                    if command.starts_with("EVAL") && self.loses.swap(false, Ordering::SeqCst) {
                        is_lost.store(true, Ordering::SeqCst);
                    }
                }
            }
            to_server.write_all(&bytes[..count]).await?;
        }
    }
}
