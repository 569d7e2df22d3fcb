//! The app as a newcomer runs it: a process of its own, talked to over TCP.

#![cfg(unix)]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// What is waited for at most.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn it_remembers_its_users_across_a_restart() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    assert!(app.banner.contains(&format!("Database: FileDb({})", db_json(&directory).display())));

    let first = app.post(LAUNCH);
    assert_eq!(first["version"], "1.0");
    let first = first["response"]["outputSpeech"]["text"].as_str().unwrap().to_owned();
    let second = app.post(LAUNCH);
    let second = second["response"]["outputSpeech"]["text"].as_str().unwrap();
    assert!(first.contains("visit 1") && first.contains("Nice to meet you"), "{first}");
    assert!(second.contains("visit 2") && second.contains("Welcome back"), "{second}");

    let stored: Value = serde_json::from_slice(&fs::read(db_json(&directory)).unwrap()).unwrap();
    assert_eq!(stored[0]["id"], "user-1");
    assert_eq!(stored[0]["user"], json!({ "data": { "visits": 2 } }));

    app.stop();
    let app = App::start(&directory);
    assert!(app.post(LAUNCH).to_string().contains("visit 3"));
    app.stop();
}

#[test]
fn the_curl_line_that_it_prints_works() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    let line = app.banner.lines().find(|line| line.starts_with("curl ")).expect("a curl line");
    assert!(line.contains(&format!("curl http://{} ", app.address)), "{line}");
    let body = line.split('\'').nth(3).expect("a body in quotes");
    assert!(app.post(body).to_string().contains("visit 1"));
    if Command::new("curl").arg("--version").stdout(Stdio::null()).status().is_ok() {
        let curl = Command::new("sh").args(["-c", line]).stderr(Stdio::null()).output().unwrap();
        assert!(String::from_utf8(curl.stdout).unwrap().contains("visit 2"));
    }
    app.stop();
}

#[test]
fn it_answers_in_each_platforms_own_form() {
    macro_rules! sample {
        ($name:literal) => {
            ($name, include_str!(concat!("../../../tests/samples/", $name, ".json")))
        };
    }
    let cases = [
        (sample!("alexa/launch"), "/response/outputSpeech/text"),
        (sample!("alexa/audio_player"), "/response/outputSpeech/text"),
        (sample!("core/launch"), "/output/0/message"),
        (sample!("web/text"), "/output/0/message"),
        (sample!("googleassistant/intent"), "/prompt/firstSimple/speech"),
        (sample!("googleassistant/new_user"), "/prompt/firstSimple/speech"),
        (sample!("dialogflow/facebook"), "/fulfillmentText"),
        (
            sample!("dialogflow-google/intent"),
            "/payload/google/richResponse/items/0/simpleResponse/textToSpeech",
        ),
        (sample!("facebookmessenger/message"), "/text"),
        (sample!("instagram/message"), "/text"),
        (sample!("googlebusiness/message"), "/text"),
        (sample!("lex/v1"), "/dialogAction/message/content"),
        (sample!("lex/v2"), "/messages/0/content"),
        (sample!("whatsapp/text"), "/text"),
        (sample!("telegram/message"), "/text"),
        (sample!("telegram/callback"), "/text"),
        (sample!("discord/command"), "/data/content"),
        (sample!("msteams/message"), "/text"),
        (sample!("msteams/invoke"), "/value"),
        (sample!("line/message"), "/text"),
        (
            sample!("googlechat/message"),
            "/hostAppDataAction/chatDataAction/createMessageAction/message/text",
        ),
        (sample!("googlechat/classic"), "/text"),
        (sample!("dialogflow-cx/phone"), "/fulfillmentResponse/messages/0/text/text/0"),
    ];
    let guest = include_str!("../../../tests/samples/googleassistant/new_user.json")
        .replace("VERIFIED", "GUEST");
    let without_user = [
        (sample!("alexa/no_user"), "/response/outputSpeech/text"),
        (("a guest of Google's", guest.as_str()), "/prompt/firstSimple/speech"),
        (sample!("dialogflow/console"), "/fulfillmentText"),
        (sample!("unrecognised/github"), "/text"),
        (sample!("dialogflow-cx/intent"), "/fulfillmentResponse/messages/0/text/text/0"),
        (sample!("mcp/call"), "/result/content/0/text"),
    ];
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    for ((name, request), pointer) in cases {
        let reply = app.post(request);
        let text = reply.pointer(pointer).and_then(Value::as_str);
        assert!(text.is_some_and(|text| text.contains("visit ")), "{name}: {reply}");
    }
    for ((name, request), pointer) in without_user {
        let reply = app.post(request);
        let text = reply.pointer(pointer).and_then(Value::as_str);
        assert!(text.is_some_and(|text| !text.contains("visit ")), "{name}: {reply}");
    }
    app.stop();
}

#[test]
fn it_answers_forms_handshakes_and_streams() {
    macro_rules! sample {
        ($name:literal) => {
            include_str!(concat!("../../../tests/samples/", $name))
        };
    }
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    for (content_type, body, status, holds) in [
        (
            FORM,
            sample!("twilio/sms.form"),
            "200",
            "<Message>Hello! Nice to meet you. This is visit 1.",
        ),
        (FORM, sample!("twilio/call.form"), "200", "<Say>Welcome back! This is visit 2."),
        (FORM, sample!("twilio/status.form"), "200", "<Response></Response>"),
        (FORM, sample!("slack/command.form"), "200", "This is visit 1."),
        (FORM, sample!("slack/block_actions.form"), "200", ""),
        (JSON, sample!("slack/url_verification.json"), "200", r#"{"challenge":"c"}"#),
        (JSON, sample!("discord/ping.json"), "200", r#"{"type":1}"#),
        (JSON, sample!("discord/webhook_ping.json"), "204", ""),
        (JSON, sample!("usechat/submit.json"), "200", r#"data: {"type":"text-delta","id":"1","#),
    ] {
        let length = body.len();
        let reply = app.send(&format!(
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: {content_type}\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ));
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {reply}");
        assert!(reply.contains(holds), "{body}: {reply}");
    }
    app.stop();
}

#[test]
fn a_health_check_stores_nothing() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    fs::write(db_json(&directory), "damaged by hand").unwrap();
    let reply = app.send("GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    assert_eq!(fs::read_to_string(db_json(&directory)).unwrap(), "damaged by hand");
    app.stop();
}

#[test]
fn a_request_in_flight_is_served_to_its_end() {
    let directory = TempDir::new().unwrap();
    let mut app = App::start(&directory);
    let mut stream = TcpStream::connect(&app.address).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let head = format!("{}expect: 100-continue\r\n\r\n", head_of(LAUNCH));
    stream.write_all(head.as_bytes()).unwrap();
    // This is sent when the body is read: from here on the request is being served.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    app.signal_end();
    let refused = || TcpStream::connect(&app.address).is_err();
    wait_until(refused, "it still takes connections after SIGTERM");
    stream.write_all(LAUNCH.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("visit 1"), "{reply}");
    app.assert_ended_well();
    assert!(fs::read_to_string(db_json(&directory)).unwrap().contains("\"visits\": 1"));
}

#[test]
fn it_says_which_platforms_it_verifies_and_refuses_the_others() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    let all = "WARNING: not verified, so anyone who reaches this address can claim to be any user of: alexa, ";
    assert!(app.banner.contains(all) && !app.banner.contains("refused"), "{}", app.banner);
    app.stop();

    let mut command = voice_app(&directory);
    command.env("META_APP_SECRET", "hunter2,hunter3").env("META_VERIFY_TOKEN", "hunter4");
    let app = App::start_with(&mut command);
    let banner = &app.banner;
    assert!(banner.contains("\nVerified: facebookmessenger, instagram, whatsapp\n"), "{banner}");
    assert!(banner.contains("WARNING: refused, since no secret is set for: alexa, "), "{banner}");
    assert!(!banner.contains("hunter") && !banner.contains("not verified"), "{banner}");
    let message = include_str!("../../../tests/samples/facebookmessenger/message.json");
    for body in [LAUNCH, message] {
        let reply = app.send(&format!("{}\r\n{body}", head_of(body)));
        assert!(reply.starts_with("HTTP/1.1 401 "), "{reply}");
    }
    app.stop();

    for (name, value, says) in [
        ("SLACK_SIGNING_SECRET", "", "SLACK_SIGNING_SECRET is empty"),
        ("SLACK_SIGNING_SECRET", "a,", "slack: a secret is empty"),
        ("META_APP_SECRET", "hunter2", "META_VERIFY_TOKEN"),
        ("TELEGRAM_SECRET_TOKEN", "hunter:2", "setWebhook"),
        ("DISCORD_PUBLIC_KEY", "hunter2", "developer portal"),
        ("MCP_ISSUER", "https://hunter2", "MCP_AUDIENCE"),
    ] {
        let message = fails_to_start(voice_app(&directory).env(name, value));
        assert!(message.contains(says) && !message.contains("hunter"), "{message}");
    }
}

#[test]
fn what_keeps_it_from_starting_is_said_clearly() {
    let directory = TempDir::new().unwrap();
    let app = App::start(&directory);
    let second = fails_to_start(&mut voice_app(&directory));
    assert!(second.contains("db.json is in use"), "{second}");
    let port = app.address.rsplit(':').next().unwrap();
    let second = fails_to_start(voice_app(&directory).env("PORT", port));
    assert!(second.contains(&format!("cannot listen on port {port}: ")), "{second}");
    app.stop();

    let damaged = "[{\"id\": \"user-1\"},\n oh!]";
    fs::write(db_json(&directory), damaged).unwrap();
    let message = fails_to_start(&mut voice_app(&directory));
    assert!(message.contains("db.json") && message.contains("line 2"), "{message}");
    assert_eq!(fs::read_to_string(db_json(&directory)).unwrap(), damaged);

    let mut with_password = voice_app(&directory);
    let message =
        fails_to_start(with_password.env("DATABASE_URL", "mysql://anna:secret@localhost"));
    assert!(message.contains("`mysql`") && !message.contains("secret"), "{message}");
    let message = fails_to_start(voice_app(&directory).env("PORT", "http"));
    assert!(message.contains("PORT"), "{message}");
}

const LAUNCH: &str = r#"{"version":"1.0","session":{"new":true,"sessionId":"session-1"},
    "context":{"System":{"user":{"userId":"user-1"}}},
    "request":{"type":"LaunchRequest","requestId":"request-1"}}"#;

/// The running example. It is killed when a test fails before it ended it.
struct App {
    child: Child,
    address: String,
    banner: String,
}

impl App {
    fn start(directory: &TempDir) -> Self {
        Self::start_with(&mut voice_app(directory))
    }

    fn start_with(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("\ncurl ") {
            assert_ne!(stdout.read_line(&mut banner).unwrap(), 0, "it ended after: {banner}");
        }
        let address = banner.lines().find_map(|line| line.strip_prefix("Listening on http://"));
        let address = address.expect("an address").to_owned();
        Self { child, address, banner }
    }

    fn post(&self, body: &str) -> Value {
        let reply = self.send(&format!("{}\r\n{body}", head_of(body)));
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{reply}");
        serde_json::from_str(body).unwrap()
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn stop(mut self) {
        self.signal_end();
        self.assert_ended_well();
    }

    fn signal_end(&self) {
        let kill = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    fn assert_ended_well(&mut self) {
        wait_until(|| self.child.try_wait().unwrap().is_some(), "it did not end after SIGTERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn voice_app(directory: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voice-app"));
    command.env("PORT", "0").env("DATABASE_URL", format!("file:{}", db_json(directory).display()));
    command
}

fn db_json(directory: &TempDir) -> PathBuf {
    Path::join(directory.path(), "db/db.json")
}

fn head_of(body: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n",
        body.len()
    )
}

fn fails_to_start(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(stdout.is_empty());
    String::from_utf8(stderr).unwrap()
}

fn wait_until(mut condition: impl FnMut() -> bool, otherwise: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < LONG, "{otherwise}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
