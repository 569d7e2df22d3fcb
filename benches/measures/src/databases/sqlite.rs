//! `SqliteDb` beside `rusqlite`, both on a file, with the same journal and the same syncs.

use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::Value;
use tower_persistence::SqliteDb;

use super::USER;
use crate::samples;

/// Opens the database.
pub async fn database(path: &Path) -> SqliteDb {
    SqliteDb::open(path).await.expect("a database")
}

/// Opens a file with the client alone, and stores the user.
#[must_use]
pub fn client(path: &Path, bytes: usize) -> Connection {
    let connection = Connection::open(path).expect("a file");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE users (id TEXT PRIMARY KEY, record TEXT NOT NULL, version INTEGER NOT NULL);",
        )
        .expect("a table");
    let record = serde_json::to_string(&samples::record(bytes)).expect("JSON");
    let insert = "INSERT INTO users VALUES (?1, ?2, 1)";
    connection.execute(insert, params![USER, record]).expect("inserted");
    connection
}

/// Loads the user and saves a visit more, on the condition of the version.
pub fn bare(connection: &Connection) {
    let mut select = connection
        .prepare_cached("SELECT record, version FROM users WHERE id = ?1")
        .expect("a statement");
    let (text, version): (String, i64) =
        select.query_row([USER], |row| Ok((row.get(0)?, row.get(1)?))).expect("a row");
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    let visits = &mut record["user"]["data"]["visits"];
    *visits = (visits.as_i64().expect("a number") + 1).into();
    record["updatedAt"] = "2026-01-02T00:00:00.000Z".into();
    let mut update = connection
        .prepare_cached("UPDATE users SET record = ?1, version = ?2 WHERE id = ?3 AND version = ?4")
        .expect("a statement");
    let values = params![record.to_string(), version + 1, USER, version];
    assert_eq!(update.execute(values).expect("written"), 1);
}
