//! Makes the write of a save over a document: of the changed fields alone, so that fields that
//! others have added meanwhile stay.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};

use super::document::{CREATED_AT, EXPIRES_AT, INTEGERS, Layout, MARK, TOMBSTONE, UPDATED_AT};
use super::known::{Field, Known};
use super::value::{Numbers, integers};
use crate::error::Error;
use crate::record::Record;

/// Lists the fields of a record that differ from those of the document that was loaded.
pub(super) struct Changes<'a> {
    known: &'a Known,
    record: &'a Record,
    changed: Vec<&'a str>,
    removed: Vec<&'a str>,
}

/// Holds the write of a save, and describes the document after it.
pub(super) struct Update {
    pub(super) write: Write,
    pub(super) known: Known,
    /// The document of the record, without the fields of others.
    pub(super) document: Document,
}

pub(super) enum Write {
    Update(Document),
    /// Replaces a document with names that an update takes for paths or operators.
    Replacement(Document),
}

impl<'a> Changes<'a> {
    pub(super) fn new(known: &'a Known, record: &'a Record) -> Self {
        let fields = record.fields();
        let is_changed =
            |name: &&str| known.fields.get(*name).is_none_or(|it| it.is_changed(&fields[*name]));
        let changed = fields.keys().map(String::as_str).filter(is_changed).collect();
        let is_removed = |name: &&str| !fields.contains_key(*name);
        let removed = known.fields.keys().map(String::as_str).filter(is_removed).collect();
        Self { known, record, changed, removed }
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.changed.iter().chain(&self.removed).copied()
    }

    /// Returns whether an update cannot name the changed fields.
    fn need_replacement(&self) -> bool {
        self.names().any(|name| name.is_empty() || name.starts_with('$') || name.contains('.'))
    }

    /// Returns whether the document has to be read again, since a version does not hold its values.
    pub(super) fn need_document(&self) -> bool {
        let is_foreign = |name| self.known.fields.get(name).is_some_and(|field| field.is_foreign);
        // The mark is made of these.
        let times = [CREATED_AT, UPDATED_AT].into_iter();
        self.need_replacement() || self.names().chain(times).any(is_foreign)
    }

    /// Makes the write; over `old`, where the document had to be read.
    pub(super) fn update(
        &self,
        layout: Layout,
        id: &str,
        old: Option<&Document>,
    ) -> Result<Update, Error> {
        let document = layout.document(id, self.record, old)?;
        // It says which fields are the largest.
        super::document::raw(&document)?;
        let lists = self.integers(&document);
        let expires_at = layout.expires_after.and_then(|_| document.get_datetime(EXPIRES_AT).ok());
        let known =
            Known { expires_at: expires_at.copied(), ..self.known_after(&document, &lists) };
        let write = match old.filter(|_| self.need_replacement()) {
            Some(old) => Write::Replacement(self.replacement(old, &document, lists)),
            None => Write::Update(self.operators(&document, lists)),
        };
        Ok(Update { write, known, document })
    }

    /// Lists for each changed field which of its floating-point numbers are integers.
    fn integers(&self, document: &Document) -> BTreeMap<&'a str, Option<Bson>> {
        let list = |name: &&'a str| {
            let json = &self.record.fields()[*name];
            (*name, document.get(name).and_then(|value| integers(value, json)))
        };
        self.changed.iter().map(list).collect()
    }

    /// Lists the unchanged fields in which numbers are still as Jovo wrote them.
    fn first_integers(&self) -> Document {
        let kept = |name: &&String| {
            !self.changed.contains(&name.as_str()) && self.record.fields().contains_key(*name)
        };
        let foreign = self.known.fields.iter().filter(|(_, field)| field.is_foreign);
        foreign.map(|(name, _)| name).filter(kept).map(|name| (name.clone(), true.into())).collect()
    }

    fn operators(&self, document: &Document, lists: BTreeMap<&str, Option<Bson>>) -> Document {
        let (mut set, mut unset) = (Document::new(), doc! { TOMBSTONE: true });
        for &name in &self.changed {
            set.insert(name, document.get(name));
        }
        for name in [MARK, EXPIRES_AT] {
            // Where users do not expire, the record may have a field of this name.
            if let Some(value) = document.get(name)
                && !self.record.fields().contains_key(name)
            {
                set.insert(name, value);
            }
        }
        unset.extend(self.removed.iter().map(|name| ((*name).to_owned(), true.into())));
        if self.known.is_javascript {
            let mut all = self.first_integers();
            all.extend(lists.into_iter().filter_map(|(name, list)| Some((name.to_owned(), list?))));
            let operator = if all.is_empty() { &mut unset } else { &mut set };
            operator.insert(INTEGERS, all);
        } else {
            let removed = self.removed.iter().map(|name| (*name, None));
            for (name, list) in lists.into_iter().chain(removed) {
                let was_foreign = self.known.fields.get(name).is_some_and(|field| field.is_foreign);
                match list {
                    Some(list) => drop(set.insert(format!("{INTEGERS}.{name}"), list)),
                    None if was_foreign => drop(unset.insert(format!("{INTEGERS}.{name}"), true)),
                    None => {}
                }
            }
        }
        doc! { "$set": set, "$unset": unset }
    }

    fn replacement(
        &self,
        old: &Document,
        document: &Document,
        lists: BTreeMap<&str, Option<Bson>>,
    ) -> Document {
        let mut new = old.clone();
        let mut all = match old.get_document(INTEGERS) {
            _ if self.known.is_javascript => self.first_integers(),
            Ok(listed) => listed.clone(),
            Err(_) => Document::new(),
        };
        for name in self.removed.iter().chain(&[TOMBSTONE, INTEGERS]) {
            new.remove(name);
            all.remove(name);
        }
        for &name in self.changed.iter().chain(&[MARK, EXPIRES_AT]) {
            if let Some(value) = document.get(name) {
                new.insert(name, value);
            }
        }
        for (name, list) in lists {
            all.remove(name);
            all.extend(list.map(|list| (name.to_owned(), list)));
        }
        if !all.is_empty() {
            new.insert(INTEGERS, all);
        }
        new
    }

    fn known_after(&self, document: &Document, lists: &BTreeMap<&str, Option<Bson>>) -> Known {
        let field = |(name, json): (&String, _)| {
            let field = match (lists.get(name.as_str()), self.known.fields.get(name)) {
                (None, Some(unchanged)) => *unchanged,
                (list, _) => {
                    let numbers = match list.and_then(Option::as_ref) {
                        Some(Bson::Document(list)) => Numbers::Listed(list),
                        Some(_) => Numbers::JavaScript,
                        None => Numbers::Exact,
                    };
                    Field::new(json, document.get(name)?, numbers)
                }
            };
            Some((name.clone(), field))
        };
        let of = |name| document.get(name).cloned().unwrap_or(Bson::Null);
        Known {
            mark: of(MARK),
            updated_at: of(UPDATED_AT),
            created_at: of(CREATED_AT),
            is_javascript: false,
            fields: self.record.fields().iter().filter_map(field).collect(),
            ..self.known.clone()
        }
    }
}
