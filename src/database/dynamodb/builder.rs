use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;

use super::client::bounded;
use super::projection::Projection;
use super::tombstone::TOMBSTONE;
use super::{DynamoDb, EXPIRES, Inner, PARTITION_KEY, VERSION};
use crate::Error;
use crate::error::Kind;

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
            partition_key: PARTITION_KEY.to_owned(),
            sort_key: None,
            key_prefix: String::new(),
            projections: Vec::new(),
            create_table: true,
            provisioned: None,
            expire_users_after: None,
        }
    }

    /// The region, such as `eu-central-1`. Without it, feature `aws-config` finds it in the environment; where an
    /// [`endpoint_url`](Self::endpoint_url) is given, it is `us-east-1` if nothing says otherwise.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The access key. Without it, feature `aws-config` finds credentials in the environment, as those of a Lambda's role.
    /// DynamoDB Local takes any, and gives each access key tables of its own.
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

    /// A client of your own, instead of `region`, `credentials` and `endpoint_url`. Where it has neither an operation
    /// time-out nor one for an attempt, it gets [`timeout`](Self::timeout).
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// How long one load, save or deletion may take, tries included; one try of it may take half of that. The default is 2 seconds. The
    /// layer has time-outs of its own, which come on top.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
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

    /// Whether the table is created where it is missing, paid per request unless it is [`provisioned`](Self::provisioned).
    /// Its time to live is switched on for `expiresAt`, by which it removes tombstones. The default is `true`. With `false`, a role that may not describe the table can use it as well.
    pub fn create_table(mut self, create: bool) -> Self {
        self.create_table = create;
        self
    }

    /// Creates the table with this throughput, in capacity units, instead of paid per request.
    pub fn provisioned(mut self, read: u32, write: u32) -> Self {
        self.provisioned = Some((read, write));
        self
    }

    /// Forgets a user for whom nothing was saved for so long. Every save writes `expiresAt` (epoch seconds); a request that
    /// only reads does not put it off. The table's time to live is switched on, so that DynamoDB removes what is
    /// expired, usually within days; until then it is not served, and a new user takes its place.
    ///
    /// What was stored before this was set expires only after its next save. What was stored with it keeps its `expiresAt` when this
    /// is taken away again, and is removed then unless the table's time to live is switched off as well.
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expire_users_after = Some(duration);
        self
    }

    /// Makes the client. The table is looked at by [`ensure_ready`](crate::Database::ensure_ready), or at the first request.
    ///
    /// # Errors
    ///
    /// When a setting is wrong, or region or credentials are neither given nor, with feature `aws-config`, found. Whether
    /// credentials that come from the environment are there shows at the first request.
    pub async fn build(self) -> Result<DynamoDb, Error> {
        self.check()?;
        let client = match &self.client {
            Some(client) => bounded(client, self.timeout),
            None => Client::from_conf(self.config().await?.build()),
        };
        let projections = self.projections.iter();
        Ok(DynamoDb {
            inner: Arc::new(Inner {
                client,
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
                readiness: super::table::Readiness::default(),
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
        if self.timeout.is_zero() {
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
        let mut names = vec![VERSION, TOMBSTONE];
        names.extend(ours);
        names.extend(self.expire_users_after.map(|_| EXPIRES));
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
