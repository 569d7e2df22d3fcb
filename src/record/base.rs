//! The fields that a record shares with its clones.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::change;
use super::text::Text;
use super::types::Type;
use crate::error::Error;

#[derive(Clone)]
pub(super) enum Base {
    Fields(Arc<Map<String, Value>>),
    /// Fields that are read from their text when they are asked for.
    Text(Arc<Text>),
}

impl Base {
    pub(super) fn fields(&self) -> &Map<String, Value> {
        match self {
            Self::Fields(fields) => fields,
            Self::Text(text) => text.fields(),
        }
    }

    pub(super) fn fields_mut(&mut self) -> &mut Map<String, Value> {
        if let Self::Text(text) = self {
            *self = Self::Fields(Arc::new(text.to_fields()));
        }
        match self {
            Self::Fields(fields) => Arc::make_mut(fields),
            Self::Text(_) => unreachable!("replaced above"),
        }
    }

    /// Returns the member `name` of the object under `path`.
    pub(super) fn member(&self, path: &[&str], name: &str) -> Option<&Value> {
        match self {
            Self::Fields(fields) => change::find(change::object(fields, path)?, name),
            Self::Text(text) => text.get(path.iter().copied().chain([name])),
        }
    }

    /// Returns the type of the value under `path`.
    pub(super) fn type_of(&self, path: &[&str]) -> Option<Type> {
        match (self, path.split_last()) {
            (_, None) => Some(Type::Object),
            (Self::Fields(_), Some((name, path))) => self.member(path, name).map(Type::of),
            (Self::Text(text), _) => text.type_of(path),
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
            Self::Text(_) => true,
        }
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Fields(fields), Self::Fields(other)) => Arc::ptr_eq(fields, other),
            (Self::Text(text), Self::Text(other)) => Arc::ptr_eq(text, other),
            _ => false,
        }
    }
}

impl Default for Base {
    fn default() -> Self {
        Self::Fields(Arc::default())
    }
}
