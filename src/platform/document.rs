use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::is_id;

/// A request body, parsed once: the members of the top-level object, each as the text it is.
///
/// What is inside a member is skipped without recursion and without copying; a platform then reads the one or
/// two members that it needs. Where a name stands twice the last one counts, as for every handler that parses the body.
///
/// ```
/// use tower_persistence::platform::Document;
///
/// let document = Document::parse(br#"{"team":{"id":"T1"},"events":[{"user":"U1"}]}"#).expect("JSON");
/// assert_eq!(document.get("team").unwrap().get(), r#"{"id":"T1"}"#);
/// assert_eq!(document.pointer("/events/0/user").unwrap().get(), r#""U1""#);
/// assert!(Document::parse(b"no JSON").is_none());
/// ```
pub struct Document<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Document<'a> {
    /// The document in `bytes`, or `None` if they are not JSON. JSON other than an object has no members.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The member `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// What stands under `pointer` ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)), such as `/session/user/userId` or
    /// `/entry/0/id`. The empty pointer finds nothing.
    #[must_use]
    pub fn pointer(&self, pointer: &str) -> Option<&'a RawValue> {
        let mut names = pointer.strip_prefix('/')?.split('/').map(unescape);
        let member = self.get(&names.next()?)?;
        names.try_fold(member, |value, name| child(value, &name))
    }

    /// The member `name` as a `T`; `T`'s default where it is missing or something else.
    pub(crate) fn read<T: Deserialize<'a> + Default>(&self, name: &str) -> T {
        let read = |raw: &'a RawValue| serde_json::from_str(raw.get()).ok();
        self.get(name).and_then(read).unwrap_or_default()
    }

    /// Whether the member `name` is there and neither `null`, `false`, zero nor empty text: Jovo's test of a request.
    pub(crate) fn has(&self, name: &str) -> bool {
        truthy(self.get(name))
    }

    /// Whether the member `name` is the text `expected`.
    pub(crate) fn is(&self, name: &str, expected: &str) -> bool {
        text(self.get(name)).is_some_and(|text| text == expected)
    }
}

impl<'a> Deserialize<'a> for Document<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let members: Lenient<Members<'a>> = Lenient::deserialize(deserializer)?;
        Ok(Self { members: members.0.0 })
    }
}

/// Shows the names of the members, not what is in them.
impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.members.iter().map(|(name, _)| name)).finish()
    }
}

/// The value as text.
pub(crate) fn text<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    struct Text<'a>(Cow<'a, str>);

    impl<'a> Deserialize<'a> for Text<'a> {
        fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_str(CowVisitor).map(Self)
        }
    }

    serde_json::from_str(raw?.get()).ok().map(|Text(text)| text)
}

/// The value as an id: text that is neither empty nor too long.
pub(crate) fn id<'a>(raw: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    text(raw).filter(|id| is_id(id))
}

/// Whether JavaScript takes the value for true.
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

/// The value as a boolean.
pub(crate) fn boolean(raw: Option<&RawValue>) -> Option<bool> {
    serde_json::from_str(raw?.get()).ok()
}

/// The value, if it is an object with something in it.
pub(crate) fn filled_object(raw: Option<&RawValue>) -> Option<&RawValue> {
    let inside = raw?.get().strip_prefix('{')?.strip_suffix('}')?;
    raw.filter(|_| !inside.trim_ascii().is_empty())
}

/// An object as a `T`; of anything else, `T`'s default. It keeps one member of an unexpected type from hiding the rest.
#[derive(Default)]
pub(crate) struct Lenient<T>(pub(crate) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LenientVisitor(PhantomData)).map(Self)
    }
}

struct LenientVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for LenientVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

#[derive(Default)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

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
        while let Some(name) = map.next_key_seed(CowVisitor)? {
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// Borrows text from the document wherever it holds no escapes.
struct CowVisitor;

impl<'a> DeserializeSeed<'a> for CowVisitor {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for CowVisitor {
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

/// The member or element `name` of `raw`.
fn child<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    if raw.get().starts_with('[') {
        let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
        elements.get(name.parse::<usize>().ok()?).copied()
    } else {
        serde_json::from_str::<Document<'_>>(raw.get()).ok()?.get(name)
    }
}

/// A reference token of a JSON pointer without its escapes.
fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') {
        Cow::Owned(token.replace("~1", "/").replace("~0", "~"))
    } else {
        Cow::Borrowed(token)
    }
}
