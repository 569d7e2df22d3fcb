//! What a turn wrote, key by key: the base of a merge.

use std::collections::BTreeMap;

use super::data::Data;
use crate::error::{Error, Kind};

/// How each key of some data was written: by adding to what is there, or to a value of its own.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<String, Write>);

#[derive(Clone, Copy, Debug)]
enum Write {
    By(i128),
    To,
}

impl Writes {
    pub(super) fn to(&mut self, key: &str) {
        self.0.insert(key.to_owned(), Write::To);
    }

    pub(super) fn by(&mut self, key: &str, by: i64) {
        match self.0.get_mut(key) {
            Some(Write::By(sum)) => *sum += i128::from(by),
            Some(Write::To) => {}
            None => drop(self.0.insert(key.to_owned(), Write::By(by.into()))),
        }
    }

    /// Notes what is different after everything was open to change.
    pub(super) fn all(&mut self, before: &Data, after: &Data) {
        let keys = before.keys().chain(after.keys());
        for key in keys.filter(|key| before.get(*key) != after.get(*key)) {
            self.to(key);
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// The keys that were added to, with what was added.
    pub(super) fn additions(&self) -> impl Iterator<Item = (&str, i128)> {
        self.0.iter().filter_map(|(key, write)| match write {
            Write::By(sum) => Some((key.as_str(), *sum)),
            Write::To => None,
        })
    }

    pub(super) fn is_added(&self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Write::By(_)))
    }
}

/// The error of a turn that cannot be merged; `what` names no key of user data below the top level.
pub(super) fn conflict(what: &str) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "`{what}` was modified concurrently by another process; nothing was written, send the \
             request again"
        ),
    )
}
