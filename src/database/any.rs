use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// Any database behind one type, for programs that choose at start, as [`connect`](crate::connect) does.
///
/// ```
/// use tower_persistence::{AnyDatabase, MemoryDb, PersistenceLayer};
///
/// let db = AnyDatabase::new(MemoryDb::new());
/// let layer = PersistenceLayer::new(db);
/// ```
///
/// `Debug` shows the database that is behind it.
#[derive(Clone)]
pub struct AnyDatabase {
    database: Arc<dyn ErasedDatabase>,
}

impl AnyDatabase {
    /// Hides the type of `database`.
    pub fn new(database: impl Database) -> Self {
        Self { database: Arc::new(database) }
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// [`Database`] in the form that `dyn` takes.
trait ErasedDatabase: fmt::Debug + Send + Sync {
    fn load<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<VersionedRecord>>;
    fn load_for_update<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Loaded>;
    fn save<'a>(
        &'a self,
        id: &'a str,
        record: &'a Record,
        expected: Expected<'a>,
    ) -> BoxFuture<'a, Saved>;
    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()>;
    fn ensure_ready(&self) -> BoxFuture<'_, ()>;
    fn close(&self) -> BoxFuture<'_, ()>;
    fn name(&self) -> &str;
    fn collection(&self) -> Option<&str>;
}

impl<D: Database> ErasedDatabase for D {
    fn load<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Option<VersionedRecord>> {
        Box::pin(Database::load(self, id))
    }

    fn load_for_update<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Loaded> {
        Box::pin(Database::load_for_update(self, id))
    }

    fn save<'a>(
        &'a self,
        id: &'a str,
        record: &'a Record,
        expected: Expected<'a>,
    ) -> BoxFuture<'a, Saved> {
        Box::pin(Database::save(self, id, record, expected))
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(Database::delete(self, id))
    }

    fn ensure_ready(&self) -> BoxFuture<'_, ()> {
        Box::pin(Database::ensure_ready(self))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(Database::close(self))
    }

    fn name(&self) -> &str {
        Database::name(self)
    }

    fn collection(&self) -> Option<&str> {
        Database::collection(self)
    }
}

impl Database for AnyDatabase {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.database.load(id).await
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.database.load_for_update(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        self.database.save(id, record, expected).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.database.delete(id).await
    }

    async fn ensure_ready(&self) -> Result<(), Error> {
        self.database.ensure_ready().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.database.close().await
    }

    fn name(&self) -> &str {
        self.database.name()
    }

    fn collection(&self) -> Option<&str> {
        self.database.collection()
    }
}

impl fmt::Debug for AnyDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.database.fmt(f)
    }
}
