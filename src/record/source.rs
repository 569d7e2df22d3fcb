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

    /// Finds the member `name` of the object under `path`, and passes on its address, which tells
    /// it from all others, and how it is read.
    fn find(&self, path: &[&str], name: &str, found: &mut dyn FnMut(usize, &dyn Fn() -> Value));

    /// Returns whether there is an object under `path`.
    fn is_object(&self, path: &[&str]) -> bool;

    /// Returns the names and types of the members of the object under `path`, if there is one.
    fn members(&self, path: &[&str]) -> Option<Box<dyn Iterator<Item = (&str, Type)> + '_>>;
}

/// A source, and what was read from it.
pub(super) struct Sourced {
    source: Arc<dyn Source>,
    fields: OnceLock<Map<String, Value>>,
    first: OnceLock<Box<Read>>,
}

/// A member that was read. A source never changes, nor does an address in it.
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
        let mut member = None;
        self.source.find(path, name, &mut |address, read| member = Some(self.read(address, read)));
        member?.or_else(|| change::find(change::object(self.fields(), path)?, name))
    }

    /// Returns the member at this address. `None` if too many others were read.
    fn read(&self, address: usize, read: &dyn Fn() -> Value) -> Option<&Value> {
        let mut place = &self.first;
        for _ in 0..MOST_READ {
            let new = || Box::new(Read { address, value: read(), next: OnceLock::new() });
            let known = place.get_or_init(new);
            if known.address == address {
                return Some(&known.value);
            }
            place = &known.next;
        }
        None
    }

    pub(super) fn is_object(&self, path: &[&str]) -> bool {
        self.source.is_object(path)
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
