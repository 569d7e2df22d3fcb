//! Reading JSON that is still text: each function goes over its input once, copies nothing that holds no escapes,
//! and takes what is of an unexpected type for missing.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::is_id;

/// What stands in the object `raw` under each of `paths`, such as `user/userId`. Where a name stands twice the last one
/// counts, at every level. No path may be the beginning of another.
pub(crate) fn members<'a, const N: usize>(
    raw: Option<&'a RawValue>,
    paths: [&str; N],
) -> [Option<&'a RawValue>; N] {
    let mut found = [None; N];
    let Some(raw) = raw else { return found };
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    let search = Search { paths: &paths, inside: "", found: &mut found };
    match search.deserialize(&mut deserializer) {
        Ok(()) => found,
        Err(_) => [None; N],
    }
}

/// The members of the object `raw` in their order.
pub(crate) fn object(raw: Option<&RawValue>) -> Members<'_> {
    let object = raw.map(RawValue::get).filter(|text| text.starts_with('{'));
    object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The elements of the array `raw`.
pub(crate) fn elements(raw: Option<&RawValue>) -> Vec<&RawValue> {
    let array = raw.map(RawValue::get).filter(|text| text.starts_with('['));
    array.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The value as a `T`, or `T`'s default.
pub(crate) fn read<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

/// The value as text.
pub(crate) fn text(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    serde_json::Deserializer::from_str(raw?.get()).deserialize_str(Text).ok()
}

/// Returns the name of a member. One that is not Unicode text (a lone surrogate) is its own JSON
/// text, quotation marks included, which no name that is looked for equals.
pub(crate) fn name(raw: &RawValue) -> Cow<'_, str> {
    let quoted = raw.get();
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(name) if !name.contains('\\') => Cow::Borrowed(name),
        _ => text(Some(raw)).unwrap_or(Cow::Borrowed(quoted)),
    }
}

/// The value as an id: text that is neither empty nor too long.
pub(crate) fn id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    text(raw).filter(|id| is_id(id))
}

/// The value as a boolean.
pub(crate) fn boolean(raw: Option<&RawValue>) -> Option<bool> {
    serde_json::from_str(raw?.get()).ok()
}

/// Whether JavaScript takes the value for true: Jovo's test of a request.
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

/// The value, if it is an object with something in it.
pub(crate) fn filled_object(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| is_filled(raw, '{', '}'))
}

/// The value, if it is an array with something in it.
pub(crate) fn filled_array(raw: Option<&RawValue>) -> Option<&RawValue> {
    raw.filter(|raw| is_filled(raw, '[', ']'))
}

/// Whether there is nothing, or nothing in it: `null`, an empty object or array.
pub(crate) fn is_empty(raw: Option<&RawValue>) -> bool {
    let has_none = |raw: &RawValue| !is_filled(raw, '{', '}') && !is_filled(raw, '[', ']');
    raw.is_none_or(|raw| raw.get() == "null" || raw.get().starts_with(['{', '[']) && has_none(raw))
}

/// Whether it is `null` or an empty array.
pub(crate) fn is_empty_list(raw: &RawValue) -> bool {
    is_empty(Some(raw)) && !raw.get().starts_with('{')
}

fn is_filled(raw: &RawValue, open: char, close: char) -> bool {
    let inside = raw.get().strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    inside.is_some_and(|inside| !inside.trim_ascii().is_empty())
}

/// `text` with `part`, which is a slice of it, replaced.
pub(crate) fn replaced(text: &str, part: &RawValue, new: &str) -> String {
    let start = part.get().as_ptr() as usize - text.as_ptr() as usize;
    let end = start + part.get().len();
    [&text[..start], new, &text[end..]].concat()
}

/// Names and values as they stand in an object.
#[derive(Default)]
pub(crate) struct Members<'a>(pub(crate) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The last member of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }
}

impl<'a> Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'a> Visitor<'a> for MembersVisitor {
    type Value = Members<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
        // The platforms' requests have up to about ten members.
        let mut members = Vec::with_capacity(12);
        while let Some(name) = map.next_key()? {
            members.push((self::name(name), map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// Borrows text wherever it holds no escapes.
struct Text;

impl<'a> Visitor<'a> for Text {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E>(self, text: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Fills `found` from one object: what `paths` name that begin with `inside`.
struct Search<'s, 'a> {
    paths: &'s [&'s str],
    inside: &'s str,
    found: &'s mut [Option<&'a RawValue>],
}

/// What the paths say about a member.
enum Step<'s> {
    Skip,
    Enter(&'s str),
    Take(usize),
}

impl<'s> Search<'s, '_> {
    /// What is to be done with the member `name`. It forgets what an earlier member of that name had.
    fn step(&mut self, name: &str) -> Step<'s> {
        let mut step = Step::Skip;
        for (at, path) in self.paths.iter().enumerate() {
            let Some(rest) = path.strip_prefix(self.inside) else { continue };
            // Compared segment by segment: a name that holds a slash is no path.
            let segment = rest.find('/').map_or(rest, |end| &rest[..end]);
            if segment != name {
                continue;
            }
            self.found[at] = None;
            step = if segment.len() == rest.len() {
                Step::Take(at)
            } else {
                Step::Enter(&path[..=self.inside.len() + segment.len()])
            };
        }
        step
    }
}

impl<'a> DeserializeSeed<'a> for Search<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Search<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key()? {
            match self.step(&self::name(name)) {
                Step::Skip => {
                    map.next_value::<IgnoredAny>()?;
                }
                Step::Take(at) => self.found[at] = Some(map.next_value()?),
                Step::Enter(inside) => {
                    let (paths, found) = (self.paths, &mut *self.found);
                    map.next_value_seed(Search { paths, inside, found })?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
