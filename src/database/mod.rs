//! The [`Database`] trait, and the databases that come with the crate.
//!
//! | database | feature | suits |
//! | --- | --- | --- |
//! | [`MemoryDb`] | | tests and experiments |
//! | `FileDb` | `file` | development, and small apps of up to 10,000 users |
//! | `DynamoDb` | `dynamodb` | apps on AWS |
//! | `MongoDb` | `mongodb` | apps beside a MongoDB |
//! | `PostgresDb` | `postgres` | apps beside a PostgreSQL |
//! | `RedisDb` | `redis` | apps beside a Redis or Valkey that keeps what it acknowledges |
//!
//! [`AnyDatabase`] erases the type of a database that is chosen at start, and `CircuitBreaker`
//! (feature `circuit-breaker`) fails fast while a database is down. [`Database`] explains how to
//! write one of your own.
//!
//! ```
//! use tower_persistence::{Database, Expected, MemoryDb, Record};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_persistence::Error> {
//! let db = MemoryDb::new();
//! db.save("user-1", &Record::default(), Expected::Absent).await?;
//! assert!(db.load("user-1").await?.is_some());
//! db.delete("user-1").await?;
//! assert!(db.load("user-1").await?.is_none());
//! # Ok(()) }
//! ```

mod any;
mod arc;
#[cfg(any(feature = "dynamodb", feature = "mongodb"))]
mod changes;
#[cfg(feature = "circuit-breaker")]
mod circuit_breaker;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "file")]
mod file;
#[cfg(any(feature = "dynamodb", feature = "postgres"))]
mod flight;
mod memory;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(any(feature = "file", feature = "postgres", feature = "sqlite", feature = "redis"))]
mod same;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite", feature = "redis"))]
mod text;
mod tombstone;
mod version;

use std::fmt;
use std::future::{Future, ready};

pub use self::any::AnyDatabase;
#[cfg(feature = "circuit-breaker")]
pub use self::circuit_breaker::CircuitBreaker;
#[cfg(feature = "dynamodb")]
pub use self::dynamodb::{DynamoDb, DynamoDbBuilder};
#[cfg(feature = "file")]
pub use self::file::{FileDb, FileDbBuilder};
pub use self::memory::MemoryDb;
#[cfg(feature = "mongodb")]
pub use self::mongodb::{MongoDb, MongoDbBuilder};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresDb, PostgresDbBuilder};
#[cfg(feature = "redis")]
pub use self::redis::{RedisDb, RedisDbBuilder};
#[cfg(all(feature = "sqlite", feature = "file"))]
pub use self::sqlite::Imported;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteDb, SqliteDbBuilder};
pub use self::version::Version;
use crate::error::Error;
use crate::record::Record;

/// Stores one record per user.
///
/// A database of your own needs three methods, and saves on a condition:
///
/// ```
/// use tower_persistence::{Database, Expected, MemoryDb, Record, Saved};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let (db, record) = (MemoryDb::new(), Record::default());
/// let saved = db.save("user-1", &record, Expected::Absent).await?;
/// let Saved::Written(version) = saved else { panic!("{saved:?}") };
///
/// // A writer that expects no record gets a conflict.
/// let saved = db.save("user-1", &record, Expected::Absent).await?;
/// assert!(matches!(saved, Saved::Conflict(Some(_))));
/// // A writer that expects the stored version replaces it.
/// let saved = db.save("user-1", &record, Expected::Version(&version)).await?;
/// assert!(matches!(saved, Saved::Written(_)));
/// # Ok(()) }
/// ```
///
/// The guarantee that no acknowledged change is lost rests on three promises of an implementation.
/// `testing::conformance` (feature `testing`) checks them:
///
/// * `save` and `delete` return only once their effect is durable.
/// * `save` compares and writes in one step: of several writers that expect the same version,
///   exactly one wins.
/// * Versions are never reused, even after a user is deleted and recreated.
///
/// # Deleted users stay deleted
///
/// A turn must not bring back a user who is deleted elsewhere while the turn runs. A turn that
/// loaded a record expects a version that is gone, so its save is a conflict. A user's first turn
/// loaded no record and has no version to expect. For that case a database can leave a *tombstone*
/// in place of a deleted user: the key, a unique version and an expiry, and none of the user's
/// data. [`load`](Self::load) treats a tombstone as absence.
/// [`load_for_update`](Self::load_for_update) returns a version even where it finds no record, and
/// the turn's save is refused if a tombstone has appeared since. The decision needs no clock. A
/// tombstone counts for 15 minutes, the longest that [AWS Lambda] lets a request run, and is
/// ignored afterwards.
///
/// The databases of this crate leave tombstones; one of your own need not. A database that *wraps*
/// another one has to forward `load_for_update` to keep them.
///
/// [AWS Lambda]: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
///
/// # User ids
///
/// User ids are outside data: up to 2,048 bytes of any characters. An implementation must not use
/// them as file names or as part of a query's structure, and must not put them or a record into an
/// error. `Debug` identifies the database for a log line at start, and shows no password.
pub trait Database: fmt::Debug + Send + Sync + 'static {
    /// Loads the record of user `id` with its version, or returns `None` if no record is stored.
    ///
    /// # Errors
    ///
    /// The record cannot be read. An unreadable record must never pass for an absent one: the layer
    /// would overwrite it.
    fn load(&self, id: &str)
    -> impl Future<Output = Result<Option<VersionedRecord>, Error>> + Send;

    /// Loads the record together with the version that the next [`save`](Self::save) must pass. The
    /// layer calls this method rather than [`load`](Self::load).
    ///
    /// The default implementation calls `load`, which suits a database that leaves no
    /// [tombstones](Self#deleted-users-stay-deleted).
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load).
    fn load_for_update(&self, id: &str) -> impl Future<Output = Result<Loaded, Error>> + Send {
        async { self.load(id).await.map(Loaded::from) }
    }

    /// Stores `record` for user `id` if the stored state is the `expected` one.
    ///
    /// An expected version that [`load_for_update`](Self::load_for_update) returned with
    /// [`Loaded::Absent`] matches as long as there is still no record and no newer tombstone.
    /// Otherwise the save is a conflict.
    ///
    /// # Errors
    ///
    /// The record was not written, or may not have been. An unexpected version is not an error but
    /// a [`Saved::Conflict`].
    fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> impl Future<Output = Result<Saved, Error>> + Send;

    /// Deletes everything stored for user `id`, whatever its version. Deleting an absent user
    /// stores no record, though it may leave a tombstone.
    ///
    /// # Errors
    ///
    /// The record was not deleted, or may not have been.
    fn delete(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Creates missing tables and indexes, and waits until the database can be used. Does nothing
    /// by default.
    ///
    /// The layer calls this method before each load, so it must cost next to nothing once the
    /// database is ready. An app that calls it at start keeps that work out of its first request.
    ///
    /// # Errors
    ///
    /// The database did not become ready. A later call may try again.
    fn ensure_ready(&self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }

    /// Returns the name of the database system for spans and metrics: OpenTelemetry's name where
    /// there is one (`db.system.name`, such as `aws.dynamodb` or `mongodb`). Returns `other` by
    /// default.
    fn name(&self) -> &str {
        "other"
    }

    /// Returns the table or collection that holds the records, for spans (`db.collection.name`).
    /// Returns `None` by default.
    fn collection(&self) -> Option<&str> {
        None
    }

    /// Waits for pending writes and releases the database. Later calls may fail. Does nothing by
    /// default.
    ///
    /// # Errors
    ///
    /// A pending write failed.
    fn close(&self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }
}

/// A record with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedRecord {
    /// The user's data.
    pub record: Record,
    /// The version that a save must expect in order to replace this record.
    pub version: Version,
}

/// The result of [`Database::load_for_update`].
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// The stored record.
    Present(VersionedRecord),
    /// No record. A database that leaves tombstones adds a version, which a deletion changes.
    Absent(Option<Version>),
}

impl Loaded {
    /// Returns the condition for a save that follows this load.
    ///
    /// ```
    /// use tower_persistence::{Database, MemoryDb, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_persistence::Error> {
    /// let db = MemoryDb::new();
    /// let loaded = db.load_for_update("user-1").await?;
    /// db.save("user-1", &Record::default(), loaded.expected()).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn expected(&self) -> Expected<'_> {
        match self {
            Self::Present(stored) => Expected::Version(&stored.version),
            Self::Absent(version) => version.as_ref().into(),
        }
    }

    /// Returns the record, if there is one.
    ///
    /// ```
    /// use tower_persistence::{Database, MemoryDb};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_persistence::Error> {
    /// let db = MemoryDb::new();
    /// assert_eq!(db.load_for_update("user-1").await?.into_record(), None);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn into_record(self) -> Option<VersionedRecord> {
        match self {
            Self::Present(stored) => Some(stored),
            Self::Absent(_) => None,
        }
    }
}

#[cfg(any(feature = "dynamodb", feature = "mongodb"))]
impl Loaded {
    /// Adds a version where there is neither a record nor a tombstone.
    pub(crate) fn with_version(self) -> Self {
        match self {
            Self::Absent(None) => Self::Absent(Some(tombstone::nothing())),
            loaded => loaded,
        }
    }
}

impl From<Option<VersionedRecord>> for Loaded {
    /// Converts the result of a load from a database without tombstones.
    fn from(loaded: Option<VersionedRecord>) -> Self {
        loaded.map_or(Self::Absent(None), Self::Present)
    }
}

/// The state that a save requires, like HTTP's `If-None-Match: *` and `If-Match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// Requires that no record is stored.
    Absent,
    /// Requires this version, of a record or of its absence.
    Version(&'a Version),
}

impl<'a> Expected<'a> {
    /// Returns the version, if one is expected.
    ///
    /// ```
    /// use tower_persistence::{Expected, Version};
    ///
    /// let version = Version::from(7);
    /// assert_eq!(Expected::Version(&version).version(), Some(&version));
    /// assert_eq!(Expected::Absent.version(), None);
    /// ```
    #[must_use]
    pub fn version(self) -> Option<&'a Version> {
        match self {
            Self::Absent => None,
            Self::Version(version) => Some(version),
        }
    }
}

impl<'a> From<Option<&'a Version>> for Expected<'a> {
    fn from(version: Option<&'a Version>) -> Self {
        version.map_or(Self::Absent, Self::Version)
    }
}

/// The result of a save.
#[derive(Clone, Debug, PartialEq)]
pub enum Saved {
    /// The record is stored under this version. The next load returns the same version.
    Written(Version),
    /// Nothing was written. Holds the stored record, or `None` if the user was deleted.
    Conflict(Option<VersionedRecord>),
}
