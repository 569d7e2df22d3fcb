//! The types that the members of a record must have.

use serde_json::Value;

use super::base::Base;
use crate::error::Error;

/// A type of JSON, as far as it matters here.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Type {
    Object,
    Array,
    Null,
    Other,
}

impl Type {
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Object(_) => Self::Object,
            Value::Array(_) => Self::Array,
            Value::Null => Self::Null,
            _ => Self::Other,
        }
    }
}

/// A field of a record, its type, and the types of its members.
pub(super) type Field = (&'static str, Type, &'static [(&'static str, Type)]);

/// The fields of a user's record.
pub(super) const OF_USER: [Field; 5] = [
    ("user", Type::Object, &[("data", Type::Object), ("quarantine", Type::Array)]),
    ("session", Type::Object, &[("data", Type::Object)]),
    ("history", Type::Object, &[("items", Type::Array), ("messages", Type::Array)]),
    ("metaData", Type::Object, &[]),
    ("otherSessions", Type::Array, &[]),
];

/// The fields of a conversation's record.
pub(super) const OF_CONVERSATION: [Field; 1] =
    [("conversation", Type::Object, &[("data", Type::Object)])];

/// Rejects fields and members of another type. `null` counts as nothing everywhere.
pub(super) fn check(base: &Base, fields: &[Field]) -> Result<(), Error> {
    base.each_member(&[], |name, found| {
        let field = fields.iter().find(|(field, ..)| *field == name);
        let Some((name, expected, members)) = field else { return Ok(()) };
        check_type(&[name], found, *expected)?;
        base.each_member(&[name], |member, found| {
            let known = members.iter().find(|(known, _)| *known == member);
            known.map_or(Ok(()), |(member, expected)| check_type(&[name, member], found, *expected))
        })
    })
}

fn check_type(path: &[&str], found: Type, expected: Type) -> Result<(), Error> {
    if found == expected || found == Type::Null {
        return Ok(());
    }
    let (path, expected) =
        (path.join("."), if expected == Type::Array { "array" } else { "object" });
    Err(Error::decode(format!("`{path}` of the stored record is not an {expected}")))
}
