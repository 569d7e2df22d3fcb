use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;

use super::client::adapted;
use super::credentials::CredentialsCache;
use super::projection::Projection;
use super::readiness::Readiness;
use super::tombstone::TOMBSTONE;
use super::{DynamoDb, EXPIRES, Inner, PARTITION_KEY, VERSION};
use crate::error::{Error, Kind};

/// The longest sort key.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_SORT_KEY: usize = 1024;

/// How a [`DynamoDb`] is set up: made by [`DynamoDb::builder`].
///
/// `Debug` shows no credentials.
#[derive(Clone)]
#[must_use = "it does nothing until it is built"]
pub struct DynamoDbBuilder {
    pub(super) table: String,
    pub(super) region: Option<String>,
    pub(super) credentials: Option<(String, String)>,
    pub(super) endpoint: Option<String>,
    client: Option<Client>,
    pub(super) timeout: Duration,
    pub(super) ready_timeout: Duration,
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
            table,
            region: None,
            credentials: None,
            endpoint: None,
            client: None,
            timeout: Duration::from_secs(2),
            ready_timeout: Duration::from_secs(25),
            partition_key: PARTITION_KEY.to_owned(),
            sort_key: None,
            key_prefix: String::new(),
            projections: Vec::new(),
            create_table: true,
            provisioned: None,
            expire_users_after: None,
        }
    }

    /// Sets the region, such as `eu-central-1`. Without it, feature `aws-config` finds it in the
    /// environment, in a profile or on EC2. Where an [`endpoint_url`](Self::endpoint_url) is given,
    /// EC2 is not asked, and it is `us-east-1` if nothing says otherwise.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets the access key. Without it, feature `aws-config` finds credentials where AWS SDKs do: in
    /// the environment (Lambda), a profile (SSO and `credential_process` included), a web identity
    /// (EKS), a container (ECS) or EC2. Those of `aws login` need the feature `aws-login`.
    ///
    /// They are loaded once for all requests, within [`ready_timeout`](Self::ready_timeout), and again
    /// before they expire. DynamoDB Local takes any, and gives each access key tables of its own.
    pub fn credentials(
        mut self,
        access_key_id: impl Into<String>,
        secret_access_key: impl Into<String>,
    ) -> Self {
        self.credentials = Some((access_key_id.into(), secret_access_key.into()));
        self
    }

    /// Another server than Amazon's, as `http://localhost:8000` of DynamoDB Local. It has to return the item with a
    /// condition that failed (`ReturnValuesOnConditionCheckFailure`; DynamoDB Local does from 2.2 on).
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Uses a client of your own, instead of `region`, `credentials` and `endpoint_url`. Where it has
    /// neither an operation time-out nor one for an attempt, it gets [`timeout`](Self::timeout). Its
    /// credentials are loaded and kept as those of a client that is made here.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets how long one load, save or deletion may take, tries included; one try of it may take half of
    /// that. What DynamoDB throttles is tried again as long as there is time. The default is 2 seconds.
    /// The layer has time-outs of its own, which come on top.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long work may take that is done once for all requests: loading credentials, and waiting
    /// for a table that is being created. It goes on when the request that began it gives up.
    ///
    /// The default is 25 seconds: less than the layer's own
    /// [`ready_timeout`](crate::PersistenceLayer::ready_timeout), so that the error says what took so long.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::DynamoDb;
    ///
    /// let builder = DynamoDb::builder("Users").ready_timeout(Duration::from_secs(60));
    /// ```
    pub fn ready_timeout(mut self, ready_timeout: Duration) -> Self {
        self.ready_timeout = ready_timeout;
        self
    }

    /// The name of the partition key, which holds the user id. The default is `userId`, as in Jovo. It has to be a string.
    pub fn partition_key(mut self, name: impl Into<String>) -> Self {
        self.partition_key = name.into();
        self
    }

    /// The name of the table's sort key, and the value that all users have in it, for a table that is shared with other
    /// kinds of items: `sort_key("type", "USER#jovo.user.data")` is what Jovo v3 did with `sortKeyColumn`.
    pub fn sort_key(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.sort_key = Some((name.into(), value.into()));
        self
    }

    /// What stands before the user id in the partition key, as Jovo v3's `primaryKeyPrefix`.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Copies the value under `pointer` (a JSON pointer, `/user/data/score`) into the top-level attribute `attribute` with
    /// every save, so that an index can have it as its key. Strings and numbers are copied. What is empty, longer than
    /// 1,024 bytes or of another type, also of another type than the table defines for `attribute`, is left out: DynamoDB
    /// would refuse the item.
    ///
    /// The attribute is no part of the record. Indexes are not created; one that is added
    /// while the program runs is known to it after its next start.
    pub fn project(mut self, attribute: impl Into<String>, pointer: impl Into<String>) -> Self {
        self.projections.push((attribute.into(), pointer.into()));
        self
    }

    /// Creates the table where it is missing, paid per request unless it is
    /// [`provisioned`](Self::provisioned), and switches its time to live on for `persistenceExpiresAt`, by
    /// which it removes tombstones. The default is `true`.
    ///
    /// A table that was there before is not created again by this process: one that was deleted while it
    /// runs is an error, since a new table would have lost everything in silence.
    pub fn create_table(mut self, create: bool) -> Self {
        self.create_table = create;
        self
    }

    /// Creates the table with this throughput, in capacity units, instead of paid per request.
    pub fn provisioned(mut self, read: u32, write: u32) -> Self {
        self.provisioned = Some((read, write));
        self
    }

    /// Forgets a user for whom nothing was saved for so long. Every save writes `persistenceExpiresAt`
    /// (epoch seconds); a request that only reads does not put it off. The table's time to live is
    /// switched on in the background, so that DynamoDB removes what is expired, usually within days; until
    /// then it is not served, and a new user takes its place. That it could not be switched on is a warning.
    ///
    /// What was stored before this was set expires only after its next save. What was stored with it keeps
    /// its `persistenceExpiresAt` when this is taken away again, and is removed then unless the table's
    /// time to live is switched off as well.
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expire_users_after = Some(duration);
        self
    }

    /// Makes the client. Nothing is sent yet: credentials of the environment are loaded, and a missing
    /// table is created, by [`ensure_ready`](crate::Database::ensure_ready) or the first request.
    ///
    /// # Errors
    ///
    /// When a setting is wrong, when the region is neither given nor, with feature `aws-config`, found, or
    /// when credentials are not given without that feature.
    pub async fn build(self) -> Result<DynamoDb, Error> {
        self.check()?;
        let credentials = CredentialsCache::new(&self.table, self.ready_timeout);
        let client = match &self.client {
            Some(client) => adapted(client, credentials.clone(), self.timeout),
            None => {
                let config = self.config().await?.identity_cache(credentials.clone());
                Client::from_conf(config.build())
            }
        };
        let projections = self.projections.iter();
        Ok(DynamoDb {
            inner: Arc::new(Inner {
                client,
                credentials,
                // A password in it is not to be seen.
                endpoint: self.endpoint.as_deref().map(|url| {
                    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                    format!("{scheme}://{host}")
                }),
                projections: projections
                    .map(|(attribute, pointer)| Projection::new(attribute, pointer))
                    .collect(),
                table: self.table,
                partition_key: self.partition_key,
                sort_key: self.sort_key,
                key_prefix: self.key_prefix,
                create_table: self.create_table,
                provisioned: self.provisioned.map(|(read, write)| (read.into(), write.into())),
                expire_users_after: self.expire_users_after,
                timeout: self.timeout,
                ready_timeout: self.ready_timeout,
                readiness: Readiness::default(),
            }),
        })
    }

    fn check(&self) -> Result<(), Error> {
        let table = &self.table;
        let is_name = (3..=255).contains(&table.len())
            && table.chars().all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each));
        if !is_name && !table.starts_with("arn:") {
            return Err(configuration(format!(
                "\"{table}\" is no name of a table: 3 to 255 letters, digits, `_`, `-` and `.`, or an ARN"
            )));
        }
        if let Some(url) = &self.endpoint
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            return Err(configuration(
                "the endpoint URL does not begin with `http://` or `https://`",
            ));
        }
        if self.expire_users_after.is_some_and(|duration| duration.is_zero()) {
            return Err(configuration("users cannot expire after no time at all"));
        }
        if self.timeout.is_zero() || self.ready_timeout.is_zero() {
            return Err(configuration("the time-out is zero"));
        }
        if self
            .sort_key
            .as_ref()
            .is_some_and(|(_, value)| !(1..=MAX_SORT_KEY).contains(&value.len()))
        {
            return Err(configuration(format!(
                "the sort key's value does not have 1 to {MAX_SORT_KEY} bytes"
            )));
        }
        self.check_names()
    }

    /// No attribute may have two meanings.
    fn check_names(&self) -> Result<(), Error> {
        let ours = ["user", "session", "history", "createdAt", "updatedAt", "metaData"];
        let mut names = vec![VERSION, TOMBSTONE, EXPIRES];
        names.extend(ours);
        let keys = [
            Some(self.partition_key.as_str()),
            self.sort_key.as_ref().map(|(name, _)| name.as_str()),
        ];
        let projected = self.projections.iter().map(|(attribute, _)| attribute.as_str());
        for name in keys.into_iter().flatten().chain(projected) {
            if name.is_empty() || name.len() > 255 {
                return Err(configuration(
                    "the name of a key or projection does not have 1 to 255 bytes",
                ));
            }
            if names.contains(&name) {
                return Err(configuration(format!(
                    "two things would be stored in the attribute `{name}`"
                )));
            }
            names.push(name);
        }
        match self.projections.iter().find(|(_, pointer)| !pointer.starts_with('/')) {
            Some((attribute, pointer)) => Err(configuration(format!(
                "what is projected to `{attribute}` is no JSON pointer: \"{pointer}\" does not begin with `/`"
            ))),
            None => Ok(()),
        }
    }
}

pub(super) fn configuration(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Configuration, message)
}

impl fmt::Debug for DynamoDbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbBuilder").field("table", &self.table).finish_non_exhaustive()
    }
}
