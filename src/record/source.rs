//! Fields in the form in which a database has them. They are read as JSON when they are asked for,
//! as most turns need few of them.

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value};

use super::change;
use super::types::Type;

/// The members that are read one by one. To search more of them takes longer than to read all.
pub(super) const MOST_READ: usize = 32;

/// The fields of a record, in a form from which each can be read by itself.
pub(crate) trait Source: Send + Sync {
    /// Reads all fields.
    fn fields(&self) -> Map<String, Value>;

    /// Reads the member `name` of the object under `path`.
    fn member(&self, path: &[&str], name: &str) -> Option<Value>;

    /// Returns the names and types of the members of the object under `path`, if there is one.
    fn members(&self, path: &[&str]) -> Option<Box<dyn Iterator<Item = (&str, Type)> + '_>>;
}

/// A source, and what was read from it.
pub(super) struct Sourced {
    source: Arc<dyn Source>,
    fields: OnceLock<Map<String, Value>>,
    first: OnceLock<Box<Read>>,
}

/// A member that was read.
struct Read {
    path: Box<[Box<str>]>,
    name: Box<str>,
    value: Option<Value>,
    next: OnceLock<Box<Self>>,
}

impl Sourced {
    pub(super) fn new(source: Arc<dyn Source>) -> Self {
        Self { source, fields: OnceLock::new(), first: OnceLock::new() }
    }

    pub(super) fn fields(&self) -> &Map<String, Value> {
        self.fields.get_or_init(|| self.source.fields())
    }

    pub(super) fn to_fields(&self) -> Map<String, Value> {
        self.fields.get().cloned().unwrap_or_else(|| self.source.fields())
    }

    /// Returns the member `name` of the object under `path`.
    pub(super) fn member(&self, path: &[&str], name: &str) -> Option<&Value> {
        let mut place = &self.first;
        for _ in 0..MOST_READ {
            let read = place.get_or_init(|| {
                let value = self.source.member(path, name);
                let path = path.iter().map(|name| Box::from(*name)).collect();
                Box::new(Read { path, name: name.into(), value, next: OnceLock::new() })
            });
            if *read.name == *name && read.path.iter().map(|name| &**name).eq(path.iter().copied())
            {
                return read.value.as_ref();
            }
            place = &read.next;
        }
        change::find(change::object(self.fields(), path)?, name)
    }

    pub(super) fn members(
        &self,
        path: &[&str],
    ) -> Option<impl Iterator<Item = (&str, Type)> + use<'_>> {
        self.source.members(path)
    }

    #[cfg(test)]
    pub(super) fn is_read_in_parts(&self) -> bool {
        self.fields.get().is_none()
    }
}
