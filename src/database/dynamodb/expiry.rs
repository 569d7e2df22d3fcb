//! The table's time to live, by which DynamoDB removes what is expired.

use aws_sdk_dynamodb::types::{TimeToLiveSpecification, TimeToLiveStatus};

use super::failure::failed;
use super::table::patient;
use super::{EXPIRES, Inner};
use crate::error::{Error, Kind};

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
            Err(error) => return Err(failed("DescribeTimeToLive", table, error)),
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
        Err(failed("UpdateTimeToLive", table, error))
    }
}
