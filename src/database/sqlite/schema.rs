//! The tables.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::failure::{READ_ONLY, failed};
use super::place::Place;
use crate::error::{Error, Kind};

/// The layout below. A file of another one is refused.
const VERSION: i64 = 1;

/// `tower_persistence` has one row. `last_version` is the last that was given to a record or a
/// tombstone: as it is counted up with every write, and never down, versions are not reused.
///
/// The trigger gives a record that is edited by hand another version, so that a turn under way
/// notices the edit. Saves set a version of their own.
const TABLES: &str = "
CREATE TABLE tower_persistence (
    schema_version INTEGER NOT NULL,
    last_version INTEGER NOT NULL,
    imported_at INTEGER
) STRICT;
INSERT INTO tower_persistence VALUES (1, 0, NULL);
CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    record TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER
) STRICT;
CREATE INDEX users_by_expiry ON users (expires_at) WHERE expires_at IS NOT NULL;
CREATE TRIGGER users_edited AFTER UPDATE OF record ON users WHEN new.version = old.version
BEGIN
    UPDATE tower_persistence SET last_version = last_version + 1;
    UPDATE users SET version = (SELECT last_version FROM tower_persistence) WHERE id = new.id;
END;
CREATE TABLE tombstones (
    id TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_by_expiry ON tombstones (expires_at);
";

/// Switches the journal to WAL, which stays so in the file, and makes commits durable.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<String> {
    let mode = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    // Each commit is synced, on macOS through the disk's cache. What is deleted is overwritten.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;",
    )?;
    connection.query_row("PRAGMA secure_delete = ON", [], |_| Ok(()))?;
    Ok(mode)
}

/// Creates the tables where there are none.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<Found> {
    match found(connection)? {
        Found::Nothing => {}
        found => return Ok(found),
    }
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    if let Found::Nothing = found(&transaction)? {
        transaction.execute_batch(TABLES)?;
    }
    let found = found(&transaction)?;
    transaction.commit()?;
    Ok(found)
}

/// The tables that a file has.
pub(super) enum Found {
    Nothing,
    /// Another program's, with a name that is needed.
    Foreign,
    /// The version of the layout.
    Version(Option<i64>),
}

fn found(connection: &Connection) -> rusqlite::Result<Found> {
    let has = "SELECT count(*) FILTER (WHERE name = 'tower_persistence'), count(*) FROM \
               sqlite_schema WHERE name IN ('tower_persistence', 'users', 'tombstones')";
    let (ours, all): (i64, i64) =
        connection.query_row(has, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if ours == 0 {
        return Ok(if all == 0 { Found::Nothing } else { Found::Foreign });
    }
    let version = "SELECT schema_version FROM tower_persistence";
    let version = connection.query_row(version, [], |row| row.get(0)).optional()?;
    Ok(Found::Version(version))
}

/// Refuses what this version of the crate cannot use.
pub(super) fn check(
    place: &Place,
    connection: &Connection,
    mode: &str,
    tables: &Found,
) -> Result<(), Error> {
    let refused = |text: &str| Err(Error::new(Kind::Database, format!("{} {text}", place.name())));
    if connection.is_readonly("main").map_err(|error| failed(place, error))? {
        return refused(READ_ONLY);
    }
    if !mode.eq_ignore_ascii_case("wal") {
        return refused(
            "is on a file system that does not share memory between processes, which SQLite's WAL \
             mode needs: put it on a local disk",
        );
    }
    match tables {
        Found::Version(Some(VERSION)) => Ok(()),
        Found::Version(Some(version)) if *version > VERSION => refused(&format!(
            "was written by a newer version of tower-persistence (its tables are of version \
             {version}, this one knows {VERSION}). It was left as it is: update the crate"
        )),
        Found::Version(_) | Found::Nothing => refused(
            "has a table `tower_persistence` with an unknown content. It was left as it is: put a \
             backup in its place, or name another file",
        ),
        Found::Foreign => refused(
            "has a table `users` or `tombstones` of another program. It was left as it is: name \
             another file",
        ),
    }
}
