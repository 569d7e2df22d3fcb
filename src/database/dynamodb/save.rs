//! Saves a record by one conditional write, and interprets the result.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::attributes::{EXPIRES, VERSION};
use super::expression::{self, Expression};
use super::failure::{self, Trouble};
use super::inner::{Inner, seconds};
use super::item::{Attributes, Types, Writer};
use super::known::{Content, Item, Known};
use super::send::Refused;
use super::{path, size};
use crate::database::changes::Change;
use crate::database::tombstone::is_nothing;
use crate::database::{Loaded, Saved, Version};
use crate::error::Error;
use crate::record::Record;

/// The number of attributes that one update may set and remove: an expression has at most 4 KB and
/// 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_UPDATE: usize = 250;

/// The number of attempts at a write that only expired items obstruct.
const ATTEMPTS: usize = 3;

/// The item that refused the write, if any, and the types of the values that were written.
type Written = (Option<Refused>, Types);

impl Inner {
    /// Saves the record if the stored state is the `expected` one. Expired items and tombstones do
    /// not obstruct the save.
    pub(super) async fn write(
        &self,
        id: &str,
        record: &Record,
        expected: Option<&Version>,
    ) -> Result<Saved, Error> {
        // A caller that expects plain absence knows nothing of tombstones, so one does not hold it
        // back: the next attempt expects that tombstone.
        let is_unaware = expected.is_none();
        let mut expected = expected.filter(|version| !is_nothing(version)).cloned();
        for _ in 0..ATTEMPTS {
            match self.try_write(id, record, expected.as_ref()).await? {
                Ok(saved) => return Ok(saved),
                Err(Some(tombstone)) if is_unaware => expected = Some(tombstone),
                Err(Some(_)) => return Ok(Saved::Conflict(None)),
                Err(None) => {}
            }
        }
        let table = &self.table;
        Err(Error::database(format!(
            "a write to table \"{table}\" was refused, and the server did not return the item; use a \
             server that supports `ReturnValuesOnConditionCheckFailure`"
        )))
    }

    /// Writes once, and tells apart the four reasons why the condition may fail:
    ///
    /// * the write itself succeeded in an earlier attempt whose answer was lost: the item has our
    ///   version;
    /// * an earlier attempt may have succeeded before another writer changed the item: the outcome
    ///   is unknown, and neither a success nor a conflict may be reported, since the caller would
    ///   apply its turn twice;
    /// * another writer was faster: a conflict;
    /// * the obstacle has expired in the meantime, or is a tombstone: `Err`, with the tombstone's
    ///   version, and the caller decides whether to try again.
    async fn try_write(
        &self,
        id: &str,
        record: &Record,
        expected: Option<&Version>,
    ) -> Result<Result<Saved, Option<Version>>, Error> {
        let key = self.key(id)?;
        // The version remembers the old values, so the write needs no read before it.
        let known = expected.map(Known::of);
        let known = known.as_deref();
        let fields = record.fields();
        if let Some(name) = fields.keys().find(|name| *name == VERSION || self.is_own(name)) {
            let table = &self.table;
            return Err(Error::encode(format!(
                "`/{name}` cannot be stored: in table \"{table}\" the database itself uses that attribute; \
                 use another name"
            )));
        }
        // A unique version lets the write recognise itself if its answer is lost.
        let version = Version::unique().to_string();
        let own = self.own_attributes(version.clone(), fields);
        let expected_item = known.filter(|known| !matches!(known.content, Content::Tombstone));
        let sent = match known.map(|known| (known, &known.content)) {
            Some((known, Content::Item(item))) => {
                let changes = item.changes(fields);
                if changes.len() <= MAX_UPDATE {
                    self.update(key.clone(), (known, item), (fields, &changes), own).await
                } else {
                    self.replace(key.clone(), known, &changes, fields, own).await
                }
            }
            // Expects absence, a tombstone, or an item of which only the version is known. In each
            // case no old value is left to compare or to keep, so the whole item is written.
            Some((known, _)) => self.replace(key.clone(), known, &[], fields, own).await,
            None => {
                let condition = |expression: &mut _| Ok(self.is_absent(expression));
                self.put(key.clone(), fields, None, own, condition).await
            }
        };
        let (refused, types) = match sent {
            Err(error) if failure::trouble(&error) == Some(Trouble::TooLarge) => {
                return Err(self.too_large(key, fields).await);
            }
            sent => sent?,
        };
        let stored = || {
            let known = Known::item(Some(version.clone()), record.clone(), types);
            Ok(Ok(Saved::Written(known.into_version())))
        };
        let Some(refused) = refused else { return stored() };
        // An earlier attempt wrote it, and its answer was lost.
        if written_version(&refused.item) == Some(&version) {
            return stored();
        }
        match self.found(refused.item)? {
            Loaded::Present(_) if refused.may_have_written => Err(self.uncertain()),
            Loaded::Present(current) => Ok(Ok(Saved::Conflict(Some(current)))),
            // An item that an earlier attempt may have written has been deleted.
            Loaded::Absent(Some(_)) if refused.may_have_written => Ok(Ok(Saved::Conflict(None))),
            Loaded::Absent(tombstone) if expected_item.is_none() => Ok(Err(tombstone)),
            Loaded::Absent(_) => Ok(Ok(Saved::Conflict(None))),
        }
    }

    /// Writes the changes. Only those are converted, and only their old values are compared.
    async fn update(
        &self,
        key: Attributes,
        (known, item): (&Known, &Item),
        (fields, changes): (&Map<String, Value>, &[Change<'_>]),
        own: Attributes,
    ) -> Result<Written, Error> {
        let mut writer = Writer::new(Some(&item.types));
        let mut parts = Vec::with_capacity(changes.len());
        for change in changes {
            let value = change.new.map(|new| writer.part(&change.path, new)).transpose()?;
            parts.push((change, value));
        }
        let mut types = writer.types;
        if !item.types.is_empty() {
            let changed: Vec<String> =
                changes.iter().map(|change| path::pointer(&change.path)).collect();
            let is_in = |path: &str, change: &String| {
                path.strip_prefix(change.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            let untouched = item
                .types
                .iter()
                .filter(|(path, _)| !changed.iter().any(|change| is_in(path, change)));
            types.extend(untouched.map(|(path, kind)| (path.clone(), kind.clone())));
        }
        // Checks the changes only: other writers may have added more to the item, and only DynamoDB
        // knows its full size.
        let named = parts
            .iter()
            .filter_map(|(change, value)| Some((change.path.last().copied()?, value.as_ref()?)));
        let attributes = key.iter().chain(&own).map(|(name, value)| (name.as_str(), value));
        if !size::fits(named.chain(attributes)) {
            return Err(size::too_large(Writer::new(None).fields(fields)?.iter()));
        }
        let mut expression = Expression::default();
        let condition = self.is_still(known, changes, &mut expression)?;
        // A projection with a value is among the attributes to set and is not removed.
        let projections = self.projections.iter().map(|projection| projection.attribute.as_str());
        let update = expression::update(&mut expression, own, parts, projections);
        Ok((self.update_item(key, expression, update, condition).await?, types))
    }

    /// Replaces the whole item if it is still the known one.
    async fn replace(
        &self,
        key: Attributes,
        known: &Known,
        changes: &[Change<'_>],
        fields: &Map<String, Value>,
        own: Attributes,
    ) -> Result<Written, Error> {
        let types = match &known.content {
            Content::Item(item) => Some(&item.types),
            _ => None,
        };
        self.put(key, fields, types, own, |expression| match known.content {
            Content::Tombstone => Ok(self.is_absent_or(known, expression)),
            _ => self.is_still(known, changes, expression),
        })
        .await
    }

    /// Writes the whole item on `condition`.
    async fn put(
        &self,
        key: Attributes,
        fields: &Map<String, Value>,
        types: Option<&Types>,
        own: Attributes,
        condition: impl FnOnce(&mut Expression) -> Result<String, Error>,
    ) -> Result<Written, Error> {
        let mut writer = Writer::new(types);
        let attributes = writer.fields(fields)?;
        let item: Attributes = key.into_iter().chain(attributes).chain(own).collect();
        size::check(item.iter())?;
        let mut expression = Expression::default();
        let condition = condition(&mut expression)?;
        Ok((self.put_item(item, expression, condition).await?, writer.types))
    }

    /// Makes the error of an item that became too large together with attributes of other writers.
    async fn too_large(&self, key: Attributes, fields: &Map<String, Value>) -> Error {
        let read = self.client.get_item().table_name(&self.table).set_key(Some(key));
        // If the read fails, the record's own fields still make a useful error.
        let current = read.consistent_read(true).send().await.ok().and_then(|answer| answer.item);
        let mut item = current.unwrap_or_default();
        match Writer::new(None).fields(fields) {
            Ok(ours) => item.extend(ours),
            Err(error) => return error,
        }
        size::too_large(item.iter())
    }

    /// Makes the error of a write whose outcome is unknown: another writer changed the item, which
    /// was either the loaded one or already the one that this call stored.
    fn uncertain(&self) -> Error {
        Error::database(format!(
            "it is not known whether an item was written to table \"{}\": the answer was lost, and another \
             writer changed the item before the write could be repeated",
            self.table
        ))
    }

    /// Returns the attributes that belong to no field of the record.
    fn own_attributes(&self, version: String, fields: &Map<String, Value>) -> Attributes {
        let mut own = Attributes::from([(VERSION.to_owned(), AttributeValue::S(version))]);
        if let Some(duration) = self.expire_users_after {
            let expires = seconds().saturating_add(duration.as_secs().max(1));
            own.insert(EXPIRES.to_owned(), AttributeValue::N(expires.to_string()));
        }
        own.extend(self.projections.iter().filter_map(|projection| {
            let kind = self.readiness.kind(&projection.attribute);
            Some((projection.attribute.clone(), projection.value(fields, kind.as_ref())?))
        }));
        own
    }
}

fn written_version(item: &Attributes) -> Option<&String> {
    item.get(VERSION)?.as_s().ok()
}
