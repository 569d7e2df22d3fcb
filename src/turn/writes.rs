//! The writes of a turn, key by key, which a merge needs.

use std::collections::BTreeMap;

use super::data::Data;
use crate::error::{Error, Kind};

/// The kind of the writes to each key.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<String, Write>);

#[derive(Clone, Copy, Debug)]
enum Write {
    /// The sum that was added to the number.
    Added(i128),
    /// The value was set or removed.
    Set,
}

impl Writes {
    /// Records that the value under `key` was set or removed.
    pub(super) fn set(&mut self, key: &str) {
        self.0.insert(key.to_owned(), Write::Set);
    }

    /// Records that `by` was added to the number under `key`.
    pub(super) fn add(&mut self, key: &str, by: i64) {
        match self.0.get_mut(key) {
            Some(Write::Added(sum)) => *sum += i128::from(by),
            // The sum was added to a value that this turn has set, so it is a value as well.
            Some(Write::Set) => {}
            None => drop(self.0.insert(key.to_owned(), Write::Added(by.into()))),
        }
    }

    /// Records the keys with different values in `before` and `after`.
    pub(super) fn set_changed(&mut self, before: &Data, after: &Data) {
        let keys = before.keys().chain(after.keys());
        for key in keys.filter(|key| before.get(*key) != after.get(*key)) {
            self.set(key);
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Returns the keys of numbers that were added to, each with the sum of its additions.
    pub(super) fn additions(&self) -> impl Iterator<Item = (&str, i128)> {
        self.0.iter().filter_map(|(key, write)| match write {
            Write::Added(sum) => Some((key.as_str(), *sum)),
            Write::Set => None,
        })
    }

    pub(super) fn is_added(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Write::Added(_)))
    }
}

/// Makes the error of a turn that cannot be merged. `what` must not name keys of user data below
/// the top level, which may be data themselves.
pub(super) fn conflict(what: &str) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "`{what}` was modified concurrently by another process; nothing was written, send the \
             request again"
        ),
    )
}
