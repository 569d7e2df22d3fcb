//! Finding several values in one pass over an object.
//!
//! The text is that of a [`RawValue`], so it is known to be JSON: the search only looks for the
//! ends of texts and brackets, at a fraction of the cost of parsing them once more.

use std::borrow::Cow;

use serde::Deserializer;
use serde_json::value::RawValue;

use super::visitors::Name;

/// Fills `found` with the value under each of `paths` in an object.
pub(super) fn find<'a>(text: &'a str, paths: &[&str], found: &mut [Option<&'a RawValue>]) {
    let mut search = Search { text, at: 0, paths, found };
    if search.next() == Some(b'{') {
        search.object("");
    }
}

struct Search<'s, 'a> {
    text: &'a str,
    at: usize,
    paths: &'s [&'s str],
    found: &'s mut [Option<&'a RawValue>],
}

/// The action that the paths demand for a member.
enum Step<'s> {
    Skip,
    Enter(&'s str),
    Take(usize),
}

impl<'s, 'a> Search<'s, 'a> {
    /// Searches the object that begins here for those paths that begin with `inside`.
    fn object(&mut self, inside: &'s str) {
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

    fn member(&mut self, inside: &'s str) {
        let begin = self.at;
        self.skip_text();
        let name = name(self.since(begin));
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
    fn step(&mut self, inside: &str, name: &str) -> Step<'s> {
        let mut step = Step::Skip;
        for (at, path) in self.paths.iter().enumerate() {
            let Some(segment) = path.strip_prefix(inside) else { continue };
            let Some(rest) = segment.strip_prefix(name) else { continue };
            // A name that holds a slash is not a path.
            if !(rest.is_empty() || rest.starts_with('/')) || name.contains('/') {
                continue;
            }
            self.found[at] = None;
            step = match rest.is_empty() {
                true => Step::Take(at),
                false => Step::Enter(&path[..=inside.len() + name.len()]),
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
                b'"' => self.skip_text(),
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

    /// Steps over the text that begins here with a quotation mark.
    fn skip_text(&mut self) {
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(length) = quotation_mark(rest) else {
                self.at = self.text.len();
                return;
            };
            self.at += length + 1;
            // A quotation mark behind an odd number of backslashes belongs to the text.
            let backslashes = rest[..length].iter().rev().take_while(|byte| **byte == b'\\');
            if backslashes.count() % 2 == 0 {
                return;
            }
        }
    }
}

/// Returns the place of the first quotation mark. Most texts are short, for which this costs less
/// than the standard library's search.
fn quotation_mark(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = u64::from_le_bytes([0x80; 8]);
    const MARKS: u64 = u64::from_le_bytes([b'"'; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // The lowest byte that is zero has its highest bit set, as the first one that is found.
        // <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>
        let other = u64::from_le_bytes(*word) ^ MARKS;
        let zeros = other.wrapping_sub(ONES) & !other & HIGHEST;
        if zeros != 0 {
            return Some(index * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte == b'"')?;
    Some(words.len() * 8 + at)
}

/// Returns a name without its quotation marks and escapes.
fn name(quoted: &str) -> Cow<'_, str> {
    match quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(name) if !name.contains('\\') => Cow::Borrowed(name),
        _ => serde_json::Deserializer::from_str(quoted).deserialize_bytes(Name).unwrap_or_default(),
    }
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
