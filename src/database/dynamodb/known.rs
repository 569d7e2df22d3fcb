//! Remembers the state in which an item was read or written. The version carries it.

use std::borrow::Cow;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};

use super::attributes::{Attributes, TIMES};
use super::number::{self, Decimal};
use crate::database::Version;
use crate::database::changes::{Change, Rules, changes};
use crate::record::Record;

/// The state that a [`Version`] carries: the old values that a save compares and keeps, so that it
/// need not read the item again.
#[derive(Clone)]
pub(super) struct Known {
    /// The attribute with the version; `None` for an item that Jovo wrote.
    pub(super) version: Option<String>,
    pub(super) content: Content,
}

#[derive(Clone)]
pub(super) enum Content {
    Item(Item),
    /// A deletion left a tombstone.
    Tombstone,
    /// Only the version's text is known.
    Unknown,
}

/// The fields of the item. A save writes only the parts of them that changed, so that other
/// writers' changes beside these stay, and only if they still have their old values. It removes
/// those that the record no longer has.
#[derive(Clone)]
pub(super) struct Item {
    pub(super) record: Record,
    /// The item itself, if some of its values have types that JSON lacks.
    pub(super) foreign: Option<Arc<Attributes>>,
}

impl Known {
    pub(super) fn item(
        version: Option<String>,
        record: Record,
        foreign: Option<Arc<Attributes>>,
    ) -> Self {
        Self { version, content: Content::Item(Item { record, foreign }) }
    }

    pub(super) fn tombstone(version: String) -> Self {
        Self { version: Some(version), content: Content::Tombstone }
    }

    /// Returns the state that `version` carries.
    pub(super) fn of(version: &Version) -> Cow<'_, Self> {
        version.loaded().map_or_else(
            || {
                let version = Some(version.to_string());
                Cow::Owned(Self { version, content: Content::Unknown })
            },
            Cow::Borrowed,
        )
    }

    /// Returns the version that carries this state.
    pub(super) fn into_version(self) -> Version {
        let version = match (&self.version, &self.content) {
            (Some(version), _) => Version::new(version.as_str()),
            (None, Content::Item(item)) => Version::new(item.times()),
            (None, _) => Version::new(""),
        };
        version.with_loaded(self)
    }
}

impl Item {
    /// Returns a substitute for a missing version: the item's times.
    fn times(&self) -> String {
        let time = |name| self.record.member(&[], name);
        TIMES.map(|name| time(name).map(Value::to_string).unwrap_or_default()).join(" ")
    }

    /// Lists the parts that `record` changes.
    pub(super) fn changes<'a>(&'a self, record: &'a Record) -> Vec<Change<'a>> {
        changes(&self.record, record, self)
    }

    /// Returns the item after a write of these parts, if values of types that JSON lacks may be
    /// left.
    pub(super) fn foreign_after(
        &self,
        parts: &[(&Change<'_>, Option<AttributeValue>)],
    ) -> Option<Arc<Attributes>> {
        let mut item = Attributes::clone(self.foreign.as_deref()?);
        for (change, value) in parts {
            // Parts are named only in objects that were loaded.
            if let Some((name, around)) = change.path.split_last()
                && let Some(object) = object_mut(&mut item, around)
            {
                match value {
                    Some(value) => object.insert((*name).to_owned(), value.clone()),
                    None => object.remove(*name),
                };
            }
        }
        Some(Arc::new(item))
    }
}

impl Rules for Item {
    fn is_same(&self, old: &Value, new: &Value) -> bool {
        is_same(old, new)
    }

    fn may_enter(&self, _field: &str) -> bool {
        true
    }

    /// Placeholders stand for every name. An empty one is refused with the object that holds it.
    fn may_name(&self, name: &str) -> bool {
        !name.is_empty()
    }

    /// Maps of DynamoDB have no order.
    fn keeps_order(&self, _old: &Map<String, Value>, _new: &Map<String, Value>) -> bool {
        true
    }
}

fn object_mut<'a>(item: &'a mut Attributes, path: &[&str]) -> Option<&'a mut Attributes> {
    path.iter().try_fold(item, |around, name| match around.get_mut(*name)? {
        AttributeValue::M(object) => Some(object),
        _ => None,
    })
}

/// Returns whether DynamoDB reads both values back as the same value.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // `1.0` is read back as `1`.
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            let decimal = |number| number::text(number).map(|text| Decimal::of(&text));
            one == other || decimal(one).is_some_and(|one| Some(one) == decimal(other))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            if one.keys().eq(other.keys()) {
                return one.values().zip(other.values()).all(|(one, other)| is_same(one, other));
            }
            let is_there = |(name, one)| other.get(name).is_some_and(|other| is_same(one, other));
            one.len() == other.len() && one.iter().all(is_there)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_with_one_stored_form_are_the_same() {
        let same = [
            (json!({ "a": 1, "b": [2] }), json!({ "b": [2.0], "a": 1.0 })),
            (json!(-0.0), json!(0)),
            (json!(1e22), json!(1e22)),
        ];
        for (one, other) in same {
            assert!(is_same(&one, &other) && is_same(&other, &one), "{one} {other}");
        }
        let different = [
            (json!([[1], 2]), json!([1, [2]])),
            (json!([[], []]), json!([[[]]])),
            (json!("1"), json!(1)),
            (json!({ "a": "b" }), json!({ "ab": "" })),
            (json!({ "a": 1 }), json!({ "a": 1, "b": 2 })),
            (json!(null), json!(false)),
            (json!(u64::MAX), json!(u64::MAX - 1)),
            (json!(1e300), json!(1e301)),
        ];
        for (one, other) in different {
            assert!(!is_same(&one, &other) && !is_same(&other, &one), "{one} {other}");
        }
    }

    #[test]
    fn a_version_carries_the_known_state_without_showing_it() {
        let fields = json!({ "user": { "data": { "name": "SECRET" } } });
        let record: Record = serde_json::from_value(fields).unwrap();
        let version = Known::item(Some("v".to_owned()), record.clone(), None).into_version();
        assert_eq!(version, Version::new("v"));
        assert_eq!(format!("{version:?} {version}"), "Version(\"v\") v");
        let known = Known::of(&version);
        assert!(matches!(&known.content, Content::Item(item) if item.record == record));
        let version = Version::from(7);
        let known = Known::of(&version);
        assert_eq!(known.version.as_deref(), Some("7"));
        assert!(matches!(known.content, Content::Unknown));
    }
}
