//! Pointers, and the places in which they are looked up.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::platform::document::{child, names};
use crate::platform::raw::{id, integer, text, truthy};
use crate::platform::{Document, Form};

/// One or several JSON pointers, of which the first one that finds a value counts: a text, or an
/// array of texts.
///
/// ```
/// use tower_persistence::platform::JsonPlatform;
///
/// let chat = JsonPlatform::new("chat").detect("/text").user_id(["/from/id", "/sender"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pointers(pub(super) Vec<String>);

impl From<&str> for Pointers {
    fn from(pointer: &str) -> Self {
        Self(vec![pointer.to_owned()])
    }
}

impl From<String> for Pointers {
    fn from(pointer: String) -> Self {
        Self(vec![pointer])
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Pointers {
    fn from(pointers: [T; N]) -> Self {
        Self(pointers.into_iter().map(Into::into).collect())
    }
}

impl From<Vec<String>> for Pointers {
    fn from(pointers: Vec<String>) -> Self {
        Self(pointers)
    }
}

/// A condition on a request.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    /// There is a value under one of the pointers.
    Is(Pointers),
    /// There is this text under one of the pointers.
    IsText(Pointers, String),
}

impl Condition {
    pub(super) fn holds(&self, place: &Place<'_, '_>) -> bool {
        match self {
            Self::Is(pointers) => pointers.0.iter().any(|pointer| place.has(pointer)),
            Self::IsText(Pointers(pointers), expected) => pointers
                .iter()
                .any(|pointer| place.text(pointer).is_some_and(|text| text == *expected)),
        }
    }
}

/// Something that pointers are looked up in.
#[derive(Clone, Copy)]
pub(super) enum Place<'d, 'a> {
    Document(&'d Document<'a>),
    /// An element of a list of events.
    Element(&'a RawValue),
    /// A form: `/From` is its field `From`.
    Form(&'d Form<'a>),
}

impl<'a> Place<'_, 'a> {
    /// Returns the value under `pointer`; forms have none.
    pub(super) fn value(self, pointer: &str) -> Option<&'a RawValue> {
        match self {
            Self::Document(document) => document.pointer(pointer),
            Self::Element(element) => {
                names(pointer)?.try_fold(element, |value, name| child(value, &name))
            }
            Self::Form(_) => None,
        }
    }

    fn field(self, pointer: &str) -> Option<Cow<'a, str>> {
        let Self::Form(form) = self else { return None };
        let mut names = names(pointer)?;
        let name = names.next()?;
        names.next().is_none().then(|| form.get(&name))?
    }

    fn has(self, pointer: &str) -> bool {
        truthy(self.value(pointer)) || self.field(pointer).is_some_and(|text| !text.is_empty())
    }

    fn text(self, pointer: &str) -> Option<Cow<'a, str>> {
        text(self.value(pointer)).or_else(|| self.field(pointer))
    }

    /// Returns the first id under one of the pointers: text, and an integer if they may be numbers.
    pub(super) fn id(self, pointers: &Pointers, is_numeric: bool) -> Option<Cow<'a, str>> {
        pointers.0.iter().find_map(|pointer| {
            let value = self.value(pointer);
            let number = if is_numeric { integer(value) } else { None };
            let field = || self.field(pointer).filter(|id| crate::platform::is_id(id));
            number.or_else(|| id(value)).or_else(field)
        })
    }
}
