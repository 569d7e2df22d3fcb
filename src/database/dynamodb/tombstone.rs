//! Deletes an item, and leaves a tombstone in its place if the table removes that again.

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{Attributes, TOMBSTONE, VERSION};
use super::inner::{Inner, seconds};
use super::known::Known;
use crate::database::Version;
use crate::database::tombstone::LIFETIME;
use crate::error::Error;

/// A tombstone that a read returned.
pub(super) struct Tombstone {
    version: String,
    ends: u64,
}

impl Tombstone {
    /// Reads a tombstone. An item with any other attribute is not a tombstone: another writer has
    /// written over it.
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

    /// Returns the tombstone's version until it expires.
    pub(super) fn version(&self) -> Option<Version> {
        (seconds() < self.ends).then(|| Known::tombstone(self.version.clone()).into_version())
    }
}

impl Inner {
    /// Deletes the item, and leaves a tombstone in its place if the table will remove it.
    pub(super) async fn delete(&self, id: &str) -> Result<(), Error> {
        let key = self.key(id)?;
        let Some(time_to_live) = self.time_to_live().await else {
            let request = self.client.delete_item().table_name(&self.table).set_key(Some(key));
            let delete = || async {
                let deleted = request.clone().send().await;
                deleted.map(drop).map_err(|error| self.failed("DeleteItem", error))
            };
            return self.while_throttled(delete).await;
        };
        let end = AttributeValue::N((seconds() + LIFETIME.as_secs()).to_string());
        let version = AttributeValue::S(Version::unique().to_string());
        let own = [(VERSION.into(), version), (TOMBSTONE.into(), end.clone()), (time_to_live, end)];
        let item = key.into_iter().chain(own).collect();
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = || async {
            let put = request.clone().send().await;
            put.map(drop).map_err(|error| self.failed("PutItem", error))
        };
        self.while_throttled(put).await
    }
}
