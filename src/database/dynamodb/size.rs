//! Counts the size of an item as DynamoDB does, so that one that is too large is refused before the
//! call.
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html>

use aws_sdk_dynamodb::types::AttributeValue;

use super::attributes::Attributes;
use super::number::Decimal;
use super::path::is_known;
use crate::error::Error;

/// The largest item: 400 KB, names included.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-items>
const MAX_ITEM: usize = 400 * 1024;

/// Refuses an item that is too large, and names its largest fields.
pub(super) fn check<'a>(
    item: impl Iterator<Item = (&'a String, &'a AttributeValue)> + Clone,
) -> Result<(), Error> {
    if size(item.clone().map(|(name, value)| (name.as_str(), value))) <= MAX_ITEM {
        Ok(())
    } else {
        Err(too_large(item))
    }
}

/// Returns whether attributes and parts of attributes fit into an item.
pub(super) fn fits<'a>(parts: impl Iterator<Item = (&'a str, &'a AttributeValue)>) -> bool {
    size(parts) <= MAX_ITEM
}

fn size<'a>(named: impl Iterator<Item = (&'a str, &'a AttributeValue)>) -> usize {
    named.map(|(name, value)| name.len() + bytes(value)).sum()
}

/// Makes the error of an item that is too large, and names its largest fields.
pub(super) fn too_large<'a>(
    item: impl Iterator<Item = (&'a String, &'a AttributeValue)> + Clone,
) -> Error {
    let size = size(item.clone().map(|(name, value)| (name.as_str(), value)));
    let mut fields = Vec::new();
    for (name, value) in item {
        list("", name, value, &mut fields);
    }
    fields.sort_unstable_by(|(_, a), (_, b)| b.cmp(a));
    let biggest: Vec<String> =
        fields.iter().take(3).map(|(path, size)| format!("`{path}` ({size} bytes)")).collect();
    Error::encode(format!(
        "the item would have {size} bytes, DynamoDB takes at most {MAX_ITEM}; store less, its biggest fields are {}",
        biggest.join(", ")
    ))
}

/// Lists the fields with their sizes, down to `/user/data/name`.
fn list(parent: &str, name: &str, value: &AttributeValue, fields: &mut Vec<(String, usize)>) {
    let path = format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        AttributeValue::M(map) if is_known(&path) && !map.is_empty() => {
            for (name, value) in map {
                list(&path, name, value, fields);
            }
        }
        _ => fields.push((path, name.len() + bytes(value))),
    }
}

fn bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => Decimal::of(digits).size(),
        AttributeValue::B(blob) => blob.as_ref().len(),
        AttributeValue::Ss(set) => set.iter().map(String::len).sum(),
        AttributeValue::Ns(set) => set.iter().map(|digits| Decimal::of(digits).size()).sum(),
        AttributeValue::Bs(set) => set.iter().map(|blob| blob.as_ref().len()).sum(),
        AttributeValue::L(list) => 3 + list.iter().map(|value| 1 + bytes(value)).sum::<usize>(),
        AttributeValue::M(map) => 3 + map_bytes(map) + map.len(),
        _ => 1,
    }
}

fn map_bytes(map: &Attributes) -> usize {
    map.iter().map(|(name, value)| name.len() + bytes(value)).sum()
}
