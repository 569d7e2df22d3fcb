//! Writes JSON as attributes. A value that replaces one of a type that JSON lacks is written in
//! that type again, while it fits it.

use std::collections::HashSet;
use std::hash::Hash;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde_json::{Map, Number, Value};

use super::attributes::Attributes;
use super::number::{self, Decimal};
use super::path::Refused;
use super::read::find;
use crate::error::Error;

/// The deepest nesting of a value. The item itself is the first of 32 levels.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes-nested>
const MAX_DEPTH: usize = 31;

/// The longest name of an attribute, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes>
const MAX_NAME: usize = 65_535;

/// Writes the fields of a record, in place of those `before`.
pub(super) fn fields(
    fields: &Map<String, Value>,
    before: Option<&Attributes>,
) -> Result<Attributes, Error> {
    members(fields, before, 0).map_err(|refused| refused.into_error(Error::encode))
}

/// Writes the part of a record to which these names lead.
pub(super) fn part(
    path: &[&str],
    value: &Value,
    before: Option<&Attributes>,
) -> Result<AttributeValue, Error> {
    let refused = |refused: Refused, path: &[&str]| {
        path.iter()
            .rev()
            .fold(refused, |refused, name| refused.under(name))
            .into_error(Error::encode)
    };
    for (index, name) in path.iter().enumerate() {
        check_name(name).map_err(|it| refused(it, &path[..index]))?;
    }
    let before = before.and_then(|before| find(before, path));
    attribute(value, before, path.len().saturating_sub(1)).map_err(|it| refused(it, path))
}

fn members(
    fields: &Map<String, Value>,
    before: Option<&Attributes>,
    depth: usize,
) -> Result<Attributes, Refused> {
    let mut attributes = Attributes::with_capacity(fields.len());
    for (name, value) in fields {
        check_name(name)?;
        let before = before.and_then(|before| before.get(name));
        let written = attribute(value, before, depth).map_err(|refused| refused.under(name))?;
        attributes.insert(name.clone(), written);
    }
    Ok(attributes)
}

/// Refuses a name that DynamoDB does not take.
fn check_name(name: &str) -> Result<(), Refused> {
    if name.is_empty() {
        let why = "has an empty name, which DynamoDB does not take";
        return Err(Refused::new(why).under(name));
    }
    if name.len() > MAX_NAME {
        // With the name, nothing else could be seen of the error.
        return Err(Refused::new(format!(
            "holds a name of more than the {MAX_NAME} bytes that DynamoDB takes; shorten it"
        )));
    }
    Ok(())
}

fn attribute(
    value: &Value,
    before: Option<&AttributeValue>,
    depth: usize,
) -> Result<AttributeValue, Refused> {
    if let Some(same) = before.and_then(|before| foreign(value, before)) {
        return Ok(same);
    }
    Ok(match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => AttributeValue::N(text(number)?),
        Value::Array(_) | Value::Object(_) if depth == MAX_DEPTH => {
            return Err(Refused::new("is nested deeper than the 32 levels that DynamoDB takes"));
        }
        Value::Array(array) => {
            let before = before.and_then(|before| before.as_l().ok());
            let element = |(index, value): (usize, &Value)| {
                let before = before.and_then(|before| before.get(index));
                let written = attribute(value, before, depth + 1);
                written.map_err(|refused| refused.under(&index.to_string()))
            };
            AttributeValue::L(array.iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
        Value::Object(fields) => {
            let before = before.and_then(|before| before.as_m().ok());
            AttributeValue::M(members(fields, before, depth + 1)?)
        }
    })
}

fn text(number: &Number) -> Result<String, Refused> {
    let why = "has a number beyond DynamoDB's, whose magnitudes are 1E-130 to 9.99…E+125";
    number::text(number).ok_or_else(|| Refused::new(why))
}

/// Returns the value in the type of the one before, if JSON lacks that type and the value fits it.
fn foreign(value: &Value, before: &AttributeValue) -> Option<AttributeValue> {
    match (before, value) {
        (AttributeValue::B(_), Value::String(text)) => blob(text).map(AttributeValue::B),
        (AttributeValue::N(digits), Value::Number(number)) => {
            same_digits(digits, number).map(AttributeValue::N)
        }
        (AttributeValue::Ss(_), Value::Array(array)) => {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            set(array.iter().map(text), Clone::clone).map(AttributeValue::Ss)
        }
        (AttributeValue::Bs(_), Value::Array(array)) => {
            let bytes = |value: &Value| value.as_str().and_then(blob);
            set(array.iter().map(bytes), |blob| blob.as_ref().to_owned()).map(AttributeValue::Bs)
        }
        (AttributeValue::Ns(before), Value::Array(array)) => {
            let digits = |(index, value): (usize, &Value)| {
                let number = value.as_number()?;
                let same = before.get(index).and_then(|digits| same_digits(digits, number));
                same.or_else(|| number::text(number))
            };
            let digits = array.iter().enumerate().map(digits);
            set(digits, |digits| Decimal::of(digits)).map(AttributeValue::Ns)
        }
        _ => None,
    }
}

/// Returns the digits that were read as this number.
fn same_digits(digits: &str, number: &Number) -> Option<String> {
    let is_same = number::parse(digits)?.as_number() == Some(number);
    is_same.then(|| digits.to_owned())
}

/// Returns the members of a set, or `None` where a set is not possible: it is never empty and holds
/// no member twice.
fn set<T, K: Eq + Hash>(
    members: impl Iterator<Item = Option<T>>,
    key: impl Fn(&T) -> K,
) -> Option<Vec<T>> {
    let members: Vec<T> = members.collect::<Option<_>>()?;
    let mut seen = HashSet::new();
    (!members.is_empty() && members.iter().all(|member| seen.insert(key(member))))
        .then_some(members)
}

fn blob(text: &str) -> Option<Blob> {
    let bytes = base64::decode(text).ok()?;
    // Only base64 text that encoding reproduces can be a binary value.
    (base64::encode(&bytes) == text).then(|| Blob::new(bytes))
}
