//! Remembers of a document, in its version, which fields it had and what a save has to find.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::OnceLock;

use mongodb::bson::raw::RawDocument;
use mongodb::bson::{Bson, DateTime, Document, bson, doc};
use serde_json::{Map, Value};

use super::document::{self, CREATED_AT, ID, MARK, UPDATED_AT};
use super::value::{self, Numbers};
use crate::database::Version;

/// Holds the text of a [`Version`]: the condition of a save, and the fields that it need not write.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The fingerprint of the id.
    pub(super) user: [i64; 2],
    pub(super) mark: Bson,
    pub(super) updated_at: Bson,
    pub(super) created_at: Bson,
    pub(super) is_tombstone: bool,
    /// Whether Jovo wrote last, whose integers beyond 32 bits are floating-point numbers.
    pub(super) is_javascript: bool,
    /// The date at which the user expires, where users do.
    pub(super) expires_at: Option<DateTime>,
    pub(super) fields: BTreeMap<String, Field>,
}

/// Describes a field of the record as it is in the document.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    /// The fingerprint of its value in the record.
    fingerprint: [i64; 2],
    /// Whether it holds types that JSON does not tell apart, so that a save that changes it reads
    /// it again.
    pub(super) is_foreign: bool,
}

impl Field {
    pub(super) fn new(json: &Value, value: &Bson, numbers: Numbers<'_>) -> Self {
        Self { fingerprint: fingerprint(json), is_foreign: value::is_foreign(value, numbers) }
    }

    pub(super) fn is_changed(self, json: &Value) -> bool {
        self.fingerprint != fingerprint(json)
    }
}

/// Hashes a value to 128 bits. The keys are random and of this process: two values with one
/// fingerprint cannot be made on purpose, and to another process everything looks changed, and is
/// written.
fn fingerprint(value: impl Hash) -> [i64; 2] {
    static KEYS: OnceLock<[RandomState; 2]> = OnceLock::new();
    let keys = KEYS.get_or_init(|| [RandomState::new(), RandomState::new()]);
    keys.each_ref().map(|keys| keys.hash_one(&value).cast_signed())
}

impl Known {
    /// Describes a document that holds these fields of a record.
    pub(super) fn new(document: &Document, fields: &Map<String, Value>) -> Self {
        let numbers = document::numbers(document);
        let field = |(name, json): (&String, _)| {
            let value = document.get(name)?;
            Some((name.clone(), Field::new(json, value, numbers.of(name))))
        };
        let of = |name| document.get(name).cloned().unwrap_or(Bson::Null);
        Self {
            user: fingerprint(document.get_str(ID).unwrap_or_default()),
            mark: of(MARK),
            updated_at: of(UPDATED_AT),
            created_at: of(CREATED_AT),
            is_tombstone: document::is_tombstone(document),
            is_javascript: numbers == Numbers::JavaScript,
            expires_at: None,
            fields: fields.iter().filter_map(field).collect(),
        }
    }

    /// Makes the condition of a write over this version.
    pub(super) fn filter(&self, id: &str) -> Document {
        // `$eq` takes what follows as a value, whatever it is. For a field that is not there, it is
        // `null`.
        let mut filter = doc! {
            ID: { "$eq": id },
            MARK: { "$eq": &self.mark },
            UPDATED_AT: { "$eq": &self.updated_at },
            CREATED_AT: { "$eq": &self.created_at },
        };
        if self.is_tombstone {
            filter.extend(document::without_fields());
        }
        filter
    }

    /// Returns whether this is the document of that user.
    pub(super) fn is_of(&self, id: &str) -> bool {
        self.user == fingerprint(id)
    }

    /// Returns whether the user has expired by now, so that MongoDB may have removed the document.
    pub(super) fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= DateTime::now())
    }

    /// Writes it as BSON in hexadecimal digits, which is exact for every type that the fields may
    /// have.
    pub(super) fn version(&self) -> Version {
        let fields = self.fields.iter().map(|(name, field)| {
            let [one, other] = field.fingerprint;
            (name.clone(), bson!([one, other, field.is_foreign]))
        });
        let known = doc! {
            "i": self.user.to_vec(), "m": &self.mark, "u": &self.updated_at, "c": &self.created_at,
            "t": self.is_tombstone, "j": self.is_javascript, "e": self.expires_at,
            "f": fields.collect::<Document>(),
        };
        let bytes = known.to_vec().unwrap_or_default();
        Version::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// Reads a version; `None` if no database of this kind has made it.
    pub(super) fn parse(version: &Version) -> Option<Self> {
        let digits = version.as_str().as_bytes();
        let bytes = digits.chunks(2).map(|pair| {
            std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())
        });
        let bytes: Vec<u8> = bytes.collect::<Option<_>>()?;
        let known = document::decode(RawDocument::from_bytes(&bytes).ok()?).ok()?;
        let [Bson::Int64(one), Bson::Int64(other)] = known.get_array("i").ok()?.as_slice() else {
            return None;
        };
        let user = [*one, *other];
        let fields = known.get_document("f").ok()?.iter().map(|(name, field)| {
            let [Bson::Int64(one), Bson::Int64(other), Bson::Boolean(is_foreign)] =
                field.as_array()?.as_slice()
            else {
                return None;
            };
            let field = Field { fingerprint: [*one, *other], is_foreign: *is_foreign };
            Some((name.clone(), field))
        });
        Some(Self {
            user,
            mark: known.get("m")?.clone(),
            updated_at: known.get("u")?.clone(),
            created_at: known.get("c")?.clone(),
            is_tombstone: known.get_bool("t").ok()?,
            is_javascript: known.get_bool("j").ok()?,
            expires_at: known.get_datetime("e").ok().copied(),
            fields: fields.collect::<Option<_>>()?,
        })
    }
}
