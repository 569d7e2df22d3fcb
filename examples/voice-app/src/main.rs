//! A voice app that remembers how often its users came.
//!
//! ```text
//! cargo run -p voice-app
//! ```
//!
//! `PORT` (3000) and `DATABASE_URL` (`file:db/db.json`) change where it listens and what it writes to. Secrets such as
//! `META_APP_SECRET` switch on the check of a platform's requests: `docs/verify.md` has their names.

mod verification;

mod reply;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, io};

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
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

    let verify = verification::layer()?;
    let verification = verification::report(&verify);

    // The signals first: once the address is printed, they end the program in an orderly way.
    let (stop, too_late) = (stop_signal()?, stop_signal()?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let listener = listener.map_err(|error| format!("cannot listen on port {port}: {error}"))?;
    let database = connect(&database_url).await?;
    database.ensure_ready().await?;
    let layer = PersistenceLayer::new(database).require_verified(true);

    let app = Router::new()
        .route("/", post(visit))
        .layer(layer.clone())
        .layer(verify)
        .route("/healthz", get(|| async { "ok" }));

    let address = listener.local_addr()?;
    println!("Listening on http://{address}\nDatabase: {:?}\n{verification}\n", layer.database());
    println!(
        "Say hello from another terminal; docs/verify.md shows how to sign it for a platform that is verified:\n"
    );
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
async fn visit(user: Option<User>, headers: HeaderMap, body: Bytes) -> Result<Response, Error> {
    let request = reply::read(&headers, &body);
    let Some(user) = user else {
        let text = "Hello! I do not know who you are, so I cannot count your visits.";
        return Ok(reply::reply(reply::guess_platform(&request), &request, text));
    };
    let visits = user.increment("visits", 1)?;
    let text = if user.is_new() {
        format!("Hello! Nice to meet you. This is visit {visits}.")
    } else {
        format!("Welcome back! This is visit {visits}.")
    };
    Ok(reply::reply(user.platform(), &request, &text))
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
