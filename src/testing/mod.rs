//! For those who write a [`Database`]: the suite that every database has to pass; and for those who use one: [`Faulty`], which
//! makes any database fail (feature `testing`).
//!
//! ```
//! use tower_persistence::MemoryDb;
//! use tower_persistence::testing::conformance;
//!
//! # #[tokio::main] async fn main() {
//! // In your project this is a test: `#[tokio::test(flavor = "multi_thread")] async fn conforms() { … }`
//! let db = MemoryDb::new();
//! conformance(async || db.clone()).await;
//! # }
//! ```

mod concurrency;
mod faulty;
mod ids;
mod limits;
mod promises;
mod records;
mod subject;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

pub use self::faulty::{Fault, Faulty, InjectedFault, Operation, Rates};
use self::subject::{Outcome, Subject};
use crate::database::Database;

/// How long one check may take, making the database included.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// Checks that a database keeps the promises of [`Database`], on which "nothing acknowledged is lost" rests.
///
/// `make_db` makes a handle to it: one to an empty database, one to a shared table, or a clone. It is called once
/// for each check, and the handle of the check before is dropped by then. User ids are the suite's own and unique to
/// the run; what a check stored it deletes if it succeeds. So the suite can run beside other users of a table, and beside itself.
///
/// [`ensure_ready`](Database::ensure_ready) is not called before the first check: a database has to do without.
/// [`close`](Database::close) is never called.
///
/// | check | |
/// | --- | --- |
/// | absent user | loading one finds nothing, fails not, and stores nothing |
/// | ready | `ensure_ready` may be called at any time, and again |
/// | JSON round trip | what was stored is loaded: nested, unicode, empty texts, maps and arrays, keys with `.`, `$`, spaces and quotes, `null`, the extremes of `i64`, floats; samples, and values that nobody thought of |
/// | unknown fields | are kept, at every level |
/// | conditional save | creates only if nothing is stored, replaces only the version that was loaded; a conflict writes nothing and returns what is stored now |
/// | versions | do not come round, also not if the same is stored again |
/// | removed keys | are gone after a reload: fields, nested keys, elements |
/// | delete | removes the item; where there is none, nothing happens |
/// | deleted user | does not come back by a save of someone who loaded before, also not if it was created anew |
/// | tombstones | where a database leaves such (its `load_for_update` gives a version for nothing): a save of a new user that was under way is refused, a later one's is not; one tombstone's version is not another's |
/// | concurrent creation, concurrent writers, delete beside writers | of 16 tasks over one version, one wins; nothing is lost |
/// | long ids, odd ids | 2,048 bytes; ids that differ in case, spaces or normalisation, or look like paths or queries, share no item |
/// | limits | what the database cannot hold is refused |
///
/// Two freedoms are granted. *Numbers* are compared by their value: `1.0` may come back as `1`, since DynamoDB knows no
/// difference. Otherwise they are exact. And a database may *refuse* what it cannot hold, if the error
/// [is one of encoding](crate::Error::is_encode) that names the field and the limit, and nothing is written. Only these may be refused:
/// integers over `i64::MAX`, floats whose size is not between 1e-120 and 1e120 (and not zero), more than 16 levels of nesting, items over 256 KiB, keys
/// that are empty or have a NUL in them, and fields of the record (not those within) with an unusual name, such as `_id` or `$set`.
///
/// Prints a line for each check, such as `conformance: absent user … ok`. A runtime with several threads finds more.
///
/// # Panics
///
/// When a check fails or takes longer than 90 seconds. The message names the check, the database and what was found.
///
/// ```should_panic
/// use tower_persistence::testing::conformance;
/// use tower_persistence::{Expected, Database, Error, MemoryDb, Record, Saved, VersionedRecord, Version};
///
/// #[derive(Debug, Default)]
/// struct LastWriteWins(MemoryDb);
///
/// impl Database for LastWriteWins {
///     async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
///         self.0.load(id).await
///     }
///
///     async fn save(&self, id: &str, record: &Record, _: Option<&Version>) -> Result<Saved, Error> {
///         self.0.delete(id).await?;
///         self.0.save(id, record, Expected::Absent).await
///     }
///
///     async fn delete(&self, id: &str) -> Result<(), Error> {
///         self.0.delete(id).await
///     }
/// }
///
/// # #[tokio::main] async fn main() {
/// conformance(async || LastWriteWins::default()).await;
/// # }
/// ```
pub async fn conformance<D: Database>(make_db: impl AsyncFn() -> D) {
    // The first one comes to a database that nobody has made ready.
    check("absent user", &make_db, promises::absent_user).await;
    check("ready", &make_db, promises::ready).await;
    check("JSON round trip", &make_db, records::round_trip).await;
    check("unknown fields", &make_db, records::unknown_fields).await;
    check("conditional save", &make_db, promises::conditional_save).await;
    check("versions", &make_db, promises::versions).await;
    check("removed keys", &make_db, records::removed_keys).await;
    check("delete", &make_db, promises::delete).await;
    check("deleted user", &make_db, promises::deleted_user).await;
    check("tombstones", &make_db, promises::tombstones).await;
    check("concurrent creation", &make_db, concurrency::creation).await;
    check("concurrent writers", &make_db, concurrency::writers).await;
    check("delete beside writers", &make_db, concurrency::delete_beside_writers).await;
    check("long ids", &make_db, ids::long).await;
    check("odd ids", &make_db, ids::odd).await;
    check("limits", &make_db, limits::limits).await;
}

// It is a test helper: failing is what it is for.
#[allow(clippy::panic)]
async fn check<D: Database>(
    name: &str,
    make_db: &impl AsyncFn() -> D,
    check: impl AsyncFnOnce(&Subject<D>) -> Outcome,
) {
    let mut database = "a database that is not made yet".to_owned();
    let checked = async {
        let subject = Subject::new(make_db().await);
        database = format!("{:?}", subject.database);
        check(&subject).await?;
        subject.clear_up().await
    };
    let outcome = tokio::time::timeout(TIME_LIMIT, checked).await.unwrap_or_else(|_| {
        Err(format!("it takes longer than {} seconds; does a call hang?", TIME_LIMIT.as_secs()))
    });
    match outcome {
        Ok(()) => println!("conformance: {name} … ok"),
        Err(why) => panic!("conformance: {name} … FAILED on {database}: {why}"),
    }
}
