//! Saves a record by one conditional write, and interprets the result.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;

use super::attempts;
use super::attributes::{Attributes, EXPIRES, VERSION};
use super::expression::{self, Expression, Own};
use super::failure::{self, Trouble};
use super::inner::{Inner, seconds};
use super::known::{Content, Item, Known};
use super::send::Refused;
use super::{size, write};
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

/// The item that refused the write, if any, and the item that was written, if some of its values
/// may have types that JSON lacks.
type Written = (Option<Refused>, Option<Arc<Attributes>>);

/// One save: the record, and the version under which it is written.
struct Save<'a> {
    id: &'a str,
    record: &'a Record,
    version: &'a str,
}

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
        self.check_id(id)?;
        // The version remembers the old values, so the write needs no read before it.
        let known = expected.map(Known::of);
        let known = known.as_deref();
        if let Some(name) = record.find_name(|name| name == VERSION || self.is_own(name)) {
            let table = &self.table;
            return Err(Error::encode(format!(
                "`/{name}` cannot be stored: in table \"{table}\" the database itself uses that attribute; \
                 use another name"
            )));
        }
        // A unique version lets the write recognise itself if its answer is lost.
        let version = Version::unique();
        let save = Save { id, record, version: version.as_str() };
        let expected_item = known.filter(|known| !matches!(known.content, Content::Tombstone));
        let sent = attempts::noted(self.while_throttled(|| self.send(&save, known))).await;
        let (refused, foreign) = match sent {
            Err(error) if failure::trouble(&error) == Some(Trouble::TooLarge) => {
                return Err(self.too_large(self.key(id)?, record).await);
            }
            sent => sent?,
        };
        let stored = || {
            let known = Known::item(Some(version.to_string()), record.clone(), foreign);
            Ok(Ok(Saved::Written(known.into_version())))
        };
        let Some(refused) = refused else { return stored() };
        // An earlier attempt wrote it, and its answer was lost.
        if written_version(&refused.item).is_some_and(|written| written == version.as_str()) {
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

    /// Sends the write of a save.
    async fn send(&self, save: &Save<'_>, known: Option<&Known>) -> Result<Written, Error> {
        match known.map(|known| (known, &known.content)) {
            Some((known, Content::Item(item))) => {
                let changes = item.changes(save.record);
                if changes.len() <= MAX_UPDATE {
                    self.update(save, (known, item), &changes).await
                } else {
                    self.replace(save, known, &changes).await
                }
            }
            // Expects absence, a tombstone, or an item of which only the version is known. In each
            // case no old value is left to compare or to keep, so the whole item is written.
            Some((known, _)) => self.replace(save, known, &[]).await,
            None => {
                let condition = |expression: &mut _| {
                    self.is_absent(expression);
                    Ok(())
                };
                self.put(save, None, condition).await
            }
        }
    }

    /// Writes the changes. Only those are converted, and only their old values are compared.
    async fn update(
        &self,
        save: &Save<'_>,
        (known, item): (&Known, &Item),
        changes: &[Change<'_>],
    ) -> Result<Written, Error> {
        let (key, own) = (self.key(save.id)?, self.own_attributes(save));
        let before = item.foreign.as_deref();
        let mut parts = Vec::with_capacity(changes.len());
        for change in changes {
            let value = change.new.map(|new| write::part(&change.path, new, before)).transpose()?;
            parts.push((change, value));
        }
        let foreign = item.foreign_after(&parts);
        // Checks the changes only: other writers may have added more to the item, and only DynamoDB
        // knows its full size.
        let named = parts
            .iter()
            .filter_map(|(change, value)| Some((change.path.last().copied()?, value.as_ref()?)));
        let key_parts = key.iter().map(|(name, value)| (name.as_str(), value));
        let own_parts = own.iter().map(|(name, value)| (*name, value));
        if !size::fits(named.chain(key_parts).chain(own_parts)) {
            return Err(size::too_large(write::fields(save.record.fields(), None)?.iter()));
        }
        let mut expression = Expression::default();
        self.is_still(known, changes, &mut expression)?;
        let condition = expression.end();
        // A projection with a value is among the attributes to set and is not removed.
        let projections = self.projections.iter().map(|projection| projection.attribute.as_str());
        expression::update(&mut expression, own, parts, projections);
        let texts = (condition, expression.end());
        Ok((self.update_item(key, expression, texts).await?, foreign))
    }

    /// Replaces the whole item if it is still the known one.
    async fn replace(
        &self,
        save: &Save<'_>,
        known: &Known,
        changes: &[Change<'_>],
    ) -> Result<Written, Error> {
        let before = match &known.content {
            Content::Item(item) => item.foreign.as_deref(),
            _ => None,
        };
        let condition = |expression: &mut _| match known.content {
            Content::Tombstone => {
                self.is_absent_or(known, expression);
                Ok(())
            }
            _ => self.is_still(known, changes, expression),
        };
        self.put(save, before, condition).await
    }

    /// Writes the whole item on `condition`.
    async fn put<'a>(
        &self,
        save: &Save<'_>,
        before: Option<&Attributes>,
        condition: impl FnOnce(&mut Expression<'a>) -> Result<(), Error>,
    ) -> Result<Written, Error> {
        let (key, own) = (self.key(save.id)?, self.own_attributes(save));
        let mut item = write::fields(save.record.fields(), before)?;
        let foreign = before.map(|_| Arc::new(item.clone()));
        item.extend(key);
        item.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        size::check(item.iter())?;
        let mut expression = Expression::default();
        condition(&mut expression)?;
        let condition = expression.end();
        let refused = self.put_item(item, expression, condition).await?;
        Ok((refused, foreign))
    }

    /// Makes the error of an item that became too large together with attributes of other writers.
    async fn too_large(&self, key: Attributes, record: &Record) -> Error {
        let read = self.client.get_item().table_name(&self.table).set_key(Some(key));
        // If the read fails, the record's own fields still make a useful error.
        let current = read.consistent_read(true).send().await.ok().and_then(|answer| answer.item);
        let mut item = current.unwrap_or_default();
        match write::fields(record.fields(), None) {
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
    fn own_attributes(&self, save: &Save<'_>) -> Own<'_> {
        let mut own = vec![(VERSION, AttributeValue::S(save.version.to_owned()))];
        if let Some(duration) = self.expire_users_after {
            let expires = seconds().saturating_add(duration.as_secs().max(1));
            own.push((EXPIRES, AttributeValue::N(expires.to_string())));
        }
        own.extend(self.projections.iter().filter_map(|projection| {
            let kind = self.readiness.kind(&projection.attribute);
            let value = projection.value(save.record, kind.as_ref())?;
            Some((projection.attribute.as_str(), value))
        }));
        own
    }
}

fn written_version(item: &Attributes) -> Option<&String> {
    item.get(VERSION)?.as_s().ok()
}
