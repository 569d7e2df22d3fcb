//! Writes within one transaction.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::row::{self, Found, Row, milliseconds};
use crate::database::{Version, tombstone};

/// Expired rows that a batch removes from each table: more than come to be by its own writes, and
/// so few that no save waits for them.
const REMOVED: i64 = 16;

/// The result of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    Written(Version),
    Deleted,
    Conflict(Option<Row>),
}

pub(super) struct Batch<'a> {
    connection: &'a Connection,
    now: i64,
    expires_at: Option<i64>,
    /// As it is stored.
    first_version: i64,
    last_version: i64,
}

impl<'a> Batch<'a> {
    /// Begins within a transaction that has the right to write: nothing else changes the tables
    /// before its end, so that comparing and writing are one step.
    pub(super) fn begin(
        connection: &'a Connection,
        expire_after: Option<Duration>,
    ) -> rusqlite::Result<Self> {
        let sql = "SELECT last_version FROM tower_persistence";
        let version = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        let now = row::now();
        let expires_at = expire_after.map(|duration| now.saturating_add(milliseconds(duration)));
        Ok(Self { connection, now, expires_at, first_version: version, last_version: version })
    }

    fn next_version(&mut self) -> i64 {
        self.last_version += 1;
        self.last_version
    }

    /// Notes that a file is imported; returns whether that is the first time.
    #[cfg(feature = "file")]
    pub(super) fn begin_import(&mut self) -> rusqlite::Result<bool> {
        let sql = "UPDATE tower_persistence SET imported_at = ? WHERE imported_at IS NULL";
        let is_first = self.connection.execute(sql, [self.now])? > 0;
        if is_first {
            // It is committed also where no user is written.
            self.next_version();
        }
        Ok(is_first)
    }

    pub(super) fn find(&self, id: &str) -> rusqlite::Result<Found> {
        row::find(self.connection, id, self.now)
    }

    pub(super) fn save(
        &mut self,
        id: &str,
        text: &str,
        over: Option<&Version>,
    ) -> rusqlite::Result<Outcome> {
        let current = self.find(id)?;
        if !tombstone::permits(over, current.version().as_ref()) {
            return Ok(Outcome::Conflict(current.row()));
        }
        self.put(id, text, &current).map(Outcome::Written)
    }

    /// Writes in the place of `current`.
    pub(super) fn put(
        &mut self,
        id: &str,
        text: &str,
        current: &Found,
    ) -> rusqlite::Result<Version> {
        let version = self.next_version();
        let values = params![id, text, version, self.now, self.expires_at];
        let sql = match current {
            Found::User(_) => {
                "UPDATE users SET record = ?2, version = ?3, updated_at = ?4, expires_at = ?5 \
                 WHERE id = ?1"
            }
            // A row that has expired may still be there.
            Found::Absent(_) => {
                "INSERT OR REPLACE INTO users \
                 (id, record, version, created_at, updated_at, expires_at) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5)"
            }
        };
        self.connection.prepare_cached(sql)?.execute(values)?;
        if let Found::Absent(Some(_)) = current {
            let sql = "DELETE FROM tombstones WHERE id = ?";
            self.connection.prepare_cached(sql)?.execute([id])?;
        }
        Ok(row::version(version))
    }

    pub(super) fn delete(&mut self, id: &str) -> rusqlite::Result<Outcome> {
        let version = self.next_version();
        let expires_at = self.now.saturating_add(milliseconds(tombstone::LIFETIME));
        self.connection.prepare_cached("DELETE FROM users WHERE id = ?")?.execute([id])?;
        let sql = "INSERT OR REPLACE INTO tombstones (id, version, expires_at) VALUES (?, ?, ?)";
        self.connection.prepare_cached(sql)?.execute(params![id, version, expires_at])?;
        Ok(Outcome::Deleted)
    }

    /// Stores the last version, and removes a few rows that have expired. Returns whether there is
    /// something to commit.
    pub(super) fn finish(self) -> rusqlite::Result<bool> {
        if self.last_version == self.first_version {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM users WHERE rowid IN \
             (SELECT rowid FROM users WHERE expires_at <= ? LIMIT ?)",
            "DELETE FROM tombstones WHERE id IN \
             (SELECT id FROM tombstones WHERE expires_at <= ? LIMIT ?)",
        ] {
            self.connection.prepare_cached(sql)?.execute([self.now, REMOVED])?;
        }
        let sql = "UPDATE tower_persistence SET last_version = ?";
        self.connection.prepare_cached(sql)?.execute([self.last_version])?;
        Ok(true)
    }
}
