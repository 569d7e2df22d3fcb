//! The table's time to live, by which DynamoDB removes what is expired.

use aws_sdk_dynamodb::types::{TimeToLiveSpecification, TimeToLiveStatus};

use super::failure::{code, failed};
use super::table::{DENIED, patient};
use super::{EXPIRES, Inner};
use crate::Error;
use crate::error::Kind;

impl Inner {
    pub(super) async fn switch_expiry_on(&self) -> Result<(), Error> {
        let table = &self.table;
        let request = self.client.describe_time_to_live().table_name(table);
        match request.customize().config_override(patient()).send().await {
            Ok(described) => {
                let current = described.time_to_live_description();
                let attribute = current.and_then(|current| current.attribute_name());
                match current.and_then(|current| current.time_to_live_status()) {
                    Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => {
                        return match attribute {
                            Some(other) if other != EXPIRES => Err(Error::new(
                                Kind::Configuration,
                                format!(
                                    "table \"{table}\" expires items by `{other}`, not by `{EXPIRES}`; \
                                     DynamoDB takes one attribute a table"
                                ),
                            )),
                            _ => Ok(()),
                        };
                    }
                    Some(TimeToLiveStatus::Disabling) => {
                        tracing::warn!("expiry of table \"{table}\" is just being switched off");
                        return Ok(());
                    }
                    _ => {}
                }
            }
            Err(error) => {
                let denied = code(&error).is_some_and(|code| DENIED.contains(&code));
                return self.without_expiry(denied, failed("DescribeTimeToLive", table, error));
            }
        }
        let specification =
            TimeToLiveSpecification::builder().attribute_name(EXPIRES).enabled(true).build();
        let request = self
            .client
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(specification.map_err(Error::database)?);
        let Err(error) = request.customize().config_override(patient()).send().await else {
            return Ok(());
        };
        // By another process, at the same time.
        let message = error.as_service_error().map(|error| error.to_string()).unwrap_or_default();
        if message.contains("already enabled") {
            return Ok(());
        }
        let denied = code(&error).is_some_and(|code| DENIED.contains(&code));
        self.without_expiry(denied, failed("UpdateTimeToLive", table, error))
    }

    /// A role that may not even look at the table does not stop requests where no table is to be created: what is
    /// expired is not served either way.
    fn without_expiry(&self, denied: bool, error: Error) -> Result<(), Error> {
        if denied && !self.create_table {
            let table = &self.table;
            tracing::warn!(
                "whether table \"{table}\" removes what is expired is not known: {error}"
            );
            return Ok(());
        }
        Err(error)
    }
}
