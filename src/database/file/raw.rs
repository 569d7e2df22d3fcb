//! Takes JSON apart without converting it: into the texts of its members and elements.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::half_pairs;

/// The members of an object in order, each as the texts of its name and its value.
pub(super) struct Members<'a>(pub(super) Vec<(&'a str, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    members.push((name.get(), value.get()));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Returns the members of the object `json`, or none if it is not an object.
pub(super) fn members(json: &str) -> Vec<(&str, &str)> {
    serde_json::from_str(json).map_or_else(|_| Vec::new(), |Members(members)| members)
}

/// Returns the elements of the array `json`, or none if it is not an array.
pub(super) fn elements(json: &str) -> Vec<&str> {
    let elements: Vec<&RawValue> = serde_json::from_str(json).unwrap_or_default();
    elements.into_iter().map(RawValue::get).collect()
}

/// Returns the text of the JSON string `json`, with U+FFFD in place of halves of surrogate pairs.
pub(super) fn string(json: &str) -> Option<String> {
    serde_json::from_str(&half_pairs::replace(json)).ok()
}

/// Returns whether `json` is the string `plain`, which needs no escapes.
pub(super) fn is_string(json: &str, plain: &str) -> bool {
    let quoted = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    quoted == Some(plain) || json.contains('\\') && string(json).as_deref() == Some(plain)
}
