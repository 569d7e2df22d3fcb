//! What is known of an item from when it was read or written: its version.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::item::Types;
use super::number::{self, Decimal};
use crate::Version;

/// Jovo v4 writes a whole new item, without our version. These tell its writes apart.
pub(super) const TIMES: [&str; 2] = ["createdAt", "updatedAt"];

/// The text of a [`Version`]. Beside the version it holds what a save needs to know of the item it goes over, so that it
/// need not read the item again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    /// The attribute with the version; none where Jovo wrote the item.
    pub(super) version: Option<String>,
    /// Those of [`TIMES`] that are there.
    pub(super) times: BTreeMap<String, Value>,
    /// The fields that are there, with what tells whether their value changed. Only what changed is written, so that what
    /// others write meanwhile into fields of their own stays; what is no longer in the record is removed.
    pub(super) fields: BTreeMap<String, Fingerprint>,
    /// What JSON does not say about their values.
    pub(super) types: Types,
    /// Whether it is no item, but what a deletion left.
    pub(super) is_tombstone: bool,
}

impl Known {
    pub(super) fn new(version: Option<String>, fields: &Map<String, Value>, types: Types) -> Self {
        let time = |name: &str| Some((name.to_owned(), fields.get(name)?.clone()));
        Self {
            version,
            times: TIMES.into_iter().filter_map(time).collect(),
            fields: fields.iter().map(|(name, value)| (name.clone(), fingerprint(value))).collect(),
            types,
            is_tombstone: false,
        }
    }

    pub(super) fn tombstone(version: String) -> Self {
        Self { version: Some(version), is_tombstone: true, ..Self::default() }
    }

    pub(super) fn version(&self) -> Version {
        // A map with text as keys always has a JSON form.
        Version::new(serde_json::to_string(self).unwrap_or_default())
    }
}

impl From<&Version> for Known {
    fn from(version: &Version) -> Self {
        // One that no item of ours has: it is over nothing that is stored.
        let foreign = || Self { version: Some(version.to_string()), ..Self::default() };
        serde_json::from_str(version.as_str()).unwrap_or_else(|_| foreign())
    }
}

/// 128 bits of a value, the same for what DynamoDB reads back as the same.
///
/// The keys are random and of this process: nobody can make two values with one fingerprint, and to another process
/// everything looks changed, and is written.
pub(super) type Fingerprint = [u64; 2];

pub(super) fn fingerprint(value: &Value) -> Fingerprint {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]).each_ref().map(|keys| {
        let mut hasher = keys.build_hasher();
        hash(value, &mut hasher);
        hasher.finish()
    })
}

fn hash(value: &Value, hasher: &mut impl Hasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Bool(value) => value.hash(hasher),
        Value::String(text) => text.hash(hasher),
        // `1.0` is read back as `1`.
        Value::Number(number) => {
            number::text(number).map(|text| Decimal::of(&text)).hash(hasher);
        }
        Value::Array(array) => {
            array.len().hash(hasher);
            array.iter().for_each(|value| hash(value, hasher));
        }
        // In an order of our own: DynamoDB has none.
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            sorted.len().hash(hasher);
            for (name, value) in sorted {
                name.hash(hasher);
                hash(value, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fingerprints_are_of_what_is_stored() {
        let same = [
            (json!({ "a": 1, "b": [2] }), json!({ "b": [2.0], "a": 1.0 })),
            (json!(-0.0), json!(0)),
            (json!(1e22), json!(1e22)),
        ];
        for (one, other) in same {
            assert_eq!(fingerprint(&one), fingerprint(&other), "{one} {other}");
        }
        let different = [
            (json!([[1], 2]), json!([1, [2]])),
            (json!([[], []]), json!([[[]]])),
            (json!("1"), json!(1)),
            (json!({ "a": "b" }), json!({ "ab": "" })),
            (json!(null), json!(false)),
            (json!(u64::MAX), json!(u64::MAX - 1)),
        ];
        for (one, other) in different {
            assert_ne!(fingerprint(&one), fingerprint(&other), "{one} {other}");
        }
    }

    #[test]
    fn a_version_of_another_database_is_over_nothing() {
        let known = Known::from(&Version::from(7));
        assert_eq!(known.version.as_deref(), Some("7"));
        let known = Known::new(Some("v".to_owned()), &Map::new(), Types::new());
        assert_eq!(Known::from(&known.version()).version(), known.version());
    }
}
