//! Checks the settings before a client is made, so that a wrong one is an error at start.

use super::DynamoDbBuilder;
use crate::database::dynamodb::attributes::{EXPIRES, META_DATA, ORDER, TOMBSTONE, VERSION};
use crate::database::dynamodb::client::Access;
use crate::error::Error;

/// The longest value of a sort key, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_SORT_KEY: usize = 1024;

impl DynamoDbBuilder {
    /// Refuses settings that DynamoDB would not accept.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Access { table, endpoint, timeout, ready_timeout, .. } = &self.access;
        let is_name = (3..=255).contains(&table.len())
            && table.chars().all(|each| each.is_ascii_alphanumeric() || "_.-".contains(each));
        if !is_name && !table.starts_with("arn:") {
            return Err(Error::configuration(format!(
                "\"{table}\" is not a table name; use 3 to 255 letters, digits, `_`, `-` and `.`, or an ARN"
            )));
        }
        if let Some(url) = endpoint
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            return Err(Error::configuration(
                "the endpoint URL does not begin with `http://` or `https://`; add one of them",
            ));
        }
        if self.expire_users_after.is_some_and(|duration| duration.is_zero()) {
            return Err(Error::configuration(
                "users cannot expire after no time; set `expire_users_after` above zero",
            ));
        }
        if timeout.is_zero() || ready_timeout.is_zero() {
            return Err(Error::configuration(
                "the time-out is zero; set a longer `timeout` or `ready_timeout`",
            ));
        }
        if self
            .sort_key
            .as_ref()
            .is_some_and(|(_, value)| !(1..=MAX_SORT_KEY).contains(&value.len()))
        {
            return Err(Error::configuration(format!(
                "the value of the sort key is empty or too long; use 1 to {MAX_SORT_KEY} bytes"
            )));
        }
        self.check_names()
    }

    /// Refuses an attribute with two meanings.
    fn check_names(&self) -> Result<(), Error> {
        let mut names = vec![VERSION, TOMBSTONE, EXPIRES, META_DATA];
        names.extend(ORDER);
        let keys = [
            Some(self.partition_key.as_str()),
            self.sort_key.as_ref().map(|(name, _)| name.as_str()),
        ];
        let projected = self.projections.iter().map(|(attribute, _)| attribute.as_str());
        for name in keys.into_iter().flatten().chain(projected) {
            if name.is_empty() || name.len() > 255 {
                return Err(Error::configuration(
                    "the name of a key or projection is empty or too long; use 1 to 255 bytes",
                ));
            }
            if names.contains(&name) {
                return Err(Error::configuration(format!(
                    "two values would be stored in the attribute `{name}`; choose another name"
                )));
            }
            names.push(name);
        }
        match self.projections.iter().find(|(_, pointer)| !pointer.starts_with('/')) {
            Some((attribute, pointer)) => Err(Error::configuration(format!(
                "\"{pointer}\", projected to `{attribute}`, is not a JSON pointer: it does not begin with `/`"
            ))),
            None => Ok(()),
        }
    }
}
