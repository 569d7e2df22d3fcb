//! Rows of the tables, and the versions that stand in them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, Row as SqliteRow, params};

use crate::database::text::{self, Source};
use crate::database::tombstone::{self, nothing};
use crate::database::{Loaded, Version, VersionedRecord};
use crate::error::Error;

/// A user's record as it is stored.
#[derive(Debug)]
pub(super) struct Row {
    text: String,
    version: i64,
}

impl Row {
    fn read(row: &SqliteRow<'_>) -> rusqlite::Result<Self> {
        Ok(Self { text: row.get(0)?, version: row.get(1)? })
    }

    pub(super) fn version(&self) -> Version {
        version(self.version)
    }

    pub(super) fn stored(self) -> Result<VersionedRecord, Error> {
        let version = self.version();
        let (record, source) = text::read(self.text)?;
        Ok(VersionedRecord { record, version: carry(version, source) })
    }
}

/// Has a version carry the text that was loaded or saved under it.
pub(super) fn carry(version: Version, source: Option<Source>) -> Version {
    match source {
        Some(source) => version.with_loaded(source),
        None => version,
    }
}

/// Describes what a load finds in the place of a user.
#[derive(Debug)]
pub(super) enum Found {
    User(Row),
    /// The version of the tombstone, if there is one.
    Absent(Option<Version>),
}

impl Found {
    pub(super) fn loaded(self) -> Result<Loaded, Error> {
        match self {
            Self::User(row) => row.stored().map(Loaded::Present),
            Self::Absent(version) => Ok(Loaded::Absent(Some(version.unwrap_or_else(nothing)))),
        }
    }

    pub(super) fn version(&self) -> Option<Version> {
        match self {
            Self::User(row) => Some(row.version()),
            Self::Absent(version) => version.clone(),
        }
    }

    pub(super) fn row(self) -> Option<Row> {
        match self {
            Self::User(row) => Some(row),
            Self::Absent(_) => None,
        }
    }
}

/// Looks for a user, and where there is none, for a tombstone.
pub(super) fn find(connection: &Connection, id: &str, now: i64) -> rusqlite::Result<Found> {
    if let Some(row) = user(connection, id, now)? {
        return Ok(Found::User(row));
    }
    let sql = "SELECT version FROM tombstones WHERE id = ? AND expires_at > ?";
    let found = connection.prepare_cached(sql)?.query_row(params![id, now], |row| row.get(0));
    Ok(Found::Absent(found.optional()?.map(tombstone_version)))
}

/// Looks for a user who has not expired.
pub(super) fn user(connection: &Connection, id: &str, now: i64) -> rusqlite::Result<Option<Row>> {
    let sql = "SELECT record, version FROM users WHERE id = ? AND \
               (expires_at IS NULL OR expires_at > ?)";
    connection.prepare_cached(sql)?.query_row(params![id, now], Row::read).optional()
}

pub(super) fn version(number: i64) -> Version {
    Version::from(number.unsigned_abs())
}

pub(super) fn tombstone_version(number: i64) -> Version {
    tombstone::version(number.unsigned_abs())
}

/// Now, in the milliseconds since 1970 in which the tables hold times. All processes that share a
/// file run on one machine, and have one clock.
pub(super) fn now() -> i64 {
    milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    duration.as_millis().try_into().unwrap_or(i64::MAX)
}
