//! Random values, and the comparison of values.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::select;
use serde_json::{Map, Number, Value};

/// Keys with a meaning in a query language, in a format, or in a record.
pub(super) const KEYS: [&str; 40] = [
    "a.b",
    ".",
    "..",
    "a..b",
    "$",
    "$set",
    "$$",
    "$oid",
    "$date",
    "$numberLong",
    "a.$.b",
    " ",
    " a",
    "a ",
    "a b",
    "\t",
    "\n",
    "'",
    "\"",
    "\\",
    "`",
    "#",
    "#a",
    ":a",
    "a[0]",
    "0",
    "-1",
    "null",
    "id",
    "_id",
    "userId",
    "version",
    "updatedAt",
    "__proto__",
    "A",
    "é",
    "e\u{301}",
    "ключ",
    "👩‍👩‍👧",
    "\u{feff}",
];

/// Texts that are easily mistaken for values of another type.
const TEXTS: [&str; 12] = [
    "",
    " ",
    "\0",
    "null",
    "0",
    "1e3",
    "2021-06-30T05:50:04.034Z",
    "$where",
    "e\u{301}",
    "👩‍👩‍👧",
    "\u{7f}\u{80}\u{ffff}\u{10ffff}",
    "\r\n\u{2028}",
];

/// The range of the random values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Range {
    /// Values that every database holds.
    Common,
    /// Every value of JSON.
    All,
}

/// The sizes of the floats, apart from zero, that every database holds.
pub(super) const COMMON_FLOATS: std::ops::Range<f64> = 1e-120..1e120;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(TEXTS.as_slice()).prop_map(str::to_owned),
        vec(any::<char>(), 0..12).prop_map(String::from_iter),
    ]
}

fn key(range: Range) -> impl Strategy<Value = String> {
    let any_key = vec(any::<char>(), 0..6).prop_map(move |characters| {
        let key: String = characters.into_iter().collect();
        let common = || key.replace('\0', "");
        match range {
            Range::All => key,
            Range::Common if common().is_empty() => "k".to_owned(),
            Range::Common => common(),
        }
    });
    prop_oneof![select(KEYS.as_slice()).prop_map(str::to_owned), any_key]
}

fn number(range: Range) -> impl Strategy<Value = Value> {
    let integers = [i64::MIN, -9_007_199_254_740_993, -1, 0, 9_007_199_254_740_993, i64::MAX];
    let unsigned = any::<u64>().prop_map(move |number| match range {
        Range::All => number.into(),
        Range::Common => Value::from(number >> 1),
    });
    let float = any::<f64>().prop_map(move |float| match range {
        Range::Common if !COMMON_FLOATS.contains(&float.abs()) => Value::from(float.signum() * 0.1),
        _ => Number::from_f64(float).map_or(Value::Null, Value::Number),
    });
    prop_oneof![
        any::<i64>().prop_map(Value::from),
        select(integers.to_vec()).prop_map(Value::from),
        unsigned,
        float,
    ]
}

/// Returns a strategy for JSON values, nested up to four levels.
pub(super) fn value(range: Range) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => number(range),
        3 => text().prop_map(Value::String),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            vec((key(range), inner), 0..6)
                .prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Describes the first difference between the values. The order of keys and the spelling of numbers
/// do not count.
pub(super) fn difference(expected: &Value, found: &Value) -> Option<String> {
    let mut path = Vec::new();
    let what = compare(expected, found, &mut path)?;
    Some(if path.is_empty() { what } else { format!("at `{}` {what}", path.join("/")) })
}

fn compare(expected: &Value, found: &Value, path: &mut Vec<String>) -> Option<String> {
    let mut below = |name: String, expected: &Value, found: &Value| {
        path.push(name);
        let difference = compare(expected, found, path);
        if difference.is_none() {
            path.pop();
        }
        difference
    };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let missing = expected.keys().find(|name| !found.contains_key(*name));
            let added = found.keys().find(|name| !expected.contains_key(*name));
            if let Some(name) = missing {
                return Some(format!("the key {} is gone", shown(format!("{name:?}"))));
            }
            if let Some(name) = added {
                return Some(format!("the key {} was added", shown(format!("{name:?}"))));
            }
            expected.iter().find_map(|(name, value)| {
                below(name.clone(), value, found.get(name).unwrap_or(&Value::Null))
            })
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => expected
            .iter()
            .zip(found)
            .enumerate()
            .find_map(|(index, (expected, found))| below(index.to_string(), expected, found)),
        (Value::Number(expected), Value::Number(found)) if is_same_number(expected, found) => None,
        _ if expected == found => None,
        _ => Some(format!("{} was stored, but {} was loaded", shown(expected), shown(found))),
    }
}

// Both conversions are checked: a whole float under 2^127 is exactly one `i128`.
#[allow(clippy::cast_possible_truncation)]
fn is_same_number(expected: &Number, found: &Number) -> bool {
    let integer = |number: &Number| {
        let float = || {
            let float = number.as_f64().filter(|float| float.fract() == 0.0)?;
            (float.abs() < 1e38).then_some(float as i128)
        };
        number.as_i128().or_else(float)
    };
    match (integer(expected), integer(found)) {
        (None, None) => expected.as_f64() == found.as_f64(),
        (expected, found) => expected == found,
    }
}

/// Returns a text for a message, shortened if it is too long to read.
pub(super) fn shown(value: impl fmt::Display) -> String {
    const LONGEST: usize = 600;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn numbers_are_compared_by_their_value() {
        for (one, other) in [
            (json!(1), json!(1.0)),
            (json!(0), json!(-0.0)),
            (json!(1e20), json!(1e20)),
            (json!(i64::MIN), json!(-9_223_372_036_854_775_808.0)),
            (json!(f64::MAX), json!(f64::MAX)),
        ] {
            assert_eq!(difference(&one, &other), None);
            assert_eq!(difference(&other, &one), None);
        }
        for (one, other) in [
            (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0)),
            (json!(u64::MAX), json!(18_446_744_073_709_551_616.0)),
            (json!(i64::MAX), json!(u64::MAX)),
            (json!(0.1), json!(0.100_000_000_000_000_02)),
            (json!(1), json!("1")),
            (json!(5e-324), json!(0)),
            (json!(null), json!({})),
        ] {
            assert!(difference(&one, &other).is_some(), "{one} {other}");
            assert!(difference(&other, &one).is_some(), "{one} {other}");
        }
    }

    #[test]
    fn a_difference_is_named() {
        let (one, other) = (json!({ "a": [{ "b": 1, "c": "" }] }), json!({ "a": [{ "b": 1 }] }));
        assert_eq!(difference(&one, &other).unwrap(), "at `a/0` the key \"c\" is gone");
        assert_eq!(difference(&other, &one).unwrap(), "at `a/0` the key \"c\" was added");
        assert_eq!(difference(&one, &json!({ "a": [] })).unwrap().split(' ').nth(1), Some("`a`"));
        assert_eq!(difference(&json!({ "a": 1, "b": 2 }), &json!({ "b": 2, "a": 1 })), None);
    }
}
