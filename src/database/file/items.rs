//! The items of the file, in its order, and what comes to stand in their places.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indexmap::{Equivalent, IndexMap};

use super::record;
use crate::database::{Version, VersionedRecord, tombstone};
use crate::error::Error;

pub(super) type Items = IndexMap<Key, Item>;
pub(super) type Changes = IndexMap<Arc<str>, Change>;

/// What an item is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    User(Arc<str>),
    /// The `id` is not text (it holds half of a surrogate pair), so the item belongs to no user;
    /// with a number that nothing else has.
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
            // As `str`, by which it is looked up.
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

/// An item as the text that it is in the file.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) text: Arc<str>,
    version: u64,
}

impl Item {
    pub(super) fn new(text: Arc<str>) -> Self {
        Self { text, version: next_number() }
    }

    pub(super) fn version(&self) -> Version {
        Version::from(self.version)
    }

    pub(super) fn stored(&self) -> Result<VersionedRecord, Error> {
        Ok(VersionedRecord { record: record::read(&self.text)?, version: self.version() })
    }
}

/// What comes to stand in the place of an item.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Stored(Item),
    /// With the version of the tombstone.
    Deleted(Version),
}

impl Change {
    pub(super) fn deleted() -> Self {
        Self::Deleted(tombstone::version(next_number()))
    }

    pub(super) fn item(&self) -> Option<&Item> {
        match self {
            Self::Stored(item) => Some(item),
            Self::Deleted(_) => None,
        }
    }
}

fn next_number() -> u64 {
    // One count for all databases of the process, so that closing and opening starts none anew.
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}
