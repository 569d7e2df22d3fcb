//! JSON and BSON, one made of the other.

use jiff::Timestamp;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Decimal128, Document};
use serde_json::{Number, Value};

use crate::error::Error;

/// How deep a document may be nested, itself included
/// (<https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-Nested-Depth-for-BSON-Documents>).
const MAX_DEPTH: usize = 100;

/// How far into an array that was stored the values of a new one are looked for, so that a long one
/// does not cost a multiple of its length.
const LOOK_AHEAD: usize = 32;

/// Up to where JavaScript's numbers hold every integer.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Says which floating-point numbers of a document are integers: Node.js stores an integer beyond
/// 32 bits, such as a time in milliseconds, as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numbers<'a> {
    /// None, as we write.
    Exact,
    /// All that have no fraction, as JavaScript reads.
    JavaScript,
    /// Those that are listed, by [`integers`].
    Listed(&'a Document),
}

impl Numbers<'_> {
    /// Returns those under a name, or under an index of an array.
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

    fn at(self, index: usize) -> Self {
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
        (Bson::Array(items), Value::Array(values)) => (items.iter().zip(values).enumerate())
            .filter_map(|(index, (item, json))| Some((index.to_string(), integers(item, json)?)))
            .collect(),
        _ => return None,
    };
    (!listed.is_empty()).then_some(Bson::Document(listed))
}

/// What a value is in JSON. Types that JSON does not have become the string that JavaScript would
/// make of them (dates, object ids), or else their form in Extended JSON.
pub(super) fn json(value: &Bson, numbers: Numbers<'_>) -> Value {
    match value {
        Bson::Document(document) => {
            let field = |(name, value): (&String, _)| (name.clone(), json(value, numbers.of(name)));
            Value::Object(document.iter().map(field).collect())
        }
        Bson::Array(items) => {
            items.iter().enumerate().map(|(index, item)| json(item, numbers.at(index))).collect()
        }
        Bson::String(text) => Value::String(text.clone()),
        Bson::Boolean(value) => Value::Bool(*value),
        Bson::Null => Value::Null,
        Bson::Int32(value) => Value::from(*value),
        Bson::Int64(value) => Value::from(*value),
        Bson::Double(value) if numbers.is_integer(*value) => Value::from(*value as i64),
        // `null` for what is no number or infinite.
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
    // Generic binary data would become a list of numbers, so it goes as another kind.
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

/// The integer of JSON that no integer of BSON can hold.
fn large_integer(decimal: &Decimal128) -> Option<u64> {
    decimal.to_string().parse().ok().filter(|integer| i64::try_from(*integer).is_err())
}

/// Returns whether the value, made of its JSON form anew, would be of another type.
pub(super) fn is_foreign(value: &Bson, numbers: Numbers<'_>) -> bool {
    match value {
        Bson::Document(document) => {
            document.iter().any(|(name, value)| is_foreign(value, numbers.of(name)))
        }
        Bson::Array(items) => {
            items.iter().enumerate().any(|(index, item)| is_foreign(item, numbers.at(index)))
        }
        scalar => is_foreign_scalar(scalar, numbers),
    }
}

fn is_foreign_scalar(value: &Bson, numbers: Numbers<'_>) -> bool {
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

/// What a value is in BSON. `old` is what was stored in its place: where that is of a type that
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
                "is nested deeper than the {MAX_DEPTH} levels that MongoDB holds"
            )));
        }
        Value::Array(items) => {
            let old = old.filter(|(old, numbers)| is_foreign(old, *numbers));
            let old = old.and_then(|(old, numbers)| Some((old.as_array()?.as_slice(), numbers)));
            Bson::Array(array(items, old.unwrap_or((&[], Numbers::Exact)), depth + 1)?)
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

/// Nothing says which value of the old array one of the new array was. As a rule values are added
/// or removed at the ends, as in the history, so the same value is looked for from where the last
/// one was found.
fn array(
    items: &[Value],
    (old, numbers): (&[Bson], Numbers<'_>),
    depth: usize,
) -> Result<Vec<Bson>, Refused> {
    let at = |index| Some((old.get(index)?, numbers.at(index)));
    let before: Vec<Value> =
        (0..old.len()).filter_map(at).map(|(old, numbers)| json(old, numbers)).collect();
    let mut next = 0;
    let mut made = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let same = before.iter().skip(next).take(LOOK_AHEAD).position(|before| before == item);
        if let Some(same) = same {
            next += same + 1;
        }
        let old = at(if same.is_some() { next - 1 } else { next });
        made.push(bson(item, old, depth).map_err(|refused| refused.under(&index.to_string()))?);
    }
    Ok(made)
}

fn bson_number(number: &Number) -> Result<Bson, Refused> {
    let value = if let Some(integer) = number.as_i64() {
        // As Node.js does, whose driver makes numbers of both.
        Some(i32::try_from(integer).map_or(Bson::Int64(integer), Bson::Int32))
    } else if let Some(integer) = number.as_u64() {
        integer.to_string().parse().ok().map(Bson::Decimal128)
    } else {
        number.as_f64().map(Bson::Double)
    };
    value.ok_or_else(|| Refused::new("is a number beyond those that MongoDB holds"))
}

/// Refuses a name that BSON cannot hold, where a character U+0000 ends it
/// (<https://bsonspec.org/spec.html>).
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
    /// From the inside to the outside.
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
        Self::encode(format!("`{}` {why}", path.join(".")))
    }
}
