//! SQLite's errors as those of this crate, with what to do about them.

use rusqlite::ErrorCode;

use super::place::Place;
use crate::error::{Error, Kind};

/// The first version in which commits of two connections in WAL mode cannot be lost.
/// <https://www.sqlite.org/releaselog/3_51_3.html>
const OLDEST: i32 = 3_051_003;

/// Refuses a SQLite that may lose commits: the program may be linked with that of the system.
pub(super) fn check_version(number: i32, version: &str) -> Result<(), Error> {
    if number >= OLDEST {
        return Ok(());
    }
    Err(Error::configuration(format!(
        "the program is linked with SQLite {version}, and versions before 3.51.3 can lose commits: \
         build without LIBSQLITE3_SYS_USE_PKG_CONFIG to link the SQLite that comes with \
         `rusqlite`, or update that of the system"
    )))
}

/// Returns whether another connection held a lock for longer than the time limit.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Makes the error of a file with which SQLite failed. Its own texts name no values.
pub(super) fn failed(place: &Place, error: rusqlite::Error) -> Error {
    let name = place.name();
    let (kind, text) = match error.sqlite_error_code() {
        _ if is_busy(&error) => (
            Kind::Timeout,
            "is locked by another connection: end its transaction, or wait for longer with \
             `timeout`",
        ),
        Some(ErrorCode::NotADatabase) => (
            Kind::Database,
            "is not an SQLite database, or is encrypted. It was left as it is: name another file",
        ),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            (Kind::Database, READ_ONLY)
        }
        Some(ErrorCode::DiskFull) => {
            (Kind::Database, "could not be written, as the disk is full: free some space")
        }
        Some(ErrorCode::DatabaseCorrupt) => (
            Kind::Database,
            "is damaged: put a backup in its place, or rescue what is readable with `sqlite3`'s \
             `.recover`",
        ),
        Some(ErrorCode::SystemIoFailure) => (
            Kind::Database,
            "could not be read or written; whether the last change was stored is not known. Check \
             the disk",
        ),
        _ => {
            (Kind::Database, "could not be used. If another program changed its tables, undo that")
        }
    };
    Error::new(kind, format!("{name} {text}")).with_source(error)
}

pub(super) const READ_ONLY: &str = "cannot be written: give this process the right to write it, \
                                    and to create files in its directory";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlite_that_may_lose_commits_is_refused_with_the_remedy() {
        for (number, version) in
            [(3_051_002, "3.51.2"), (3_040_001, "3.40.1"), (3_008_011, "3.8.11")]
        {
            let error = check_version(number, version).unwrap_err();
            assert!(error.is_configuration());
            let text = error.to_string();
            for part in [version, "3.51.3", "LIBSQLITE3_SYS_USE_PKG_CONFIG"] {
                assert!(text.contains(part), "{text}");
            }
        }
        check_version(OLDEST, "3.51.3").unwrap();
        check_version(rusqlite::version_number(), rusqlite::version()).unwrap();
    }
}
