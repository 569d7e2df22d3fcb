//! Where users are stored: the trait every database implements, and the databases that come with the crate.
//!
//! A database of your own needs three methods, all conditional on what was loaded:
//!
//! ```
//! use tower_persistence::{Database, MemoryDb, Record, Saved};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_persistence::Error> {
//! let db = MemoryDb::new();
//! let Saved::Written(version) = db.save("user-1", &Record::default(), Expected::Absent).await? else { panic!() };
//! // Whoever still believes that there is no such user gets to know better.
//! assert!(matches!(db.save("user-1", &Record::default(), Expected::Absent).await?, Saved::Conflict(Some(_))));
//! assert!(matches!(db.save("user-1", &Record::default(), Expected::Version(&version)).await?, Saved::Written(_)));
//! # Ok(()) }
//! ```

mod any;
mod arc;
#[cfg(feature = "circuit-breaker")]
mod circuit_breaker;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "file")]
mod file;
mod memory;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "sqlite")]
mod sqlite;
mod tombstone;

use std::fmt;
use std::future::{Future, ready};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

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
#[cfg(all(feature = "sqlite", feature = "file"))]
pub use self::sqlite::Imported;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteDb, SqliteDbBuilder};
use crate::error::Error;
use crate::record::Record;

/// Where users are stored.
///
/// An implementation keeps three promises, on which "nothing acknowledged is lost" rests; `testing::conformance` (feature
/// `testing`) checks them:
///
/// * `save` and `delete` return only when what they did is durable.
/// * `save` compares and writes in one step: of several writers over one version, exactly one wins.
/// * A version does not come round again, also not when a user is deleted and stored anew.
///
/// # What is deleted stays deleted
///
/// A turn that is under way while its user is deleted elsewhere must not bring them back. Where it had loaded an item, its save
/// names a version that is gone. Where it had found nothing, because it is the user's first, there is no version to name: for this
/// case a database can leave a *tombstone* where a user was deleted. That is the key, a version that nothing else has, and an expiry;
/// nothing of the user's. No [`load`](Self::load) shows it. [`load_for_update`](Self::load_for_update) gives a turn a version for what it
/// found also where it found nothing; its save is refused if a tombstone has come since. No clock decides that. A tombstone counts for
/// 15 minutes, the longest that [AWS Lambda] lets a request run, and then as nothing.
///
/// The databases of this crate leave tombstones; one of your own need not. One that *wraps* another has to pass `load_for_update` on to
/// have them, too.
///
/// [AWS Lambda]: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
///
/// # User ids
///
/// User ids are data from outside: up to 2,048 bytes of any characters. They must never become a file name or a
/// part of a query's structure, and neither they nor the record may stand in an error. `Debug` says which database it is, for a log
/// line at start, and shows no password.
pub trait Database: fmt::Debug + Send + Sync + 'static {
    /// The item of user `id` with its version, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the item cannot be read. "Not there" and "not readable" must not be mixed up: what could not
    /// be read is never saved over.
    fn load(&self, id: &str)
    -> impl Future<Output = Result<Option<VersionedRecord>, Error>> + Send;

    /// The same for somebody who is going to save: the item, or else what the save has to name in its place. The layer calls this and
    /// not [`load`](Self::load).
    ///
    /// By default it is made of `load`, for a database that leaves no [tombstones](Self#what-is-deleted-stays-deleted).
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    fn load_for_update(&self, id: &str) -> impl Future<Output = Result<Loaded, Error>> + Send {
        async { self.load(id).await.map(Loaded::from) }
    }

    /// Stores `record` as the item of user `id` if what is stored now is still the version `over`; with `None`, if
    /// nothing is stored.
    ///
    /// Over a version that [`load_for_update`](Self::load_for_update) gave for nothing, it is stored if there still is nothing, or the tombstone
    /// that was there; if another one is there, it is a conflict with nothing.
    ///
    /// # Errors
    ///
    /// When the item could not be written, or it is not known whether it was. That it is not the version expected
    /// is not an error but [`Saved::Conflict`].
    fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> impl Future<Output = Result<Saved, Error>> + Send;

    /// Removes the item of user `id`, whatever its version. Where there is none, no item comes to be; a tombstone may.
    ///
    /// # Errors
    ///
    /// When it is not known that the item is gone.
    fn delete(&self, id: &str) -> impl Future<Output = Result<(), Error>> + Send;

    /// Creates what is missing (a table, an index) and waits until it can be used.
    ///
    /// The layer calls it before each load, so it has to cost next to nothing once the database is ready. Calling it at start
    /// takes the work out of the first request. By default it does nothing.
    ///
    /// # Errors
    ///
    /// When the database could not be made ready. It may be tried again.
    fn ensure_ready(&self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }

    /// Which database this is, for spans and metrics: OpenTelemetry's name where it has one (`db.system.name`, such as
    /// `aws.dynamodb` or `mongodb`). By default `other`.
    fn name(&self) -> &str {
        "other"
    }

    /// The table or collection that holds the users, for spans (`db.collection.name`). By default it is not said.
    fn collection(&self) -> Option<&str> {
        None
    }

    /// Waits for writes that are under way and lets go of the database; later calls may fail. By default it does nothing.
    ///
    /// # Errors
    ///
    /// When a write that was under way did not succeed.
    fn close(&self) -> impl Future<Output = Result<(), Error>> + Send {
        ready(Ok(()))
    }
}

/// A record with its version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionedRecord {
    /// The record.
    pub record: Record,
    /// Its version, which a save over it has to name.
    pub version: Version,
}

/// The result of [`Database::load_for_update`].
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// The user's record.
    Present(VersionedRecord),
    /// No record. Where the database leaves tombstones it comes with a version, which a deletion
    /// changes.
    Absent(Option<Version>),
}

impl Loaded {
    /// Returns what a save that begins with this has to expect.
    ///
    /// ```
    /// use tower_persistence::{Database, MemoryDb, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_persistence::Error> {
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
    /// Makes it of a load where there are no tombstones.
    fn from(loaded: Option<VersionedRecord>) -> Self {
        loaded.map_or(Self::Absent(None), Self::Present)
    }
}

/// The condition of a save: what has to be stored when it is carried out, as HTTP's `If-None-Match: *`
/// and `If-Match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// No record.
    Absent,
    /// This version: of a record, or of its absence.
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
    /// It is stored, under this version, which a load that follows returns as well.
    Written(Version),
    /// Nothing was written: this is stored now, or nothing any more, because the user was deleted.
    Conflict(Option<VersionedRecord>),
}

/// The version of a stored item: opaque to everyone but the database that made it.
///
/// ```
/// use tower_persistence::Version;
///
/// assert_eq!(Version::new("7"), Version::from(7));
/// ```
#[derive(Clone)]
pub struct Version {
    text: Arc<str>,
    /// What was loaded under this version, so that a save can compare with it. Two versions are
    /// equal without it, and `Debug` does not show it.
    #[cfg(any(feature = "dynamodb", feature = "sqlite"))]
    loaded: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl Version {
    /// A version of this text: a counter, an entity tag, a time stamp with a counter.
    pub fn new(version: impl Into<Arc<str>>) -> Self {
        Self {
            text: version.into(),
            #[cfg(any(feature = "dynamodb", feature = "sqlite"))]
            loaded: None,
        }
    }

    /// A version that no other write has, of no process: a random number of 128 bits.
    #[cfg(any(feature = "dynamodb", feature = "mongodb"))]
    pub(crate) fn unique() -> Self {
        use std::hash::{BuildHasher, RandomState};

        // Each `RandomState` has keys of its own from the system's source of random numbers.
        let random = || RandomState::new().hash_one(std::time::SystemTime::now());
        Self::new(format!("{:016x}{:016x}", random(), random()))
    }

    /// Carries what was loaded along.
    #[cfg(any(feature = "dynamodb", feature = "sqlite"))]
    pub(crate) fn with_loaded<T: Send + Sync + 'static>(self, loaded: T) -> Self {
        Self { loaded: Some(Arc::new(loaded)), ..self }
    }

    /// Returns what [`with_loaded`](Self::with_loaded) was given.
    #[cfg(any(feature = "dynamodb", feature = "sqlite"))]
    pub(crate) fn loaded<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.loaded.as_deref()?.downcast_ref()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl From<u64> for Version {
    fn from(version: u64) -> Self {
        Self::new(version.to_string())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Version").field(&self.text).finish()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
