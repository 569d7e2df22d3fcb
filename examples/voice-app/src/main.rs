//! A voice app that remembers how often its users came.
//!
//! ```text
//! cargo run -p voice-app
//! ```
//!
//! `PORT` (3000) and `DATABASE_URL` (`file:db/db.json`) change where it listens and what it writes to.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_persistence::{Database, Error, PersistenceLayer, User, connect};

type BoxError = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprint!("voice-app: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        eprint!(": {error}");
        source = error.source();
    }
    eprintln!();
    ExitCode::FAILURE
}

async fn run() -> Result<(), BoxError> {
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let port = setting("PORT", "3000")?;
    let port: u16 = port.parse().map_err(|_| format!("PORT is no port number: {port:?}"))?;
    let database_url = setting("DATABASE_URL", "file:db/db.json")?;

    // The signals first: once the address is printed, they end the program in an orderly way.
    let (stop, too_late) = (stop_signal()?, stop_signal()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let database = connect(&database_url).await?;
    database.ensure_ready().await?;
    let layer = PersistenceLayer::new(database);

    // In production, a layer that checks whether a request is genuine goes around this one.
    let app = Router::new()
        .route("/", post(visit))
        .layer(layer.clone())
        .route("/healthz", get(|| async { "ok" }));

    let address = listener.local_addr()?;
    println!("Listening on http://{address}\nDatabase: {:?}\n", layer.database());
    println!("Say hello from another terminal:\n");
    println!("curl http://{address} -H 'content-type: application/json' -d '{LAUNCH_REQUEST}'\n");

    // A client that never ends its request must not keep the program from ending.
    let too_late = async {
        too_late.await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    };
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop) => served?,
        () = too_late => eprintln!("voice-app: not all requests came to an end within 10 seconds"),
    }
    // What goes on without a client ends first: saves, and work after the reply, which a handler of
    // this app does not start.
    let drained = tokio::time::timeout(Duration::from_secs(10), layer.drain()).await;
    if drained.is_err() {
        eprintln!("voice-app: not all work after replies came to an end within 10 seconds");
    }
    layer.database().close().await?;
    Ok(())
}

/// What Alexa sends when somebody says "Alexa, open visit counter", as far as it matters here.
const LAUNCH_REQUEST: &str = r#"{"version":"1.0","session":{"new":true,"sessionId":"session-1"},"context":{"System":{"user":{"userId":"user-1"}}},"request":{"type":"LaunchRequest","requestId":"request-1"}}"#;

/// Counts the visit. The layer has loaded what is stored of the user, and stores what is changed here.
async fn visit(user: Option<User>, Json(request): Json<Value>) -> Result<Json<Value>, Error> {
    let Some(user) = user else {
        let text = "Hello! I do not know who you are, so I cannot count your visits.";
        return Ok(Json(reply(guess_platform(&request), &request, text)));
    };
    let visits = user.increment("visits", 1)?;
    let text = if user.is_new() {
        format!("Hello! Nice to meet you. This is visit {visits}.")
    } else {
        format!("Welcome back! This is visit {visits}.")
    };
    Ok(Json(reply(user.platform(), &request, &text)))
}

/// The reply in the platform's own form.
fn reply(platform: &str, request: &Value, text: &str) -> Value {
    match platform {
        "alexa" => json!({
            "version": "1.0",
            "response": {
                "outputSpeech": { "type": "PlainText", "text": text },
                "shouldEndSession": true,
            },
        }),
        "core" | "web" => json!({
            "version": "4.0.0",
            "platform": platform,
            "output": [{ "message": text }],
            "context": {
                "request": { "id": request["id"] },
                "session": { "id": request["context"]["session"]["id"], "data": {}, "end": true },
                "user": { "data": {} },
            },
        }),
        "googleassistant" => json!({
            "session": { "id": request["session"]["id"] },
            "prompt": { "firstSimple": { "speech": text, "text": text } },
        }),
        "dialogflow" => json!({ "fulfillmentText": text }),
        "dialogflow-google" => json!({
            "fulfillmentText": text,
            "payload": {
                "google": {
                    "expectUserResponse": false,
                    "richResponse": { "items": [{ "simpleResponse": { "textToSpeech": text } }] },
                },
            },
        }),
        "lex" if request.get("sessionState").is_some() => json!({
            "sessionState": {
                "dialogAction": { "type": "Close" },
                "intent": {
                    "name": request["sessionState"]["intent"]["name"],
                    "state": "Fulfilled",
                },
            },
            "messages": [{ "contentType": "PlainText", "content": text }],
        }),
        "lex" => json!({
            "dialogAction": {
                "type": "Close",
                "fulfillmentState": "Fulfilled",
                "message": { "contentType": "PlainText", "content": text },
            },
        }),
        // Messenger, Instagram and Business Messages do not read the reply: they are answered through their APIs.
        _ => json!({ "text": text }),
    }
}

/// Whose form a request without user is answered in: Alexa's certification, Google's guests and Dialogflow's console send such.
fn guess_platform(request: &Value) -> &str {
    let has = |pointer| request.pointer(pointer).is_some();
    match request.pointer("/originalDetectIntentRequest/source").and_then(Value::as_str) {
        Some("google") if has("/queryResult") => "dialogflow-google",
        _ if has("/queryResult") => "dialogflow",
        _ if has("/handler") => "googleassistant",
        _ if has("/version") && has("/request/requestId") => "alexa",
        _ if has("/version") && has("/input/type") => request["platform"].as_str().unwrap_or(""),
        _ if has("/bot") => "lex",
        _ => "",
    }
}

fn setting(name: &str, default: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) => Ok(value),
        Err(env::VarError::NotPresent) => Ok(default.to_owned()),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8")),
    }
}

/// Ends at Ctrl-C or SIGTERM, counted from now on.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(windows)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut interrupt = tokio::signal::windows::ctrl_c()?;
    Ok(async move { drop(interrupt.recv().await) })
}
