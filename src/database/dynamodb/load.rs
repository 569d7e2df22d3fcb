//! Loads an item by one consistent read, and makes a record of it.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::{Attributes, EXPIRES, TOMBSTONE, VERSION};
use super::inner::{Inner, seconds};
use super::known::Known;
use super::read::has_foreign;
use super::tombstone::Tombstone;
use crate::database::{Loaded, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

impl Inner {
    /// Reads an item, consistently: the condition of a save compares with the result.
    pub(super) async fn read(&self, id: &str) -> Result<Loaded, Error> {
        let read = || async {
            let request = self.client.get_item().table_name(&self.table);
            let request = request.set_key(Some(self.key(id)?)).consistent_read(true);
            request.send().await.map_err(|error| self.failed("GetItem", error))
        };
        let item = self.while_throttled(read).await?.item;
        self.found(item.unwrap_or_default()).map(Loaded::with_version)
    }

    /// Interprets an item: an absent or expired one as no record.
    pub(super) fn found(&self, item: Attributes) -> Result<Loaded, Error> {
        if item.is_empty() || self.is_expired(&item) {
            return Ok(Loaded::Absent(None));
        }
        match Tombstone::read(&item, |name| self.is_key(name)) {
            Some(tombstone) => Ok(Loaded::Absent(tombstone.version())),
            None => self.stored(item).map(Loaded::Present),
        }
    }

    /// Makes a record of an item, and a version that remembers it.
    fn stored(&self, mut item: Attributes) -> Result<VersionedRecord, Error> {
        let version = match item.remove(VERSION) {
            None => None,
            Some(AttributeValue::S(version)) => Some(version),
            Some(_) => {
                let table = &self.table;
                return Err(Error::decode(format!(
                    "`{VERSION}` of an item in table \"{table}\" is not a string; remove that attribute"
                )));
            }
        };
        // A tombstone that another program wrote over is an item again. The tombstone's remains are
        // not part of the record, and the next save removes them: the expiry above all, by which
        // DynamoDB would remove the item.
        let end = item.get(TOMBSTONE).cloned();
        let is_left = |value: &AttributeValue| Some(value) == end.as_ref();
        let left: Vec<String> =
            item.iter().filter(|(_, value)| is_left(value)).map(|(name, _)| name.clone()).collect();
        item.retain(|name, value| {
            name == TOMBSTONE || (name == EXPIRES && is_left(value)) || !self.is_own(name)
        });
        let has_foreign = has_foreign(&item)?;
        let item = Arc::new(item);
        let foreign = has_foreign.then(|| Arc::clone(&item));
        let loaded = Record::of_source(item);
        let version = Known::item(version, loaded.clone(), foreign).into_version();
        if left.is_empty() {
            return Ok(VersionedRecord { record: loaded, version });
        }
        let mut fields = loaded.fields().clone();
        fields.retain(|name, _| !left.contains(name));
        Ok(VersionedRecord { record: Record::new(fields), version })
    }

    fn is_expired(&self, item: &Attributes) -> bool {
        let expires = || item.get(EXPIRES).and_then(|value| value.as_n().ok());
        self.expire_users_after.is_some()
            && expires().is_some_and(|at| at.parse::<f64>().is_ok_and(|at| at <= seconds() as f64))
    }
}
