//! The records of the file in order, and the changes to them.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::{Equivalent, IndexMap};

use super::text;
use crate::database::{Version, VersionedRecord, tombstone};
use crate::error::Error;

pub(super) type Records = IndexMap<Key, RecordText>;
pub(super) type Changes = IndexMap<Arc<str>, Change>;

/// The key of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    User(Arc<str>),
    /// Belongs to no user, because the `id` holds half of a surrogate pair and so is not text. The
    /// number is unique.
    NoUser(u64),
}

impl Key {
    pub(super) fn of_no_user() -> Self {
        Self::NoUser(next_number())
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            // Hashes like `str`, which is used to look it up.
            Self::User(id) => id.hash(state),
            Self::NoUser(number) => number.hash(state),
        }
    }
}

impl Equivalent<Key> for str {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(key, Key::User(id) if **id == *self)
    }
}

/// A record as its text in the file.
#[derive(Clone, Debug)]
pub(super) struct RecordText {
    pub(super) text: Arc<str>,
    version: u64,
}

impl RecordText {
    pub(super) fn new(text: Arc<str>) -> Self {
        Self { text, version: next_number() }
    }

    pub(super) fn version(&self) -> Version {
        Version::from(self.version)
    }

    pub(super) fn stored(&self) -> Result<VersionedRecord, Error> {
        Ok(VersionedRecord { record: text::read(&self.text)?, version: self.version() })
    }
}

/// A change to a record.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Stored(RecordText),
    /// Holds the version of the tombstone.
    Deleted(Version),
}

impl Change {
    pub(super) fn deleted() -> Self {
        Self::Deleted(tombstone::version(next_number()))
    }

    pub(super) fn record(&self) -> Option<&RecordText> {
        match self {
            Self::Stored(record) => Some(record),
            Self::Deleted(_) => None,
        }
    }
}

fn next_number() -> u64 {
    // One counter for all databases of the process, so that reopening a file does not restart it.
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}
