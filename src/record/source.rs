//! Fields in the form in which a database has them. They are read as JSON when they are asked for,
//! as most turns need few of them.

use std::ptr;
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

    /// Finds the member `name` of the object under `path`.
    fn member(&self, path: &[&str], name: &str) -> Option<&dyn Part>;

    /// Returns the names and types of the members of the object under `path`, if there is one.
    fn members(&self, path: &[&str]) -> Option<Box<dyn Iterator<Item = (&str, Type)> + '_>>;
}

/// A value in a source.
pub(crate) trait Part {
    fn read(&self) -> Value;
}

/// A source, and what was read from it.
pub(super) struct Sourced {
    source: Arc<dyn Source>,
    fields: OnceLock<Map<String, Value>>,
    first: OnceLock<Box<Read>>,
}

/// A part that was read. Its address tells it from the others, as a source never changes.
struct Read {
    address: usize,
    value: Value,
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
        let part = self.source.member(path, name)?;
        let address = ptr::from_ref(part).addr();
        let read = || Box::new(Read { address, value: part.read(), next: OnceLock::new() });
        let mut place = &self.first;
        for _ in 0..MOST_READ {
            let known = place.get_or_init(read);
            if known.address == address {
                return Some(&known.value);
            }
            place = &known.next;
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
