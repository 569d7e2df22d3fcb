//! The stored item of one user.
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

/// The stored item of one user, as Jovo v4 stores it: `user: {data}`,
/// `session: {id, data, state, createdAt, updatedAt}`, `history: {items}`, `createdAt`, `updatedAt`; with
/// `meta_data` also `metaData`, and with a [quarantine](crate::Migrations::quarantine_unreadable) `user.quarantine`. The user id is not part of it: every database keeps it in a place of its own.
///
/// Fields that this crate does not know are kept, at every level; in their order, where the database keeps one.
///
/// A [`Database`](crate::Database) writes a record as the JSON object that it serializes to, or field by field
/// with [`fields`](Self::fields), and makes it again from one. Clones share the fields until one of them is changed.
///
/// `Debug` shows which fields there are, not what is in them.
#[derive(Clone, Default, PartialEq)]
pub struct Record {
    fields: Arc<Map<String, Value>>,
}

impl Record {
    /// A record of these fields.
    #[must_use]
    pub fn new(fields: Map<String, Value>) -> Self {
        Self { fields: Arc::new(fields) }
    }

    /// The fields in their order.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// What is stored under `path`; `null` counts as nothing, since Jovo v4 on MongoDB writes `null` for what is absent.
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

    /// The object under `path`.
    pub(crate) fn object(&self, path: &[&str]) -> Option<&Map<String, Value>> {
        self.get(path)?.as_object()
    }

    /// The object under `path`, made where there is none.
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

    /// Whether both share their fields, so that they cannot differ.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fields, &other.fields)
    }

    /// Refuses an item in which another type stands where an object or array is expected: it would have to be
    /// overwritten to store anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        const OBJECTS: [&[&str]; 6] = [
            &["user"],
            &["user", "data"],
            &["session"],
            &["session", "data"],
            &["history"],
            &["metaData"],
        ];
        let wrong = OBJECTS.into_iter().find(|path| self.get(path).is_some_and(|v| !v.is_object()));
        if let Some(path) = wrong {
            let path = path.join(".");
            return Err(Error::decode(format!("`{path}` of the stored item is not an object")));
        }
        const ARRAYS: [&[&str]; 3] =
            [&["user", "quarantine"], &["history", "items"], &["otherSessions"]];
        let wrong = ARRAYS.into_iter().find(|path| self.get(path).is_some_and(|v| !v.is_array()));
        if let Some(path) = wrong {
            let path = path.join(".");
            return Err(Error::decode(format!("`{path}` of the stored item is not an array")));
        }
        Ok(())
    }
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
