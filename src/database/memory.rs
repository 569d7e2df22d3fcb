use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::tombstone::{self, Tombstones, nothing, permits};
use super::{Database, Expected, Loaded, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A database in memory, for tests and for trying things out: what it holds ends with the process.
///
/// Clones share what is stored. Deleted users' [tombstones](Database#what-is-deleted-stays-deleted) are no users to it.
///
/// ```
/// use tower_persistence::{MemoryDb, PersistenceLayer};
///
/// let db = MemoryDb::new();
/// let layer = PersistenceLayer::new(db.clone());
/// assert!(db.is_empty());
/// ```
#[derive(Clone, Default)]
pub struct MemoryDb {
    items: Arc<Mutex<Items>>,
}

#[derive(Default)]
struct Items {
    by_id: HashMap<String, VersionedRecord>,
    tombstones: Tombstones,
    last_version: u64,
}

impl Items {
    fn tombstone(&self, id: &str) -> Option<&Version> {
        self.tombstones.get(id, Instant::now())
    }

    fn next_version(&mut self) -> u64 {
        self.last_version += 1;
        self.last_version
    }
}

impl MemoryDb {
    /// An empty database.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many users are stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items().by_id.len()
    }

    /// Whether no user is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database for MemoryDb {
    fn name(&self) -> &str {
        "memory"
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        Ok(self.items().by_id.get(id).cloned())
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let items = self.items();
        Ok(match items.by_id.get(id) {
            Some(stored) => Loaded::Present(stored.clone()),
            None => Loaded::Absent(Some(items.tombstone(id).cloned().unwrap_or_else(nothing))),
        })
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let mut items = self.items();
        let current = items.by_id.get(id);
        let version = current.map(|stored| &stored.version).or_else(|| items.tombstone(id));
        if !permits(expected.version(), version) {
            return Ok(Saved::Conflict(current.cloned()));
        }
        let version = Version::from(items.next_version());
        let stored = VersionedRecord { record: record.clone(), version: version.clone() };
        items.by_id.insert(id.to_owned(), stored);
        items.tombstones.remove(id);
        Ok(Saved::Written(version))
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let mut items = self.items();
        let version = tombstone::version(items.next_version());
        items.by_id.remove(id);
        items.tombstones.put(id.into(), version, Instant::now());
        Ok(())
    }
}

impl fmt::Debug for MemoryDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDb").field("users", &self.len()).finish()
    }
}
