//! The members of an object and of the objects within it, listed while the text is parsed.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::members;
use super::visitors::Text;

/// The largest number of members that is listed. A larger request, which no platform sends, is
/// searched each time instead: the list would be ten times the size of the request.
const MOST: usize = 256;

/// The largest number of them that the objects within may use, so that those around them are listed
/// for certain.
const MOST_WITHIN: usize = MOST / 2;

/// The objects around a member that is listed: enough for `context/System/user/userId`.
const DEEPEST: usize = 3;

/// The members of an object in their order. Behind an object stand its own members.
pub(crate) struct Listed<'a> {
    text: &'a str,
    members: Vec<Member<'a>>,
    /// The [marks](mark) of the outermost names. Most names that platforms ask for are absent.
    marks: u64,
}

struct Member<'a> {
    name: Cow<'a, str>,
    value: Value<'a>,
}

enum Value<'a> {
    Raw(&'a RawValue),
    /// The object at this place of the text. Its members end before the index.
    Object(usize, usize),
    /// The object at this place, of which there are too many members.
    Unlisted(usize),
}

impl<'a> Listed<'a> {
    /// Parses the object in `text`. Returns `None` within if it has too many members, or a name that
    /// is not Unicode text.
    ///
    /// # Errors
    ///
    /// Returns an error if `text`, which begins with an object, is not JSON.
    pub(crate) fn parse(text: &'a str) -> serde_json::Result<Option<Self>> {
        let mut listed = Self { text, members: Vec::with_capacity(48), marks: 0 };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let list = Within { listed: &mut listed, depth: 0 };
        match list.deserialize(&mut deserializer) {
            Ok(is_whole) => deserializer.end().map(|()| is_whole.then_some(listed)),
            // A lone surrogate in a name is no error for those who skip it.
            Err(_) => serde_json::from_str(text).map(|IgnoredAny| None),
        }
    }

    /// Returns the last member `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.raw(self.last(name)?)
    }

    /// Returns whether the last member `name` is an object, or another value that `is_so`.
    pub(crate) fn has(&self, name: &str, is_so: fn(Option<&RawValue>) -> bool) -> bool {
        match self.last(name) {
            Some(Value::Raw(raw)) => is_so(Some(raw)),
            Some(Value::Object(..) | Value::Unlisted(_)) => true,
            None => false,
        }
    }

    /// Takes from `names` as long as they lead into a listed object, and returns the value that is
    /// found there.
    pub(crate) fn descend<'n>(
        &self,
        names: &mut impl Iterator<Item = Cow<'n, str>>,
    ) -> Option<&'a RawValue> {
        let mut at = self.outermost(&names.next()?)?;
        while let Value::Object(_, end) = self.members[at].value
            && let Some(name) = names.next()
        {
            at = self.position(at + 1, end, &name)?;
        }
        self.raw(&self.members[at].value)
    }

    /// Returns the value under each of `paths` in the last member `name`, as [`members`] does.
    pub(crate) fn members<const N: usize>(
        &self,
        name: &str,
        paths: [&str; N],
    ) -> [Option<&'a RawValue>; N] {
        let Some(at) = self.outermost(name) else { return [None; N] };
        match self.members[at].value {
            Value::Object(_, end) => paths.map(|path| self.under(at + 1, end, path)),
            ref value => members(self.raw(value), paths),
        }
    }

    /// Returns whether one of the outermost names may have one of these [marks](mark).
    pub(crate) fn has_marks(&self, marks: u64) -> bool {
        self.marks & marks != 0
    }

    /// Returns the members in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<&'a RawValue>)> {
        let all = self.siblings(0, self.members.len());
        all.map(|(_, member)| (&*member.name, self.raw(&member.value)))
    }

    /// Returns the names in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.siblings(0, self.members.len()).map(|(_, member)| &*member.name)
    }

    /// Returns the value under `path`, whose first name is one of the members from `begin` to `end`.
    /// Every request is searched this way several times: [`descend`](Self::descend) over the names
    /// of a path took a twentieth longer to recognise one.
    fn under(&self, begin: usize, end: usize, path: &str) -> Option<&'a RawValue> {
        let (name, rest) = match path.bytes().position(|byte| byte == b'/') {
            Some(at) => (&path[..at], Some(&path[at + 1..])),
            None => (path, None),
        };
        let at = self.position(begin, end, name)?;
        match (&self.members[at].value, rest) {
            (Value::Object(_, end), Some(rest)) => self.under(at + 1, *end, rest),
            (value, Some(rest)) => members(self.raw(value), [rest])[0],
            (value, None) => self.raw(value),
        }
    }

    fn last(&self, name: &str) -> Option<&Value<'a>> {
        self.outermost(name).map(|at| &self.members[at].value)
    }

    /// Returns the index of the last of the outermost members that has this name.
    fn outermost(&self, name: &str) -> Option<usize> {
        (self.marks & mark(name) != 0).then(|| self.position(0, self.members.len(), name))?
    }

    /// Returns the index of the last of the members from `begin` to `end` that has this name.
    fn position(&self, begin: usize, end: usize, name: &str) -> Option<usize> {
        let same = |(at, member): (usize, &Member<'_>)| (member.name == name).then_some(at);
        self.siblings(begin, end).filter_map(same).last()
    }

    /// Returns the members from `begin` to `end`, without those of the objects within, each with its
    /// index.
    fn siblings(&self, begin: usize, end: usize) -> impl Iterator<Item = (usize, &Member<'a>)> {
        let mut next = begin;
        std::iter::from_fn(move || {
            let at = next;
            let member = self.members[..end].get(at)?;
            next = match member.value {
                Value::Object(_, end) => end,
                Value::Raw(_) | Value::Unlisted(_) => at + 1,
            };
            Some((at, member))
        })
    }

    fn raw(&self, value: &Value<'a>) -> Option<&'a RawValue> {
        match *value {
            Value::Raw(raw) => Some(raw),
            Value::Object(at, _) | Value::Unlisted(at) => {
                let mut rest = serde_json::Deserializer::from_str(self.text.get(at..)?);
                <&RawValue>::deserialize(&mut rest).ok()
            }
        }
    }
}

/// Returns one of 64 bits for a name. Names with different bits differ.
pub(crate) fn mark(name: &str) -> u64 {
    let first = name.bytes().next().unwrap_or_default();
    1 << ((usize::from(first) + name.len()) % 64)
}

/// Returns the place of the object that is the value of the member `name`.
fn object_behind(text: &str, name: &str) -> Option<usize> {
    // A name without escapes is a part of the text, and so tells where the parser is.
    let begin = (name.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let between = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
    let mut behind = text.as_bytes().iter().enumerate().skip(begin + name.len() + 1);
    let (at, first) = behind.find(|(_, byte)| !between(byte))?;
    (*first == b'{').then_some(at)
}

/// Lists the members of an object. Returns whether there was room for all.
struct Within<'l, 'a> {
    listed: &'l mut Listed<'a>,
    depth: usize,
}

impl<'a> DeserializeSeed<'a> for Within<'_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Within<'_, 'a> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self { listed, depth } = self;
        let most = if depth == 0 { MOST } else { MOST_WITHIN };
        while let Some(name) = map.next_key_seed(Text)? {
            if listed.members.len() >= most {
                map.next_value::<IgnoredAny>()?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(false);
            }
            if depth == 0 {
                listed.marks |= mark(&name);
            }
            let place = match &name {
                Cow::Borrowed(name) if depth < DEEPEST => object_behind(listed.text, name),
                _ => None,
            };
            let Some(place) = place else {
                let value = Value::Raw(map.next_value()?);
                listed.members.push(Member { name, value });
                continue;
            };
            let at = listed.members.len();
            listed.members.push(Member { name, value: Value::Unlisted(place) });
            match map.next_value_seed(Within { listed, depth: depth + 1 })? {
                true => listed.members[at].value = Value::Object(place, listed.members.len()),
                false => listed.members.truncate(at + 1),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{is_object, last_member, member, truthy};
    use super::*;

    /// Compares with a search that parses the text each time.
    fn check(text: &str) {
        let listed = Listed::parse(text).unwrap().expect("few members");
        for name in ["a", "b", "\"", ""] {
            let found = last_member(text, name);
            assert_eq!(listed.get(name).map(RawValue::get), found.map(RawValue::get), "{text}");
            assert_eq!(listed.has(name, truthy), truthy(found), "{text}");
            assert_eq!(listed.has(name, is_object), is_object(found), "{text}");
            let paths = ["a", "b/a", "b/b/a", "b/b/b/a", "b/b/b/b/a", "\"", "c/a/b"];
            let parsed = paths.map(|path| path.split('/').try_fold(found?, member));
            let descended = paths.map(|path| {
                let mut names = std::iter::once(name).chain(path.split('/')).map(Cow::Borrowed);
                let value = listed.descend(&mut names)?;
                names.try_fold(value, |value, name| member(value, &name))
            });
            assert_eq!(
                descended.map(|it| it.map(RawValue::get)),
                parsed.map(|it| it.map(RawValue::get)),
                "{text}"
            );
            assert_eq!(
                listed.members(name, paths).map(|it| it.map(RawValue::get)),
                parsed.map(|it| it.map(RawValue::get)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_listed_is_what_a_parser_finds() {
        for text in [
            "{}",
            r#"{"a":1,"a":{"a":2}}"#,
            r#"{"a":{"a":2},"a":1}"#,
            r#"{"b":{"a":1},"b":null}"#,
            r#" { "b" : { "a" : "}" , "b" : { "a" :[ ]} } , "\"" : { "b":{}} } "#,
            r#"{"b":{"b":{"b":{"b":{"b":{"a":1}},"a":2}}}}"#,
            r#"{"\u0062":{"a":1},"b":{"\u0062":{"a":{}}}}"#,
            r#"{"":{"a":"{"},"a":{"":0}}"#,
            "{\n\t\"a\"\r\n:\r\n{\"a\":0}\n}",
        ] {
            check(text);
        }
    }

    #[test]
    fn an_object_of_many_members_is_searched_and_those_around_it_are_listed() {
        let many: String = (0..200).map(|number| format!(r#""{number}":{number},"#)).collect();
        let text = format!(r#"{{"a":{{{many}"b":{{"a":7}}}},"b":{{"b":{{{many}"a":8}}}}}}"#);
        let listed = Listed::parse(&text).unwrap().expect("few members");
        assert!(matches!(listed.last("a"), Some(Value::Unlisted(_))));
        assert_eq!(listed.members.len(), 3);
        assert_eq!(listed.members("a", ["b/a"])[0].unwrap().get(), "7");
        assert_eq!(listed.members("b", ["b/a"])[0].unwrap().get(), "8");
        assert!(listed.has("a", truthy) && listed.has("a", is_object));
        let text = format!("{{{many}{}}}", &many[..many.len() - 1]);
        assert!(Listed::parse(&text).unwrap().is_none());
    }

    #[test]
    fn a_name_that_is_no_unicode_text_is_no_error() {
        assert!(Listed::parse(r#"{"\ud800":1,"a":{"a":2}}"#).unwrap().is_none());
        assert!(Listed::parse(r#"{"a":{"\ud800":1}}"#).unwrap().is_none());
        for text in
            [r#"{"a":1"#, r#"{"a":1}}"#, r#"{"a":{"a"}}"#, r#"{"\ud800":1"#, "{\"a\":\u{1}}"]
        {
            assert!(Listed::parse(text).is_err(), "{text}");
        }
    }

    fn object(depth: u32) -> BoxedStrategy<String> {
        let name = prop_oneof![Just("a"), Just("b"), Just(r"\u0062"), Just("c"), Just(r#"\""#)];
        let leaf = prop_oneof![Just("1"), Just("null"), Just(r#""{}""#), Just("[{}]"), Just("{}")];
        let value = match depth {
            0 => leaf.prop_map(str::to_owned).boxed(),
            _ => prop_oneof![leaf.prop_map(str::to_owned), object(depth - 1)].boxed(),
        };
        let space = prop_oneof![Just(""), Just(" "), Just("\n\t")];
        let member = (space, name, value)
            .prop_map(|(s, name, value)| format!(r#"{s}"{name}"{s}:{s}{value}{s}"#));
        let members = prop::collection::vec(member, 0..5);
        members.prop_map(|members| format!("{{{}}}", members.join(","))).boxed()
    }

    proptest! {
        #[test]
        fn any_object_is_listed_as_a_parser_reads_it(text in object(5)) {
            check(&text);
        }
    }
}
