//! The servers under load, but for those of `benches/peers`.

use axum::body::{Bytes, to_bytes};
use axum::extract::Request;
use axum::routing::post;
use axum::{Json, Router};
use measures::{identity, samples};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower_persistence::{
    Database, Error, FileDb, MemoryDb, PersistenceLayer, PostgresDb, RedisDb, SqliteDb, User,
    connect,
};
use tower_sessions::{MemoryStore, Session, SessionManagerLayer};

use crate::options::Service;

/// Serves until the process is killed. Prints its port first.
pub(crate) fn run(service: Service, database: &str, workers: usize) {
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers).enable_all().build().expect("a runtime");
    runtime.block_on(serve(service, database));
}

async fn serve(service: Service, database: &str) {
    let router = match service {
        Service::Bare => Router::new().route("/", post(bare)),
        Service::TowerSessions => {
            let layer = SessionManagerLayer::new(MemoryStore::default()).with_secure(false);
            Router::new().route("/", post(session)).layer(layer)
        }
        Service::Layer => {
            // Each by its own type, as the stores of tower-sessions.
            let (scheme, path) = database.split_once(':').expect("a URL");
            match scheme {
                "memory" => layer(MemoryDb::new()),
                "file" => layer(FileDb::open(path).await.expect("a file")),
                "sqlite" => layer(SqliteDb::open(path).await.expect("a file")),
                "postgres" => layer(PostgresDb::connect(database).await.expect("a URL")),
                "redis" => layer(RedisDb::connect(database).await.expect("a URL")),
                _ => layer(connect(database).await.expect("the database")),
            }
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    axum::serve(listener, router).await.expect("served");
}

fn layer(db: impl Database) -> Router {
    Router::new().route("/", post(visit)).layer(PersistenceLayer::new(db))
}

fn reply(name: Option<&str>, visits: i64) -> Json<Value> {
    let text = format!("{}, this is visit {visits}.", name.unwrap_or("Hello"));
    let speech = json!({ "type": "PlainText", "text": text });
    Json(json!({ "version": "1.0", "response": { "outputSpeech": speech } }))
}

async fn bare(body: Bytes) -> Json<Value> {
    reply(None, body.len() as i64)
}

async fn visit(user: User) -> Result<Json<Value>, Error> {
    if user.is_new() {
        user.set_data(&samples::data())?;
    }
    let name: Option<String> = user.get("name")?;
    Ok(reply(name.as_deref(), user.increment("visits", 1)?))
}

/// The same work with a session, which a cookie finds; the user is in the body all the same.
async fn session(session: Session, request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let _user_id = identity::recognised(&head, &body, str::to_owned);
    if session.is_empty().await {
        for (key, value) in samples::data().as_object().expect("an object") {
            session.insert(key, value).await.expect("JSON");
        }
    }
    let name: Option<String> = session.get("name").await.expect("a text");
    let visits = session.get::<i64>("visits").await.expect("a number").unwrap_or_default() + 1;
    session.insert("visits", visits).await.expect("JSON");
    reply(name.as_deref(), visits)
}
