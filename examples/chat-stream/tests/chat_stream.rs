//! The app as a newcomer runs it: a process of its own, talked to over TCP.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest wait.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn it_streams_word_by_word_and_remembers_across_a_restart() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    let mut lines = app.chat("Hello");
    let mut words = Vec::new();
    let mut first = None;
    loop {
        let word = next_event(&mut lines).expect("an event");
        if word == "[DONE]" {
            break;
        }
        first.get_or_insert_with(Instant::now);
        words.push(word);
    }
    // The marker says that the turn is stored.
    let stored = fs::read_to_string(directory.path().join("db.json")).unwrap();
    let answer = words.concat();
    assert!(stored.contains("That is all I know."), "{stored}");
    assert!(first.unwrap().elapsed() > Duration::from_millis(200), "words come one by one");
    assert!(answer.contains("\"Hello\". We have not talked before."), "{answer}");
    assert_eq!(next_event(&mut lines), None);
    app.stop();

    let app = App::start(&directory);
    let expected = json!([
        { "role": "user", "content": "Hello" },
        { "role": "assistant", "content": answer },
    ]);
    assert_eq!(app.transcript(), expected);
    let mut lines = app.chat("Again");
    let mut answer = String::new();
    while let Some(word) = next_event(&mut lines) {
        answer += &word;
    }
    assert!(answer.contains("We have exchanged 2 messages before."), "{answer}");
    assert!(answer.ends_with("[DONE]"), "{answer}");
    app.stop();
}

#[test]
fn a_client_that_hangs_up_keeps_what_it_was_told() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    let mut lines = app.chat("Hello");
    let heard = [next_event(&mut lines).unwrap(), next_event(&mut lines).unwrap()].concat();
    drop(lines);
    // The next request waits until the turn has ended.
    let transcript = app.transcript();
    let told = transcript[1]["content"].as_str().unwrap();
    assert!(told.starts_with(heard.trim_end()), "{told} after {heard}");
    assert!(!told.ends_with("I know."), "the model was stopped");
    app.stop();
}

/// Returns the next word without its trailing space, which server-sent events keep.
fn next_event(lines: &mut BufReader<TcpStream>) -> Option<String> {
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return Some(data.trim_end_matches(['\r', '\n']).to_owned());
        }
    }
}

/// The running example. It is killed when a test fails before it ended it.
struct App {
    child: Child,
    address: String,
    /// The app still prints to it.
    _stdout: Lines<BufReader<ChildStdout>>,
}

impl App {
    fn start(directory: &TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat-stream"));
        let database_url = format!("file:{}", directory.path().join("db.json").display());
        command.env("PORT", "0").env("DATABASE_URL", database_url);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut banner = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = banner.find_map(|line| {
            let line = line.unwrap();
            let (address, _) = line.strip_prefix("curl -N http://")?.split_once('/')?;
            Some(address.to_owned())
        });
        Self { child, address: address.expect("a curl line"), _stdout: banner }
    }

    fn send(&self, path: &str, body: &Value) -> BufReader<TcpStream> {
        let body = body.to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    fn chat(&self, message: &str) -> BufReader<TcpStream> {
        self.send("/chat", &json!({ "user": "anna", "message": message }))
    }

    fn transcript(&self) -> Value {
        let mut reply = String::new();
        self.send("/transcript", &json!({ "user": "anna" })).read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
        serde_json::from_str(body).unwrap()
    }

    fn stop(mut self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < LONG, "it did not end after Ctrl-C");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
