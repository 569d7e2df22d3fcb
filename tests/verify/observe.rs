//! What the log and the metric say: platform and cause, and nothing that was sent or is secret.

use std::io;
use std::sync::{Arc, Mutex};

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tower_persistence::VerifyLayer;
use tower_persistence::verify::FixedHeader;

use super::common::{ALEXA, MESSENGER, NOW, WEB, app, meta, post, slack, status};
use super::layer::slack_platform;

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn causes_are_logged_and_counted_and_nothing_else() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _metrics = metrics::set_default_local_recorder(&recorder);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _log = tracing::subscriber::set_default(subscriber);

    let layer = VerifyLayer::new()
        .platform(slack_platform())
        .meta("hunter2", "hunter3")
        .slack("hunter4")
        .verifier("web", FixedHeader::new("x-secret", ""))
        .remember(10);
    let (app, _) = app(layer);
    let event = r#"{"type":"event_callback","event":{"user":"user-private"}}"#;
    let question = r#"{"type":"url_verification","challenge":"private"}"#;
    let private = MESSENGER.replace("user-1", "user-private");
    for (request, expected) in [
        (meta("hunter2", &private), 200),
        (meta("forged", &private), 401),
        (post(private, &[]), 401),
        (slack("hunter4", NOW, question), 200),
        (slack("hunter4", NOW, event), 200),
        (slack("hunter4", NOW, event), 401),
        (slack("hunter4", NOW - 1000, event), 401),
        (slack("hunter4", NOW + 1000, event), 401),
        (post(ALEXA.replace("user-1", "user-private"), &[]), 401),
        (post(WEB.replace("user-1", "user-private"), &[("x-secret", "")]), 500),
    ] {
        assert_eq!(status(&app, request).await, expected);
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for line in [
        r#"WARN tower_persistence::verify::observe: request refused: bad signature platform="facebookmessenger" cause="bad signature" http.response.status_code=401"#,
        r#"request refused: no signature platform="facebookmessenger""#,
        r#"request refused: replayed platform="slack""#,
        r#"request refused: too old platform="slack""#,
        r#"request refused: too new platform="slack""#,
        r#"request refused: no verifier platform="alexa""#,
        r#"ERROR tower_persistence::verify::observe: request refused: misconfigured platform="web""#,
        r#"ERROR tower_persistence::verify::layer: all requests are refused: a secret is empty"#,
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    for private in ["private", "hunter", "forged", "sha256=", "v0="] {
        assert!(!log.contains(private), "{private}\n{log}");
    }

    let mut counted = Vec::new();
    for (key, _, description, value) in snapshotter.snapshot().into_vec() {
        if key.key().name() == "tower_persistence.verified" {
            assert!(description.is_some_and(|text| text.contains("outcome")));
            let mut labels: Vec<_> = key.key().labels().map(|it| it.value().to_owned()).collect();
            labels.sort();
            let DebugValue::Counter(count) = value else { panic!("a counter") };
            counted.push(format!("{} {count}", labels.join(", ")));
        }
    }
    counted.sort();
    let expected = [
        "alexa, no verifier 1",
        "bad signature, facebookmessenger 1",
        "facebookmessenger, no signature 1",
        "facebookmessenger, passed 1",
        "handshake, slack 1",
        "misconfigured, web 1",
        "passed, slack 1",
        "replayed, slack 1",
        "slack, too new 1",
        "slack, too old 1",
    ];
    assert_eq!(counted, expected);
}
