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
        // Something in the object cannot be read, such as half a surrogate pair: step over it.
        Err(_) => paths.map(|path| path.split('/').try_fold(raw, member)),
    }
}

/// Returns the last member `name` of the object `raw`. It keeps nothing of the others.
pub(crate) fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    last_member(raw.get(), name)
}

/// Returns the last member `name` of the object that `text` is.
pub(crate) fn last_member<'a>(text: &'a str, name: &str) -> Option<&'a RawValue> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.deserialize_map(LastMember(name)).ok().flatten()
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

/// Returns the first thing that `find` returns for an element of the array `raw`. It keeps nothing
/// of the other elements.
pub(crate) fn find_element<'a, T>(
    raw: Option<&'a RawValue>,
    mut find: impl FnMut(&'a RawValue) -> Option<T>,
) -> Option<T> {
    let mut found = None;
    let elements = Elements(|element| {
        found = find(element);
        found.is_some()
    });
    // An error says that `raw` is not an array, or that there are elements behind the one that was found.
    let _ = serde_json::Deserializer::from_str(raw?.get()).deserialize_seq(elements);
    found
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

/// Whether the value is `true`, or the text that says so.
pub(crate) fn is_true(raw: Option<&RawValue>) -> bool {
    boolean(raw) == Some(true) || text(raw).is_some_and(|text| text.eq_ignore_ascii_case("true"))
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
        UpTo(usize::MAX).deserialize(deserializer).map(Option::unwrap_or_default)
    }
}

/// Reads an object, and keeps its members unless there are more than so many.
pub(crate) struct UpTo(pub(crate) usize);

impl<'a> DeserializeSeed<'a> for UpTo {
    type Value = Option<Members<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for UpTo {
    type Value = Option<Members<'a>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // The platforms' requests have up to about ten members.
        let mut members = Vec::with_capacity(12);
        while let Some(name) = map.next_key_seed(Name)? {
            if members.len() == self.0 {
                map.next_value::<IgnoredAny>()?;
                while map.next_key_seed(Name)?.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                return Ok(None);
            }
            members.push((name, map.next_value()?));
        }
        Ok(Some(Members(members)))
    }
}

/// Finds the last member of that name.
struct LastMember<'n>(&'n str);

impl<'a> Visitor<'a> for LastMember<'_> {
    type Value = Option<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut last = None;
        while let Some(name) = map.next_key_seed(Name)? {
            if name == self.0 {
                last = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(last)
    }
}

/// Hands over one element after the other until it is told that this is enough.
struct Elements<F>(F);

impl<'a, F: FnMut(&'a RawValue) -> bool> Visitor<'a> for Elements<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'a>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(element) = seq.next_element()? {
            if (self.0)(element) {
                break;
            }
        }
        Ok(())
    }
}

/// Reads a member's name. Half a surrogate pair is an error where `serde_json` reads text, but not
/// where it reads bytes: a name that holds one matches nothing, and hides no other member.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_bytes<E>(self, name: &'a [u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(name))
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(name).into_owned()))
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
        while let Some(name) = map.next_key_seed(Name)? {
            match self.step(&name) {
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
