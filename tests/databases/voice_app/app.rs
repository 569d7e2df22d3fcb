//! The example `voice-app` as a process of its own, and its clients.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tower_persistence::Database;

use crate::binaries::binary;
use crate::common::{alexa, stored};
use crate::dynamodb::ENVIRONMENT;
use crate::process::{end, watched};

/// What is waited for at most until it listens.
const START: Duration = Duration::from_secs(30);

/// It ends with the tests, however they end.
#[derive(Debug)]
pub(crate) struct App {
    database_url: String,
    /// `127.0.0.1:PORT`
    address: String,
    directory: TempDir,
    process: Option<Child>,
}

impl App {
    /// Starts it on a free port, and waits until it listens.
    pub(crate) fn start(database_url: &str) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (database_url, address) = (database_url.to_owned(), "127.0.0.1:0".to_owned());
        let mut app = Self { database_url, address, directory, process: None };
        app.start_again();
        app
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            end(process, "voice-app");
        }
    }

    /// Starts it after [`kill`](Self::kill) on the same port.
    pub(crate) fn start_again(&mut self) {
        let log = File::options().append(true).create(true).open(self.log_path()).unwrap();
        let (_, port) = self.address.rsplit_once(':').unwrap();
        let mut command = watched(binary("voice-app"));
        command.env("PORT", port).env("DATABASE_URL", &self.database_url);
        for (name, otherwise) in ENVIRONMENT {
            command.env(name, env::var(name).as_deref().unwrap_or(otherwise));
        }
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().expect("`sh`");
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        self.process = Some(process);
        let (listens, address) = mpsc::channel();
        // To its end: what it prints further must go somewhere.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("Listening on http://") {
                    let _ = listens.send(address.to_owned());
                }
            }
        });
        let address = address.recv_timeout(START);
        self.address =
            address.unwrap_or_else(|_| panic!("voice-app does not start: {}", self.log()));
    }

    /// Prints what it has logged as reasons not to serve a request, each once.
    pub(crate) fn print_refusals(&self) {
        let (log, mut reasons) = (self.log(), BTreeMap::<&str, u32>::new());
        for (_, reason) in log.lines().filter_map(|line| line.split_once("request not served: ")) {
            *reasons.entry(reason.split(" platform=").next().unwrap()).or_default() += 1;
        }
        for (reason, count) in reasons {
            println!("  {count} times: {reason}");
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("log")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Status(u16),
    /// Nobody knows what became of it.
    BrokenOff,
    /// There was nobody to send it to.
    NotSent,
}

/// A client's connection, which is kept, and made anew where it broke off.
#[derive(Debug)]
pub(crate) struct Connection {
    address: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), sender: None }
    }

    /// A visit of the user's.
    pub(crate) async fn visit(&mut self, user: &str) -> Answer {
        self.post(alexa(user).to_string()).await
    }

    pub(crate) async fn post(&mut self, body: String) -> Answer {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => match self.connect().await {
                Some(sender) => sender,
                None => return Answer::NotSent,
            },
        };
        let request = Request::post("/")
            .header("host", &self.address)
            .header("content-type", "application/json")
            .body(Full::from(body));
        let Ok(response) = sender.send_request(request.unwrap()).await else {
            return Answer::BrokenOff;
        };
        let status = response.status().as_u16();
        // Who has seen only the beginning has no reply.
        if response.into_body().collect().await.is_err() {
            return Answer::BrokenOff;
        }
        self.sender = Some(sender);
        Answer::Status(status)
    }

    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        sender.ready().await.ok()?;
        Some(sender)
    }
}

/// The answers to many requests, counted by many clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    acknowledged: AtomicU64,
    /// Answered, but not with 200.
    refused: AtomicU64,
    broken_off: AtomicU64,
}

impl Tally {
    pub(crate) fn count(&self, answer: Answer) {
        let counter = match answer {
            Answer::Status(200) => &self.acknowledged,
            Answer::Status(_) => &self.refused,
            Answer::BrokenOff => &self.broken_off,
            Answer::NotSent => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    pub(crate) fn broken_off(&self) -> u64 {
        self.broken_off.load(Ordering::Relaxed)
    }

    /// Every acknowledged visit is stored exactly once, and every other at most once.
    pub(crate) fn assert_stored(&self, stored: u64) {
        let least = self.acknowledged();
        let most = least + self.refused() + self.broken_off();
        assert!((least..=most).contains(&stored), "{stored} visits are stored: {self:?}");
    }
}

/// How many visits the database knows of.
pub(crate) async fn stored_visits(database: &impl Database, user: &str) -> u64 {
    let item = stored(database, user).await;
    item.map_or(0, |item| item["user"]["data"]["visits"].as_u64().unwrap())
}
