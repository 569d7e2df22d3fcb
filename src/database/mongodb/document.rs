//! Converts between the record of one user and its document.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mongodb::bson::raw::{RawDocument, RawDocumentBuf};
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::encoded::Encoded;
use super::fields::{CREATED_AT, EXPIRES_AT, FIELDS, ID, INTEGERS, MARK, TOMBSTONE, UPDATED_AT};
use super::known::{self, Known};
use super::value::{self, Numbers, Refused};
use crate::database::tombstone::LIFETIME;
use crate::database::{Loaded, Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::record::Record;

/// The largest document, in bytes.
/// <https://www.mongodb.com/docs/manual/reference/limits/#mongodb-limit-BSON-Document-Size>
pub(super) const MAX_SIZE: usize = 16 * 1024 * 1024;

/// Matches a document without any of Jovo's fields: a tombstone over which no other program has
/// written. MongoDB removes a tombstone only while this holds. An index cannot ask for a missing
/// field by `$exists: false`, but a missing field equals `null`.
/// <https://www.mongodb.com/docs/manual/core/index-partial/>
pub(super) fn without_fields() -> Document {
    FIELDS.into_iter().map(|name| (name.to_owned(), Bson::Null)).collect()
}

/// The settings that decide which fields are not part of the record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) expires_after: Option<Duration>,
}

/// The fields that each write of this crate sets besides those of the record.
#[derive(Clone)]
pub(super) struct Own {
    pub(super) mark: Bson,
    pub(super) expires_at: Option<DateTime>,
}

impl Own {
    pub(super) fn insert_into(self, document: &mut Document) {
        document.insert(MARK, self.mark);
        if let Some(expires_at) = self.expires_at {
            document.insert(EXPIRES_AT, expires_at);
        }
    }
}

impl Layout {
    pub(super) fn is_reserved(self, name: &str) -> bool {
        [ID, MARK, INTEGERS, TOMBSTONE].contains(&name)
            || (name == EXPIRES_AT && self.expires_after.is_some())
    }

    /// Interprets a document: an expired one as no record.
    pub(super) fn found(self, raw: RawDocumentBuf) -> Result<Loaded, Error> {
        let (mut known, integers) = Known::of(&raw, self)?;
        if known.has_expired() {
            return Ok(Loaded::Absent(None));
        }
        if known.is_tombstone {
            return Ok(Loaded::Absent(Some(known.version())));
        }
        let encoded = Encoded::new(raw, self, known.is_javascript, integers);
        let (encoded, foreign) = encoded.map_err(undecodable)?;
        known.foreign = foreign;
        known.record = Record::of_source(Arc::new(encoded));
        let record = known.record.clone();
        Ok(Loaded::Present(VersionedRecord { record, version: known.version() }))
    }

    /// Returns the fields of a write that sets `updatedAt` to this value.
    pub(super) fn own(self, updated_at: Option<&Bson>) -> Own {
        let updated_at = updated_at.and_then(Bson::as_str).unwrap_or_default();
        let mark = [updated_at, "/", Version::unique().as_str()].concat();
        Own { mark: mark.into(), expires_at: self.expires_after.map(from_now) }
    }

    /// Makes the document of a record that replaces `old`, encodes it, and describes it.
    pub(super) fn document(
        self,
        id: &str,
        record: &Record,
        old: Option<&Document>,
    ) -> Result<(Document, RawDocumentBuf, Known), Error> {
        let mut document = doc! { ID: id };
        for (name, field) in record.fields() {
            self.check_name(name)?;
            let old = old.and_then(|old| Some((old.get(name)?, numbers(old).of(name))));
            let field = value::bson(field, old, 1).map_err(|refused| refused.under(name))?;
            document.insert(name.as_str(), field);
        }
        let own = self.own(document.get(UPDATED_AT));
        own.clone().insert_into(&mut document);
        let times = [UPDATED_AT, CREATED_AT].map(|name| document.get(name).cloned());
        let raw = raw(&document)?;
        let known = Known::written(id, own, times, record, raw.as_bytes().len());
        Ok((document, raw, known))
    }

    pub(super) fn check_name(self, name: &str) -> Result<(), Refused> {
        if self.is_reserved(name) {
            return Err(
                Refused::new("is kept for the database's own use; use another name").under(name)
            );
        }
        // The server could take it for an operator.
        // <https://www.mongodb.com/docs/manual/core/dot-dollar-considerations/>
        if name.starts_with('$') {
            let why =
                "begins with `$`, which MongoDB refuses for a top-level field; use another name";
            return Err(Refused::new(why).under(name));
        }
        value::check_name(name)
    }
}

/// Makes the document that replaces a deleted one.
pub(super) fn tombstone(id: &str) -> Document {
    doc! { ID: id, MARK: Version::unique().as_str(), TOMBSTONE: from_now(LIFETIME) }
}

fn from_now(duration: Duration) -> DateTime {
    let duration = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let now = DateTime::from_system_time(SystemTime::now()).timestamp_millis();
    DateTime::from_millis(now.saturating_add(duration))
}

/// Tells which floating-point numbers of a document are integers, depending on whether Jovo wrote
/// it last.
fn numbers(document: &Document) -> Numbers<'_> {
    let of = |name| document.get(name).unwrap_or(&Bson::Null);
    match document.get_document(INTEGERS) {
        _ if !known::is_ours(of(MARK), of(UPDATED_AT)) => Numbers::JavaScript,
        Ok(listed) => Numbers::Listed(listed),
        Err(_) => Numbers::Exact,
    }
}

/// Decodes the bytes of a document.
pub(super) fn decode(raw: &RawDocument) -> Result<Document, Error> {
    Document::try_from(raw).map_err(undecodable)
}

/// Makes the error of a document whose bytes are not BSON.
pub(super) fn undecodable<E>(_: E) -> Error {
    // The text of the cause may quote a key.
    Error::decode("a document of MongoDB cannot be decoded; repair it in the collection")
}

/// Encodes a document, and refuses one that is too large.
pub(super) fn raw(document: &Document) -> Result<RawDocumentBuf, Error> {
    let raw = RawDocumentBuf::try_from(document).map_err(|_| {
        Error::new(Kind::Encode, "the record cannot be encoded as a document of MongoDB")
    })?;
    if raw.as_bytes().len() <= MAX_SIZE {
        return Ok(raw);
    }
    let mut sizes = sizes(document);
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let biggest: Vec<_> =
        sizes.iter().take(3).map(|(path, size)| format!("`{path}` ({size} bytes)")).collect();
    Err(Error::encode(format!(
        "the document would have {} bytes, MongoDB takes at most {MAX_SIZE}; store less, its biggest fields are {}",
        raw.as_bytes().len(),
        biggest.join(", ")
    )))
}

/// Returns the size of each field, and of each member of a `data` in place of the whole.
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
