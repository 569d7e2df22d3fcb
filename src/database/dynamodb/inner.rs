//! The state that clones share: the client, the settings, and the keys of items.

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{Attributes, EXPIRES, TOMBSTONE};
use super::credentials::CredentialsCache;
use super::failure;
use super::projection::Projection;
use super::readiness::Readiness;
use crate::error::Error;

/// The longest value of a partition key, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_PARTITION_KEY: usize = 2048;

/// The state that all clones of a [`DynamoDb`](super::DynamoDb) share.
pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) credentials: CredentialsCache,
    pub(super) table: String,
    pub(super) endpoint: Option<String>,
    pub(super) partition_key: String,
    pub(super) sort_key: Option<(String, String)>,
    pub(super) key_prefix: String,
    pub(super) projections: Vec<Projection>,
    pub(super) create_table: bool,
    pub(super) provisioned: Option<(i64, i64)>,
    pub(super) expire_users_after: Option<Duration>,
    pub(super) timeout: Duration,
    pub(super) ready_timeout: Duration,
    pub(super) readiness: Readiness,
}

impl Inner {
    /// Refuses a user id that makes no key.
    pub(super) fn check_id(&self, id: &str) -> Result<(), Error> {
        if (1..=MAX_PARTITION_KEY).contains(&(self.key_prefix.len() + id.len())) {
            return Ok(());
        }
        Err(Error::encode(format!(
            "the user id has {} bytes; `{}` must have 1 to {MAX_PARTITION_KEY} bytes, prefix included",
            id.len(),
            self.partition_key
        )))
    }

    /// Makes the key of a user's item.
    pub(super) fn key(&self, id: &str) -> Result<Attributes, Error> {
        self.check_id(id)?;
        let value = [self.key_prefix.as_str(), id].concat();
        let mut key = Attributes::from([(self.partition_key.clone(), AttributeValue::S(value))]);
        if let Some((name, value)) = &self.sort_key {
            key.insert(name.clone(), AttributeValue::S(value.clone()));
        }
        Ok(key)
    }

    /// Returns whether an attribute is a key of the table.
    pub(super) fn is_key(&self, name: &str) -> bool {
        name == self.partition_key || self.sort_key.as_ref().is_some_and(|(key, _)| key == name)
    }

    /// Returns whether an attribute belongs to the database rather than to the record. The version
    /// is handled separately.
    pub(super) fn is_own(&self, name: &str) -> bool {
        self.is_key(name)
            || name == TOMBSTONE
            || name == EXPIRES
            || self.projections.iter().any(|projection| projection.attribute == name)
    }

    /// Returns the table's place for error texts: its endpoint or its region.
    pub(super) fn place(&self) -> String {
        match (&self.endpoint, self.client.config().region()) {
            (Some(endpoint), _) => format!(" at {endpoint}"),
            (None, Some(region)) => format!(" in region {region}"),
            (None, None) => String::new(),
        }
    }

    /// Makes the error for a call that failed.
    pub(super) fn failed<E, R>(&self, action: &str, error: SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
        R: fmt::Debug + Send + Sync + 'static,
        SdkError<E, R>: RequestId,
    {
        failure::failed(action, &self.table, error)
    }
}

pub(super) fn seconds() -> u64 {
    // With a clock before 1970 nothing expires.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
