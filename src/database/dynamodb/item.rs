//! Converts between JSON and DynamoDB's attribute values.
//!
//! DynamoDB has types that JSON lacks: binary values, sets, and numbers with more digits. They are
//! read as base64 text, arrays and the nearest number. [`Types`] remembers the original types, in
//! which the values are written again.

use std::collections::{BTreeMap, HashMap, HashSet};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::attributes::ORDER;
use super::number::{self, Decimal};
use super::path::{Walk, shown};
use crate::error::Error;

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The values whose type JSON does not express, by JSON pointer.
pub(super) type Types = BTreeMap<String, Type>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Type {
    Binary,
    Binaries,
    Strings,
    Numbers,
    /// A number with more digits than the JSON number.
    Digits(String),
}

/// The deepest nesting of a value. The item itself is the first of 32 levels.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes-nested>
const MAX_DEPTH: usize = 31;

/// The longest name of an attribute, in bytes.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-attributes>
const MAX_NAME: usize = 65_535;

/// The room for a path that most records do not exceed.
const PATH: usize = 64;

/// Reads attributes as JSON.
#[derive(Debug)]
pub(super) struct Reader {
    path: String,
    pub(super) types: Types,
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { path: String::with_capacity(PATH), types: Types::new() }
    }

    /// Reads the fields of a record, those of Jovo first.
    pub(super) fn record(&mut self, item: Attributes) -> Result<Map<String, Value>, Error> {
        let place = |name: &str| ORDER.iter().position(|field| *field == name);
        self.sorted(item, |name| place(name).unwrap_or(ORDER.len()))
    }

    pub(super) fn fields(&mut self, attributes: Attributes) -> Result<Map<String, Value>, Error> {
        self.sorted(attributes, |_| 0)
    }

    /// Reads members in the order of their places, and of their names. DynamoDB keeps no order.
    /// Sorting makes the same item the same record every time.
    fn sorted(
        &mut self,
        attributes: Attributes,
        place: impl Fn(&str) -> usize,
    ) -> Result<Map<String, Value>, Error> {
        let mut sorted: Vec<_> = attributes.into_iter().collect();
        sorted.sort_unstable_by(|(a, _), (b, _)| place(a).cmp(&place(b)).then_with(|| a.cmp(b)));
        let mut fields = Map::with_capacity(sorted.len());
        for (name, value) in sorted {
            let value = self.at(&name, |reader| reader.value(value))?;
            fields.insert(name, value);
        }
        Ok(fields)
    }

    fn value(&mut self, value: AttributeValue) -> Result<Value, Error> {
        Ok(match value {
            AttributeValue::S(text) => Value::String(text),
            AttributeValue::Bool(value) => Value::Bool(value),
            AttributeValue::Null(_) => Value::Null,
            AttributeValue::N(digits) => self.number(digits)?,
            AttributeValue::M(map) => Value::Object(self.fields(map)?),
            AttributeValue::L(list) => self.array(list)?,
            AttributeValue::B(bytes) => self.noted(Type::Binary, base64::encode(bytes).into()),
            AttributeValue::Ss(set) => self.noted(Type::Strings, set.into()),
            AttributeValue::Bs(set) => {
                let texts: Vec<_> = set.into_iter().map(base64::encode).collect();
                self.noted(Type::Binaries, texts.into())
            }
            AttributeValue::Ns(set) => {
                let list = set.into_iter().map(AttributeValue::N).collect();
                let array = self.array(list)?;
                self.noted(Type::Numbers, array)
            }
            _ => {
                let path = shown(&self.path);
                return Err(Error::decode(format!(
                    "`{path}` has an unknown type; remove it from the item"
                )));
            }
        })
    }

    fn array(&mut self, list: Vec<AttributeValue>) -> Result<Value, Error> {
        let mut array = Vec::with_capacity(list.len());
        for (index, value) in list.into_iter().enumerate() {
            array.push(self.at_index(index, |reader| reader.value(value))?);
        }
        Ok(Value::Array(array))
    }

    fn number(&mut self, digits: String) -> Result<Value, Error> {
        let Some((number, exact)) = number::parse(&digits) else {
            let path = shown(&self.path);
            return Err(Error::decode(format!(
                "`{path}` has a number that cannot be read; repair it in the item"
            )));
        };
        Ok(if exact { number } else { self.noted(Type::Digits(digits), number) })
    }

    fn noted(&mut self, kind: Type, value: Value) -> Value {
        self.types.insert(self.path.clone(), kind);
        value
    }
}

/// Writes JSON as attributes.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    path: String,
    depth: usize,
    /// The types of the values when they were read.
    before: Option<&'a Types>,
    /// The types that still apply after the write.
    pub(super) types: Types,
}

impl<'a> Writer<'a> {
    pub(super) fn new(before: Option<&'a Types>) -> Self {
        Self { path: String::with_capacity(PATH), depth: 0, before, types: Types::new() }
    }

    pub(super) fn fields<'f>(
        &mut self,
        fields: impl IntoIterator<Item = (&'f String, &'f Value)>,
    ) -> Result<Attributes, Error> {
        let mut attributes = Attributes::new();
        for (name, value) in fields {
            let value = self.member(name, |writer| writer.value(value))?;
            attributes.insert(name.clone(), value);
        }
        Ok(attributes)
    }

    /// Writes the part of a record to which these names lead.
    pub(super) fn part(&mut self, path: &[&str], value: &Value) -> Result<AttributeValue, Error> {
        match path {
            [] => self.value(value),
            [name] => self.member(name, |writer| writer.value(value)),
            [name, rest @ ..] => {
                self.member(name, |writer| writer.deeper(|writer| writer.part(rest, value)))
            }
        }
    }

    /// Writes a member below a name that DynamoDB takes.
    fn member<T>(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.at(name, |writer| {
            if name.is_empty() {
                return Err(writer.refused("has an empty name, which DynamoDB does not take"));
            }
            if name.len() > MAX_NAME {
                return Err(Error::encode(format!(
                    "the name of a field has more than the {MAX_NAME} bytes that DynamoDB takes; shorten it"
                )));
            }
            write(writer)
        })
    }

    fn value(&mut self, value: &Value) -> Result<AttributeValue, Error> {
        if let Some(kind) = self.before.and_then(|types| types.get(&self.path)).cloned()
            && let Some(attribute) = self.typed(&kind, value)?
        {
            self.types.insert(self.path.clone(), kind);
            return Ok(attribute);
        }
        Ok(match value {
            Value::Null => AttributeValue::Null(true),
            Value::Bool(value) => AttributeValue::Bool(*value),
            Value::String(text) => AttributeValue::S(text.clone()),
            Value::Number(number) => AttributeValue::N(self.number(number)?),
            Value::Array(array) => AttributeValue::L(self.deeper(|writer| writer.elements(array))?),
            Value::Object(fields) => {
                AttributeValue::M(self.deeper(|writer| writer.fields(fields))?)
            }
        })
    }

    fn elements(&mut self, array: &[Value]) -> Result<Vec<AttributeValue>, Error> {
        let one =
            |(index, value): (usize, &Value)| self.at_index(index, |writer| writer.value(value));
        array.iter().enumerate().map(one).collect()
    }

    fn number(&self, number: &serde_json::Number) -> Result<String, Error> {
        number::text(number).ok_or_else(|| {
            self.refused(
                "has a number beyond DynamoDB's, whose magnitudes are 1E-130 to 9.99…E+125",
            )
        })
    }

    /// Returns the value in its original type, if it still fits that type.
    fn typed(&mut self, kind: &Type, value: &Value) -> Result<Option<AttributeValue>, Error> {
        Ok(match (kind, value) {
            (Type::Binary, Value::String(text)) => blob(text).map(AttributeValue::B),
            (Type::Digits(digits), Value::Number(_)) => number::parse(digits)
                .filter(|(before, _)| before == value)
                .map(|_| AttributeValue::N(digits.clone())),
            (Type::Strings, Value::Array(array)) => {
                let text = |value: &Value| value.as_str().map(str::to_owned);
                set(array.iter().map(text), Clone::clone).map(AttributeValue::Ss)
            }
            (Type::Binaries, Value::Array(array)) => {
                let bytes = |value: &Value| value.as_str().and_then(blob);
                set(array.iter().map(bytes), |blob| blob.as_ref().to_owned())
                    .map(AttributeValue::Bs)
            }
            (Type::Numbers, Value::Array(array)) if array.iter().all(Value::is_number) => {
                let numbers = self.elements(array)?;
                let digits = numbers.iter().map(|number| number.as_n().ok().cloned());
                set(digits, |digits| Decimal::of(digits)).map(AttributeValue::Ns)
            }
            _ => None,
        })
    }

    fn deeper<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.refused("is nested deeper than the 32 levels that DynamoDB takes"));
        }
        self.depth += 1;
        let written = write(self);
        self.depth -= 1;
        written
    }

    fn refused(&self, why: &str) -> Error {
        Error::encode(format!("`{}` {why}", shown(&self.path)))
    }
}

impl Walk for Reader {
    fn path(&mut self) -> &mut String {
        &mut self.path
    }
}

impl Walk for Writer<'_> {
    fn path(&mut self) -> &mut String {
        &mut self.path
    }
}

/// Returns the members of a set, or `None` where a set is not possible: it is never empty and holds
/// no member twice.
fn set<T, K: Eq + std::hash::Hash>(
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

#[cfg(test)]
mod tests;
