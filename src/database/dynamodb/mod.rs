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
mod flight;
mod inner;
mod item;
mod known;
mod load;
mod number;
mod projection;
mod readiness;
mod save;
mod send;
mod size;
mod table;
mod throttle;
mod time_to_live;
mod tombstone;

use std::fmt;
use std::sync::Arc;

pub use self::builder::DynamoDbBuilder;
use self::inner::Inner;
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A table in Amazon DynamoDB, with the items of Jovo v4.
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
/// * One item a user: the partition key `userId`, maps `user`, `session` and `history`, strings `createdAt` and `updatedAt`.
///   What Jovo v4 wrote is read, and it reads what is written here.
/// * `persistenceVersion` is added, by which a save is refused that is not over what was loaded. A save
///   also compares the old values of what it changes (up to 100 attributes), since others leave that
///   version alone: Jovo v4, a script, the console.
/// * A load is one consistent read, a save one conditional write of the attributes that changed; attributes that others write
///   meanwhile stay. A conflict brings the current item with it. Where more than 250 attributes change at once, the
///   whole item is written.
/// * Reads and writes need nothing but the table's data. Only where they do not find the table, or it has
///   another key, it is looked at: it is created where it is missing, unless
///   [`create_table(false)`](DynamoDbBuilder::create_table) is set. One that was there before and is gone is
///   an error.
/// * What is throttled is tried again within [`timeout`](DynamoDbBuilder::timeout). Credentials have a limit
///   of their own, [`ready_timeout`](DynamoDbBuilder::ready_timeout).
///
/// # What is stored how
///
/// Numbers are decimals to DynamoDB: `1.0` comes back as `1`, and no magnitude but 0 may be under 1E-130 or over
/// 9.99…E+125. A name may not be empty, an item be nested deeper than 32 levels or have more than 400 KB. What breaks such a
/// limit is an [error](Error::is_encode) that names the field as a JSON pointer, and nothing is written. Maps have no
/// order; they come back sorted by name.
///
/// Others may have stored what JSON has not: a set is read as an array, a binary value as base64 text, a number of more digits as
/// the nearest one. Saved again, each is what it was as long as the value under that path can be it: a set of strings still is a
/// set after a string was added, and becomes a list when it has one twice or none.
///
/// # What a deletion leaves
///
/// A [tombstone](Database#what-is-deleted-stays-deleted), if the table's time to live removes it: key, `persistenceVersion`,
/// `persistenceTombstone` and the attribute of the time to live, whatever its name. On tables that are created here it is switched on,
/// for `persistenceExpiresAt`. A table of your own is asked once, at the first deletion. Where its time to live is off, or the role may not ask, or
/// its attribute is a key or means something else, the item is deleted plainly, and a user's first turn that is under way meanwhile can
/// bring them back: switch it on to close that gap.
///
/// # Lost answers
///
/// A write whose answer was lost is tried again. If somebody else has changed the item by then, it is not known whether it
/// was stored before, and that is an error, not a conflict: nothing is ever applied twice.
///
/// # What the role has to be allowed
///
/// | for | actions, all `dynamodb:…` on the table |
/// | --- | --- |
/// | loading, saving, forgetting users | `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem` |
/// | tombstones | `DescribeTimeToLive`; `UpdateTimeToLive` for tables that are created here; it does without |
/// | creating a missing table | `DescribeTable`, `CreateTable` |
/// | an error that says which key the table has | `DescribeTable` |
/// | `expire_users_after` | `DescribeTimeToLive`, `UpdateTimeToLive`; it does without, if another program switches it on |
///
/// # Clones
///
/// Clones share one client. Make one database for the process, not one for each request.
///
/// `Debug` shows table, region and endpoint.
#[derive(Clone)]
pub struct DynamoDb {
    inner: Arc<Inner>,
}

impl DynamoDb {
    /// To set up the table `table`: its name, or its ARN.
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
        let key = inner.key(id)?;
        // What a read has no answer to, another would have none to either.
        inner.ready().await?;
        inner.on_table(|| inner.read(key.clone())).await
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
        let key = inner.key(id)?;
        inner.on_table(|| inner.delete(key.clone())).await
    }

    /// Loads the credentials, and reads once to find out whether the table is there. Only where it is not
    /// found, or has another key, it is looked at: created where it is missing, waited for until it is
    /// active, and its key checked.
    ///
    /// Once it was ready, nothing is asked. The work goes on when the caller gives up, and callers that
    /// come meanwhile wait for the same. Credentials and table may take
    /// [`ready_timeout`](DynamoDbBuilder::ready_timeout) each.
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
