//! The request body, parsed once for all platforms.

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::raw::{self, Listed};

/// A request body, parsed once: the members of its objects, down to the fourth level, each as text.
///
/// Whatever is deeper is skipped without recursion or copying. A platform looks up the values that
/// it needs. Of members with the same name, the last one counts, as for every handler that parses
/// the body.
///
/// ```
/// use tower_persistence::platform::Document;
///
/// let body = br#"{"team":{"id":"T1"},"events":[{"user":"U1"}]}"#;
/// let document = Document::parse(body).expect("JSON");
/// assert_eq!(document.get("team").unwrap().get(), r#"{"id":"T1"}"#);
/// assert_eq!(document.pointer("/events/0/user").unwrap().get(), r#""U1""#);
/// assert!(Document::parse(b"not JSON").is_none());
/// ```
pub struct Document<'a> {
    text: &'a str,
    /// Absent if there are too many, and for JSON other than an object.
    listed: Option<Listed<'a>>,
}

impl<'a> Document<'a> {
    /// Parses the document in `bytes`; returns `None` if they are not JSON. JSON other than an
    /// object has no members.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        if !text.trim_ascii_start().starts_with('{') {
            let IgnoredAny = serde_json::from_str(text).ok()?;
            return Some(Self { text, listed: None });
        }
        Some(Self { text, listed: Listed::parse(text).ok()? })
    }

    /// Returns the member `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        match &self.listed {
            Some(listed) => listed.get(name),
            None => raw::last_member(self.text, name),
        }
    }

    /// Returns the value under `pointer` ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), such
    /// as `/session/user/userId` or `/entry/0/id`. The empty pointer finds nothing.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&'a RawValue> {
        let mut names = names(pointer)?;
        let value = match &self.listed {
            Some(listed) => listed.descend(&mut names)?,
            None => raw::last_member(self.text, &names.next()?)?,
        };
        names.try_fold(value, |value, name| child(value, &name))
    }

    /// Returns the whole text.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Returns the members in their order, or none if there are too many to list.
    pub(super) fn listed(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        let all = self.listed.iter().flat_map(Listed::iter);
        all.filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns the value under each of `paths` in the member `name`: see [`raw::members`].
    pub(crate) fn members<const N: usize>(
        &self,
        name: &str,
        paths: [&str; N],
    ) -> [Option<&'a RawValue>; N] {
        match &self.listed {
            Some(listed) => listed.members(name, paths),
            None => raw::members(self.get(name), paths),
        }
    }

    /// Returns whether the member `name` is [truthy](raw::truthy).
    pub(crate) fn has(&self, name: &str) -> bool {
        self.is_object_or(name, raw::truthy)
    }

    /// Returns whether the member `name` is an object.
    pub(crate) fn has_object(&self, name: &str) -> bool {
        self.is_object_or(name, raw::is_object)
    }

    fn is_object_or(&self, name: &str, is_so: fn(Option<&RawValue>) -> bool) -> bool {
        match &self.listed {
            Some(listed) => listed.has(name, is_so),
            None => is_so(self.get(name)),
        }
    }

    /// Returns the marks of these names, for [`has_marks`](Self::has_marks).
    pub(super) fn marks(names: &[&str]) -> u64 {
        names.iter().fold(0, |marks, name| marks | raw::mark(name))
    }

    /// Returns whether there may be a member with one of these [marks](Self::marks). `false` is
    /// certain.
    pub(super) fn has_marks(&self, marks: u64) -> bool {
        self.listed.as_ref().is_none_or(|listed| listed.has_marks(marks))
    }

    /// Returns whether the member `name` is the text `expected`.
    pub(crate) fn is(&self, name: &str, expected: &str) -> bool {
        raw::text(self.get(name)).is_some_and(|text| text == expected)
    }
}

/// Shows the names of the members, not their values.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.listed.iter().flat_map(Listed::names)).finish()
    }
}

/// Returns the reference tokens of a JSON pointer; `None` if it is empty or does not begin with
/// `/`.
pub(super) fn names(pointer: &str) -> Option<impl Iterator<Item = Cow<'_, str>>> {
    Some(pointer.strip_prefix('/')?.split('/').map(unescape))
}

/// Returns the member or element `name` of `raw`.
pub(super) fn child<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    if raw.get().starts_with('[') {
        // The RFC allows neither signs nor leading zeros; `parse` alone would accept both.
        let is_index = name == "0" || name.starts_with(|first: char| matches!(first, '1'..='9'));
        let index = name.parse::<usize>().ok().filter(|_| is_index)?;
        let mut elements = 0..;
        raw::find_element(Some(raw), |element| (elements.next() == Some(index)).then_some(element))
    } else {
        raw::member(raw, name)
    }
}

/// Returns a reference token of a JSON pointer without its escapes.
fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') {
        Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(token)
    }
}
