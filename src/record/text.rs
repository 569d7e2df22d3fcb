//! A record in the text in which it is stored. Its members are read when they are asked for, as
//! most turns need few of them, and a save copies what they do not change.

use std::iter;
use std::ops::Range;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::change::{self, Change};
use super::spelling::{self, Listed};
use super::types::Type;

/// The bytes that changes may add to a text without its being moved.
const MORE: usize = 64;

/// The text of a record, spelled as `serde_json` would.
pub(super) struct Text {
    text: String,
    list: Vec<Listed>,
    /// Set if a name in the list is spelled with an escape.
    has_escapes: bool,
    /// The values that were read, in the places of the list.
    read: Box<[OnceLock<Box<Value>>]>,
}

impl Text {
    /// Takes a text of at most so many levels. Gives it back unless it is an object that
    /// `serde_json` would write this way.
    pub(super) fn new(text: String, levels: usize) -> Result<Self, String> {
        let Some(list) = spelling::list(&text, levels) else { return Err(text) };
        let has_escapes = list.iter().any(|it| text.as_bytes()[it.name.clone()].contains(&b'\\'));
        let read = list.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { text, list, has_escapes, read })
    }

    pub(super) fn fields(&self) -> &Map<String, Value> {
        match self.value(0) {
            Value::Object(fields) => fields,
            _ => unreachable!("the text of an object"),
        }
    }

    pub(super) fn to_fields(&self) -> Map<String, Value> {
        let read = self.read[0].get().map(|value| Value::clone(value));
        match read.unwrap_or_else(|| self.read_at(0)) {
            Value::Object(fields) => fields,
            _ => unreachable!("the text of an object"),
        }
    }

    /// Returns the value under these names.
    pub(super) fn get<'n>(&self, names: impl Iterator<Item = &'n str>) -> Option<&Value> {
        let (at, mut rest) = self.walk(names)?;
        rest.try_fold(self.value(at), |around, name| change::find(around.as_object()?, name))
    }

    /// Returns the type of the value under `path`, without reading it where it is listed.
    pub(super) fn type_of(&self, path: &[&str]) -> Option<Type> {
        let (at, rest) = self.walk(path.iter().copied())?;
        match rest.len() {
            0 => Some(self.type_at(at)),
            _ => self.get(path.iter().copied()).map(Type::of),
        }
    }

    fn type_at(&self, at: usize) -> Type {
        match self.text.as_bytes()[self.list[at].value.start] {
            b'{' => Type::Object,
            b'[' => Type::Array,
            b'n' => Type::Null,
            _ => Type::Other,
        }
    }

    /// Returns the names, as they are spelled, and the types of the members of the object under
    /// `path`, if they are listed.
    pub(super) fn members(&self, path: &[&str]) -> Option<impl Iterator<Item = (&str, Type)>> {
        let (at, _) = self.walk(path.iter().copied())?;
        let member = |at: usize| (self.at(&self.list[at].name), self.type_at(at));
        self.is_listed(at).then(|| self.members_at(at).map(member))
    }

    /// Returns the places of the members of an object whose members are listed.
    fn members_at(&self, of: usize) -> impl Iterator<Item = usize> {
        let end = self.list[of].members_end.unwrap_or(of);
        let first = Some(of + 1).filter(|at| *at < end);
        let next = move |at: &usize| {
            let next = self.list[*at].members_end.unwrap_or(at + 1);
            (next < end).then_some(next)
        };
        iter::successors(first, next)
    }

    fn is_listed(&self, at: usize) -> bool {
        self.list[at].members_end.is_some()
    }

    /// Returns the text with these changes. `None` if one is in an object whose members are not
    /// listed.
    pub(super) fn with(&self, changes: &[Change]) -> Option<String> {
        let mut edits = Vec::with_capacity(changes.len());
        for change in changes {
            let (around, _) = self.walk(change.path.iter().copied())?;
            if !self.is_listed(around) {
                return None;
            }
            let end = self.list[around].value.end - 1;
            edits.push(match self.find(around, &change.name) {
                Some(at) => (self.list[at].value.clone(), None, &change.value),
                None => (end..end, Some(&*change.name), &change.value),
            });
        }
        edits.sort_by_key(|(place, ..)| place.start);
        let (mut text, mut from) = (Vec::with_capacity(self.text.len() + MORE), 0);
        for (place, added, value) in edits {
            text.extend_from_slice(self.at(&(from..place.start)).as_bytes());
            if let Some(name) = added {
                if !text.ends_with(b"{") {
                    text.push(b',');
                }
                serde_json::to_writer(&mut text, name).ok()?;
                text.push(b':');
            }
            serde_json::to_writer(&mut text, &**value).ok()?;
            from = place.end;
        }
        text.extend_from_slice(self.at(&(from..self.text.len())).as_bytes());
        String::from_utf8(text).ok()
    }

    /// Goes down along these names as far as members are listed. Returns the place, and the names
    /// that are left: none if its own members are listed.
    fn walk<'n, I: Iterator<Item = &'n str>>(&self, mut names: I) -> Option<(usize, I)> {
        let mut at = 0;
        while self.is_listed(at)
            && let Some(name) = names.next()
        {
            at = self.find(at, name)?;
        }
        Some((at, names))
    }

    /// Returns the place of the member `name` of an object whose members are listed.
    fn find(&self, of: usize, name: &str) -> Option<usize> {
        let spelled = self.has_escapes.then(|| Value::from(name).to_string());
        let name = spelled.as_deref().map_or(name, |spelled| &spelled[1..spelled.len() - 1]);
        let names = self.text.as_bytes();
        self.members_at(of).find(|at| names[self.list[*at].name.clone()] == *name.as_bytes())
    }

    fn value(&self, at: usize) -> &Value {
        self.read[at].get_or_init(|| Box::new(self.read_at(at)))
    }

    fn read_at(&self, at: usize) -> Value {
        match serde_json::from_str(self.at(&self.list[at].value)) {
            Ok(value) => value,
            Err(_) => unreachable!("`new` has read through the text"),
        }
    }

    #[cfg(test)]
    pub(super) fn values_read(&self) -> usize {
        self.read.iter().filter(|value| value.get().is_some()).count()
    }

    /// Returns a part of the text. The list was made from it, and names no other places.
    fn at(&self, place: &Range<usize>) -> &str {
        &self.text[place.clone()]
    }
}
