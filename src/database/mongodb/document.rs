//! The document of one user.

use std::time::{Duration, SystemTime};

use mongodb::bson::raw::{RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, DateTime, Document, doc};
use serde_json::Map;

use super::known::Known;
use super::value::{self, Numbers, Refused};
use crate::database::tombstone::LIFETIME;
use crate::database::{Loaded, Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::record::Record;

/// How long a document may be, in bytes
/// (<https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size>).
const MAX_SIZE: usize = 16 * 1024 * 1024;

pub(super) const ID: &str = "_id";
pub(super) const EXPIRES_AT: &str = "expiresAt";
pub(super) const CREATED_AT: &str = "createdAt";
pub(super) const UPDATED_AT: &str = "updatedAt";
/// Our mark: `updatedAt` as it was written with it, `/` and what no other write has. Jovo keeps it
/// as it is, so it is ours only as long as `updatedAt` is the same.
pub(super) const MARK: &str = "persistenceVersion";
/// Lists which of the numbers that Jovo wrote are integers, as long as the mark counts.
pub(super) const INTEGERS: &str = "persistenceIntegers";
/// What makes a document a tombstone: the date at which it ends.
pub(super) const TOMBSTONE: &str = "persistenceTombstone";

/// The fields of an item. Jovo sets some of them whenever it writes.
const FIELDS: [&str; 5] = ["user", "session", "history", CREATED_AT, UPDATED_AT];

/// That nobody has made an item of a tombstone: MongoDB removes it only as long as this is so. What
/// is `null` is what is not there, which an index cannot ask for by `$exists: false`
/// (<https://www.mongodb.com/docs/manual/core/index-partial/>).
pub(super) fn without_fields() -> Document {
    FIELDS.into_iter().map(|name| (name.to_owned(), Bson::Null)).collect()
}

/// What the names of the fields that are not the record's depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) expires_after: Option<Duration>,
}

impl Layout {
    fn is_reserved(self, name: &str) -> bool {
        [ID, MARK, INTEGERS, TOMBSTONE].contains(&name)
            || (name == EXPIRES_AT && self.expires_after.is_some())
    }

    /// What a document stands for: one that has expired for nothing.
    pub(super) fn found(self, document: &Document) -> Loaded {
        match (self.has_expired(document), is_tombstone(document)) {
            (true, _) => Loaded::Absent(None),
            (false, true) => Loaded::Absent(Some(Known::new(document, &Map::new()).version())),
            (false, false) => Loaded::Present(self.stored(document)),
        }
    }

    fn stored(self, document: &Document) -> VersionedRecord {
        let numbers = numbers(document);
        let fields = document.iter().filter(|(name, _)| !self.is_reserved(name));
        let json =
            |(name, field): (&String, _)| (name.clone(), value::json(field, numbers.of(name)));
        let record = Record::new(fields.map(json).collect());
        let version = self.known(document, &record).version();
        VersionedRecord { record, version }
    }

    /// Describes the document of this record, for its version.
    pub(super) fn known(self, document: &Document, record: &Record) -> Known {
        let expires_at = self.expires_after.and_then(|_| document.get_datetime(EXPIRES_AT).ok());
        Known { expires_at: expires_at.copied(), ..Known::new(document, record.fields()) }
    }

    /// MongoDB removes what has expired about once a minute.
    pub(super) fn has_expired(self, document: &Document) -> bool {
        let is_over = |name| {
            document.get(name).and_then(Bson::as_datetime).is_some_and(|at| *at <= DateTime::now())
        };
        match is_tombstone(document) {
            true => is_over(TOMBSTONE),
            false => self.expires_after.is_some() && is_over(EXPIRES_AT),
        }
    }

    /// The document of a record, which takes the place of `old`.
    pub(super) fn document(
        self,
        id: &str,
        record: &Record,
        old: Option<&Document>,
    ) -> Result<Document, Error> {
        let mut document = doc! { ID: id };
        for (name, field) in record.fields() {
            self.check_name(name)?;
            let old = old.and_then(|old| Some((old.get(name)?, numbers(old).of(name))));
            let field = value::bson(field, old, 1).map_err(|refused| refused.under(name))?;
            document.insert(name.as_str(), field);
        }
        let mark = format!("{}/{}", updated_at(&document), Version::unique());
        document.insert(MARK, mark);
        if let Some(expires_after) = self.expires_after {
            document.insert(EXPIRES_AT, from_now(expires_after));
        }
        Ok(document)
    }

    fn check_name(self, name: &str) -> Result<(), Refused> {
        if self.is_reserved(name) {
            return Err(Refused::new("is kept for the database's own use").under(name));
        }
        // It could be taken for an operator
        // (https://www.mongodb.com/docs/manual/core/dot-dollar-considerations/).
        if name.starts_with('$') {
            let why = "begins with `$`, which MongoDB refuses for a field of the item itself";
            return Err(Refused::new(why).under(name));
        }
        value::check_name(name)
    }
}

/// What takes the place of a deleted document.
pub(super) fn tombstone(id: &str) -> Document {
    doc! { ID: id, MARK: Version::unique().as_str(), TOMBSTONE: from_now(LIFETIME) }
}

/// A document that has anything else in it is none: somebody has written over it.
pub(super) fn is_tombstone(document: &Document) -> bool {
    document.get_datetime(TOMBSTONE).is_ok()
        && document.keys().all(|name| [ID, MARK, TOMBSTONE].contains(&name.as_str()))
}

fn from_now(duration: Duration) -> DateTime {
    let duration = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let now = DateTime::from_system_time(SystemTime::now()).timestamp_millis();
    DateTime::from_millis(now.saturating_add(duration))
}

fn updated_at(document: &Document) -> &str {
    document.get(UPDATED_AT).and_then(Bson::as_str).unwrap_or_default()
}

/// Whether the document is as we wrote it, or Jovo wrote over it.
pub(super) fn numbers(document: &Document) -> Numbers<'_> {
    let mark = document.get(MARK).and_then(Bson::as_str).and_then(|mark| mark.rsplit_once('/'));
    match (mark, document.get_document(INTEGERS)) {
        (Some((written_with, _)), integers) if written_with == updated_at(document) => {
            integers.map_or(Numbers::Exact, Numbers::Listed)
        }
        _ => Numbers::JavaScript,
    }
}

/// Whether both are one and the same write of ours.
pub(super) fn is_same_write(one: &Document, other: &Document) -> bool {
    one.get(MARK) == other.get(MARK) && updated_at(one) == updated_at(other)
}

/// What the bytes that were read stand for. Deserializing them would take an object of the user's
/// such as `{"$oid": "…"}` for another type.
pub(super) fn decode(raw: &RawDocument) -> Result<Document, Error> {
    // The text of the cause may quote a key.
    Document::try_from(raw).map_err(|_| Error::decode("a document of MongoDB cannot be decoded"))
}

/// The bytes that are sent.
pub(super) fn raw(document: &Document) -> Result<RawDocumentBuf, Error> {
    let raw = RawDocumentBuf::try_from(document).map_err(|_| {
        Error::new(Kind::Encode, "the item cannot be written as a document of MongoDB")
    })?;
    if raw.as_bytes().len() <= MAX_SIZE {
        return Ok(raw);
    }
    let mut sizes = sizes(document);
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let biggest: Vec<_> =
        sizes.iter().take(3).map(|(path, size)| format!("`{path}` ({size} bytes)")).collect();
    Err(Error::encode(format!(
        "the item is {} bytes long, over the {MAX_SIZE} that MongoDB holds; biggest are {}",
        raw.as_bytes().len(),
        biggest.join(", ")
    )))
}

/// The size of each field, and of each member of a `data` in place of the whole.
fn sizes(document: &Document) -> Vec<(String, usize)> {
    let mut sizes = Vec::new();
    for (name, field) in document {
        match field.as_document().and_then(|field| field.get_document("data").ok()) {
            Some(data) => {
                sizes.extend(data.iter().map(|(key, value)| {
                    (format!("{name}.data.{}", key.escape_debug()), size(value))
                }));
            }
            None => sizes.push((name.escape_debug().to_string(), size(field))),
        }
    }
    sizes
}

fn size(value: &Bson) -> usize {
    doc! { "": value }.to_vec().map_or(0, |bytes| bytes.len())
}
