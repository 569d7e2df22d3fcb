mod attempts;
mod builder;
mod client;
mod credentials;
#[cfg(feature = "aws-config")]
mod environment;
mod expiry;
mod expression;
mod failure;
mod flight;
mod item;
mod known;
mod number;
mod projection;
mod readiness;
mod send;
mod size;
mod table;
mod throttle;
mod tombstone;
mod write;

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::types::AttributeValue;

pub use self::builder::DynamoDbBuilder;
use self::credentials::CredentialsCache;
use self::item::Attributes;
use self::projection::Projection;
use self::readiness::Readiness;
use self::tombstone::TOMBSTONE;
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// The partition key that Jovo has by default.
const PARTITION_KEY: &str = "userId";
/// Our attribute with the version. Jovo v4 drops it when it writes, which is as good as a new version.
const VERSION: &str = "persistenceVersion";
/// Our attribute with the time of expiry, in epoch seconds.
const EXPIRES: &str = "persistenceExpiresAt";

/// The longest partition key.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_PARTITION_KEY: usize = 2048;

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

struct Inner {
    client: Client,
    credentials: CredentialsCache,
    table: String,
    endpoint: Option<String>,
    partition_key: String,
    sort_key: Option<(String, String)>,
    key_prefix: String,
    projections: Vec<Projection>,
    create_table: bool,
    provisioned: Option<(i64, i64)>,
    expire_users_after: Option<Duration>,
    timeout: Duration,
    ready_timeout: Duration,
    readiness: Readiness,
}

impl DynamoDb {
    /// To set up the table `table`: its name, or its ARN.
    pub fn builder(table: impl Into<String>) -> DynamoDbBuilder {
        DynamoDbBuilder::new(table.into())
    }
}

impl Inner {
    fn key(&self, id: &str) -> Result<Attributes, Error> {
        let value = [self.key_prefix.as_str(), id].concat();
        if !(1..=MAX_PARTITION_KEY).contains(&value.len()) {
            return Err(Error::encode(format!(
                "the user id has {} bytes; DynamoDB takes 1 to {MAX_PARTITION_KEY} bytes as `{}`, the prefix included",
                id.len(),
                self.partition_key
            )));
        }
        let mut key = Attributes::from([(self.partition_key.clone(), AttributeValue::S(value))]);
        if let Some((name, value)) = &self.sort_key {
            key.insert(name.clone(), AttributeValue::S(value.clone()));
        }
        Ok(key)
    }

    fn is_key(&self, name: &str) -> bool {
        name == self.partition_key || self.sort_key.as_ref().is_some_and(|(key, _)| key == name)
    }

    /// Whether an attribute is neither a field of the record nor the version.
    fn is_own(&self, name: &str) -> bool {
        self.is_key(name)
            || name == TOMBSTONE
            || name == EXPIRES
            || self.projections.iter().any(|projection| projection.attribute == name)
    }

    async fn read(&self, key: Attributes) -> Result<Loaded, Error> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key));
        let request = request.consistent_read(true);
        match self.while_throttled(|| request.clone().send()).await {
            Ok(answer) => self.found(answer.item.unwrap_or_default()).map(Loaded::with_version),
            Err(error) => Err(self.failed("GetItem", error)),
        }
    }

    /// Where the table is looked for, for an error.
    fn place(&self) -> String {
        match (&self.endpoint, self.client.config().region()) {
            (Some(endpoint), _) => format!(" at {endpoint}"),
            (None, Some(region)) => format!(" in region {region}"),
            (None, None) => String::new(),
        }
    }

    fn failed<E, R>(&self, action: &str, error: SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        R: fmt::Debug + Send + Sync + 'static,
        SdkError<E, R>: RequestId,
    {
        failure::failed(action, &self.table, error)
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

fn seconds() -> u64 {
    // A clock before 1970 lets nothing expire.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
