//! Makes the write of a save that replaces a document: of the changed parts alone, so that those
//! that other writers have changed meanwhile stay.

use std::collections::BTreeMap;

use mongodb::bson::{Bson, Document, doc};
use serde_json::{Map, Value};

use super::document::{self, Layout};
use super::encoded;
use super::fields::{CREATED_AT, EXPIRES_AT, INTEGERS, MARK, TOMBSTONE, UPDATED_AT};
use super::known::Known;
use super::value::{self, Numbers, integers, is_foreign};
use crate::database::changes::{Change, Rules, changes};
use crate::error::Error;
use crate::record::Record;

/// The size beyond which the whole document is made, to refuse one that is too large exactly: some
/// fields are not part of the record, and types that JSON lacks take less as text.
const LARGE: usize = document::MAX_SIZE - 64 * 1024;

/// Lists the parts of a record that differ from those of the loaded document.
pub(super) struct Changes<'a> {
    known: &'a Known,
    record: &'a Record,
    parts: Vec<Change<'a>>,
    /// The top-level fields that hold these parts.
    changed: Vec<&'a str>,
    removed: Vec<&'a str>,
}

/// The write of a save, and a description of the document after it.
pub(super) struct Update {
    pub(super) write: Write,
    pub(super) known: Known,
}

/// A field with types that JSON lacks is compared with what is stored, and written whole.
impl Rules for Known {
    fn is_same(&self, old: &Value, new: &Value) -> bool {
        old == new
    }

    fn may_enter(&self, field: &str) -> bool {
        !self.is_foreign(field)
    }

    /// In a path a dot separates names, `$` may begin an operator, and digits an index.
    /// <https://www.mongodb.com/docs/manual/core/document/#dot-notation>
    fn may_name(&self, name: &str) -> bool {
        is_named(name)
            && !name.contains('\0')
            && !name.starts_with(|first: char| first.is_ascii_digit())
    }

    /// MongoDB appends new members in the order of their names.
    /// <https://www.mongodb.com/docs/manual/reference/operator/update/set/#behavior>
    fn keeps_order(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
        let kept = new.keys().take_while(|name| old.contains_key(*name)).count();
        let is_kept = |name: &&String| new.contains_key(*name);
        new.len() - kept <= 1 && old.keys().filter(is_kept).eq(new.keys().take(kept))
    }
}

/// Returns whether an update can name a top-level field.
fn is_named(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('$') && !name.contains('.')
}

fn operators(set: Document, unset: Document) -> Document {
    let mut operators = doc! { "$set": set };
    // MongoDB before 5.0 refuses an empty operator.
    // <https://www.mongodb.com/docs/manual/reference/operator/update/unset/#behavior>
    if !unset.is_empty() {
        operators.insert("$unset", unset);
    }
    operators
}

pub(super) enum Write {
    Update(Document),
    /// Replaces a document with names that an update takes for paths or operators.
    Replacement(Document),
}

impl<'a> Changes<'a> {
    pub(super) fn new(known: &'a Known, record: &'a Record) -> Self {
        let parts = changes(&known.record, record, known);
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for part in &parts {
            let is_removed = part.path.len() == 1 && part.new.is_none();
            let names = if is_removed { &mut removed } else { &mut changed };
            // The parts of one field follow each other.
            if names.last() != Some(&part.field()) {
                names.push(part.field());
            }
        }
        Self { known, record, parts, changed, removed }
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.changed.iter().chain(&self.removed).copied()
    }

    /// Returns whether an update cannot name the changed fields.
    fn need_replacement(&self) -> bool {
        !self.names().all(is_named)
    }

    /// Returns whether the document has to be read again because a version does not hold its
    /// values.
    pub(super) fn need_document(&self) -> bool {
        // The mark is made of these.
        let times = [CREATED_AT, UPDATED_AT].into_iter();
        self.need_replacement()
            || !self.known.foreign.is_empty()
                && self.names().chain(times).any(|name| self.known.is_foreign(name))
    }

    /// Makes the write. `old` is the stored document, where it had to be read.
    pub(super) fn update(
        &self,
        layout: Layout,
        id: &str,
        old: Option<&Document>,
    ) -> Result<Update, Error> {
        if old.is_none() && !self.known.is_javascript && self.size() <= LARGE {
            return self.parts(layout, id);
        }
        // Refuses a document that is too large, and names its largest fields.
        let (document, _, written) = layout.document(id, self.record, old)?;
        let lists = self.integers(&document);
        let foreign = self.foreign_after(&document, &lists);
        let known = Known { foreign, ..written };
        let write = match old.filter(|_| self.need_replacement()) {
            Some(old) => Write::Replacement(self.replacement(old, &document, lists)),
            None => Write::Update(self.operators(&document, lists)),
        };
        Ok(Update { write, known })
    }

    /// Returns the size of the document after the write, at most.
    fn size(&self) -> usize {
        let of = |part: &Change<'a>| part.new.map_or(0, encoded::size) + part.path.concat().len();
        self.known.size + self.parts.iter().map(of).sum::<usize>()
    }

    /// Makes the write of the changed parts alone.
    fn parts(&self, layout: Layout, id: &str) -> Result<Update, Error> {
        let (mut set, mut unset) = (Document::new(), self.unset());
        for Change { path, new, .. } in &self.parts {
            let Some(new) = new else {
                unset.insert(path.join("."), true);
                continue;
            };
            if let [field] = path[..] {
                layout.check_name(field)?;
            }
            let part = value::bson(new, None, path.len());
            let part = part.map_err(|refused| {
                path.iter().rev().fold(refused, |refused, name| refused.under(name))
            })?;
            set.insert(path.join("."), part);
        }
        let time = |name, before: &Bson| match self.parts.iter().find(|part| part.path == [name]) {
            Some(part) => part.new.map(|time| value::bson(time, None, 1)).transpose(),
            None => Ok(Some(before.clone())),
        };
        let updated_at = time(UPDATED_AT, &self.known.updated_at)?;
        let times = [updated_at, time(CREATED_AT, &self.known.created_at)?];
        let own = layout.own(times[0].as_ref());
        own.clone().insert_into(&mut set);
        let foreign = self.known.foreign.iter();
        let foreign = foreign.filter(|name| !self.removed.contains(&name.as_str()));
        let foreign = foreign.cloned().collect();
        let known = Known { foreign, ..Known::written(id, own, times, self.record, self.size()) };
        Ok(Update { write: Write::Update(operators(set, unset)), known })
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
        let foreign = self.known.foreign.iter();
        foreign.filter(kept).map(|name| (name.clone(), true.into())).collect()
    }

    fn operators(&self, document: &Document, lists: BTreeMap<&str, Option<Bson>>) -> Document {
        let (mut set, mut unset) = (Document::new(), self.unset());
        for &name in &self.changed {
            set.insert(name, document.get(name));
        }
        for name in [MARK, EXPIRES_AT] {
            // If users do not expire, the record may have a field of this name.
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
                let was_foreign = self.known.is_foreign(name);
                match list {
                    Some(list) => drop(set.insert(format!("{INTEGERS}.{name}"), list)),
                    None if was_foreign => drop(unset.insert(format!("{INTEGERS}.{name}"), true)),
                    None => {}
                }
            }
        }
        operators(set, unset)
    }

    /// Returns what the write removes in any case.
    fn unset(&self) -> Document {
        match self.known.was_tombstone {
            true => doc! { TOMBSTONE: true },
            false => Document::new(),
        }
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

    /// Lists the fields that hold types that JSON does not tell apart, after the write.
    fn foreign_after(
        &self,
        document: &Document,
        lists: &BTreeMap<&str, Option<Bson>>,
    ) -> Vec<String> {
        let is_foreign = |name: &&String| {
            let Some(list) = lists.get(name.as_str()) else { return self.known.is_foreign(name) };
            let numbers = match list {
                Some(Bson::Document(list)) => Numbers::Listed(list),
                Some(_) => Numbers::JavaScript,
                None => Numbers::Exact,
            };
            document.get(*name).is_some_and(|value| is_foreign(value, numbers))
        };
        self.record.fields().keys().filter(is_foreign).cloned().collect()
    }
}
