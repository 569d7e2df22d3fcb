//! The table's time to live, by which DynamoDB removes expired items.

use std::sync::{PoisonError, RwLock};

use aws_sdk_dynamodb::config;
use aws_sdk_dynamodb::types::{TimeToLiveSpecification, TimeToLiveStatus};

use super::attributes::{EXPIRES, META_DATA, ORDER, TOMBSTONE, VERSION};
use super::client::{patient, timeouts};
use super::failure::{DENIED, UNKNOWN_OPERATION, code, failed};
use super::inner::Inner;
use crate::error::Error;

/// Remembers the attribute of the table's time to live: unknown, none, or its name.
#[derive(Debug, Default)]
pub(super) struct TimeToLive(RwLock<Option<Option<String>>>);

impl TimeToLive {
    fn known(&self) -> Option<Option<String>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, attribute: Option<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(attribute);
    }

    pub(super) fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

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
                            Some(other) if other != EXPIRES => Err(Error::configuration(format!(
                                "table \"{table}\" expires items by `{other}`, not by `{EXPIRES}`; \
                                 DynamoDB takes one attribute per table, so switch the other one off first"
                            ))),
                            _ => Ok(()),
                        };
                    }
                    Some(TimeToLiveStatus::Disabling) => {
                        tracing::warn!(
                            "the time to live of table \"{table}\" is being switched off"
                        );
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
        // Another process enabled it at the same time.
        let message = error.as_service_error().map(|error| error.to_string()).unwrap_or_default();
        if message.contains("already enabled") {
            return Ok(());
        }
        Err(failed("UpdateTimeToLive", table, error))
    }

    /// Returns the attribute by which the table removes items, if its time to live is on. Asks only
    /// once, at the first deletion.
    pub(super) async fn time_to_live(&self) -> Option<String> {
        if let Some(known) = self.readiness.time_to_live.known() {
            return known;
        }
        let table = &self.table;
        let request = self.client.describe_time_to_live().table_name(table);
        // Leaves time for the deletion itself.
        let limits = config::Builder::new().timeout_config(timeouts(self.timeout / 2));
        let (attribute, is_final) = match request.customize().config_override(limits).send().await {
            Ok(described) => {
                let attribute = described.time_to_live_description.and_then(|current| {
                    let is_on = matches!(
                        current.time_to_live_status(),
                        Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
                    );
                    current.attribute_name.filter(|attribute| is_on && !self.is_taken(attribute))
                });
                (attribute, true)
            }
            Err(error) => {
                let is_final = code(&error)
                    .is_some_and(|code| DENIED.contains(&code) || code == UNKNOWN_OPERATION);
                let error = failed("DescribeTimeToLive", table, error);
                tracing::debug!("a deletion from table \"{table}\" leaves no tombstone: {error}");
                (None, is_final)
            }
        };
        // After a passing failure, the next deletion asks again.
        if is_final {
            self.readiness.time_to_live.note(attribute.clone());
        }
        attribute
    }

    /// Returns whether an attribute already has a meaning, for this crate or for an index.
    fn is_taken(&self, attribute: &str) -> bool {
        self.is_key(attribute)
            || [VERSION, TOMBSTONE, META_DATA].contains(&attribute)
            || ORDER.contains(&attribute)
            || self.projections.iter().any(|projection| projection.attribute == attribute)
            || self.readiness.kind(attribute).is_some()
    }
}
