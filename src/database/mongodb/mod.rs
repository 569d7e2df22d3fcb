mod builder;
mod document;
mod failure;
mod open;
mod value;

use std::fmt;
use std::sync::Arc;

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::bson::{Document, doc};

pub use self::builder::MongoDbBuilder;
use self::document::{Condition, ID};
use self::open::Shared;
use super::tombstone::is_nothing;
use super::{Database, Found, Saved, Stored, Version};
use crate::{Error, Record};

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
/// * A server that cannot be reached fails the requests that need it, not the program, and as soon as it is there, they
///   succeed.
/// * A load is one read and a save one write, which a majority of the servers has when it returns. It reads once more for a conflict, and
///   for an item with types that JSON does not have.
/// * Those types (dates, object ids, binary data…) come as strings, dates in RFC 3339, or as [Extended JSON]; what a save
///   leaves untouched stays what it is in the database.
/// * An integer over `i64::MAX` is stored as `Decimal128`.
/// * Keys with `.` and `$` are data like others, for which MongoDB has to be of version 5.0 or later. Only a field of the item itself
///   cannot begin with `$`.
///
/// # What a deletion leaves
///
/// A [tombstone](Database#what-is-deleted-stays-deleted): `_id`, `persistenceVersion` and `persistenceTombstone`, the date at which it
/// ends. A TTL index of its own removes it, `persistenceTombstone_1`, which is [partial]: it lists no document that has one of Jovo's
/// fields. It is created in the background at the first use. Until it is there, and where the role may not create it or the server
/// has no such indexes, the document is deleted plainly, and a user's first turn that is under way meanwhile can bring them back.
///
/// # Lost answers
///
/// On replica sets and sharded clusters the driver tries a write again whose answer was lost, and the servers know that they have done it
/// ([retryable writes]). On a standalone server, or with `retryWrites=false`, it is an error. Nothing is ever applied twice.
///
/// # Together with Jovo v4
///
/// Both can use one collection. A save notices that Jovo wrote meanwhile by `updatedAt`, to the millisecond; who writes
/// without changing it, such as an app of Jovo that has `updatedAt` switched off, is not noticed. The field
/// `persistenceVersion` is this crate's; Jovo leaves it as it is.
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
    Tombstone(&'a Condition),
    /// Any tombstone.
    Anything,
}

impl MongoDb {
    /// Uses the database that `uri` names, `mongodb://user:password@host/database` or `mongodb+srv://…`, and the collection
    /// `jovoUsers` in it. Where it names none, that is the database `test`, and a warning is logged.
    ///
    /// No server has to be there yet.
    ///
    /// # Errors
    ///
    /// The URI is none ([`is_configuration`](Error::is_configuration)). It is not shown, as it may hold a password.
    pub async fn connect(uri: impl Into<String>) -> Result<Self, Error> {
        Self::builder().uri(uri).connect().await
    }

    /// To connect with settings of your own.
    pub fn builder() -> MongoDbBuilder {
        MongoDbBuilder::default()
    }

    fn failed(&self, action: &str, error: &mongodb::error::Error) -> Error {
        failure::failure(action, &self.shared.place(), error)
    }

    async fn find(&self, filter: Document) -> Result<Option<Document>, Error> {
        let collection = self.shared.collection().await?;
        let found = collection.find_one(filter).await;
        let found = found.map_err(|error| self.failed("reading from", &error))?;
        found.map(|raw| document::decode(&raw)).transpose()
    }

    async fn find_user(&self, id: &str) -> Result<Option<Document>, Error> {
        self.find(doc! { ID: { "$eq": id } }).await
    }

    /// Stores `document` where no item is.
    async fn insert(&self, id: &str, document: &Document, over: Over<'_>) -> Result<Saved, Error> {
        let raw = document::raw(document)?;
        if let Over::Tombstone(tombstone) = over
            && self.replace(id, &raw, tombstone).await?
        {
            return Ok(self.saved(document));
        }
        let collection = self.shared.collection().await?;
        // Again if what was in the way has gone until it is looked at or replaced.
        for _ in 0..3 {
            match collection.insert_one(&raw).await {
                Ok(_) => return Ok(self.saved(document)),
                Err(error) if failure::is_duplicate_key(&error) => {}
                Err(error) => return Err(self.failed("writing to", &error)),
            }
            let Some(current) = self.find_user(id).await? else { continue };
            let condition = self.shared.layout.condition(&current);
            let is_in_the_way = !condition.is_tombstone || !matches!(over, Over::Anything);
            if self.shared.layout.has_expired(&current) || !is_in_the_way {
                match self.replace(id, &raw, &condition).await? {
                    true => return Ok(self.saved(document)),
                    false => continue,
                }
            }
            return Ok(self.compared(document, Some(&current)));
        }
        let place = self.shared.place();
        Err(Error::database(format!(
            "MongoDB: writing to `{place}` failed: an index other than that of `_id` is unique"
        )))
    }

    /// Stores the document if what is stored fulfils `condition`, and returns whether it did.
    async fn replace(
        &self,
        id: &str,
        raw: &RawDocumentBuf,
        condition: &Condition,
    ) -> Result<bool, Error> {
        let collection = self.shared.collection().await?;
        let replaced = collection.replace_one(condition.filter(id), raw).await;
        let replaced = replaced.map_err(|error| self.failed("writing to", &error))?;
        Ok(replaced.matched_count > 0)
    }

    /// Puts a tombstone in the place of whatever is stored.
    async fn bury(&self, id: &str) -> Result<(), Error> {
        let raw = document::raw(&document::tombstone(id))?;
        let collection = self.shared.collection().await?;
        let mut attempts = 0..3;
        loop {
            let filter = doc! { ID: { "$eq": id } };
            match collection.replace_one(filter, &raw).upsert(true).await {
                Ok(_) => return Ok(()),
                // Somebody else has stored it between the search and the insertion.
                Err(error) if failure::is_duplicate_key(&error) && attempts.next().is_some() => {}
                Err(error) => return Err(self.failed("deleting from", &error)),
            }
        }
    }

    fn saved(&self, document: &Document) -> Saved {
        Saved::Stored(self.shared.layout.condition(document).version())
    }

    async fn conflict(&self, id: &str, document: &Document) -> Result<Saved, Error> {
        let current = self.find_user(id).await?;
        Ok(self.compared(document, current.as_ref()))
    }

    fn compared(&self, document: &Document, current: Option<&Document>) -> Saved {
        match current {
            // The driver repeats a write whose answer got lost.
            Some(current) if document::is_same_write(document, current) => self.saved(document),
            current => {
                Saved::Conflict(current.and_then(|it| self.shared.layout.found(it).into_item()))
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

    async fn load(&self, id: &str) -> Result<Option<Stored>, Error> {
        self.load_to_save(id).await.map(Found::into_item)
    }

    async fn load_to_save(&self, id: &str) -> Result<Found, Error> {
        self.shared.prepare();
        let document = self.find_user(id).await?;
        let found = document.map(|document| self.shared.layout.found(&document));
        Ok(found.unwrap_or(Found::Nothing(None)).with_version())
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Result<Saved, Error> {
        self.shared.prepare();
        let layout = self.shared.layout;
        let mut document = layout.document(id, record, None)?;
        let Some(over) = over else {
            return self.insert(id, &document, Over::Anything).await;
        };
        if is_nothing(over) {
            return self.insert(id, &document, Over::Nothing).await;
        }
        let condition = Condition::parse(over);
        if let Some(tombstone) = condition.as_ref().filter(|condition| condition.is_tombstone) {
            return self.insert(id, &document, Over::Tombstone(tombstone)).await;
        }
        if let Some(condition) = &condition {
            let old = match condition.foreign {
                true => self.find(condition.filter(id)).await?,
                false => None,
            };
            if let Some(old) = &old {
                document = layout.document(id, record, Some(old))?;
            }
            if (old.is_some() || !condition.foreign)
                && self.replace(id, &document::raw(&document)?, condition).await?
            {
                return Ok(self.saved(&document));
            }
        }
        // What the version stands for is not there, or no more.
        self.conflict(id, &document).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.shared.prepare();
        if self.shared.removes_tombstones() {
            return self.bury(id).await;
        }
        let deleted = self.shared.collection().await?.delete_one(doc! { ID: { "$eq": id } }).await;
        deleted.map(drop).map_err(|error| self.failed("deleting from", &error))
    }

    /// Connects and creates the TTL indexes: that of tombstones, for which it does not wait long, and with
    /// [`expire_users_after`](MongoDbBuilder::expire_users_after) that of users. Users are loaded and saved also before they are there.
    async fn ensure_ready(&self) -> Result<(), Error> {
        self.shared.ensure_ready().await
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
