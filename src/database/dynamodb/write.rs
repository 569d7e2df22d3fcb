//! One conditional write, and what became of it.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::expression::{Expression, only, update};
use super::failure::{self, Trouble};
use super::item::{Attributes, Reader, Types, Writer};
use super::known::{Content, Item, Known};
use super::send::Refused;
use super::tombstone::{TOMBSTONE, Tombstone};
use super::{EXPIRES, Inner, VERSION, seconds, size};
use crate::database::tombstone::is_nothing;
use crate::database::{Loaded, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// The fields of an item in the order in which Jovo writes them. What else there is follows.
pub(super) const ORDER: [&str; 5] = ["user", "session", "history", "createdAt", "updatedAt"];

/// How many attributes one update may set and remove: an expression is at most 4 KB long and has at most 300 operators.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters>
const MAX_UPDATE: usize = 250;

/// How often a write is tried that only something expired was in the way of.
const ATTEMPTS: usize = 3;

/// What became of a write, and what the values are that were written.
type Written = (Option<Refused>, Types);

impl Inner {
    /// What an item stands for: none, and one that is expired, for nothing.
    pub(super) fn found(&self, item: Attributes) -> Result<Loaded, Error> {
        if item.is_empty() || self.is_expired(&item) {
            return Ok(Loaded::Absent(None));
        }
        match Tombstone::read(&item, |name| self.is_key(name)) {
            Some(tombstone) => Ok(Loaded::Absent(tombstone.version())),
            None => self.stored(item).map(Loaded::Present),
        }
    }

    fn stored(&self, mut item: Attributes) -> Result<VersionedRecord, Error> {
        let version = match item.remove(VERSION) {
            None => None,
            Some(AttributeValue::S(version)) => Some(version),
            Some(_) => {
                let table = &self.table;
                return Err(Error::decode(format!(
                    "`{VERSION}` of an item in table \"{table}\" is not a string"
                )));
            }
        };
        // Written over, a tombstone is an item. What is left of it is not of the record, and removed by
        // the next save; its expiry above all, which would remove the item.
        let end = item.get(TOMBSTONE).cloned();
        let is_left = |value: &AttributeValue| Some(value) == end.as_ref();
        let left: Vec<String> =
            item.iter().filter(|(_, value)| is_left(value)).map(|(name, _)| name.clone()).collect();
        item.retain(|name, value| {
            name == TOMBSTONE || (name == EXPIRES && is_left(value)) || !self.is_own(name)
        });
        let mut reader = Reader::default();
        let mut rest = reader.fields(item)?;
        let mut fields = Map::with_capacity(rest.len());
        for name in ORDER {
            fields.extend(rest.shift_remove_entry(name));
        }
        fields.append(&mut rest);
        let loaded = Record::new(fields);
        let version = Known::item(version, loaded.clone(), reader.types).into_version();
        if left.is_empty() {
            return Ok(VersionedRecord { record: loaded, version });
        }
        let mut fields = loaded.fields().clone();
        fields.retain(|name, _| !left.contains(name));
        Ok(VersionedRecord { record: Record::new(fields), version })
    }

    fn is_expired(&self, item: &Attributes) -> bool {
        let expires = item.get(EXPIRES).and_then(|value| value.as_n().ok());
        self.expire_users_after.is_some()
            && expires.is_some_and(|at| at.parse::<f64>().is_ok_and(|at| at <= seconds() as f64))
    }

    pub(super) async fn write(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Result<Saved, Error> {
        let is_unaware = over.is_none();
        let mut over = over.filter(|over| !is_nothing(over)).cloned();
        for _ in 0..ATTEMPTS {
            match self.try_write(id, record, over.as_ref()).await? {
                Ok(saved) => return Ok(saved),
                Err(Some(tombstone)) if is_unaware => over = Some(tombstone),
                Err(Some(_)) => return Ok(Saved::Conflict(None)),
                Err(None) => {}
            }
        }
        let table = &self.table;
        Err(Error::database(format!(
            "a write to table \"{table}\" was refused, and the server did not say by which item"
        )))
    }

    /// `Err` where nothing is in the way any more, because what was has expired since it was compared; or only this tombstone.
    async fn try_write(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Result<Result<Saved, Option<Version>>, Error> {
        let key = self.key(id)?;
        let known = over.map(Known::of);
        let known = known.as_deref();
        let fields = record.fields();
        if let Some(name) = fields.keys().find(|name| *name == VERSION || self.is_own(name)) {
            let table = &self.table;
            return Err(Error::encode(format!(
                "`/{name}` cannot be stored: in table \"{table}\" that attribute is used by the database itself"
            )));
        }
        let version = Version::unique().to_string();
        let own = self.own_attributes(version.clone(), fields);
        let over_item = known.filter(|known| !matches!(known.content, Content::Tombstone));
        let sent = match known.map(|known| (known, &known.content)) {
            Some((known, Content::Item(item))) => {
                let (changed, gone) = item.changes(fields);
                if changed.len() + gone.len() <= MAX_UPDATE {
                    self.update(key.clone(), (known, item), (fields, &changed, &gone), own).await
                } else {
                    let touched = [changed, gone].concat();
                    self.replace(key.clone(), known, &touched, fields, own).await
                }
            }
            // Where there was nothing, or nothing that still counts; or where nothing else is known of it.
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
        // It was written by an earlier attempt whose answer was lost.
        if written_version(&refused.item) == Some(&version) {
            return stored();
        }
        match self.found(refused.item)? {
            Loaded::Present(_) if refused.may_have_written => Err(self.uncertain()),
            Loaded::Present(current) => Ok(Ok(Saved::Conflict(Some(current)))),
            // What an attempt may have written was deleted.
            Loaded::Absent(Some(_)) if refused.may_have_written => Ok(Ok(Saved::Conflict(None))),
            Loaded::Absent(tombstone) if over_item.is_none() => Ok(Err(tombstone)),
            Loaded::Absent(_) => Ok(Ok(Saved::Conflict(None))),
        }
    }

    /// Writes what changed. Only that is converted, and compared with what it was.
    async fn update(
        &self,
        key: Attributes,
        (known, item): (&Known, &Item),
        (fields, changed, gone): (&Map<String, Value>, &[&str], &[&str]),
        own: Attributes,
    ) -> Result<Written, Error> {
        let mut writer = Writer::new(Some(&item.types));
        let mut set = writer.fields(only(fields, changed))?;
        let is_untouched = |path: &str| {
            let name = name_of(path);
            !changed.contains(&&*name) && !gone.contains(&&*name)
        };
        let mut types = writer.types;
        types.extend(
            item.types
                .iter()
                .filter(|(path, _)| is_untouched(path))
                .map(|(path, kind)| (path.clone(), kind.clone())),
        );
        set.extend(own);
        // The whole is known only to DynamoDB: others may have stored more in it.
        size::check(key.iter().chain(&set))?;
        let mut expression = Expression::default();
        let condition = self.is_still(known, &[changed, gone].concat(), &mut expression)?;
        // Those that have a value are set, not removed.
        let projections = self.projections.iter().map(|projection| projection.attribute.as_str());
        let removed: Vec<&str> = gone.iter().copied().chain(projections).collect();
        let update = update(&mut expression, set, &removed);
        Ok((self.update_item(key, expression, update, condition).await?, types))
    }

    /// Writes the whole item over what is known.
    async fn replace(
        &self,
        key: Attributes,
        known: &Known,
        touched: &[&str],
        fields: &Map<String, Value>,
        own: Attributes,
    ) -> Result<Written, Error> {
        let types = match &known.content {
            Content::Item(item) => Some(&item.types),
            _ => None,
        };
        self.put(key, fields, types, own, |expression| match known.content {
            Content::Tombstone => Ok(self.is_nobody_or(known, expression)),
            _ => self.is_still(known, touched, expression),
        })
        .await
    }

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

    /// The error of an item that became too large with what others have stored in it.
    async fn too_large(&self, key: Attributes, fields: &Map<String, Value>) -> Error {
        let read = self.client.get_item().table_name(&self.table).set_key(Some(key));
        // What is ours can be said without it.
        let current = read.consistent_read(true).send().await.ok().and_then(|answer| answer.item);
        let mut item = current.unwrap_or_default();
        match Writer::new(None).fields(fields) {
            Ok(ours) => item.extend(ours),
            Err(error) => return error,
        }
        size::too_large(item.iter())
    }

    /// Somebody else has stored something, over what was loaded or over what this call stored before its answer was lost.
    fn uncertain(&self) -> Error {
        Error::database(format!(
            "whether an item was written to table \"{}\" is not known: the answer was lost, and the item was \
             changed elsewhere before the write could be repeated",
            self.table
        ))
    }

    /// The attributes that belong to no field of the record.
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

/// The name of the field that a path leads to or into.
fn name_of(path: &str) -> String {
    let name = path.split('/').nth(1).unwrap_or_default();
    name.replace("~1", "/").replace("~0", "~")
}
