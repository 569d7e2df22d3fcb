//! `docs/verify.md`: each command on that page, with curl and openssl, against a real server.

use std::process::{Command, Stdio};

use axum::Router;
use axum::routing::post;
use tokio::net::TcpListener;
use tower_persistence::platform::{Event, JsonPlatform, Platform, PlatformRequest};
use tower_persistence::verify::{FixedHeader, Hmac, Jwt, Twilio};
use tower_persistence::{MemoryDb, PersistenceLayer, VerifyLayer};

use super::authority::Files;

const PAGE: &str = include_str!("../../docs/verify.md");

const SECRETS: [(&str, &str); 8] = [
    ("META_APP_SECRET", "meta-secret"),
    ("META_VERIFY_TOKEN", "meta token+1"),
    ("SLACK_SIGNING_SECRET", "slack-secret"),
    ("LINE_CHANNEL_SECRET", "line-secret"),
    ("TELEGRAM_SECRET_TOKEN", "telegram_token"),
    ("TWILIO_AUTH_TOKEN", "twilio-token"),
    ("OPENAI_WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ("DIALOGFLOW_PASSWORD", "dialogflow-password"),
];
const WRONG: [(&str, &str); 8] = [
    ("META_APP_SECRET", "x"),
    ("META_VERIFY_TOKEN", "x"),
    ("SLACK_SIGNING_SECRET", "x"),
    ("LINE_CHANNEL_SECRET", "x"),
    ("TELEGRAM_SECRET_TOKEN", "x"),
    ("TWILIO_AUTH_TOKEN", "x"),
    ("OPENAI_WEBHOOK_SECRET", "whsec_AAAA"),
    ("DIALOGFLOW_PASSWORD", "x"),
];
const PUBLIC_URL: &str = "https://bot.example.com";

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|secret| secret.0 == name).unwrap().1
}

/// Twilio's messages, as far as this page sends them.
struct Messages;

impl Platform for Messages {
    fn name(&self) -> &str {
        "twilio"
    }

    fn reads_forms(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        request.form()?.get("MessageSid")?;
        Some(vec![Event::default()])
    }
}

/// A platform of a list, to add to a layer.
struct Own(Box<dyn Platform>);

impl Platform for Own {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn reads_forms(&self) -> bool {
        self.0.reads_forms()
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        self.0.recognise(request)
    }
}

/// The platforms that are not built in.
fn platforms() -> Vec<Box<dyn Platform>> {
    let json = |name, pointer| JsonPlatform::new(name).detect(pointer);
    let all: Vec<Box<dyn Platform>> = vec![
        Box::new(json("openai", "/data").detect_value("/object", "event")),
        Box::new(json("slack", "/team_id").user_id("/event/user")),
        Box::new(json("telegram", "/update_id").user_id("/update_id")),
        Box::new(json("googlechat", "/eventTime").user_id("/user/name")),
        Box::new(Messages),
    ];
    let layer = VerifyLayer::new();
    let built_in = layer.refused();
    all.into_iter().filter(|platform| !built_in.contains(&platform.name())).collect()
}

fn verify(discord_key: &str) -> VerifyLayer {
    let all = VerifyLayer::new();
    platforms()
        .into_iter()
        .fold(all, |layer, platform| layer.platform(Own(platform)))
        .alexa_with(["amzn1.ask.skill.1"], Files::default())
        .meta(secret("META_APP_SECRET"), secret("META_VERIFY_TOKEN"))
        .slack(secret("SLACK_SIGNING_SECRET"))
        .line(secret("LINE_CHANNEL_SECRET"))
        .telegram(secret("TELEGRAM_SECRET_TOKEN"))
        .discord([discord_key])
        .twilio(Twilio::new(secret("TWILIO_AUTH_TOKEN")).public_url(PUBLIC_URL))
        .verifier("openai", Hmac::standard_webhooks(secret("OPENAI_WEBHOOK_SECRET")))
        .google_chat(Jwt::google_chat_project("1234567890", Files::default()))
        .verifier("dialogflow", FixedHeader::basic("dialogflow", secret("DIALOGFLOW_PASSWORD")))
}

/// Returns the commands of the page, each with the text that it prints, if the page says so.
fn commands() -> Vec<(&'static str, Option<&'static str>)> {
    let blocks = PAGE.split("```sh\n").skip(1);
    let split = |block: &'static str| {
        let (command, rest) = block.split_once("```\n").unwrap();
        let printed = rest.strip_prefix("\n```text\n");
        (command, printed.map(|printed| printed.split_once("```").unwrap().0))
    };
    blocks.map(split).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_prints_what_the_page_says() {
    for tool in ["curl", "openssl"] {
        let found =
            Command::new(tool).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if found.is_err() {
            assert!(std::env::var_os("CI").is_none(), "CI needs {tool}");
            eprintln!("not tested: there is no {tool}");
            return;
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let run = |command: &str, url: &str, secrets: &[(&str, &str); 8]| {
        let mut shell = Command::new("sh");
        shell.args(["-euc", command]).current_dir(directory.path());
        shell.envs(secrets.iter().copied()).env("URL", url).env("PUBLIC_URL", PUBLIC_URL);
        let output = shell.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}{errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    let commands = commands();
    assert!(commands.len() > 10, "the page is read in full");
    let make_key = commands.iter().find(|it| it.0.contains("genpkey")).unwrap().0;
    let discord_key = run(make_key, "", &SECRETS);

    let memory = PersistenceLayer::new(MemoryDb::new()).require_verified(true);
    let memory = platforms().into_iter().fold(memory, |layer, one| layer.platform(Own(one)));
    let layer = verify(discord_key.trim());
    layer.check_settings().unwrap();
    let app = Router::new().route("/", post(async || "served")).layer(memory).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let mut has_run = 0;
    for (command, printed) in commands {
        let Some(printed) = printed else { continue };
        assert_eq!(run(command, &url, &SECRETS).trim_end(), printed.trim_end(), "{command}");
        has_run += 1;
        if SECRETS.iter().any(|(name, _)| command.contains(name)) {
            let printed = run(command, &url, &WRONG);
            assert!(printed.starts_with("401"), "{command}{printed}");
            assert!(!printed.contains("1158201444"), "{printed}");
        }
    }
    assert!(has_run > 9);
}
