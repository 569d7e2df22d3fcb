//! Converts between JSON and BSON.

use jiff::Timestamp;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Decimal128, Document};
use serde_json::{Number, Value};

use crate::error::Error;

/// The deepest nesting of a document, itself included.
/// <https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-Nested-Depth-for-BSON-Documents>
const MAX_DEPTH: usize = 100;

/// The number of elements of a stored array among which a value of a new one is looked for, so that
/// a long array does not cost a multiple of its length.
const LOOK_AHEAD: usize = 32;

/// The largest number up to which JavaScript holds every integer.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Tells which floating-point numbers of a document are integers: Node.js stores an integer beyond
/// 32 bits, such as a time in milliseconds, as a floating-point number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numbers<'a> {
    /// None, as in documents that this crate writes.
    Exact,
    /// All without a fraction, as JavaScript reads them.
    JavaScript,
    /// The listed ones, as [`integers`] lists them.
    Listed(&'a Document),
}

impl Numbers<'_> {
    /// Returns the part for a name, or for an index of an array.
    pub(super) fn of(self, name: &str) -> Self {
        match self {
            Self::Listed(listed) => match listed.get(name) {
                Some(Bson::Document(listed)) => Self::Listed(listed),
                Some(_) => Self::JavaScript,
                None => Self::Exact,
            },
            all => all,
        }
    }

    pub(super) fn at(self, index: usize) -> Self {
        match self {
            Self::Listed(_) => self.of(&index.to_string()),
            all => all,
        }
    }

    fn is_integer(self, value: f64) -> bool {
        self == Self::JavaScript && is_integer(value)
    }
}

/// Lists the integers of a record that are floating-point numbers in the document: `true` in the
/// place of each, within the documents that lead to it.
pub(super) fn integers(value: &Bson, json: &Value) -> Option<Bson> {
    let listed: Document = match (value, json) {
        (Bson::Double(_), Value::Number(number)) if !number.is_f64() => {
            return Some(Bson::Boolean(true));
        }
        (Bson::Document(document), Value::Object(fields)) => fields
            .iter()
            .filter_map(|(name, json)| Some((name.clone(), integers(document.get(name)?, json)?)))
            .collect(),
        (Bson::Array(elements), Value::Array(values)) => (elements.iter().zip(values).enumerate())
            .filter_map(|(index, (element, json))| {
                Some((index.to_string(), integers(element, json)?))
            })
            .collect(),
        _ => return None,
    };
    (!listed.is_empty()).then_some(Bson::Document(listed))
}

/// Converts a value to JSON. Types that JSON lacks become the string that JavaScript would make of
/// them (dates, object ids), or else their form in Extended JSON.
pub(super) fn json(value: &Bson, numbers: Numbers<'_>) -> Value {
    match value {
        Bson::Document(document) => {
            let field = |(name, value): (&String, _)| (name.clone(), json(value, numbers.of(name)));
            Value::Object(document.iter().map(field).collect())
        }
        Bson::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, element)| json(element, numbers.at(index)))
            .collect(),
        Bson::String(text) => Value::String(text.clone()),
        Bson::Boolean(value) => Value::Bool(*value),
        Bson::Null => Value::Null,
        Bson::Int32(value) => Value::from(*value),
        Bson::Int64(value) => Value::from(*value),
        Bson::Double(value) if numbers.is_integer(*value) => Value::from(*value as i64),
        // Infinity and NaN become `null`.
        Bson::Double(value) => Value::from(*value),
        Bson::ObjectId(id) => Value::String(id.to_hex()),
        Bson::DateTime(date) => match Timestamp::from_millisecond(date.timestamp_millis()) {
            Ok(timestamp) => Value::String(format!("{timestamp:.3}")),
            Err(_) => extended(value),
        },
        Bson::Decimal128(decimal) => match large_integer(decimal) {
            Some(integer) => Value::from(integer),
            None => extended(value),
        },
        _ => extended(value),
    }
}

fn extended(value: &Bson) -> Value {
    // Generic binary data would become a list of numbers, so it is converted as another kind.
    if let Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes }) = value {
        let subtype = BinarySubtype::UserDefined(0x80);
        let mut value = extended(&Bson::Binary(Binary { subtype, bytes: bytes.clone() }));
        value["$binary"]["subType"] = Value::from("00");
        return value;
    }
    serde_json::to_value(value).unwrap_or_default()
}

fn is_integer(value: f64) -> bool {
    value.trunc() == value
        && value.abs() <= MAX_SAFE_INTEGER
        && !(value == 0.0 && value.is_sign_negative())
}

/// Returns the integer of JSON that no integer of BSON can hold.
fn large_integer(decimal: &Decimal128) -> Option<u64> {
    decimal.to_string().parse().ok().filter(|integer| i64::try_from(*integer).is_err())
}

/// Returns whether converting the value to JSON and back would change its type.
pub(super) fn is_foreign(value: &Bson, numbers: Numbers<'_>) -> bool {
    match value {
        Bson::Document(document) => {
            document.iter().any(|(name, value)| is_foreign(value, numbers.of(name)))
        }
        Bson::Array(elements) => elements
            .iter()
            .enumerate()
            .any(|(index, element)| is_foreign(element, numbers.at(index))),
        scalar => is_foreign_scalar(scalar, numbers),
    }
}

pub(super) fn is_foreign_scalar(value: &Bson, numbers: Numbers<'_>) -> bool {
    match value {
        Bson::Document(_)
        | Bson::Array(_)
        | Bson::String(_)
        | Bson::Boolean(_)
        | Bson::Null
        | Bson::Int32(_) => false,
        Bson::Int64(value) => i32::try_from(*value).is_ok(),
        Bson::Double(value) => !value.is_finite() || numbers.is_integer(*value),
        Bson::Decimal128(decimal) => large_integer(decimal).is_none(),
        _ => true,
    }
}

/// Converts a value to BSON. `old` is the stored value that it replaces: if that has a type that
/// would be lost and looks the same in JSON, it stays.
pub(super) fn bson(
    value: &Value,
    old: Option<(&Bson, Numbers<'_>)>,
    depth: usize,
) -> Result<Bson, Refused> {
    if let Some((old, numbers)) = old
        && is_foreign_scalar(old, numbers)
        && json(old, numbers) == *value
    {
        return Ok(old.clone());
    }
    Ok(match value {
        Value::Null => Bson::Null,
        Value::Bool(value) => Bson::Boolean(*value),
        Value::Number(number) => bson_number(number)?,
        Value::String(text) => Bson::String(text.clone()),
        Value::Array(_) | Value::Object(_) if depth >= MAX_DEPTH => {
            return Err(Refused::new(format!(
                "is nested deeper than the {MAX_DEPTH} levels that MongoDB takes"
            )));
        }
        Value::Array(elements) => {
            let old = old.filter(|(old, numbers)| is_foreign(old, *numbers));
            let old = old.and_then(|(old, numbers)| Some((old.as_array()?.as_slice(), numbers)));
            Bson::Array(array(elements, old.unwrap_or((&[], Numbers::Exact)), depth + 1)?)
        }
        Value::Object(fields) => {
            let old = old.and_then(|(old, numbers)| Some((old.as_document()?, numbers)));
            let mut document = Document::new();
            for (name, value) in fields {
                check_name(name)?;
                let old = old.and_then(|(old, numbers)| Some((old.get(name)?, numbers.of(name))));
                let value = bson(value, old, depth + 1).map_err(|refused| refused.under(name))?;
                document.insert(name.as_str(), value);
            }
            Bson::Document(document)
        }
    })
}

/// Converts an array. Nothing tells which old value a new one was. Values are mostly added and
/// removed at the ends, as in the history, so the search for an equal old value begins where the
/// last one was found.
fn array(
    elements: &[Value],
    (old, numbers): (&[Bson], Numbers<'_>),
    depth: usize,
) -> Result<Vec<Bson>, Refused> {
    let at = |index| Some((old.get(index)?, numbers.at(index)));
    let before: Vec<Value> =
        (0..old.len()).filter_map(at).map(|(old, numbers)| json(old, numbers)).collect();
    let mut next = 0;
    let mut made = Vec::with_capacity(elements.len());
    for (index, element) in elements.iter().enumerate() {
        let same = before.iter().skip(next).take(LOOK_AHEAD).position(|before| before == element);
        if let Some(same) = same {
            next += same + 1;
        }
        let old = at(if same.is_some() { next - 1 } else { next });
        made.push(bson(element, old, depth).map_err(|refused| refused.under(&index.to_string()))?);
    }
    Ok(made)
}

fn bson_number(number: &Number) -> Result<Bson, Refused> {
    let value = if let Some(integer) = number.as_i64() {
        // Does as Node.js, whose driver makes numbers of both.
        Some(i32::try_from(integer).map_or(Bson::Int64(integer), Bson::Int32))
    } else if let Some(integer) = number.as_u64() {
        integer.to_string().parse().ok().map(Bson::Decimal128)
    } else {
        number.as_f64().map(Bson::Double)
    };
    value.ok_or_else(|| Refused::new("is a number beyond those that MongoDB takes"))
}

/// Refuses a name that BSON cannot hold: the character U+0000 ends it.
/// <https://bsonspec.org/spec.html>
pub(super) fn check_name(name: &str) -> Result<(), Refused> {
    if name.contains('\0') {
        let refused = Refused::new("has the character U+0000 in its name, which MongoDB refuses");
        return Err(refused.under(name));
    }
    Ok(())
}

/// A value that cannot be stored.
#[derive(Debug)]
pub(super) struct Refused {
    /// The path, innermost name first.
    path: Vec<String>,
    why: String,
}

impl Refused {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: why.into() }
    }

    pub(super) fn under(mut self, name: &str) -> Self {
        self.path.push(name.escape_debug().to_string());
        self
    }
}

impl From<Refused> for Error {
    fn from(Refused { mut path, why }: Refused) -> Self {
        path.reverse();
        // Deeper names are user data and must not stand in errors.
        let shown = match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["user" | "session", "data", ..] => 3,
            ["user" | "session", ..] => 2,
            _ => 1,
        };
        path.truncate(shown);
        Self::encode(format!("`{}` {why}", path.join(".")))
    }
}
