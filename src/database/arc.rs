//! Shared databases.

use std::sync::Arc;

use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// Shares a database, such as one to which the app keeps a handle of its own.
///
/// ```
/// use std::sync::Arc;
/// use tower_persistence::{MemoryDb, PersistenceLayer};
///
/// let db = Arc::new(MemoryDb::new());
/// let layer = PersistenceLayer::new(Arc::clone(&db));
/// ```
impl<D: Database> Database for Arc<D> {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        (**self).load(id).await
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        (**self).load_for_update(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        (**self).save(id, record, expected).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        (**self).delete(id).await
    }

    async fn ensure_ready(&self) -> Result<(), Error> {
        (**self).ensure_ready().await
    }

    fn name(&self) -> &str {
        (**self).name()
    }

    fn collection(&self) -> Option<&str> {
        (**self).collection()
    }

    async fn close(&self) -> Result<(), Error> {
        (**self).close().await
    }
}
