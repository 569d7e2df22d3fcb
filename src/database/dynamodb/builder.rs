//! Sets up the database.

mod check;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;

use super::DynamoDb;
use super::attributes::PARTITION_KEY;
use super::client::Access;
use super::credentials::CredentialsCache;
use super::inner::Inner;
use super::projection::Projection;
use super::readiness::Readiness;
use crate::error::Error;

/// Sets up a [`DynamoDb`]. [`DynamoDb::builder`] creates it.
///
/// `Debug` shows no credentials.
#[derive(Clone)]
#[must_use = "it does nothing until it is built"]
pub struct DynamoDbBuilder {
    access: Access,
    partition_key: String,
    sort_key: Option<(String, String)>,
    key_prefix: String,
    projections: Vec<(String, String)>,
    create_table: bool,
    provisioned: Option<(u32, u32)>,
    expire_users_after: Option<Duration>,
}

impl DynamoDbBuilder {
    pub(super) fn new(table: String) -> Self {
        Self {
            access: Access {
                table,
                region: None,
                credentials: None,
                endpoint: None,
                client: None,
                timeout: Duration::from_secs(2),
                ready_timeout: Duration::from_secs(25),
            },
            partition_key: PARTITION_KEY.to_owned(),
            sort_key: None,
            key_prefix: String::new(),
            projections: Vec::new(),
            create_table: true,
            provisioned: None,
            expire_users_after: None,
        }
    }

    /// Sets the region, such as `eu-central-1`. By default, feature `aws-config` looks it up in the
    /// environment, in a profile and on EC2. With an [`endpoint_url`](Self::endpoint_url), EC2 is
    /// not asked, and the region falls back to `us-east-1`.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").region("eu-central-1");
    /// ```
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.access.region = Some(region.into());
        self
    }

    /// Sets the access key. By default, feature `aws-config` looks for credentials where AWS SDKs
    /// do: in the environment (Lambda), a profile (SSO and `credential_process` included), a web
    /// identity (EKS), a container (ECS) and EC2. Those of `aws login` need the feature
    /// `aws-login`.
    ///
    /// Credentials are loaded once for all requests, within [`ready_timeout`](Self::ready_timeout),
    /// and again before they expire. DynamoDB Local accepts any, and gives each access key tables
    /// of its own.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").credentials("access-key-id", "secret-access-key");
    /// ```
    pub fn credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        self.access.credentials = Some((access_key_id.into(), secret_access_key.into()));
        self
    }

    /// Sets the server to use in place of Amazon's, such as `http://localhost:8000` for DynamoDB
    /// Local. By default, feature `aws-config` also reads the variables `AWS_ENDPOINT_URL_DYNAMODB`
    /// and `AWS_ENDPOINT_URL`.
    ///
    /// The server must return the item when a condition fails
    /// (`ReturnValuesOnConditionCheckFailure`, in DynamoDB Local since 2.2).
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").endpoint_url("http://localhost:8000");
    /// ```
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.access.endpoint = Some(url.into());
        self
    }

    /// Uses a client of your own in place of `region`, `credentials` and `endpoint_url`. A client
    /// with neither an operation time-out nor one per attempt gets [`timeout`](Self::timeout). Its
    /// credentials are loaded and kept like those of a client that the builder makes.
    ///
    /// ```
    /// use aws_sdk_dynamodb::Client;
    /// use tower_persistence::{DynamoDb, DynamoDbBuilder};
    ///
    /// fn builder(client: Client) -> DynamoDbBuilder {
    ///     DynamoDb::builder("Users").client(client)
    /// }
    /// ```
    pub fn client(mut self, client: Client) -> Self {
        self.access.client = Some(client);
        self
    }

    /// Sets how long one load, save or deletion may take, retries included; a single attempt may
    /// take half of that. Throttled calls are retried while time remains. Default: 2 seconds. The
    /// time-outs of the layer apply as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").timeout(Duration::from_secs(3));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.access.timeout = timeout;
        self
    }

    /// Sets how long work may take that is done once for all requests: loading credentials, and
    /// waiting for a table that is being created. The work goes on if the request that began it
    /// gives up.
    ///
    /// Default: 25 seconds, less than the layer's own
    /// [`ready_timeout`](crate::PersistenceLayer::ready_timeout), so that the error says which step
    /// took so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").ready_timeout(Duration::from_secs(60));
    /// ```
    pub fn ready_timeout(mut self, ready_timeout: Duration) -> Self {
        self.access.ready_timeout = ready_timeout;
        self
    }

    /// Sets the name of the partition key, a string that holds the user id. Default: `userId`, as
    /// in Jovo.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").partition_key("id");
    /// ```
    pub fn partition_key(mut self, name: impl Into<String>) -> Self {
        self.partition_key = name.into();
        self
    }

    /// Sets the name of the table's sort key, and the value that all users share in it. By default
    /// the table has no sort key.
    ///
    /// Use it in a table that also holds other kinds of items: `sort_key("type",
    /// "USER#jovo.user.data")` does what `sortKeyColumn` did in Jovo v3.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Table").sort_key("type", "USER#jovo.user.data");
    /// ```
    pub fn sort_key(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.sort_key = Some((name.into(), value.into()));
        self
    }

    /// Sets a prefix for the user id in the partition key, as Jovo v3 did with `primaryKeyPrefix`.
    /// Default: none.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Table").key_prefix("USER#");
    /// ```
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Copies the value under `pointer` (a JSON pointer such as `/user/data/score`) into the
    /// top-level attribute `attribute` on every save, so that an index can use it as its key.
    ///
    /// Strings and numbers are copied. The attribute is left out where DynamoDB would refuse the
    /// item: for a value that is empty, longer than 1,024 bytes, or of a type other than the one
    /// the table defines for `attribute`.
    ///
    /// The attribute does not become part of the record. Indexes are not created. An index that is
    /// added while the program runs takes effect after its next start.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").project("score", "/user/data/score");
    /// ```
    pub fn project(mut self, attribute: impl Into<String>, pointer: impl Into<String>) -> Self {
        self.projections.push((attribute.into(), pointer.into()));
        self
    }

    /// Sets whether to create the table if it is missing: with billing per request unless
    /// [`provisioned`](Self::provisioned) says otherwise, and with the time to live on
    /// `persistenceExpiresAt`, by which DynamoDB removes tombstones. Default: `true`.
    ///
    /// A process does not recreate a table that it has seen before. A table that disappears at run
    /// time is an error, because a new one would hide the loss of all data.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").create_table(false);
    /// ```
    pub fn create_table(mut self, create: bool) -> Self {
        self.create_table = create;
        self
    }

    /// Creates the table with this throughput, in capacity units. By default it is
    /// billed per request.
    ///
    /// ```
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").provisioned(5, 5);
    /// ```
    pub fn provisioned(mut self, read: u32, write: u32) -> Self {
        self.provisioned = Some((read, write));
        self
    }

    /// Deletes users that have not been saved for this long. By default users never expire.
    ///
    /// Every save writes `persistenceExpiresAt` (epoch seconds); a request that only reads does not
    /// extend it. The table's time to live is enabled in the background, and a failure to do so is
    /// logged as a warning. DynamoDB usually removes expired items within days. Until then they are
    /// not served, and a new user may take their place.
    ///
    /// A user that was stored before this option was set expires only after its next save. A user
    /// that was stored with it keeps its `persistenceExpiresAt` when the option is removed: disable
    /// the table's time to live as well to keep that user.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::DynamoDb;
    ///
    /// let ninety_days = Duration::from_secs(90 * 24 * 60 * 60);
    /// let builder = DynamoDb::builder("Users").expire_users_after(ninety_days);
    /// ```
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expire_users_after = Some(duration);
        self
    }

    /// Creates the database without sending a request.
    /// [`ensure_ready`](crate::Database::ensure_ready) or the first request loads credentials from
    /// the environment and creates a missing table.
    ///
    /// # Errors
    ///
    /// A setting is wrong ([`is_configuration`](Error::is_configuration)), or the region is neither
    /// set nor, with feature `aws-config`, found, or credentials are not set and that feature is
    /// off.
    ///
    /// ```no_run
    /// use tower_persistence::DynamoDb;
    ///
    /// # async fn example() -> Result<(), tower_persistence::Error> {
    /// let db = DynamoDb::builder("Users").region("eu-central-1").build().await?;
    /// # Ok(()) }
    /// ```
    pub async fn build(self) -> Result<DynamoDb, Error> {
        self.check()?;
        let credentials = CredentialsCache::new(&self.access.table, self.access.ready_timeout);
        let client = self.access.client(credentials.clone()).await?;
        let projections = self.projections.iter();
        Ok(DynamoDb {
            inner: Arc::new(Inner {
                client,
                credentials,
                endpoint: self.access.shown_endpoint(),
                projections: projections
                    .map(|(attribute, pointer)| Projection::new(attribute, pointer))
                    .collect(),
                table: self.access.table,
                partition_key: self.partition_key,
                sort_key: self.sort_key,
                key_prefix: self.key_prefix,
                create_table: self.create_table,
                provisioned: self.provisioned.map(|(read, write)| (read.into(), write.into())),
                expire_users_after: self.expire_users_after,
                timeout: self.access.timeout,
                ready_timeout: self.access.ready_timeout,
                readiness: Readiness::default(),
            }),
        })
    }
}

impl fmt::Debug for DynamoDbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbBuilder").field("table", &self.access.table).finish_non_exhaustive()
    }
}
