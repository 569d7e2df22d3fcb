//! Reading JSON that is still text.
//!
//! Each function passes over its input once, copies only what holds escapes, and treats values of
//! an unexpected type as missing.

mod listed;
mod search;
mod visitors;

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub(crate) use self::listed::{Listed, mark};
pub(crate) use self::visitors::Members;
use self::visitors::{Elements, LastMember, Text};
use super::is_id;

/// Returns the value under each of `paths`, such as `user/userId`, in the object `raw`. Of members
/// with the same name, the last one counts, at every level. No path may be a prefix of another.
pub(crate) fn members<'a, const N: usize>(
    raw: Option<&'a RawValue>,
    paths: [&str; N],
) -> [Option<&'a RawValue>; N] {
    const { assert!(N <= search::MOST_PATHS) };
    let mut found = [None; N];
    if let Some(raw) = raw {
        search::find(raw.get(), &paths, &mut found);
    }
    found
}

/// Returns the last member `name` of the object `raw`, without keeping the others.
pub(crate) fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    last_member(raw.get(), name)
}

/// Returns the last member `name` of the object in `text`.
pub(crate) fn last_member<'a>(text: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(LastMember(name)).ok().flatten()
}

/// Returns the members of the object `raw` in their order.
pub(crate) fn object(raw: Option<&RawValue>) -> Members<'_> {
    let object = raw.map(RawValue::get).filter(|text| text.starts_with('{'));
    object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns the elements of the array `raw`.
pub(crate) fn elements(raw: Option<&RawValue>) -> Vec<&RawValue> {
    let array = raw.map(RawValue::get).filter(|text| text.starts_with('['));
    array.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns the first value that `find` returns for an element of the array `raw`, without keeping
/// the other elements.
pub(crate) fn find_element<'a, T>(
    raw: Option<&'a RawValue>,
    mut find: impl FnMut(&'a RawValue) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    let elements = Elements(|element| {
        found = find(element);
        found.is_some()
    });
    // An error means that `raw` is not an array, or that elements follow the one that was found.
    let _ = serde_json::Deserializer::from_str(raw?.get()).deserialize_seq(elements);
    found
}

/// Parses the value as a `T`, or returns `T`'s default.
pub(crate) fn read<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// Returns the value if it is text.
pub(crate) fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::Deserializer::from_str(raw?.get()).deserialize_str(Text).ok()
}

/// Returns the name of a member. If it is not Unicode text (a lone surrogate), returns its JSON
/// text with the quotation marks, which no name in a search equals.
pub(crate) fn name(raw: &RawValue) -> Cow<'_, str> {
    let quoted = raw.get();
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(name) if !name.contains('\\') => Cow::Borrowed(name),
        _ => text(Some(raw)).unwrap_or(Cow::Borrowed(quoted)),
    }
}

/// Returns the value if it is an id: text that is neither empty nor too long.
pub(crate) fn id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    text(raw).filter(|id| is_id(id))
}

/// Returns the digits of the value if it is an integer of at most 20 digits, as they are spelled.
pub(crate) fn integer(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let number = raw?.get();
    let digits = number.strip_prefix('-').unwrap_or(number);
    let is_integer = digits.len() <= 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    (is_integer && number != "-0").then_some(Cow::Borrowed(number))
}

/// Returns whether the value is the text `expected`.
pub(crate) fn is(raw: Option<&RawValue>, expected: &str) -> bool {
    text(raw).is_some_and(|text| text == expected)
}

/// Returns whether the value is an object.
pub(crate) fn is_object(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| raw.get().starts_with('{'))
}

/// Returns the value if it is a boolean.
pub(crate) fn boolean(raw: Option<&RawValue>) -> Option<bool> {
    serde_json::from_str(raw?.get()).ok()
}

/// Returns whether the value is `true`, or text that says so.
pub(crate) fn is_true(raw: Option<&RawValue>) -> bool {
    boolean(raw) == Some(true) || text(raw).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

/// Returns whether the value is truthy in JavaScript, which is Jovo's test of a request.
pub(crate) fn truthy(raw: Option<&RawValue>) -> bool {
    let Some(raw) = raw.map(RawValue::get) else { return false };
    match raw {
        "null" | "false" | r#""""# => false,
        number if number.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            number.parse::<f64>().is_ok_and(|number| number != 0.0)
        }
        _ => true,
    }
}

/// Returns the value if it is an object that is not empty.
pub(crate) fn filled_object(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| is_filled(raw, '{', '}'))
}

/// Returns the value if it is an array that is not empty.
pub(crate) fn filled_array(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| is_filled(raw, '[', ']'))
}

/// Returns whether the value is missing, `null`, or an empty object or array.
pub(crate) fn is_empty(raw: Option<&RawValue>) -> bool {
    let has_none = |raw: &RawValue| !is_filled(raw, '{', '}') && !is_filled(raw, '[', ']');
    raw.is_none_or(|raw| raw.get() == "null" || raw.get().starts_with(['{', '[']) && has_none(raw))
}

/// Returns whether the value is `null` or an empty array.
pub(crate) fn is_empty_list(raw: &RawValue) -> bool {
    is_empty(Some(raw)) && !raw.get().starts_with('{')
}

fn is_filled(raw: &RawValue, open: char, close: char) -> bool {
    let inside = raw.get().strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    inside.is_some_and(|inside| !inside.trim_ascii().is_empty())
}

/// Returns `text` with `part`, a slice of it, replaced by `new`.
pub(crate) fn replaced(text: &str, part: &RawValue, new: &str) -> String {
    let start = part.get().as_ptr() as usize - text.as_ptr() as usize;
    let end = start + part.get().len();
    [&text[..start], new, &text[end..]].concat()
}
