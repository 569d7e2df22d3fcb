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

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::Error;

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
/// their fields until one of them is changed.
///
/// `Debug` shows the names of the top-level fields, not their values.
#[derive(Clone, Default, PartialEq)]
pub struct Record {
    fields: Arc<Map<String, Value>>,
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
        Self { fields: Arc::new(fields) }
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
        &self.fields
    }

    /// Returns the value under `path`, unless it is `null`: Jovo v4 on MongoDB writes `null` for
    /// absent fields.
    pub(crate) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let mut value = self.fields.get(*first)?;
        for name in rest {
            value = value.as_object()?.get(*name)?;
        }
        Some(value).filter(|value| !value.is_null())
    }

    pub(crate) fn get_str(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.as_str()
    }

    /// Returns the object under `path`.
    pub(crate) fn object(&self, path: &[&str]) -> Option<&Map<String, Value>> {
        self.get(path)?.as_object()
    }

    /// Returns the object under `path`, and creates it if there is none.
    pub(crate) fn object_mut(&mut self, path: &[&str]) -> &mut Map<String, Value> {
        let mut fields = Arc::make_mut(&mut self.fields);
        for name in path {
            let value = fields.entry(*name).or_insert(Value::Null);
            if !value.is_object() {
                *value = Value::Object(Map::new());
            }
            fields = match value {
                Value::Object(fields) => fields,
                _ => unreachable!("made an object above"),
            };
        }
        fields
    }

    /// Returns whether both share their fields, so that they cannot differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fields, &other.fields)
    }

    /// Rejects a record that holds another type in the place of an object or array, because storing
    /// anything would overwrite it.
    pub(crate) fn check(&self) -> Result<(), Error> {
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

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.keys()).finish()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(Self::new)
    }
}
