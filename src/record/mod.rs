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

mod base;
mod change;
mod source;
mod spelling;
mod text;
mod types;

use std::fmt;
use std::mem;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use self::base::Base;
pub(crate) use self::change::Path;
use self::change::{Change, Changed};
#[cfg(any(feature = "dynamodb", feature = "mongodb"))]
pub(crate) use self::source::Source;
use self::source::Sourced;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(crate) use self::spelling::is_text_of;
use self::text::Text;
#[cfg(any(feature = "dynamodb", feature = "mongodb"))]
pub(crate) use self::types::Type;
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
/// does not copy the others. Members of a record that came as a text, as from SqliteDb, PostgresDb
/// and RedisDb, or in a form of the database's, as from DynamoDb and MongoDb, are read when they
/// are asked for; [`fields`](Self::fields) asks for all of them.
///
/// `Debug` shows the names of the top-level fields, not their values.
#[derive(Clone, Default)]
pub struct Record {
    base: Base,
    /// The members that were set since, each in an object that the base holds, and apart from the
    /// others.
    changes: Vec<Change>,
    /// The fields with the changes, once they are asked for.
    whole: OnceLock<Base>,
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
        Self::of(Base::Fields(Arc::new(fields)))
    }

    fn of(base: Base) -> Self {
        Self { base, changes: Vec::new(), whole: OnceLock::new() }
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
            return self.base.fields();
        }
        let whole = self.whole.get_or_init(|| {
            let mut whole = self.base.clone();
            change::apply(whole.fields_mut(), &self.changes);
            whole
        });
        whole.fields()
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
        match is_touched {
            true => change::find(change::object(self.fields(), path)?, name),
            false => self.base.member(path, name),
        }
    }

    /// Sets the member `name` of the object under `path`, as a turn does: the objects on the way
    /// are created where there are none, and replace values of other types.
    ///
    /// A script that works on a database without the layer changes a loaded record this way. Fields
    /// that it shares with its clones are not copied, and a database that writes parts of a record
    /// finds what was set without comparing all of it.
    ///
    /// ```
    /// use serde_json::json;
    /// use tower_persistence::Record;
    ///
    /// let loaded = json!({ "user": { "data": { "visits": 3 } } });
    /// let loaded: Record = serde_json::from_value(loaded)?;
    /// let mut record = loaded.clone();
    /// record.set(&["user", "data"], "plan", json!("free"));
    /// assert_eq!(record.fields()["user"]["data"], json!({ "visits": 3, "plan": "free" }));
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn set(&mut self, path: &'static [&'static str], name: &str, value: Value) {
        let known = self.changes.iter().position(|change| change.is_of(path, name));
        let can_be_beside =
            self.base.is_shared() && self.whole.get().is_none() && self.base.is_object(path);
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
            self.base = whole;
            changes.clear();
        }
        let fields = self.base.fields_mut();
        change::apply(fields, &changes);
        change::object_mut(fields, path)
    }

    /// Rejects a record that holds another type in the place of an object or array, because storing
    /// anything would overwrite it.
    pub(crate) fn check(&self) -> Result<(), Error> {
        // No change is in the place of one of them.
        types::check(&self.base, &types::OF_USER)
    }

    /// Rejects the record of a conversation in which another type is in the place of its data.
    pub(crate) fn check_conversation(&self) -> Result<(), Error> {
        types::check(&self.base, &types::OF_CONVERSATION)
    }
}

// For databases that store texts.
#[cfg_attr(
    not(any(feature = "postgres", feature = "redis", feature = "sqlite")),
    allow(dead_code, reason = "without them no text is read")
)]
impl Record {
    /// Creates a record from its text, of at most so many levels. Gives the text back unless it is
    /// an object that `serde_json` would write this way.
    pub(crate) fn of_text(text: String, levels: usize) -> Result<Self, String> {
        Ok(Self::of(Base::Text(Arc::new(Text::new(text, levels)?))))
    }

    /// Returns the text of the record.
    pub(crate) fn to_text(&self) -> serde_json::Result<String> {
        let text = match &self.base {
            Base::Text(text) => text.with(&self.changes),
            Base::Fields(_) | Base::Source(_) => None,
        };
        text.map_or_else(|| serde_json::to_string(self), Ok)
    }

    /// Returns whether `is_so` of all values, each given the number of objects around it. Those of
    /// a text have been looked at by [`of_text`](Self::of_text).
    pub(crate) fn all(&self, is_so: impl Fn(&Value, usize) -> bool) -> bool {
        let base = match &self.base {
            Base::Text(_) => true,
            Base::Fields(_) | Base::Source(_) => {
                self.base.fields().values().all(|value| is_so(value, 1))
            }
        };
        base && self.changes.iter().all(|change| is_so(&change.value, change.path.len() + 1))
    }
}

// For databases that read and write parts of a record.
#[cfg_attr(
    not(all(feature = "dynamodb", feature = "mongodb")),
    allow(dead_code, reason = "each of them needs some of it")
)]
impl Record {
    /// Creates a record of fields that are read from their source when they are asked for.
    pub(crate) fn of_source(source: Arc<dyn source::Source>) -> Self {
        Self::of(Base::Source(Arc::new(Sourced::new(source))))
    }

    /// Returns the first name of a field for which `is_such` holds.
    pub(crate) fn find_name(&self, is_such: impl Fn(&str) -> bool) -> Option<&str> {
        let set = self.changes.iter().filter(|change| change.path.is_empty());
        let mut names = self.base.names().chain(set.map(|change| &*change.name));
        names.find(|name| is_such(name))
    }

    /// Lists the members that were set in one of both records, which share their other fields.
    /// `None` if they do not, if one set a part of what the other did, or if several are new in an
    /// object, as this does not tell their order.
    pub(crate) fn set_since<'a>(&'a self, before: &'a Self) -> Option<Vec<(Path, &'a str)>> {
        let is_of = |own: &Change, other: &Change| own.is_of(other.path, &other.name);
        let is_apart = |own: &Change, other: &Change| !own.touches(other.path, &other.name);
        let fits =
            |own: &Change| before.changes.iter().all(|it| is_of(it, own) || is_apart(it, own));
        if !self.base.is(&before.base) || !self.changes.iter().all(fits) {
            return None;
        }
        let is_other = |it: &&Change| !self.changes.iter().any(|own| is_of(own, it));
        let all = self.changes.iter().chain(before.changes.iter().filter(is_other));
        let set: Vec<(Path, &str)> = all.map(|change| (change.path, &*change.name)).collect();
        for (index, (path, name)) in set.iter().enumerate() {
            let mut others = set[..index].iter().filter(|(other, _)| other == path);
            let is_new = |name: &str| self.base.member(path, name).is_none();
            if others.any(|(_, other)| is_new(other) && is_new(name)) {
                return None;
            }
        }
        Some(set)
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        if !self.base.is(&other.base) {
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
            true => self.base.fields().serialize(serializer),
            false => {
                let (fields, changes) = (self.base.fields(), &self.changes);
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
