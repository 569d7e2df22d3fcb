//! The server under load.

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::routing::post;
use axum::{Json, Router};
use measures::layer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower_persistence::{Error, PersistenceLayer, User, connect};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

use crate::options::Options;

/// Serves until the process is killed. Prints its port first.
pub(crate) fn run(options: &Options) {
    let mut builder = match options.workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(options.workers).enable_all().build().expect("a runtime");
    runtime.block_on(serve(options));
}

async fn serve(options: &Options) {
    let router = match options.service.as_str() {
        "bare" => Router::new().route("/", post(bare)),
        "tower-sessions" => {
            let layer = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
            Router::new().route("/", post(session)).layer(layer)
        }
        "layer" => {
            let db = connect(&options.database).await.expect("the database");
            Router::new().route("/", post(visit)).layer(PersistenceLayer::new(db))
        }
        other => panic!("{other} is not a service: use layer, bare or tower-sessions"),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    wait(axum::serve(listener, router)).await;
}

async fn wait<E: std::fmt::Debug>(served: impl IntoFuture<Output = Result<(), E>>) {
    served.into_future().await.expect("served");
}

fn reply(visits: i64) -> Json<Value> {
    let speech = json!({ "type": "PlainText", "text": format!("This is visit {visits}.") });
    Json(json!({ "version": "1.0", "response": { "outputSpeech": speech } }))
}

async fn bare(body: Bytes) -> Json<Value> {
    reply(body.len() as i64)
}

async fn visit(user: User) -> Result<Json<Value>, Error> {
    Ok(reply(user.increment("visits", 1)?))
}

/// The same work with a session, which a cookie finds; the user is in the body all the same.
async fn session(session: Session, request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    layer::identity_platform(&head, &body);
    let visits = session.get::<i64>("visits").await.expect("a number").unwrap_or_default() + 1;
    session.insert("visits", visits).await.expect("JSON");
    reply(visits)
}
