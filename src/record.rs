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
                "user" => check_object(name, value, &["data"], &["quarantine"])?,
                "session" => check_object(name, value, &["data"], &[])?,
                "history" => check_object(name, value, &[], &["items", "messages"])?,
                "metaData" => check_object(name, value, &[], &[])?,
                "otherSessions" => check_array(&[name], value)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Rejects the record of a conversation in which another type is in the place of its data.
    pub(crate) fn check_conversation(&self) -> Result<(), Error> {
        let conversation = self.fields.get("conversation");
        conversation.map_or(Ok(()), |value| check_object("conversation", value, &["data"], &[]))
    }
}

/// Rejects a value of another type than an object, and such an object unless its members `objects`
/// and `arrays` are what they are called. `null` counts as nothing everywhere.
fn check_object(name: &str, value: &Value, objects: &[&str], arrays: &[&str]) -> Result<(), Error> {
    let members = match value {
        Value::Object(members) => members,
        Value::Null => return Ok(()),
        _ => return Err(wrong_type(&[name], "an object")),
    };
    for part in objects {
        if members.get(*part).is_some_and(|value| !value.is_object() && !value.is_null()) {
            return Err(wrong_type(&[name, part], "an object"));
        }
    }
    for part in arrays {
        members.get(*part).map_or(Ok(()), |value| check_array(&[name, part], value))?;
    }
    Ok(())
}

fn check_array(path: &[&str], value: &Value) -> Result<(), Error> {
    match value.is_array() || value.is_null() {
        true => Ok(()),
        false => Err(wrong_type(path, "an array")),
    }
}

fn wrong_type(path: &[&str], expected: &str) -> Error {
    let path = path.join(".");
    Error::decode(format!("`{path}` of the stored record is not {expected}"))
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
