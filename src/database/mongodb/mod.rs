//! The database in MongoDB.

mod builder;
mod connection;
mod document;
mod encoded;
mod failure;
mod fields;
mod known;
mod save;
mod secrets;
mod time_to_live;
mod tombstone;
mod update;
mod uri;
mod value;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;

pub use self::builder::MongoDbBuilder;
use self::connection::Shared;
use self::fields::ID;
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A collection in MongoDB, compatible with the documents of Jovo v4: `_id` is the user id.
///
/// ```no_run
/// use tower_persistence::{MongoDb, PersistenceLayer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let db = MongoDb::connect("mongodb://localhost:27017/app").await?;
/// let layer = PersistenceLayer::new(db);
/// # Ok(()) }
/// ```
///
/// * An unreachable server fails the requests that need it, not the program. Requests succeed as
///   soon as it is back. Each call has a [time limit](MongoDbBuilder::timeout), inside and outside
///   a request.
/// * A load is one read. A save is one write, which a majority of the servers has stored when it
///   returns. A save reads once more after a conflict, and before it changes a field with types
///   that JSON lacks.
/// * A save writes the parts of the record that have changed, down to `user.data.orders.today`.
///   Fields beside them that other programs change meanwhile stay.
/// * Types that JSON lacks (dates, object ids, binary data…) load as strings, with dates in RFC
///   3339, or as [Extended JSON]. A save leaves the types of unchanged values in the database as
///   they are, including `Int64` and `Double`.
/// * An integer above `i64::MAX` is stored as `Decimal128`.
/// * Keys with `.` and `$` need MongoDB 5.0 or later. Only top-level field names must not begin
///   with `$`. A save that changes a top-level field with `.` in its name replaces the whole
///   document.
/// * A program may use the database in a second tokio runtime after the first has ended: it
///   reconnects. With a client of your own it cannot. [`close`](Database::close) the database
///   before a runtime ends: otherwise the driver's background tasks may print a harmless panic.
///
/// # Deletions
///
/// A deletion leaves a [tombstone](Database#deleted-users-stay-deleted): `_id`,
/// `persistenceVersion` and `persistenceTombstone`, the date at which it ends. A TTL index of its
/// own removes it, `persistenceTombstone_1`. The index is [partial]: it skips every document that
/// has one of Jovo's fields. The first write creates it, and does not wait for long if the
/// collection has documents.
///
/// No tombstone is left while the index does not exist, if the role may not create it, if the
/// server has no such indexes, or if a rule of the collection (a unique index, a `$jsonSchema`)
/// refuses the tombstone. A user's first turn that runs during the deletion can then bring the user
/// back.
///
/// Jovo v4 on the same collection takes a tombstone for a known user without data rather than for a
/// new user. It then stores an ordinary document.
///
/// A document that disappears during a turn by other means, such as a TTL index, leaves no
/// tombstone: the turn fails without being stored, and the next one starts anew.
///
/// # Lost answers
///
/// On replica sets and sharded clusters the driver repeats a write whose answer was lost, and the
/// servers recognise the repetition ([retryable writes]). On a standalone server, or with
/// `retryWrites=false`, a lost answer is an error. No turn is ever applied twice.
///
/// # Together with Jovo v4
///
/// Both can use one collection. A save detects a write of Jovo by `updatedAt`, to the millisecond.
/// It does not detect a writer that leaves `updatedAt` unchanged, such as a Jovo app that has it
/// switched off. The fields `persistenceVersion` and `persistenceIntegers` (which of the numbers
/// that Jovo wrote are integers) belong to this crate; Jovo leaves them unchanged.
///
/// `Debug` shows database and collection.
///
/// [partial]: https://www.mongodb.com/docs/manual/core/index-partial/
/// [retryable writes]: https://www.mongodb.com/docs/manual/core/retryable-writes/
/// [Extended JSON]: https://www.mongodb.com/docs/manual/reference/mongodb-extended-json/
#[derive(Clone)]
pub struct MongoDb {
    shared: Arc<Shared>,
}

impl MongoDb {
    /// Uses the database that `uri` names, `mongodb://user:password@host/database` or
    /// `mongodb+srv://…`, and its collection `jovoUsers`. A URI without a database stands for
    /// `test`, with a warning in the log.
    ///
    /// The servers need not be reachable yet.
    ///
    /// # Errors
    ///
    /// The URI is not usable ([`is_configuration`](Error::is_configuration)). The error names the
    /// problem, such as an unknown option or a missing certificate file, without user, password and
    /// hosts.
    ///
    /// ```no_run
    /// use tower_persistence::MongoDb;
    ///
    /// # async fn example() -> Result<(), tower_persistence::Error> {
    /// let db = MongoDb::connect("mongodb://localhost:27017/app").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(uri: impl Into<String>) -> Result<Self, Error> {
        Self::builder().uri(uri).connect().await
    }

    /// Creates a builder, for settings other than the default ones.
    ///
    /// ```
    /// use tower_persistence::MongoDb;
    ///
    /// let builder = MongoDb::builder().uri("mongodb://localhost:27017").database("app");
    /// ```
    pub fn builder() -> MongoDbBuilder {
        MongoDbBuilder::default()
    }

    fn failed(&self, action: &str, error: &DriverError) -> Error {
        failure::failure(action, &self.shared.place(), error)
    }

    async fn find(&self, filter: Document) -> Result<Option<RawDocumentBuf>, Error> {
        let collection = self.shared.collection().await?;
        // The read of `find_one`, which would decode and copy the document once more.
        let found = async {
            let mut cursor = collection.find(filter).limit(-1).await?;
            let is_there = cursor.advance().await?;
            Ok(is_there.then(|| cursor.current().to_owned()))
        };
        found.await.map_err(|error| self.failed("reading from", &error))
    }

    async fn find_user(&self, id: &str) -> Result<Option<RawDocumentBuf>, Error> {
        self.find(doc! { ID: id }).await
    }
}

impl Database for MongoDb {
    fn name(&self) -> &str {
        "mongodb"
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.shared.collection)
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.load_for_update(id).await.map(Loaded::into_record)
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let find = pin!(self.find_user(id));
        let document = self.shared.in_time("reading from", find).await?;
        let found = document.map(|document| self.shared.layout.found(document)).transpose()?;
        Ok(found.unwrap_or(Loaded::Absent(None)).with_version())
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        // Pinned here, it is not moved.
        let save = pin!(self.write(id, record, expected));
        self.shared.in_time("writing to", save).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.shared.in_time("deleting from", self.remove(id)).await
    }

    /// Connects and creates the TTL indexes: that of tombstones, and with
    /// [`expire_users_after`](MongoDbBuilder::expire_users_after) that of users. In a collection
    /// with documents it does not wait long for them: they are built in the background, and users
    /// are loaded and saved meanwhile.
    async fn ensure_ready(&self) -> Result<(), Error> {
        self.shared.in_time("creating the TTL indexes of", self.shared.ensure_ready()).await
    }

    /// Closes the connections, unless the client is the caller's own.
    async fn close(&self) -> Result<(), Error> {
        self.shared.close().await;
        Ok(())
    }
}

impl fmt::Debug for MongoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoDb")
            .field("database", &self.shared.database)
            .field("collection", &self.shared.collection)
            .finish()
    }
}
