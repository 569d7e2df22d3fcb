//! Tools for testing: a conformance suite for implementations of [`Database`], and [`Faulty`],
//! which makes any database fail on demand (feature `testing`).
//!
//! ```
//! use tower_persistence::MemoryDb;
//! use tower_persistence::testing::conformance;
//!
//! # #[tokio::main] async fn main() {
//! // In a project this is a test: `#[tokio::test(flavor = "multi_thread")] async fn conforms()`.
//! let db = MemoryDb::new();
//! conformance(async || db.clone()).await;
//! # }
//! ```

mod concurrency;
mod faulty;
mod handles;
mod ids;
#[cfg(test)]
mod liars;
mod limits;
mod load;
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

/// The time limit of each check, including the creation of the database.
const TIME_LIMIT: Duration = Duration::from_secs(90);

/// Checks that a database keeps the promises of [`Database`], so that no acknowledged write is
/// lost.
///
/// `make_db` returns a handle: to an empty database, to a shared table, or a clone. It is called
/// for each check, after the handles of the previous check were dropped, and twice for a check of
/// two handles to one store: where a store admits one opener, as a file does, return a clone of one
/// handle. A new, empty store each time fails these checks. The suite uses its own
/// user ids, unique to each run, and a check that succeeds deletes its records. The suite can
/// therefore share a table with other users and with another run.
///
/// [`ensure_ready`](Database::ensure_ready) is not called before the first check, so a database
/// must work without it. [`close`](Database::close) is never called.
///
/// * *absent user*: loading an absent user succeeds, finds nothing and stores nothing.
/// * *ready*: `ensure_ready` can be called at any time, and repeatedly.
/// * *JSON round trip*: a saved record is loaded unchanged: nesting, Unicode, empty texts, maps and
///   arrays, keys with `.`, `$`, spaces and quotes, `null`, the extremes of `i64`, floats; both
///   samples and random values.
/// * *unknown fields*: they are kept, at every level.
/// * *conditional save*: a save creates a record only if there is none, and replaces only the
///   expected version. A conflict writes nothing and returns the stored record.
/// * *versions*: they are never reused, even if the same record is saved again.
/// * *removed keys*: they are gone after a reload: fields, nested keys, elements.
/// * *set members*: what [`Record::set`](crate::Record::set) changes in a loaded record is stored,
///   and nothing else is changed.
/// * *delete*: it removes the record; deleting an absent user has no effect.
/// * *deleted user*: a save with a version from before the deletion is a conflict, even after the
///   user was created again.
/// * *tombstones*, if `load_for_update` returns a version for an absent user: a deletion is a
///   conflict for a first save that was under way, but not for one that begins later. No two
///   tombstones have the same version.
/// * *concurrent creation*, *concurrent writers*, *delete beside writers*: of 16 tasks that save
///   with the same version, one succeeds; no write is lost.
/// * *long ids*, *odd ids*: ids of 2,048 bytes; ids that differ only in case, spaces or
///   normalisation, or look like paths or queries, have separate records.
/// * *limits*: a record that the database cannot hold is refused.
/// * *sizes*: records of up to 255 KiB are stored.
/// * *many users*: 64 users are saved at the same time, and none loses a write to another.
/// * *two handles*, *creation by two handles*: one handle sees at once what the other saved, and a
///   version that the other has replaced is a conflict.
/// * *calls given up*: a load, save or deletion that is dropped after some polls locks no user, and
///   a save takes effect wholly or not at all.
/// * *many versions*: no version comes again, in 66,000 saves where they are cheap.
/// * *threads*: of saves that begin on several threads at once, one succeeds, every time.
///
/// A database has two freedoms:
///
/// * *Numbers* are compared by value: `1.0` may be loaded as `1`, because DynamoDB does not
///   distinguish the two. Apart from that they are exact.
/// * A database may *refuse* a record that it cannot hold, with an [encoding
///   error](crate::Error::is_encode) that names the field and the limit, if it writes nothing. It
///   may refuse only: integers over `i64::MAX`; floats outside of 1e-120 to 1e120 in size, except
///   zero; more than 16 levels of nesting; records over 256 KiB; keys that are empty or contain a
///   NUL; and top-level fields with an unusual name, such as `_id` or `$set`.
///
/// Each check prints a line such as `conformance: absent user … ok`. On a runtime with several
/// threads the suite finds more faults.
///
/// # Panics
///
/// Panics if a check fails or takes longer than 90 seconds. The message names the check, the
/// database and the fault.
///
/// ```should_panic
/// use tower_persistence::testing::conformance;
/// use tower_persistence::{Database, Error, Expected, MemoryDb, Record, Saved, VersionedRecord};
///
/// #[derive(Debug, Default)]
/// struct LastWriteWins(MemoryDb);
///
/// impl Database for LastWriteWins {
///     async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
///         self.0.load(id).await
///     }
///
///     async fn save(&self, id: &str, record: &Record, _: Expected<'_>) -> Result<Saved, Error> {
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
    // The first check must get a database on which `ensure_ready` was never called.
    check("absent user", &make_db, promises::absent_user).await;
    check("ready", &make_db, promises::ready).await;
    check("JSON round trip", &make_db, records::round_trip).await;
    check("unknown fields", &make_db, records::unknown_fields).await;
    check("conditional save", &make_db, promises::conditional_save).await;
    check("versions", &make_db, promises::versions).await;
    check("removed keys", &make_db, records::removed_keys).await;
    check("set members", &make_db, records::set_members).await;
    check("delete", &make_db, promises::delete).await;
    check("deleted user", &make_db, promises::deleted_user).await;
    check("tombstones", &make_db, promises::tombstones).await;
    check("concurrent creation", &make_db, concurrency::creation).await;
    check("concurrent writers", &make_db, concurrency::writers).await;
    check("delete beside writers", &make_db, concurrency::delete_beside_writers).await;
    check("long ids", &make_db, ids::long).await;
    check("odd ids", &make_db, ids::odd).await;
    check("limits", &make_db, limits::limits).await;
    check("sizes", &make_db, load::sizes).await;
    check("many users", &make_db, load::many_users).await;
    check_two("two handles", &make_db, handles::take_turns).await;
    check_two("creation by two handles", &make_db, handles::create_once).await;
    check("calls given up", &make_db, load::given_up).await;
    check("many versions", &make_db, load::many_versions).await;
    check("threads", &make_db, load::threads).await;
}

/// Checks that what a database acknowledged is there after it was closed and opened again.
///
/// `make_db` opens the database, or makes a handle to it; `reopen` opens it again after
/// [`close`](Database::close). Run it beside [`conformance`], which closes nothing.
///
/// # Panics
///
/// As [`conformance`].
///
/// ```
/// # #[cfg(feature = "file")]
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_persistence::FileDb;
/// use tower_persistence::testing::durability;
///
/// let path = tempfile::tempdir()?.path().join("db.json");
/// let open = async || FileDb::open(&path).await.expect("a new file");
/// durability(&open, &open).await;
/// # Ok(()) }
/// # #[cfg(not(feature = "file"))] fn main() {}
/// ```
pub async fn durability<D: Database>(make_db: impl AsyncFn() -> D, reopen: impl AsyncFn() -> D) {
    let one = Subject::new(make_db().await);
    let name = format!("{:?}", one.database);
    run("durability", name, handles::reopened(&one, reopen)).await;
}

async fn check<D: Database>(
    name: &str,
    make_db: &impl AsyncFn() -> D,
    check: impl AsyncFnOnce(&Subject<D>) -> Outcome,
) {
    let subject = Subject::new(make_db().await);
    let database = format!("{:?}", subject.database);
    run(name, database, async {
        check(&subject).await?;
        subject.clear_up().await
    })
    .await;
}

/// As [`check`], with two handles at a time.
async fn check_two<D: Database>(
    name: &str,
    make_db: &impl AsyncFn() -> D,
    check: impl AsyncFnOnce(&Subject<D>, &Subject<D>) -> Outcome,
) {
    let one = Subject::new(make_db().await);
    let other = Subject::new(make_db().await);
    let database = format!("{:?}", one.database);
    run(name, database, async {
        check(&one, &other).await?;
        one.clear_up().await
    })
    .await;
}

// It is a test helper: failing is what it is for.
#[allow(clippy::panic)]
async fn run(name: &str, database: String, check: impl Future<Output = Outcome>) {
    let outcome = tokio::time::timeout(TIME_LIMIT, check).await.unwrap_or_else(|_| {
        Err(format!("it takes longer than {} seconds; does a call hang?", TIME_LIMIT.as_secs()))
    });
    match outcome {
        Ok(()) => println!("conformance: {name} … ok"),
        Err(why) => panic!("conformance: {name} … FAILED on {database}: {why}"),
    }
}
