//! `SqliteDb` beside `rusqlite`, both on a file, with the same journal and the same syncs.

use std::hint::black_box;
use std::path::Path;

use rusqlite::{Connection, params};
use serde_json::Value;
use tower_persistence::Record;

use super::{Store, id, visit};

/// A connection to a file.
#[derive(Debug)]
pub struct Bare(Connection);

impl Bare {
    /// Opens a file.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let connection = Connection::open(path).expect("a file");
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 CREATE TABLE IF NOT EXISTS users
                 (id TEXT PRIMARY KEY, record TEXT NOT NULL, version INTEGER NOT NULL);",
            )
            .expect("a table");
        Self(connection)
    }

    /// Stores users in an empty file.
    pub fn fill(&self, users: usize, record: &Record) {
        let record = serde_json::to_string(record).expect("JSON");
        let transaction = self.0.unchecked_transaction().expect("a transaction");
        let insert = "INSERT INTO users VALUES (?1, ?2, 1)";
        let mut insert = transaction.prepare(insert).expect("a statement");
        for user in 0..users {
            insert.execute(params![id(user), record]).expect("inserted");
        }
        drop(insert);
        transaction.commit().expect("committed");
    }

    fn find(&self, id: &str) -> (Value, i64) {
        let select = "SELECT record, version FROM users WHERE id = ?1";
        let mut select = self.0.prepare_cached(select).expect("a statement");
        let (text, version): (String, i64) =
            select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).expect("a row");
        (serde_json::from_str(&text).expect("JSON"), version)
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(id));
    }

    async fn visit(&self, id: &str, _: usize) {
        let (mut record, version) = self.find(id);
        visit(&mut record);
        let update = "UPDATE users SET record = ?1, version = ?2 WHERE id = ?3 AND version = ?4";
        let mut update = self.0.prepare_cached(update).expect("a statement");
        let values = params![record.to_string(), version + 1, id, version];
        assert_eq!(update.execute(values).expect("written"), 1);
    }
}
