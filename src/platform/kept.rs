//! JSON that is sent back byte for byte unless it is changed.
//!
//! serde_json rejects some JSON that other programs write (a lone surrogate, a number beyond `f64`,
//! 130 levels) and rounds integers beyond 64 bits. The text is therefore kept beside the values
//! that can be read from it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::raw;

/// A value as it arrived, and its parsed form.
#[derive(Clone, PartialEq)]
pub(super) struct KeptValue {
    text: String,
    /// `None` if serde_json rejects the text.
    value: Option<Value>,
}

impl KeptValue {
    pub(super) fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl From<&RawValue> for KeptValue {
    fn from(raw: &RawValue) -> Self {
        Self { text: raw.get().to_owned(), value: serde_json::from_str(raw.get()).ok() }
    }
}

impl From<Value> for KeptValue {
    fn from(value: Value) -> Self {
        Self { text: value.to_string(), value: Some(value) }
    }
}

/// An object as it arrived, and the values read from it, which may be changed.
#[derive(Clone, Default, PartialEq)]
pub(super) struct KeptObject {
    came: Vec<Member>,
    values: Map<String, Value>,
}

#[derive(Clone, PartialEq)]
struct Member {
    /// The name in quotation marks, as it arrived.
    quoted: String,
    key: String,
    text: String,
    /// Set if the member is among the values, or was until it was removed.
    is_readable: bool,
}

impl KeptObject {
    pub(super) fn of(pairs: Pairs<'_>) -> Self {
        let mut came: Vec<Member> = Vec::with_capacity(pairs.0.len());
        let mut values = Map::with_capacity(pairs.0.len());
        let mut positions = HashMap::with_capacity(pairs.0.len());
        for (name, value) in pairs.0 {
            let key = raw::name(name);
            let member = Member {
                quoted: name.get().to_owned(),
                // A name that is not Unicode text cannot be a key of the values.
                is_readable: *key != *name.get(),
                key: key.into_owned(),
                text: value.get().to_owned(),
            };
            // Of two members with the same name, the last one counts, as in serde_json.
            match positions.get(&member.key) {
                Some(&position) => came[position] = member,
                None => {
                    positions.insert(member.key.clone(), came.len());
                    came.push(member);
                }
            }
        }
        for member in came.iter_mut().filter(|member| member.is_readable) {
            match serde_json::from_str(&member.text) {
                Ok(value) => drop(values.insert(member.key.clone(), value)),
                Err(_) => member.is_readable = false,
            }
        }
        Self { came, values }
    }

    /// Returns the members that can be read.
    pub(super) fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    pub(super) fn values_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.values
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty() && self.unreadable().next().is_none()
    }

    /// Returns the keys of the members that arrived and cannot be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = &str> {
        self.came.iter().filter(|member| !member.is_readable).map(|member| &*member.key)
    }

    /// Drops the unreadable members with a key that was written to.
    pub(super) fn drop_unreadable(&mut self, is_written: impl Fn(&str) -> bool) {
        self.came.retain(|member| member.is_readable || !is_written(&member.key));
    }

    /// Returns the members as JSON: unchanged ones as they arrived and in their place, then new
    /// ones.
    pub(super) fn members(&self) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut came = HashSet::with_capacity(self.came.len());
        let mut members = Vec::with_capacity(self.came.len().max(self.values.len()));
        for member in &self.came {
            came.insert(&*member.key);
            let text = match self.values.get(&member.key) {
                Some(value) if is_text_of(&member.text, value) => Cow::Borrowed(&*member.text),
                Some(value) => Cow::Owned(value.to_string()),
                None if member.is_readable => continue,
                None => Cow::Borrowed(&*member.text),
            };
            members.push((Cow::Borrowed(&*member.quoted), text));
        }
        for (key, value) in self.values.iter().filter(|(key, _)| !came.contains(key.as_str())) {
            members.push((Cow::Owned(quoted(key)), Cow::Owned(value.to_string())));
        }
        members
    }
}

/// Returns whether `text` parses as `value`. Parsing again costs less than a second copy of all
/// values.
fn is_text_of(text: &str, value: &Value) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|came| came == *value)
}

/// Returns `text` as a JSON string.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns the object with these members, with names in quotation marks.
pub(super) fn object<N, T>(members: impl IntoIterator<Item = (N, T)>) -> Box<RawValue>
where
    N: AsRef<str>,
    T: AsRef<str>,
{
    let mut text = String::from("{");
    for (name, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        text.extend([name.as_ref(), ":", value.as_ref()]);
    }
    text.push('}');
    // It was assembled from JSON texts, so it is JSON.
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The members of an object in their order, with names in quotation marks.
#[derive(Default)]
pub(super) struct Pairs<'a>(pub(super) Vec<(&'a RawValue, &'a RawValue)>);

impl<'a> Pairs<'a> {
    /// Returns the members of `raw`; empty if it is not an object.
    pub(super) fn of(raw: Option<&'a RawValue>) -> Self {
        let object = raw.map(RawValue::get).filter(|text| text.starts_with('{'));
        object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

impl<'a> Deserialize<'a> for Pairs<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'a> Visitor<'a> for PairsVisitor {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Pairs<'a>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(text: &str) -> KeptObject {
        let raw: &RawValue = serde_json::from_str(text).expect(text);
        KeptObject::of(Pairs::of(Some(raw)))
    }

    fn text(kept: &KeptObject) -> String {
        object(kept.members()).get().to_owned()
    }

    #[test]
    fn what_is_not_changed_goes_back_as_it_came() {
        let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
        for value in [
            r#""Anna \ud83d""#,
            "1e400",
            "-1E+400",
            &deep,
            "12345678901234567890123",
            "1.0",
            "1",
            "-0",
            "1.50",
            "1e2",
            r#""\u0041\/""#,
            "[ 1 , 2 ]",
            r#"{"a":1,"a":2}"#,
        ] {
            let came = format!(r#"{{"score":41,"n\u0061me":{value},"last":true}}"#);
            let mut object = kept(&came);
            assert_eq!(text(&object), came);
            object.values_mut().insert("score".into(), json!(42));
            object.values_mut().insert("new".into(), json!("x"));
            let expected = came.replace(":41", ":42").replace("true}", r#"true,"new":"x"}"#);
            assert_eq!(text(&object), expected);
        }
    }

    #[test]
    fn members_that_cannot_be_read_stay_until_they_are_written_to() {
        let came = r#"{"nick":"\ud83d","\udc00":1,"score":41}"#;
        let mut object = kept(came);
        assert_eq!(*object.values(), *json!({ "score": 41 }).as_object().expect("an object"));
        assert_eq!(object.unreadable().collect::<Vec<_>>(), ["nick", r#""\udc00""#]);
        *object.values_mut() = Map::new();
        assert!(!object.is_empty());
        assert_eq!(text(&object), r#"{"nick":"\ud83d","\udc00":1}"#);
        object.drop_unreadable(|key| key == "nick");
        assert_eq!(text(&object), r#"{"\udc00":1}"#);
    }

    #[test]
    fn the_last_of_two_members_counts() {
        assert_eq!(text(&kept(r#"{"a":1,"b":2,"a":"\ud83d"}"#)), r#"{"a":"\ud83d","b":2}"#);
        let object = kept(r#"{"a":"\ud83d","b":2,"\u0061":1}"#);
        assert_eq!(object.values().get("a"), Some(&json!(1)));
        assert_eq!(object.unreadable().next(), None);
    }
}
