use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Database, Saved, Stored, Version};
use crate::{Error, Record};

/// A database in memory, for tests and for trying things out: what it holds ends with the process.
///
/// Clones share what is stored.
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
    by_id: HashMap<String, Stored>,
    last_version: u64,
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

    async fn load(&self, id: &str) -> Result<Option<Stored>, Error> {
        Ok(self.items().by_id.get(id).cloned())
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Result<Saved, Error> {
        let mut items = self.items();
        let version = Version::from(items.last_version + 1);
        let stored = Stored { record: record.clone(), version: version.clone() };
        match items.by_id.entry(id.to_owned()) {
            Entry::Occupied(current) if over != Some(&current.get().version) => {
                return Ok(Saved::Conflict(Some(current.get().clone())));
            }
            Entry::Vacant(_) if over.is_some() => return Ok(Saved::Conflict(None)),
            entry => entry.insert_entry(stored),
        };
        items.last_version += 1;
        Ok(Saved::Stored(version))
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.items().by_id.remove(id);
        Ok(())
    }
}

impl fmt::Debug for MemoryDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDb").field("users", &self.len()).finish()
    }
}
