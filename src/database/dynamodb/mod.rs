//! The database in Amazon DynamoDB.

mod attempts;
mod attributes;
mod builder;
mod client;
mod credentials;
#[cfg(feature = "aws-config")]
mod environment;
mod expression;
mod failure;
mod inner;
mod known;
mod load;
mod number;
mod path;
mod projection;
mod read;
mod readiness;
mod save;
mod send;
mod size;
mod table;
mod throttle;
mod time_to_live;
mod tombstone;
mod write;

use std::fmt;
use std::sync::Arc;

pub use self::builder::DynamoDbBuilder;
use self::inner::Inner;
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A table in Amazon DynamoDB, compatible with the items of Jovo v4.
///
/// ```no_run
/// use tower_persistence::{DynamoDb, PersistenceLayer};
///
/// # async fn example() -> Result<(), tower_persistence::Error> {
/// // On AWS, with feature `aws-config`:
/// let db = DynamoDb::builder("Users").build().await?;
/// // Elsewhere, here with DynamoDB Local:
/// let db = DynamoDb::builder("Users")
///     .endpoint_url("http://localhost:8000")
///     .region("eu-central-1")
///     .credentials("access-key-id", "secret-access-key")
///     .build()
///     .await?;
/// let layer = PersistenceLayer::new(db);
/// # Ok(()) }
/// ```
///
/// * Each user is one item: the partition key `userId`, the maps `user`, `session` and `history`,
///   and the strings `createdAt` and `updatedAt`. This crate reads the items of Jovo v4, and Jovo
///   v4 reads the items of this crate.
/// * The attribute `persistenceVersion` is added. It refuses a save whose expected version is no
///   longer stored. A script or the console leaves that version unchanged, and Jovo v4 drops it. So
///   a save also compares the old values of the parts it changes, up to 100 of them.
/// * A load is one consistent read. A save is one conditional write of the parts of the record that
///   changed, down to `user.data.orders.today`, and keeps what other writers change beside them. A
///   conflict returns the current record without another read. A save that changes more than 250
///   attributes writes the whole item.
/// * Reads and writes need permissions on the table's data only. The table is described only if a
///   call does not find it or reports another key. A missing table is created unless
///   [`create_table(false)`](DynamoDbBuilder::create_table) is set. A table that disappears at run
///   time is an error.
/// * Throttled calls are retried within [`timeout`](DynamoDbBuilder::timeout). Credentials have a
///   limit of their own, [`ready_timeout`](DynamoDbBuilder::ready_timeout).
///
/// # Data types
///
/// DynamoDB stores numbers as decimals: `1.0` comes back as `1`, and the magnitude of a number
/// other than 0 must lie between 1E-130 and 9.99…E+125. Names must not be empty. An item holds at
/// most 32 levels and 400 KB. A record beyond such a limit is [an error](Error::is_encode) that
/// names the field as a JSON pointer, and nothing is written. Maps have no order; their members
/// come back sorted by name.
///
/// Other writers may store types that JSON lacks: a set loads as an array, a binary value as base64
/// text, a number with more digits as the nearest number. A save writes each back as its original
/// type while the new value fits it: a set of strings remains a set after a string is added, and
/// becomes a list when it is empty or holds a string twice.
///
/// # Deletions
///
/// A deletion leaves a [tombstone](Database#deleted-users-stay-deleted) if the table's time to live
/// removes it again: the key, `persistenceVersion`, `persistenceTombstone` and the attribute of the
/// time to live, whatever its name. Tables that this crate creates have it enabled on
/// `persistenceExpiresAt`. The time to live of any other table is looked up once, at the first
/// deletion.
///
/// No tombstone is left if the time to live is off, if the role may not look it up, or if its
/// attribute is a key or has another meaning. A user's first turn that runs during the deletion can
/// then bring the user back. Enable the time to live to close that gap.
///
/// # Lost answers
///
/// A write whose answer is lost is retried. If another writer changes the item in between, the
/// outcome of the first attempt is unknown. That is an error, not a conflict: no turn is ever
/// applied twice.
///
/// # Permissions
///
/// The role needs `GetItem`, `PutItem`, `UpdateItem` and `DeleteItem` on the table. The guide on
/// databases has the actions that create a table, leave tombstones or expire users.
///
/// # Clones
///
/// Clones share one client. Create one database per process, not one per request.
///
/// `Debug` shows table, region and endpoint.
#[derive(Clone)]
pub struct DynamoDb {
    inner: Arc<Inner>,
}

impl DynamoDb {
    /// Creates a builder for the table `table`, given by its name or its ARN.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").region("eu-central-1");
    /// ```
    pub fn builder(table: impl Into<String>) -> DynamoDbBuilder {
        DynamoDbBuilder::new(table.into())
    }
}

impl Database for DynamoDb {
    fn name(&self) -> &str {
        "aws.dynamodb"
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.inner.table)
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.load_for_update(id).await.map(Loaded::into_record)
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let inner = &self.inner;
        inner.check_id(id)?;
        // The readiness check reads as well, so the load itself would fail for the same reason.
        inner.ready().await?;
        inner.on_ready_table(|| inner.read(id)).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let inner = &self.inner;
        inner.on_table(|| inner.write(id, record, expected.version())).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let inner = &self.inner;
        inner.check_id(id)?;
        inner.on_table(|| inner.delete(id)).await
    }

    /// Loads the credentials, and reads once to check the table. Only a table that is not found, or
    /// that has another key, is described: a missing one is created and awaited until it is active,
    /// and its key is checked.
    ///
    /// Costs nothing once the table is ready. The work outlives a caller that gives up, and
    /// concurrent callers wait for the same work. Credentials and table may each take
    /// [`ready_timeout`](DynamoDbBuilder::ready_timeout).
    async fn ensure_ready(&self) -> Result<(), Error> {
        self.inner.ready().await
    }
}

impl fmt::Debug for DynamoDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("DynamoDb");
        debug.field("table", &self.inner.table);
        if let Some(region) = self.inner.client.config().region() {
            debug.field("region", &region.as_ref());
        }
        if let Some(endpoint) = &self.inner.endpoint {
            debug.field("endpoint", endpoint);
        }
        debug.finish()
    }
}
