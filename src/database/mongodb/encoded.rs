//! Reads BSON that is still encoded, and tells how long JSON will be as BSON.

use mongodb::bson::Bson;
use mongodb::bson::raw::RawBsonRef;
use serde_json::{Map, Value};

use super::value::{self, Numbers, is_foreign_scalar};

/// Converts a value that is still encoded to JSON, as [`value::json`] does. Sets `is_foreign` if
/// the value [is](value::is_foreign).
pub(super) fn read(
    value: RawBsonRef<'_>,
    numbers: Numbers<'_>,
    is_foreign: &mut bool,
) -> Result<Value, mongodb::bson::error::Error> {
    Ok(match value {
        RawBsonRef::Document(document) => {
            // Counting first costs less than growing.
            let mut fields = Map::with_capacity(document.iter_elements().count());
            for element in document {
                let (name, value) = element?;
                let name = name.as_str();
                fields.insert(name.to_owned(), read(value, numbers.of(name), is_foreign)?);
            }
            Value::Object(fields)
        }
        RawBsonRef::Array(array) => {
            let element = |(index, element): (usize, Result<_, _>)| {
                read(element?, numbers.at(index), is_foreign)
            };
            Value::Array(array.into_iter().enumerate().map(element).collect::<Result<_, _>>()?)
        }
        RawBsonRef::String(text) => Value::String(text.to_owned()),
        RawBsonRef::Int32(number) => number.into(),
        scalar => {
            let scalar = Bson::try_from(scalar)?;
            *is_foreign |= is_foreign_scalar(&scalar, numbers);
            value::json(&scalar, numbers)
        }
    })
}

/// Returns the size of a value of JSON as BSON, in bytes, without its type and name.
/// <https://bsonspec.org/spec.html>
pub(super) fn size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(number) => match number.as_i64() {
            Some(integer) if i32::try_from(integer).is_ok() => 4,
            None if number.is_u64() => 16,
            _ => 8,
        },
        Value::String(text) => 5 + text.len(),
        Value::Array(array) => {
            // The names of elements are their indexes.
            let digits = array.len().checked_ilog10().unwrap_or(0) as usize + 1;
            5 + array.iter().map(|element| 2 + digits + size(element)).sum::<usize>()
        }
        Value::Object(fields) => size_of_fields(fields),
    }
}

/// Returns the size of a document with these fields, in bytes.
pub(super) fn size_of_fields(fields: &Map<String, Value>) -> usize {
    5 + fields.iter().map(|(name, value)| 2 + name.len() + size(value)).sum::<usize>()
}
