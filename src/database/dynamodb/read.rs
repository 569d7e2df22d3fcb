//! Reads attributes as JSON, each when it is asked for.
//!
//! DynamoDB has types that JSON lacks: binary values, sets, and numbers with more digits. They are
//! read as base64 text, arrays and the nearest number.

use std::ptr;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde_json::{Map, Value};

use super::attributes::{Attributes, ORDER};
use super::number;
use super::path::Refused;
use crate::error::Error;
use crate::record::{Source, Type};

/// Looks whether all attributes can be read, and returns whether some have types that JSON lacks.
pub(super) fn has_foreign(attributes: &Attributes) -> Result<bool, Error> {
    is_any_foreign(attributes).map_err(|refused| refused.into_error(Error::decode))
}

fn is_any_foreign(attributes: &Attributes) -> Result<bool, Refused> {
    let mut found = false;
    for (name, value) in attributes {
        found |= is_foreign(value).map_err(|refused| refused.under(name))?;
    }
    Ok(found)
}

fn is_foreign(value: &AttributeValue) -> Result<bool, Refused> {
    Ok(match value {
        AttributeValue::S(_) | AttributeValue::Bool(_) | AttributeValue::Null(_) => false,
        AttributeValue::N(digits) => !is_exact(digits)?,
        AttributeValue::M(map) => is_any_foreign(map)?,
        AttributeValue::L(list) => {
            let mut found = false;
            for (index, value) in list.iter().enumerate() {
                found |= is_foreign(value).map_err(|refused| refused.under(&index.to_string()))?;
            }
            found
        }
        AttributeValue::B(_) | AttributeValue::Ss(_) | AttributeValue::Bs(_) => true,
        AttributeValue::Ns(set) => {
            for (index, digits) in set.iter().enumerate() {
                is_exact(digits).map_err(|refused| refused.under(&index.to_string()))?;
            }
            true
        }
        _ => return Err(Refused::new("has an unknown type; remove it from the item")),
    })
}

fn is_exact(digits: &str) -> Result<bool, Refused> {
    let unreadable = || Refused::new("has a number that cannot be read; repair it in the item");
    number::is_exact(digits).ok_or_else(unreadable)
}

/// Attributes in which [`has_foreign`] has looked at each value.
impl Source for Attributes {
    /// Reads the fields of a record, those of Jovo first.
    fn fields(&self) -> Map<String, Value> {
        let place = |name: &str| ORDER.iter().position(|field| *field == name);
        sorted(self, |name| place(name).unwrap_or(ORDER.len()))
    }

    fn find(&self, path: &[&str], name: &str, found: &mut dyn FnMut(usize, &dyn Fn() -> Value)) {
        if let Some(value) = object(self, path).and_then(|object| object.get(name)) {
            found(ptr::from_ref(value).addr(), &|| json(value));
        }
    }

    fn is_object(&self, path: &[&str]) -> bool {
        object(self, path).is_some()
    }

    fn members(&self, path: &[&str]) -> Option<Box<dyn Iterator<Item = (&str, Type)> + '_>> {
        let members = object(self, path)?.iter();
        Some(Box::new(members.map(|(name, value)| (name.as_str(), type_of(value)))))
    }
}

fn object<'a>(attributes: &'a Attributes, path: &[&str]) -> Option<&'a Attributes> {
    path.iter().try_fold(attributes, |around, name| around.get(*name)?.as_m().ok())
}

/// Returns the attribute, or the part of one, to which these names lead.
pub(super) fn find<'a>(attributes: &'a Attributes, path: &[&str]) -> Option<&'a AttributeValue> {
    let (name, around) = path.split_last()?;
    object(attributes, around)?.get(*name)
}

fn type_of(value: &AttributeValue) -> Type {
    match value {
        AttributeValue::M(_) => Type::Object,
        AttributeValue::L(_)
        | AttributeValue::Ss(_)
        | AttributeValue::Ns(_)
        | AttributeValue::Bs(_) => Type::Array,
        AttributeValue::Null(_) => Type::Null,
        _ => Type::Other,
    }
}

/// Reads members in the order of their places, and of their names. DynamoDB keeps no order. Sorting
/// makes the same item the same record every time.
fn sorted(attributes: &Attributes, place: impl Fn(&str) -> usize) -> Map<String, Value> {
    let mut sorted: Vec<_> = attributes.iter().collect();
    sorted.sort_unstable_by(|(a, _), (b, _)| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
    sorted.into_iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &AttributeValue) -> Value {
    // What has no value here, `has_foreign` has refused.
    let number = |digits: &String| number::parse(digits).unwrap_or_default();
    match value {
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::N(digits) => number(digits),
        AttributeValue::M(map) => Value::Object(sorted(map, |_| 0)),
        AttributeValue::L(list) => list.iter().map(json).collect(),
        AttributeValue::B(bytes) => base64::encode(bytes).into(),
        AttributeValue::Ss(set) => set.clone().into(),
        AttributeValue::Ns(set) => set.iter().map(number).collect(),
        AttributeValue::Bs(set) => set.iter().map(base64::encode).collect(),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
