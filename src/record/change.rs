//! Members that were set in a record, beside the fields that it shares with its clones.

use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// The names of the objects around a member, from the record on.
pub(crate) type Path = &'static [&'static str];

/// A member that was set.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) path: Path,
    pub(super) name: Arc<str>,
    pub(super) value: Arc<Value>,
}

impl Change {
    pub(super) fn new(path: Path, name: &str, value: Value) -> Self {
        Self { path, name: name.into(), value: Arc::new(value) }
    }

    /// Returns whether it set the member `name` of the object under `path`.
    pub(super) fn is_of(&self, path: &[&str], name: &str) -> bool {
        *self.name == *name && *self.path == *path
    }

    /// Returns whether it set that member, a part of it, or something around it.
    pub(super) fn touches(&self, path: &[&str], name: &str) -> bool {
        let own = self.path.iter().copied().chain([&*self.name]);
        own.zip(path.iter().copied().chain([name])).all(|(own, other)| own == other)
    }
}

/// Returns the object under `path`.
pub(super) fn object<'a>(
    fields: &'a Map<String, Value>,
    path: &[&str],
) -> Option<&'a Map<String, Value>> {
    path.iter().try_fold(fields, |fields, name| find(fields, name)?.as_object())
}

/// Returns the member `name`. A few members are searched faster than the name is hashed.
pub(super) fn find<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    match fields.len() {
        0..=8 => fields.iter().find(|(other, _)| *other == name).map(|(_, value)| value),
        _ => fields.get(name),
    }
}

/// Returns the object under `path`, made where there was another value or none.
pub(super) fn object_mut<'a>(
    mut fields: &'a mut Map<String, Value>,
    path: &[&str],
) -> &'a mut Map<String, Value> {
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

/// Sets the members in `fields`.
pub(super) fn apply(fields: &mut Map<String, Value>, changes: &[Change]) {
    for Change { path, name, value } in changes {
        object_mut(fields, path).insert(name.as_ref().to_owned(), Value::clone(value));
    }
}

/// An object with the members that were set in it, to be written.
pub(super) struct Changed<'a> {
    pub(super) fields: &'a Map<String, Value>,
    pub(super) changes: &'a [Change],
    /// The names of the objects around it.
    pub(super) path: &'a [&'a str],
}

impl Serialize for Changed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { fields, changes, path } = *self;
        let set = |name: &str| changes.iter().find(|change| change.is_of(path, name));
        let added = || {
            let here = changes.iter().filter(|change| *change.path == *path);
            here.filter(|change| find(fields, &change.name).is_none())
        };
        let mut map = serializer.serialize_map(Some(fields.len() + added().count()))?;
        for (name, value) in fields {
            let is_around = || changes.iter().any(|change| change.touches(path, name));
            match (set(name), value) {
                (Some(change), _) => map.serialize_entry(name, &*change.value)?,
                (None, Value::Object(fields)) if is_around() => {
                    let path = &[path, &[name]].concat();
                    map.serialize_entry(name, &Changed { fields, changes, path })?;
                }
                (None, value) => map.serialize_entry(name, value)?,
            }
        }
        for change in added() {
            map.serialize_entry(&*change.name, &*change.value)?;
        }
        map.end()
    }
}
