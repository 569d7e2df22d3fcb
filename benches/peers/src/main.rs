//! The server of `load-test` with tower-sessions on its stores: `peers serve SERVICE URL WORKERS`.
//!
//! The stores are used as their documentation shows. What is theirs stands beside what is the
//! layer's: another file, another table, keys without a prefix.

#![allow(clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::routing::post;
use axum::{Json, Router};
use measures::{identity, samples};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tower_sessions::{MemoryStore, Session, SessionManagerLayer, SessionStore};
use tower_sessions_file_store::FileSessionStorage;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};
use tower_sessions_sqlx_store::sqlx::PgPool;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tower_sessions_sqlx_store::{PostgresStore, SqliteStore};

/// The connections of its documentation.
const REDIS_CONNECTIONS: usize = 6;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [_, _, database, workers] = &arguments[..] else {
        panic!("usage: peers serve tower-sessions URL WORKERS");
    };
    let workers = workers.parse().expect("a number of workers");
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let runtime = builder.worker_threads(workers).enable_all().build().expect("a runtime");
    runtime.block_on(open(database));
}

async fn open(database: &str) {
    let (scheme, path) = database.split_once(':').expect("a URL");
    let own_path = PathBuf::from(format!("{path}.tower-sessions"));
    match scheme {
        "memory" => serve(MemoryStore::default()).await,
        "file" => serve(FileSessionStorage::new_in_folder(own_path)).await,
        "sqlite" => {
            // As safe as `SqliteDb`: each commit is synced.
            let options = SqliteConnectOptions::new()
                .filename(own_path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full);
            let pool = SqlitePoolOptions::new().connect_with(options).await.expect("a file");
            let store = SqliteStore::new(pool);
            store.migrate().await.expect("a table");
            serve(store).await;
        }
        "postgres" | "postgresql" => {
            let store = PostgresStore::new(PgPool::connect(database).await.expect("a server"));
            store.migrate().await.expect("a table");
            serve(store).await;
        }
        "redis" | "valkey" => {
            let config = Config::from_url(database).expect("a URL");
            let pool = Pool::new(config, None, None, None, REDIS_CONNECTIONS).expect("a pool");
            pool.init().await.expect("a server");
            serve(RedisStore::new(pool)).await;
        }
        other => panic!("tower-sessions has no store for {other}:"),
    }
}

async fn serve(store: impl SessionStore + Clone) {
    let layer = SessionManagerLayer::new(store).with_secure(false);
    let router = Router::new().route("/", post(session)).layer(layer);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    axum::serve(listener, router).await.expect("served");
}

/// The work of `load-test` with a session, which a cookie finds; the user is in the body all the
/// same.
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
    let text = format!("{}, this is visit {visits}.", name.as_deref().unwrap_or("Hello"));
    let speech = json!({ "type": "PlainText", "text": text });
    Json(json!({ "version": "1.0", "response": { "outputSpeech": speech } }))
}
