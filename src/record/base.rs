//! The fields that a record shares with its clones.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::change;
use super::source::Sourced;
use super::text::Text;
use super::types::Type;
use crate::error::Error;

#[derive(Clone)]
pub(super) enum Base {
    Fields(Arc<Map<String, Value>>),
    /// Fields that are read from their text when they are asked for.
    Text(Arc<Text>),
    /// Fields that are read from the database's own form when they are asked for.
    Source(Arc<Sourced>),
}

impl Base {
    pub(super) fn fields(&self) -> &Map<String, Value> {
        match self {
            Self::Fields(fields) => fields,
            Self::Text(text) => text.fields(),
            Self::Source(source) => source.fields(),
        }
    }

    pub(super) fn fields_mut(&mut self) -> &mut Map<String, Value> {
        let read = match self {
            Self::Fields(_) => None,
            Self::Text(text) => Some(text.to_fields()),
            Self::Source(source) => Some(source.to_fields()),
        };
        if let Some(fields) = read {
            *self = Self::Fields(Arc::new(fields));
        }
        match self {
            Self::Fields(fields) => Arc::make_mut(fields),
            Self::Text(_) | Self::Source(_) => unreachable!("replaced above"),
        }
    }

    /// Returns the member `name` of the object under `path`.
    pub(super) fn member(&self, path: &[&str], name: &str) -> Option<&Value> {
        match self {
            Self::Fields(fields) => change::find(change::object(fields, path)?, name),
            Self::Text(text) => text.get(path.iter().copied().chain([name])),
            Self::Source(source) => source.member(path, name),
        }
    }

    /// Returns whether there is an object under `path`.
    pub(super) fn is_object(&self, path: &[&str]) -> bool {
        match self {
            Self::Fields(fields) => change::object(fields, path).is_some(),
            Self::Text(text) => text.type_of(path) == Some(Type::Object),
            Self::Source(source) => source.is_object(path),
        }
    }

    /// Returns the names of the fields.
    pub(super) fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        let members = match self {
            Self::Source(source) => source.members(&[]),
            Self::Fields(_) | Self::Text(_) => None,
        };
        match members {
            Some(members) => Box::new(members.map(|(name, _)| name)),
            None => Box::new(self.fields().keys().map(String::as_str)),
        }
    }

    /// Gives `check` the name and the type of each member of the object under `path`. A name that
    /// JSON writes with an escape may come as it is spelled.
    pub(super) fn each_member(
        &self,
        path: &[&str],
        mut check: impl FnMut(&str, Type) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let object = match self {
            Self::Fields(fields) => change::object(fields, path),
            Self::Source(source) => {
                let mut members = source.members(path).into_iter().flatten();
                return members.try_for_each(|(name, found)| check(name, found));
            }
            Self::Text(text) => {
                if let Some(mut members) = text.members(path) {
                    return members.try_for_each(|(name, found)| check(name, found));
                }
                text.get(path.iter().copied()).and_then(Value::as_object)
            }
        };
        let mut members = object.into_iter().flatten();
        members.try_for_each(|(name, value)| check(name, Type::of(value)))
    }

    /// Returns whether fields cannot be changed in place.
    pub(super) fn is_shared(&mut self) -> bool {
        match self {
            Self::Fields(fields) => Arc::get_mut(fields).is_none(),
            Self::Text(_) | Self::Source(_) => true,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fields(fields), Self::Fields(other)) => Arc::ptr_eq(fields, other),
            (Self::Text(text), Self::Text(other)) => Arc::ptr_eq(text, other),
            (Self::Source(source), Self::Source(other)) => Arc::ptr_eq(source, other),
            _ => false,
        }
    }
}

impl Default for Base {
    fn default() -> Self {
        Self::Fields(Arc::default())
    }
}
