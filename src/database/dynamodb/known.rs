//! What is known of an item from when it was read or written. Its version carries it along.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::item::Types;
use super::number::{self, Decimal};
use crate::database::Version;
use crate::record::Record;

/// Jovo v4 writes a whole new item, without our version. These tell most of its writes apart.
pub(super) const TIMES: [&str; 2] = ["createdAt", "updatedAt"];

/// What a [`Version`] carries: what a save compares with and needs to know of the item that it goes
/// over, so that it need not read it again.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The attribute with the version; none where Jovo wrote the item.
    pub(super) version: Option<String>,
    pub(super) content: Content,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Item(Item),
    /// What a deletion left.
    Tombstone,
    /// Only the version's text is known.
    Unknown,
}

/// The fields that were there. Only what changed is written, so that what others write meanwhile into
/// fields of their own stays, and only where it still is as it was; what is no longer in the record is
/// removed.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) record: Record,
    /// What JSON does not say about their values.
    pub(super) types: Types,
}

impl Known {
    pub(super) fn item(version: Option<String>, record: Record, types: Types) -> Self {
        Self { version, content: Content::Item(Item { record, types }) }
    }

    pub(super) fn tombstone(version: String) -> Self {
        Self { version: Some(version), content: Content::Tombstone }
    }

    /// Returns what `version` carries.
    pub(super) fn of(version: &Version) -> Cow<'_, Self> {
        version.loaded().map_or_else(
            || {
                let version = Some(version.to_string());
                Cow::Owned(Self { version, content: Content::Unknown })
            },
            Cow::Borrowed,
        )
    }

    /// Returns the version that carries this.
    pub(super) fn into_version(self) -> Version {
        let text = match (&self.version, &self.content) {
            (Some(version), _) => version.clone(),
            (None, Content::Item(item)) => item.times(),
            (None, _) => String::new(),
        };
        Version::new(text).with_loaded(self)
    }
}

impl Item {
    /// The best that there is in place of a version.
    fn times(&self) -> String {
        let fields = self.record.fields();
        TIMES.map(|name| fields.get(name).map(Value::to_string).unwrap_or_default()).join(" ")
    }

    /// Returns the names of the fields that `record` changes, and of those that it no longer has.
    pub(super) fn changes<'a>(
        &'a self,
        record: &'a Map<String, Value>,
    ) -> (Vec<&'a str>, Vec<&'a str>) {
        let before = self.record.fields();
        let is_changed = |(name, value): &(&String, &Value)| {
            !before.get(*name).is_some_and(|before| is_same(before, value))
        };
        let changed = record.iter().filter(is_changed).map(|(name, _)| name.as_str());
        let gone = before.keys().filter(|name| !record.contains_key(*name)).map(String::as_str);
        (changed.collect(), gone.collect())
    }
}

/// Whether DynamoDB reads both back as the same value.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // `1.0` is read back as `1`.
        (Value::Number(one), Value::Number(other)) => {
            let decimal = |number| number::text(number).map(|text| Decimal::of(&text));
            one == other || decimal(one).is_some_and(|one| Some(one) == decimal(other))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
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
    fn values_are_the_same_if_they_are_stored_as_the_same() {
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
    fn a_version_carries_what_is_known_and_shows_nothing_of_it() {
        let fields = json!({ "user": { "data": { "name": "SECRET" } } });
        let record: Record = serde_json::from_value(fields).unwrap();
        let version =
            Known::item(Some("v".to_owned()), record.clone(), Types::new()).into_version();
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
