//! Finding several values in one pass over an object.
//!
//! The text is that of a [`RawValue`], so it is known to be JSON: the search only looks for the
//! ends of texts and brackets, at a fraction of the cost of parsing them once more.

use std::borrow::Cow;

use memchr::memchr2;
use serde::Deserializer;
use serde_json::value::RawValue;

use super::visitors::Name;

/// Fills `found` with the value under each of `paths` in an object.
pub(super) fn find<'a>(text: &'a str, paths: &[&str], found: &mut [Option<&'a RawValue>]) {
    let mut search = Search { text, at: 0, paths, found };
    if search.next() == Some(b'{') {
        search.object(Inside { paths: u32::MAX, length: 0 });
    }
}

/// The number of paths that one search can look for.
pub(super) const MOST_PATHS: usize = u32::BITS as usize;

struct Search<'s, 'a> {
    text: &'a str,
    at: usize,
    paths: &'s [&'s str],
    found: &'s mut [Option<&'a RawValue>],
}

/// An object on the way to a value.
#[derive(Clone, Copy)]
struct Inside {
    /// The paths that lead through it, one bit each.
    paths: u32,
    /// The length of their beginnings, which lead to it.
    length: usize,
}

/// The action that the paths demand for a member.
enum Step {
    Skip,
    Enter(Inside),
    Take(usize),
}

impl<'a> Search<'_, 'a> {
    /// Searches the object that begins here.
    fn object(&mut self, inside: Inside) {
        self.at += 1;
        while let Some(byte) = self.next() {
            match byte {
                b'"' => self.member(inside),
                b',' => self.at += 1,
                _ => {
                    self.at += 1;
                    return;
                }
            }
        }
    }

    fn member(&mut self, inside: Inside) {
        let begin = self.at;
        let has_escapes = self.skip_text();
        let name = match has_escapes {
            true => unescaped(self.since(begin)),
            false => Cow::Borrowed(self.text.get(begin + 1..self.at - 1).unwrap_or_default()),
        };
        // Steps over the colon.
        self.next();
        self.at += 1;
        let step = self.step(inside, &name);
        let first = self.next();
        match step {
            Step::Enter(inside) if first == Some(b'{') => self.object(inside),
            Step::Take(index) => {
                let begin = self.at;
                self.skip();
                self.found[index] = serde_json::from_str(self.since(begin)).ok();
            }
            Step::Enter(_) | Step::Skip => self.skip(),
        }
    }

    /// Returns the action for the member `name`, and forgets the value of an earlier member of that
    /// name.
    fn step(&mut self, inside: Inside, name: &str) -> Step {
        let mut step = Step::Skip;
        let mut entered = Inside { paths: 0, length: inside.length + name.len() + 1 };
        for (at, path) in self.paths.iter().enumerate() {
            if inside.paths & (1 << at) == 0 {
                continue;
            }
            let rest = path.as_bytes().get(inside.length..).unwrap_or_default();
            // Most names differ in their first letter already.
            if rest.first() != name.as_bytes().first() {
                continue;
            }
            let Some(rest) = rest.strip_prefix(name.as_bytes()) else { continue };
            // A name that holds a slash is not a path.
            if !matches!(rest, [] | [b'/', ..]) || name.contains('/') {
                continue;
            }
            self.found[at] = None;
            step = match rest {
                [] => Step::Take(at),
                _ => {
                    entered.paths |= 1 << at;
                    Step::Enter(entered)
                }
            };
        }
        step
    }

    /// Steps over white space, and returns the next byte.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.at += space;
        rest.get(space).copied()
    }

    fn since(&self, begin: usize) -> &'a str {
        self.text.get(begin..self.at).unwrap_or_default()
    }

    /// Steps over the value that begins here.
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'"' => _ = self.skip_text(),
                b'{' | b'[' => {
                    self.at += 1;
                    depth += 1;
                    continue;
                }
                b'}' | b']' if depth > 0 => {
                    self.at += 1;
                    depth -= 1;
                }
                // The end of a number or a word that is a member's value.
                b'}' | b']' | b',' if depth == 0 => return,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// Steps over the text that begins here with a quotation mark, and returns whether it holds
    /// escapes.
    fn skip_text(&mut self) -> bool {
        self.at += 1;
        let mut has_escapes = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            match memchr2(b'"', b'\\', rest) {
                Some(at) if rest[at] == b'\\' => {
                    self.at += at + 2;
                    has_escapes = true;
                }
                Some(at) => {
                    self.at += at + 1;
                    return has_escapes;
                }
                None => {
                    self.at = self.text.len();
                    return has_escapes;
                }
            }
        }
    }
}

/// Returns a name without its quotation marks and escapes.
fn unescaped(quoted: &str) -> Cow<'_, str> {
    serde_json::Deserializer::from_str(quoted).deserialize_bytes(Name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::{member, members};
    use super::*;

    const PATHS: [&str; 4] = ["a", "b/a", "b/c/\"", "\\"];

    /// Compares with a search that parses the text.
    fn check(text: &str) {
        let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { panic!("{text}") };
        let found = members(Some(raw), PATHS);
        let parsed = PATHS.map(|path| path.split('/').try_fold(raw, member));
        assert_eq!(
            found.map(|it| it.map(RawValue::get)),
            parsed.map(|it| it.map(RawValue::get)),
            "{text}"
        );
    }

    #[test]
    fn what_is_found_is_what_a_parser_finds() {
        for text in [
            "null",
            "[{\"a\":1}]",
            "\"a\"",
            "{}",
            r#"{"a":1,"a":[{"a":2}]}"#,
            r#"{ "b" : { "a" : "}" , "c" : { "\"" : [ ] } } , "\\" : -1.5e3 }"#,
            r#"{"b":{"a":"\\\"","c":"\\"},"a":"\\\\"}"#,
            r#"{"b":{"a":1},"b":null}"#,
            r#"{"b":1,"b":{"a":true}}"#,
            r#"{"\u0061":"\ud800","\ud800":{"a":1},"b":{"\u0061":false}}"#,
            "{\n\t\"a\":\r\n12\n}",
            r#"{"b":{"x":[[{"a":"]"}],"{"],"a":1}}"#,
            "{\"ä\":\"ä\\\"ä\",\"a\":\"ä\"}",
        ] {
            check(text);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let text = r#"[ab"\\{}\[\],:ä]{0,4}"#;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, move |inner| {
            let names = prop_oneof![Just("a"), Just("b"), Just("c"), Just("\""), Just("\\")];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((names, inner), 0..4).prop_map(|members| {
                    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
                    Value::Object(members.collect::<Map<_, _>>())
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_searched_as_a_parser_would(value in json(), is_pretty: bool) {
            let text = if is_pretty { format!("{value:#}") } else { value.to_string() };
            check(&text);
        }
    }
}
