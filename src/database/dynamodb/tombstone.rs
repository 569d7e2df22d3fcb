//! What a deletion leaves in the table, where the table removes it again.

use std::sync::{PoisonError, RwLock};

use aws_sdk_dynamodb::types::{AttributeValue, TimeToLiveStatus};

use super::client::timeouts;
use super::failure::{DENIED, code, failed};
use super::item::Attributes;
use super::known::Known;
use super::write::ORDER;
use super::{Inner, VERSION, seconds};
use crate::database::Version;
use crate::database::tombstone::LIFETIME;
use crate::error::Error;

/// Our attribute that makes an item a tombstone, with the time at which it ends, in epoch seconds. The attribute of the table's
/// time to live has the same.
pub(super) const TOMBSTONE: &str = "persistenceTombstone";

/// What is known of the table's time to live.
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

/// A tombstone that was found.
pub(super) struct Tombstone {
    version: String,
    ends: u64,
}

impl Tombstone {
    /// An item that has anything else in it is none: somebody has written over it.
    pub(super) fn read(item: &Attributes, is_key: impl Fn(&str) -> bool) -> Option<Self> {
        let end = item.get(TOMBSTONE)?;
        let is_of_tombstone = |(name, value): (&String, &AttributeValue)| {
            is_key(name) || name == VERSION || value == end
        };
        if !item.iter().all(is_of_tombstone) {
            return None;
        }
        let version = item.get(VERSION)?.as_s().ok()?.clone();
        Some(Self { version, ends: end.as_n().ok()?.parse().ok()? })
    }

    /// The version, as long as it counts.
    pub(super) fn version(&self) -> Option<Version> {
        (seconds() < self.ends).then(|| Known::tombstone(self.version.clone()).into_version())
    }
}

impl Inner {
    /// Deletes the item; leaves a tombstone in its place if the table will remove it.
    pub(super) async fn delete(&self, key: Attributes) -> Result<(), Error> {
        let Some(time_to_live) = self.time_to_live().await else {
            let request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
            let deleted = self.while_throttled(|| request.clone().send()).await;
            return deleted.map(drop).map_err(|error| self.failed("DeleteItem", error));
        };
        let end = AttributeValue::N((seconds() + LIFETIME.as_secs()).to_string());
        let version = AttributeValue::S(Version::unique().to_string());
        let own = [(VERSION.into(), version), (TOMBSTONE.into(), end.clone()), (time_to_live, end)];
        let item = key.into_iter().chain(own).collect();
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = self.while_throttled(|| request.clone().send()).await;
        put.map(drop).map_err(|error| self.failed("PutItem", error))
    }

    /// The attribute by which the table removes items, if it does. It is asked once, by the first deletion.
    async fn time_to_live(&self) -> Option<String> {
        if let Some(known) = self.readiness.time_to_live.known() {
            return known;
        }
        let table = &self.table;
        let request = self.client.describe_time_to_live().table_name(table);
        // The deletion still has to come within the time.
        let limits =
            aws_sdk_dynamodb::config::Builder::new().timeout_config(timeouts(self.timeout / 2));
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
                let is_final =
                    code(&error).is_some_and(|code| DENIED.contains(&code) || code == UNKNOWN);
                let error = failed("DescribeTimeToLive", table, error);
                tracing::debug!("a deletion from table \"{table}\" leaves no tombstone: {error}");
                (None, is_final)
            }
        };
        // Otherwise the next one asks again.
        if is_final {
            self.readiness.time_to_live.note(attribute.clone());
        }
        attribute
    }

    /// Whether an attribute means something else already, to us or to an index.
    fn is_taken(&self, attribute: &str) -> bool {
        self.is_key(attribute)
            || [VERSION, TOMBSTONE, "metaData"].contains(&attribute)
            || ORDER.contains(&attribute)
            || self.projections.iter().any(|projection| projection.attribute == attribute)
            || self.readiness.kind(attribute).is_some()
    }
}

/// What a server answers that has no such call.
const UNKNOWN: &str = "UnknownOperationException";
