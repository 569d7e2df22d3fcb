//! `SqliteDb`, through the public interface and with SQLite beside it.
#![cfg(all(feature = "sqlite", feature = "file"))]
// Clippy allows them in test functions, not in what these call.
#![allow(clippy::panic, clippy::unwrap_used)]

mod connecting;
mod crash;
mod editing;
mod expiry;
mod import;
mod opening;
mod processes;
mod saving;
mod scale;
mod tombstones;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tower_persistence::{
    Database, Error, Expected, Loaded, Record, Saved, SqliteDb, Version, VersionedRecord,
};

/// Longer than anything here takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A directory with the path of a database in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("users.sqlite");
    (directory, path)
}

async fn open(path: impl AsRef<Path>) -> SqliteDb {
    within(SqliteDb::open(path)).await.unwrap()
}

/// Waits no longer than [`LIMIT`].
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("not done in {LIMIT:?}"))
}

/// SQLite itself, as another program.
fn sqlite(path: impl AsRef<Path>) -> rusqlite::Connection {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.busy_timeout(LIMIT).unwrap();
    connection
}

fn number(connection: &rusqlite::Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn text(connection: &rusqlite::Connection, id: &str) -> String {
    connection.query_row("SELECT record FROM users WHERE id = ?", [id], |row| row.get(0)).unwrap()
}

fn record(value: &Value) -> Record {
    Record::new(value.as_object().unwrap().clone())
}

fn visits(count: u64) -> Record {
    record(&json!({ "user": { "data": { "visits": count } } }))
}

async fn load(db: &SqliteDb, id: &str) -> Option<VersionedRecord> {
    within(db.load(id)).await.unwrap()
}

async fn save(db: &SqliteDb, id: &str, record: &Record, expected: Expected<'_>) -> Saved {
    within(db.save(id, record, expected)).await.unwrap()
}

/// Saves where nothing stands in the way.
async fn stored(db: &SqliteDb, id: &str, record: &Record, over: Option<&Version>) -> Version {
    match save(db, id, record, over.into()).await {
        Saved::Written(version) => version,
        conflict => panic!("{conflict:?}"),
    }
}

/// An error with all that is said about it.
fn all(error: &Error) -> String {
    format!("{error} {error:?}")
}
