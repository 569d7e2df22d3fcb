//! The database in memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::tombstone::{self, Tombstones, nothing, permits};
use super::{Database, Expected, Loaded, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A database in memory, for tests and experiments: its contents end with the process.
///
/// Clones share the stored records. [Tombstones](Database#deleted-users-stay-deleted) of deleted
/// users count neither in [`len`](Self::len) nor in [`is_empty`](Self::is_empty).
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
    users: Arc<Mutex<Users>>,
}

#[derive(Default)]
struct Users {
    by_id: HashMap<String, VersionedRecord>,
    tombstones: Tombstones,
    last_version: u64,
}

impl Users {
    fn tombstone(&self, id: &str) -> Option<&Version> {
        self.tombstones.get(id, Instant::now())
    }
}

fn next(last_version: &mut u64) -> u64 {
    *last_version += 1;
    *last_version
}

impl MemoryDb {
    /// Creates an empty database.
    ///
    /// ```
    /// use tower_persistence::MemoryDb;
    ///
    /// assert!(MemoryDb::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the number of stored users.
    ///
    /// ```
    /// use tower_persistence::{Database, Expected, MemoryDb, Record};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_persistence::Error> {
    /// let db = MemoryDb::new();
    /// db.save("user-1", &Record::default(), Expected::Absent).await?;
    /// assert_eq!(db.len(), 1);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.users().by_id.len()
    }

    /// Returns whether no user is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Database for MemoryDb {
    fn name(&self) -> &str {
        "memory"
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        Ok(self.users().by_id.get(id).cloned())
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let users = self.users();
        Ok(match users.by_id.get(id) {
            Some(stored) => Loaded::Present(stored.clone()),
            None => Loaded::Absent(Some(users.tombstone(id).cloned().unwrap_or_else(nothing))),
        })
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let Users { by_id, tombstones, last_version } = &mut *self.users();
        let current = by_id.get_mut(id);
        let version = match current.as_deref() {
            Some(stored) => Some(&stored.version),
            None => tombstones.get(id, Instant::now()),
        };
        if !permits(expected.version(), version) {
            return Ok(Saved::Conflict(current.cloned()));
        }
        let version = Version::from(next(last_version));
        let stored = VersionedRecord { record: record.clone(), version: version.clone() };
        match current {
            Some(current) => *current = stored,
            None => {
                by_id.insert(id.to_owned(), stored);
                tombstones.remove(id);
            }
        }
        Ok(Saved::Written(version))
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let mut users = self.users();
        let version = tombstone::version(next(&mut users.last_version));
        users.by_id.remove(id);
        users.tombstones.put(id.into(), version, Instant::now());
        Ok(())
    }
}

impl fmt::Debug for MemoryDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDb").field("users", &self.len()).finish()
    }
}
