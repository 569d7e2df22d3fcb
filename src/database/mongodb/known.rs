//! Remembers the state in which a document was loaded or written. The version carries it.

use std::borrow::Cow;

use mongodb::bson::raw::{RawBsonRef, RawDocument};
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::document::{self, Layout, Own};
use super::fields::{CREATED_AT, EXPIRES_AT, ID, INTEGERS, MARK, TOMBSTONE, UPDATED_AT};
use crate::database::Version;
use crate::error::Error;
use crate::record::Record;

/// The state that a [`Version`] carries: the condition of a save, and the record that was loaded,
/// so that only what differs from it is written.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) id: String,
    pub(super) mark: Bson,
    pub(super) updated_at: Bson,
    pub(super) created_at: Bson,
    pub(super) is_tombstone: bool,
    /// Set for a tombstone over which another program has written. The next write removes its mark.
    pub(super) was_tombstone: bool,
    /// Set if Jovo wrote last: its integers beyond 32 bits are floating-point numbers.
    pub(super) is_javascript: bool,
    /// The date at which the document expires, if it does.
    pub(super) expires_at: Option<DateTime>,
    pub(super) record: Record,
    /// The bytes of the document, at most.
    pub(super) size: usize,
    /// The fields that hold types that JSON does not tell apart. A save that changes one of them
    /// reads it again.
    pub(super) foreign: Vec<String>,
}

impl Known {
    /// Describes a document that is still encoded, without its record. Adds the list of its
    /// integers.
    pub(super) fn of(raw: &RawDocument, layout: Layout) -> Result<(Self, Option<Document>), Error> {
        let mut known = Self {
            id: String::new(),
            mark: Bson::Null,
            updated_at: Bson::Null,
            created_at: Bson::Null,
            is_tombstone: false,
            was_tombstone: false,
            is_javascript: false,
            expires_at: None,
            record: Record::default(),
            size: raw.as_bytes().len(),
            foreign: Vec::new(),
        };
        let (mut integers, mut ends, mut has_fields) = (None, None, false);
        for element in raw {
            let (name, value) = element.map_err(document::undecodable)?;
            let name = name.as_str();
            let bson = || Bson::try_from(value).map_err(document::undecodable);
            match (name, value) {
                (ID, RawBsonRef::String(id)) => id.clone_into(&mut known.id),
                (MARK, _) => known.mark = bson()?,
                (UPDATED_AT, _) => known.updated_at = bson()?,
                (CREATED_AT, _) => known.created_at = bson()?,
                (TOMBSTONE, RawBsonRef::DateTime(end)) => ends = Some(end),
                (EXPIRES_AT, RawBsonRef::DateTime(at)) if layout.expires_after.is_some() => {
                    known.expires_at = Some(at);
                }
                (INTEGERS, RawBsonRef::Document(listed)) => {
                    let listed = Document::try_from(listed).map_err(document::undecodable)?;
                    integers = Some(listed);
                }
                _ => {}
            }
            known.was_tombstone |= name == TOMBSTONE;
            has_fields |= ![ID, MARK, TOMBSTONE].contains(&name);
        }
        // A tombstone with any other field is not one: another program has written over it.
        if let Some(end) = ends.filter(|_| !has_fields) {
            known.is_tombstone = true;
            known.expires_at = Some(end);
        }
        known.is_javascript = !is_ours(&known.mark, &known.updated_at);
        Ok((known, integers))
    }

    /// Describes a document of at most `size` bytes that this crate writes.
    pub(super) fn written(
        id: &str,
        own: Own,
        times: [Option<Bson>; 2],
        record: &Record,
        size: usize,
    ) -> Self {
        let [updated_at, created_at] = times.map(|time| time.unwrap_or(Bson::Null));
        Self {
            id: id.to_owned(),
            mark: own.mark,
            updated_at,
            created_at,
            is_tombstone: false,
            was_tombstone: false,
            is_javascript: false,
            expires_at: own.expires_at,
            record: record.clone(),
            size,
            foreign: Vec::new(),
        }
    }

    /// Makes the condition of a write that expects this version.
    pub(super) fn filter(&self, id: &str) -> Document {
        let mut filter = doc! {
            ID: id,
            MARK: equal(&self.mark),
            UPDATED_AT: equal(&self.updated_at),
            CREATED_AT: equal(&self.created_at),
        };
        if self.is_tombstone {
            filter.extend(document::without_fields());
        }
        filter
    }

    /// Returns whether the field holds types that JSON does not tell apart.
    pub(super) fn is_foreign(&self, name: &str) -> bool {
        self.foreign.iter().any(|foreign| foreign == name)
    }

    /// Returns whether this is the document of that user.
    pub(super) fn is_of(&self, id: &str) -> bool {
        self.id == id
    }

    /// Returns whether the document has expired. MongoDB removes expired documents about once a
    /// minute.
    pub(super) fn has_expired(&self) -> bool {
        self.expires_at.is_some_and(|at| at <= DateTime::now())
    }

    /// Returns whether both documents come from the same write of this crate.
    pub(super) fn is_same_write(&self, other: &Self) -> bool {
        self.mark == other.mark && self.updated_at == other.updated_at
    }

    /// Makes the version that carries this state. Its text is that of the condition.
    pub(super) fn version(self) -> Version {
        let text = [&self.mark, &self.updated_at, &self.created_at].map(text).join(" ");
        Version::new(text).with_loaded(self)
    }

    /// Returns the state that a version carries; `None` for a version that no database of this kind
    /// made.
    pub(super) fn carried(version: &Version) -> Option<&Self> {
        version.loaded()
    }
}

fn text(value: &Bson) -> Cow<'_, str> {
    match value {
        Bson::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

/// Makes the condition that a field has this value. A missing field equals `null`.
fn equal(value: &Bson) -> Bson {
    match value {
        Bson::String(_) | Bson::Null => value.clone(),
        // Alone, a document could be an operator, and a regular expression would be matched.
        other => doc! { "$eq": other }.into(),
    }
}

/// Returns whether the mark counts: whether this crate wrote the document last.
pub(super) fn is_ours(mark: &Bson, updated_at: &Bson) -> bool {
    let written_with = mark.as_str().and_then(|mark| mark.rsplit_once('/'));
    written_with
        .is_some_and(|(written_with, _)| written_with == updated_at.as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_version_carries_the_known_state_without_showing_it() {
        let record: Record =
            serde_json::from_value(json!({ "user": { "data": { "name": "SECRET" } } })).unwrap();
        let own = Own { mark: "/1".into(), expires_at: None };
        let known = Known::written("SECRET", own, [None, None], &record, 0);
        let version = known.version();
        assert_eq!(version.to_string(), "/1 null null");
        assert!(!format!("{version:?}").contains("SECRET"));
        assert_eq!(Known::carried(&version).unwrap().record, record);
        assert!(Known::carried(&Version::from(7)).is_none());
    }

    #[test]
    fn what_another_program_wrote_is_no_operator_in_a_condition() {
        let own = Own { mark: "/1".into(), expires_at: None };
        let times = [Some(doc! { "$gt": "" }.into()), None];
        let filter = Known::written("$id", own, times, &Record::default(), 0).filter("$id");
        let expected = doc! {
            ID: "$id",
            MARK: "/1",
            UPDATED_AT: { "$eq": { "$gt": "" } },
            CREATED_AT: null,
        };
        assert_eq!(filter, expected);
    }
}
