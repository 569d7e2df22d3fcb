//! The stored record of a user.
//!
//! ```
//! use serde_json::json;
//! use tower_persistence::Record;
//!
//! let record: Record = serde_json::from_value(json!({
//!     "user": { "data": { "visits": 3 } },
//!     "myOwn": "field",
//! }))?;
//! assert_eq!(serde_json::to_value(&record)?["myOwn"], "field");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod change;

use std::fmt;
use std::mem;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

pub(crate) use self::change::Path;
use self::change::{Change, Changed};
use crate::error::Error;

/// The largest number of changes beside the shared fields. To look for one costs little then.
const MOST_CHANGES: usize = 8;

/// The stored record of a user, in the format of Jovo v4.
///
/// Its fields are `user: {data}`, `session: {id, data, state, createdAt, updatedAt}`,
/// `history: {items, messages}`, `createdAt` and `updatedAt`; with `meta_data` also `metaData`, and
/// with a [quarantine](crate::Migrations::quarantine_unreadable) `user.quarantine`. The user id is
/// not part of it: each database keeps it in its own place.
///
/// Fields that this crate does not know are kept at every level, in their order if the database
/// keeps an order.
///
/// A [`Database`](crate::Database) writes a record as the JSON object that it serializes to, or
/// field by field with [`fields`](Self::fields), and reads it back from the same. Clones share
/// their fields. A turn that changes a few members keeps them beside the shared fields, so that it
/// does not copy the others.
///
/// `Debug` shows the names of the top-level fields, not their values.
#[derive(Clone, Default)]
pub struct Record {
    fields: Arc<Map<String, Value>>,
    /// The members that were set since, each in an object that the fields hold, and apart from the
    /// others.
    changes: Vec<Change>,
    /// The fields with the changes, once they are asked for.
    whole: OnceLock<Arc<Map<String, Value>>>,
}

impl Record {
    /// Creates a record with these fields.
    ///
    /// ```
    /// use serde_json::{Map, json};
    /// use tower_persistence::Record;
    ///
    /// let fields = Map::from_iter([("user".to_owned(), json!({ "data": { "visits": 3 } }))]);
    /// let record = Record::new(fields);
    /// ```
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { fields: Arc::new(fields), ..Self::default() }
    }

    /// Returns the fields in their order.
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_persistence::Record;
    ///
    /// let record: Record = serde_json::from_value(json!({ "user": { "data": {} }, "x": 1 }))?;
    /// assert_eq!(record.fields().keys().collect::<Vec<_>>(), ["user", "x"]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        if self.changes.is_empty() {
            return &self.fields;
        }
        self.whole.get_or_init(|| {
            let mut fields = Map::clone(&self.fields);
            change::apply(&mut fields, &self.changes);
            Arc::new(fields)
        })
    }

    /// Returns the value under `path`, unless it is `null`: Jovo v4 on MongoDB writes `null` for
    /// absent fields.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (name, path) = path.split_last()?;
        self.member(path, name).filter(|value| !value.is_null())
    }

    pub(crate) fn get_str(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// Returns the object under `path`.
    pub(crate) fn object(&self, path: &[&str]) -> Option<&Map<String, Value>> {
        self.get(path)?.as_object()
    }

    /// Returns the member `name` of the object under `path`, `null` included.
    pub(crate) fn member(&self, path: &[&str], name: &str) -> Option<&Value> {
        if let Some(change) = self.changes.iter().find(|change| change.is_of(path, name)) {
            return Some(&change.value);
        }
        let is_touched = self.changes.iter().any(|change| change.touches(path, name));
        let fields = if is_touched { self.fields() } else { &self.fields };
        change::find(change::object(fields, path)?, name)
    }

    /// Sets the member `name` of the object under `path`, and creates the object if there is none.
    pub(crate) fn set(&mut self, path: Path, name: &str, value: Value) {
        let known = self.changes.iter().position(|change| change.is_of(path, name));
        let can_be_beside = Arc::get_mut(&mut self.fields).is_none()
            && self.whole.get().is_none()
            && change::object(&self.fields, path).is_some();
        let is_apart = || !self.changes.iter().any(|change| change.touches(path, name));
        match known {
            Some(known) if can_be_beside => self.changes[known].value = Arc::new(value),
            None if can_be_beside && self.changes.len() < MOST_CHANGES && is_apart() => {
                self.changes.push(Change::new(path, name, value));
            }
            _ => drop(self.object_mut(path).insert(name.to_owned(), value)),
        }
    }

    /// Returns the object under `path`, and creates it if there is none.
    pub(crate) fn object_mut(&mut self, path: &[&str]) -> &mut Map<String, Value> {
        let mut changes = mem::take(&mut self.changes);
        if let Some(whole) = self.whole.take() {
            self.fields = whole;
            changes.clear();
        }
        let fields = Arc::make_mut(&mut self.fields);
        change::apply(fields, &changes);
        change::object_mut(fields, path)
    }

    /// Returns whether `is_so` of the values of all fields, and of all changes. Each gets the number
    /// of objects around it.
    #[cfg(any(feature = "postgres", feature = "sqlite", feature = "redis"))]
    pub(crate) fn all(&self, is_so: impl Fn(&Value, usize) -> bool) -> bool {
        self.fields.values().all(|value| is_so(value, 1))
            && self.changes.iter().all(|change| is_so(&change.value, change.path.len() + 1))
    }

    /// Rejects a record that holds another type in the place of an object or array, because storing
    /// anything would overwrite it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // No change is in the place of one of them.
        for (name, value) in &*self.fields {
            match name.as_str() {
                "user" => check(name, value, &[("data", OBJECT), ("quarantine", ARRAY)])?,
                "session" => check(name, value, &[("data", OBJECT)])?,
                "history" => check(name, value, &[("items", ARRAY), ("messages", ARRAY)])?,
                "metaData" => check(name, value, &[])?,
                "otherSessions" => check_type(&[name], value, ARRAY)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Rejects the record of a conversation in which another type is in the place of its data.
    pub(crate) fn check_conversation(&self) -> Result<(), Error> {
        let conversation = self.fields.get("conversation");
        conversation.map_or(Ok(()), |value| check("conversation", value, &[("data", OBJECT)]))
    }
}

/// A type of JSON, in words, and its test.
type Type = (&'static str, fn(&Value) -> bool);

const OBJECT: Type = ("an object", Value::is_object);
const ARRAY: Type = ("an array", Value::is_array);

/// Rejects the field `name` unless it is an object with members of these types.
fn check(name: &str, value: &Value, members: &[(&str, Type)]) -> Result<(), Error> {
    check_type(&[name], value, OBJECT)?;
    for (member, expected) in members {
        value.get(member).map_or(Ok(()), |value| check_type(&[name, member], value, *expected))?;
    }
    Ok(())
}

/// Rejects a value of another type. `null` counts as nothing everywhere.
fn check_type(path: &[&str], value: &Value, (expected, is): Type) -> Result<(), Error> {
    if is(value) || value.is_null() {
        return Ok(());
    }
    let path = path.join(".");
    Err(Error::decode(format!("`{path}` of the stored record is not {expected}")))
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        if !Arc::ptr_eq(&self.fields, &other.fields) {
            return self.fields() == other.fields();
        }
        let are_in = |changes: &[Change], other: &Self| {
            changes.iter().all(|it| other.member(it.path, &it.name) == Some(&*it.value))
        };
        are_in(&self.changes, other) && are_in(&other.changes, self)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields().keys()).finish()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.changes.is_empty() {
            true => self.fields.serialize(serializer),
            false => {
                let Self { fields, changes, .. } = self;
                Changed { fields, changes, path: &[] }.serialize(serializer)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::new)
    }
}

#[cfg(test)]
mod tests;
