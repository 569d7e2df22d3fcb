//! Equality of JSON as it is written, for databases that keep the text of untouched members.

use serde_json::{Map, Value};

/// Returns whether both are written the same way. In contrast to `==`, the order of members and the
/// sign of zero count.
pub(super) fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => is_same_object(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| is_same(l, r))
        }
        (Value::Number(left), Value::Number(right)) => {
            let bits = |number: &serde_json::Number| number.as_f64().map(f64::to_bits);
            left == right && bits(left) == bits(right)
        }
        _ => left == right,
    }
}

pub(super) fn is_same_object(left: &Map<String, Value>, right: &Map<String, Value>) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).all(|((l, left), (r, right))| l == r && is_same(left, right))
}
