mod builder;
mod document;
mod failure;
mod index;
mod known;
mod open;
mod update;
mod uri;
mod value;

use std::fmt;
use std::sync::Arc;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, doc};
use mongodb::error::Error as DriverError;

pub use self::builder::MongoDbBuilder;
use self::document::ID;
use self::known::Known;
use self::open::Shared;
use self::update::{Changes, Write};
use super::tombstone::is_nothing;
use super::{Database, Expected, Loaded, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A database in a collection of MongoDB, with the documents of Jovo v4: `_id` is the user id.
///
/// ```no_run
/// use tower_persistence::{MongoDb, PersistenceLayer};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_persistence::Error> {
/// let db = MongoDb::connect("mongodb://localhost:27017/app").await?;
/// let layer = PersistenceLayer::new(db);
/// # Ok(()) }
/// ```
///
/// * A server that cannot be reached fails the requests that need it, not the program, and as soon
///   as it is there, they succeed. Each call has a [time limit](MongoDbBuilder::timeout), also
///   outside a request.
/// * A load is one read and a save one write, which a majority of the servers has when it returns.
///   It reads once more for a conflict, and to change a field with types that JSON does not have.
/// * A save writes the top-level fields that have changed, as Jovo v4 does: a field that another
///   program adds meanwhile stays.
/// * Types that JSON does not have (dates, object ids, binary data…) come as strings, dates in RFC
///   3339, or as [Extended JSON]. What a save leaves untouched stays what it is in the database, an
///   `Int64` or `Double` as well.
/// * An integer over `i64::MAX` is stored as `Decimal128`.
/// * Keys with `.` and `$` are data like others, for which MongoDB has to be of version 5.0 or
///   later. Only a field of the document itself cannot begin with `$`. To change a field of the
///   document itself that has `.` in its name, the whole document is replaced.
/// * A program can use it in a second tokio runtime when the first has ended: it connects again. A
///   client of your own cannot. [`close`](Database::close) it before a runtime ends: the driver's
///   background tasks may otherwise print a panic, which does no harm.
///
/// # What a deletion leaves
///
/// A [tombstone](Database#what-is-deleted-stays-deleted): `_id`, `persistenceVersion` and
/// `persistenceTombstone`, the date at which it ends. A TTL index of its own removes it,
/// `persistenceTombstone_1`, which is [partial]: it lists no document that has one of Jovo's
/// fields. It is created before the first write; that does not wait for long in a collection with
/// documents. Until it is there, and where the role may not create it, the server has no such
/// indexes, or a rule of the collection (a unique index, a `$jsonSchema`) refuses the tombstone,
/// the document is deleted plainly, and a user's first turn that is under way meanwhile can bring
/// them back.
///
/// Jovo v4 on the same collection takes a tombstone for a user whom it knows, and serves them
/// without data instead of as a new user; what it then stores is a document like others.
///
/// A document that something else removes during a turn, such as a TTL index, leaves no tombstone:
/// the turn fails and is not stored, and the next one starts anew.
///
/// # Lost answers
///
/// On replica sets and sharded clusters the driver tries a write again whose answer was lost, and
/// the servers know that they have done it ([retryable writes]). On a standalone server, or with
/// `retryWrites=false`, it is an error. Nothing is ever applied twice.
///
/// # Together with Jovo v4
///
/// Both can use one collection. A save notices that Jovo wrote meanwhile by `updatedAt`, to the
/// millisecond; who writes without changing it, such as an app of Jovo that has `updatedAt`
/// switched off, is not noticed. The fields `persistenceVersion` and `persistenceIntegers` (which
/// of the numbers that Jovo wrote are integers) are this crate's; Jovo leaves them as they are.
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

/// What may stand where an item is inserted.
#[derive(Clone, Copy)]
enum Over<'a> {
    Nothing,
    Tombstone(&'a Known),
    /// Any tombstone.
    Anything,
}

impl MongoDb {
    /// Uses the database that `uri` names, `mongodb://user:password@host/database` or
    /// `mongodb+srv://…`, and the collection `jovoUsers` in it. Where it names none, that is the
    /// database `test`, and a warning is logged.
    ///
    /// No server has to be there yet.
    ///
    /// # Errors
    ///
    /// The URI cannot be used ([`is_configuration`](Error::is_configuration)). The error names the
    /// cause, such as an unknown option or a certificate file that is missing; user, password and
    /// hosts are not shown.
    pub async fn connect(uri: impl Into<String>) -> Result<Self, Error> {
        Self::builder().uri(uri).connect().await
    }

    /// To connect with settings of your own.
    pub fn builder() -> MongoDbBuilder {
        MongoDbBuilder::default()
    }

    fn failed(&self, action: &str, error: &DriverError) -> Error {
        failure::failure(action, &self.shared.place(), error)
    }

    async fn find(&self, filter: Document) -> Result<Option<Document>, Error> {
        let found = self.shared.collection().await?.find_one(filter).await;
        let found = found.map_err(|error| self.failed("reading from", &error))?;
        found.map(|raw| document::decode(&raw)).transpose()
    }

    async fn find_user(&self, id: &str) -> Result<Option<Document>, Error> {
        self.find(doc! { ID: { "$eq": id } }).await
    }

    /// Stores the record where there is none.
    async fn insert(&self, id: &str, record: &Record, over: Over<'_>) -> Result<Saved, Error> {
        let layout = self.shared.layout;
        let document = layout.document(id, record, None)?;
        let version = layout.known(&document, record).version();
        let raw = document::raw(&document)?;
        if let Over::Tombstone(tombstone) = over
            && self.replace(id, &raw, tombstone).await?
        {
            return Ok(Saved::Written(version));
        }
        let collection = self.shared.collection().await?;
        // Again if what was in the way has gone until it is looked at or replaced.
        for _ in 0..3 {
            match collection.insert_one(&raw).await {
                Ok(_) => return Ok(Saved::Written(version)),
                Err(error) if failure::is_duplicate_key(&error) => {}
                Err(error) => return Err(self.failed("writing to", &error)),
            }
            let Some(current) = self.find_user(id).await? else { continue };
            let known = Known::new(&current, &serde_json::Map::new());
            let is_in_the_way = !known.is_tombstone || !matches!(over, Over::Anything);
            if layout.has_expired(&current) || !is_in_the_way {
                match self.replace(id, &raw, &known).await? {
                    true => return Ok(Saved::Written(version)),
                    false => continue,
                }
            }
            return Ok(self.compared(&document, version, &current));
        }
        Err(failure::failed(
            "writing to",
            &self.shared.place(),
            "an index other than that of `_id` is unique",
        ))
    }

    /// Stores the document if what is stored is as `known`, and returns whether it did.
    async fn replace(&self, id: &str, raw: &RawDocumentBuf, known: &Known) -> Result<bool, Error> {
        let collection = self.shared.collection().await?;
        let replaced = collection.replace_one(known.filter(id), raw).await;
        let replaced = replaced.map_err(|error| self.failed("writing to", &error))?;
        Ok(replaced.matched_count > 0)
    }

    /// Writes what of the record has changed.
    async fn update(&self, id: &str, record: &Record, known: &Known) -> Result<Saved, Error> {
        let changes = Changes::new(known, record);
        let layout = self.shared.layout;
        let old = match changes.need_document() {
            true => match self.find(known.filter(id)).await? {
                Some(old) => Some(old),
                None => return self.after_conflict(id, known, None).await,
            },
            false => None,
        };
        let update = changes.update(layout, id, old.as_ref())?;
        let version = update.known.version();
        let is_stored = match &update.write {
            Write::Replacement(document) => {
                self.replace(id, &document::raw(document)?, known).await?
            }
            Write::Update(operators) => {
                let collection = self.shared.collection().await?;
                let updated = collection.update_one(known.filter(id), operators.clone()).await;
                updated.map_err(|error| self.failed("writing to", &error))?.matched_count > 0
            }
        };
        match is_stored {
            true => Ok(Saved::Written(version)),
            false => self.after_conflict(id, known, Some((&update.document, version))).await,
        }
    }

    /// Finds out what became of a save whose version is no longer stored. `written` may have been
    /// stored all the same.
    async fn after_conflict(
        &self,
        id: &str,
        known: &Known,
        written: Option<(&Document, Version)>,
    ) -> Result<Saved, Error> {
        match (self.find_user(id).await?, written) {
            (Some(current), Some((document, version))) => {
                Ok(self.compared(document, version, &current))
            }
            (Some(current), None) => Ok(self.conflict(&current)),
            // A deletion of ours would have left a tombstone. A document that a TTL index removed
            // must not pass for a user who wanted to be forgotten.
            (None, _)
                if known.is_of(id) && (self.shared.removes_tombstones() || known.has_expired()) =>
            {
                let reason = "the document was removed during the turn, by a TTL index or another program; nothing \
                              was stored, and the next turn starts anew";
                Err(failure::failed("writing to", &self.shared.place(), reason))
            }
            (None, _) => Ok(Saved::Conflict(None)),
        }
    }

    fn compared(&self, document: &Document, version: Version, current: &Document) -> Saved {
        // The driver repeats a write whose answer got lost.
        match document::is_same_write(document, current) {
            true => Saved::Written(version),
            false => self.conflict(current),
        }
    }

    fn conflict(&self, current: &Document) -> Saved {
        Saved::Conflict(self.shared.layout.found(current).into_record())
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.shared.prepare().await;
        if self.shared.removes_tombstones() && self.write_tombstone(id).await? {
            return Ok(());
        }
        let deleted = self.shared.collection().await?.delete_one(doc! { ID: { "$eq": id } }).await;
        deleted.map(drop).map_err(|error| self.failed("deleting from", &error))
    }

    /// Puts a tombstone in the place of whatever is stored, and returns whether the collection
    /// takes it.
    async fn write_tombstone(&self, id: &str) -> Result<bool, Error> {
        let raw = document::raw(&document::tombstone(id))?;
        let collection = self.shared.collection().await?;
        let mut attempts = 0..3;
        loop {
            let filter = doc! { ID: { "$eq": id } };
            match collection.replace_one(filter, &raw).upsert(true).await {
                Ok(_) => return Ok(true),
                // Another request has stored the user between the search and the insertion.
                Err(error) if failure::is_duplicate_key(&error) && attempts.next().is_some() => {}
                Err(error) if failure::is_refused_document(&error) => return Ok(false),
                Err(error) => return Err(self.failed("deleting from", &error)),
            }
        }
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
        let document = self.shared.in_time("reading from", self.find_user(id)).await?;
        let found = document.map(|document| self.shared.layout.found(&document));
        Ok(found.unwrap_or(Loaded::Absent(None)).with_version())
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let save = async {
            self.shared.prepare().await;
            let Some(over) = expected.version() else {
                return self.insert(id, record, Over::Anything).await;
            };
            if is_nothing(over) {
                return self.insert(id, record, Over::Nothing).await;
            }
            match Known::parse(over) {
                Some(known) if known.is_tombstone => {
                    self.insert(id, record, Over::Tombstone(&known)).await
                }
                Some(known) => self.update(id, record, &known).await,
                // No document has such a version.
                None => {
                    self.shared.layout.document(id, record, None)?;
                    let current = self.find_user(id).await?;
                    Ok(current.map_or(Saved::Conflict(None), |current| self.conflict(&current)))
                }
            }
        };
        self.shared.in_time("writing to", save).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.shared.in_time("deleting from", self.remove(id)).await
    }

    /// Connects and creates the TTL indexes: that of tombstones, and with
    /// [`expire_users_after`](MongoDbBuilder::expire_users_after) that of users. In a collection that has documents it does not wait
    /// long for them; they are created all the same, and users are loaded and saved meanwhile.
    async fn ensure_ready(&self) -> Result<(), Error> {
        self.shared.in_time("creating the TTL indexes of", self.shared.ensure_ready()).await
    }

    /// Closes the connections, unless the client was given from outside.
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
