//! Comparing JSON texts by meaning, including texts that serde_json rejects.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer;
use serde::de::Visitor;
use serde_json::Value;
use serde_json::value::RawValue;

use super::kept::Pairs;
use super::raw;

/// The number of levels that are compared one by one: each passes over the text once more.
const LEVELS: u32 = 16;

/// Compares two values as JSON: spacing, order of members, and the spelling of text and numbers do
/// not count.
pub(super) fn same(a: &RawValue, b: &RawValue) -> bool {
    same_to(LEVELS, a, b)
}

fn same_to(levels: u32, a: &RawValue, b: &RawValue) -> bool {
    let (a_text, b_text) = (a.get(), b.get());
    if a_text == b_text {
        return true;
    }
    if levels == 0 {
        let value = |text| serde_json::from_str::<Value>(text).ok();
        return value(a_text).is_some_and(|a| value(b_text) == Some(a));
    }
    match (a_text.as_bytes().first(), b_text.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let (a, b) = (members(a), members(b));
            let is_same = |(name, a): (&Vec<u8>, &&RawValue)| {
                b.get(name).is_some_and(|b| same_to(levels - 1, a, b))
            };
            a.len() == b.len() && a.iter().all(is_same)
        }
        (Some(b'['), Some(b'[')) => {
            let (a, b) = (raw::elements(Some(a)), raw::elements(Some(b)));
            let is_same = |(a, b): (&&RawValue, &&RawValue)| same_to(levels - 1, a, b);
            a.len() == b.len() && a.iter().zip(&b).all(is_same)
        }
        (Some(b'"'), Some(b'"')) => bytes(a_text).is_some_and(|a| bytes(b_text) == Some(a)),
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => same_number(a_text, b_text),
        _ => false,
    }
}

/// Returns the members by name. Of those with the same name, the last one counts.
fn members(raw: &RawValue) -> HashMap<Vec<u8>, &RawValue> {
    let pairs = Pairs::of(Some(raw)).0.into_iter();
    pairs.filter_map(|(name, value)| Some((bytes(name.get())?, value))).collect()
}

/// Compares whole numbers exactly, however long they are, and others as floats.
fn same_number(a: &str, b: &str) -> bool {
    match (a.parse::<i128>(), b.parse::<i128>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => match (a.parse::<f64>(), b.parse::<f64>()) {
            (Ok(a), Ok(b)) => a == b && a.is_finite(),
            _ => false,
        },
    }
}

/// Returns the text in WTF-8, which is UTF-8 that can also hold lone surrogates.
fn bytes(text: &str) -> Option<Vec<u8>> {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("text")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_bytes(Bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_same(a: &str, b: &str) -> bool {
        let raw = |text| serde_json::from_str::<&RawValue>(text).expect("JSON");
        assert_eq!(same(raw(a), raw(b)), same(raw(b), raw(a)), "{a} {b}");
        same(raw(a), raw(b))
    }

    #[test]
    fn only_what_it_means_counts() {
        let deep = |inside: &str| format!("{}{inside}{}", "[".repeat(100), "]".repeat(100));
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, r#"{ "b" : [ true, null ], "\u0061" : 1 }"#),
            (r#""\ud83d \u00e9\/""#, r#""\uD83D é/""#),
            (r#"{"\ud83d":1}"#, r#"{"\uD83D": 1}"#),
            (r#"{"a":0,"a":1}"#, r#"{"a":1}"#),
            ("1", "1.0"),
            ("1e2", "100"),
            ("12345678901234567890123", "12345678901234567890123"),
            (&deep("1"), &deep(" 1")),
        ] {
            assert!(is_same(a, b), "{a} {b}");
        }
        for (a, b) in [
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            (r#"{"a":1}"#, r#"{"b":1}"#),
            ("[1,2]", "[2,1]"),
            ("[1]", r#"["1"]"#),
            ("12345678901234567890123", "12345678901234567890124"),
            ("1e400", "1e401"),
            (r#""\ud83d""#, r#""\ud83e""#),
            ("null", "false"),
            (&deep("1"), &deep("2")),
        ] {
            assert!(!is_same(a, b), "{a} {b}");
        }
    }
}
