//! Reads through JSON in the one spelling that `serde_json` writes, as all texts have that come
//! from here, and lists where the members of the outer objects are. Any other text is left to
//! `serde_json`.

use std::io;
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Number;

/// The levels of objects whose members are listed: those of a record, of a field, and of the data.
const LISTED: usize = 3;

/// The members of an object that are listed. To search more of them takes longer than to read all.
const MOST: usize = 64;

/// The members of all objects that are listed. A list of small members takes more room than their
/// text.
const MOST_OF_ALL: usize = 512;

/// The members for which there is room from the start.
const USUAL: usize = 16;

/// The prefix of the names that mean something else to `serde_json`, such as a
/// [`RawValue`](serde_json::value::RawValue).
const RESERVED: &str = "$serde_json::";

/// A member of an object, or the whole text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    /// Its name as it is spelled, without the quotation marks.
    pub(super) name: Range<usize>,
    pub(super) value: Range<usize>,
    /// The end of its own members, which follow it in the list. `None` if they are not listed.
    pub(super) members_end: Option<usize>,
}

/// Lists an object of at most so many levels: first itself, then its members, each followed by its
/// own. Returns `None` unless `serde_json` certainly reads the same, and writes it as this text.
pub(super) fn list(text: &str, levels: usize) -> Option<Vec<Listed>> {
    let mut list = Vec::with_capacity(USUAL);
    list.push(Listed { name: 0..0, value: 0..text.len(), members_end: None });
    let mut rest = Rest { text, at: 0, names: Vec::with_capacity(USUAL), list };
    rest.take(b'{')?;
    rest.listed_members(0, levels.checked_sub(1)?, LISTED)?;
    (rest.at == text.len()).then_some(rest.list)
}

/// A text, read up to a byte.
struct Rest<'a> {
    text: &'a str,
    at: usize,
    /// The names so far of the objects around this byte.
    names: Vec<&'a str>,
    list: Vec<Listed>,
}

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(*byte)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn has(&mut self, byte: u8) -> bool {
        let is_next = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let end = self.at + word.len();
        let is_there = self.text.as_bytes().get(self.at..end)? == word.as_bytes();
        self.at = end;
        is_there.then_some(())
    }

    /// Reads a value with at most so many levels.
    fn value(&mut self, levels: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.string().map(drop),
            b'{' => self.members(levels.checked_sub(1)?, |rest, levels, _| rest.value(levels)),
            b'[' => self.elements(levels.checked_sub(1)?),
            b't' => self.word("rue"),
            b'f' => self.word("alse"),
            b'n' => self.word("ull"),
            _ => self.number(),
        }
    }

    /// Lists the members of an object from behind its first brace, and those of so many levels.
    /// `of` is its own place in the list.
    fn listed_members(&mut self, of: usize, levels: usize, listed: usize) -> Option<()> {
        let (mut count, mut is_whole) = (0, true);
        // Leaves room for the objects around it.
        let most_of_all = MOST_OF_ALL - MOST * (LISTED - listed);
        self.members(levels, |rest, levels, name| {
            count += 1;
            is_whole &= count <= MOST && rest.list.len() < most_of_all;
            let (place, begin) = (rest.list.len(), rest.at);
            if !is_whole {
                return rest.value(levels);
            }
            rest.list.push(Listed { name, value: 0..0, members_end: None });
            match listed > 1 && rest.has(b'{') {
                true => rest.listed_members(place, levels.checked_sub(1)?, listed - 1)?,
                false => rest.value(levels)?,
            }
            rest.list.get_mut(place)?.value = begin..rest.at;
            Some(())
        })?;
        if !is_whole {
            self.list.truncate(of + 1);
        }
        let end = self.list.len();
        self.list.get_mut(of)?.members_end = is_whole.then_some(end);
        Some(())
    }

    /// Reads an object from behind its first brace. `value` reads each value, given its levels and
    /// the place of its name.
    fn members(
        &mut self,
        levels: usize,
        mut value: impl FnMut(&mut Self, usize, Range<usize>) -> Option<()>,
    ) -> Option<()> {
        if self.has(b'}') {
            return Some(());
        }
        let first = self.names.len();
        loop {
            self.take(b'"')?;
            let name = self.string()?;
            let spelled = self.text.get(name.clone())?;
            if spelled.starts_with(RESERVED) {
                return None;
            }
            self.names.push(spelled);
            self.take(b':')?;
            value(self, levels, name)?;
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        // The first of two with one name would not be written.
        let are_distinct = are_distinct(self.names.get_mut(first..)?);
        self.names.truncate(first);
        are_distinct.then_some(())
    }

    /// Reads an array from behind its first bracket.
    fn elements(&mut self, levels: usize) -> Option<()> {
        if self.has(b']') {
            return Some(());
        }
        loop {
            self.value(levels)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads a string from behind its first quotation mark. Returns its place, without these marks.
    fn string(&mut self) -> Option<Range<usize>> {
        let begin = self.at;
        self.at += unescaped(self.text.as_bytes().get(begin..)?);
        match self.next()? {
            b'"' => Some(begin..self.at - 1),
            b'\\' => {
                self.at -= 1;
                self.escaped(begin)
            }
            _ => None,
        }
    }

    /// Reads a string that has escapes. `begin` is behind its first quotation mark.
    fn escaped(&mut self, begin: usize) -> Option<Range<usize>> {
        loop {
            match self.next()? {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
            self.at += unescaped(self.text.as_bytes().get(self.at..)?);
        }
        is_spelled::<String>(self.text.get(begin - 1..self.at)?).then_some(begin..self.at - 1)
    }

    /// Reads a number from behind its first byte.
    fn number(&mut self) -> Option<()> {
        let begin = self.at - 1;
        let bytes = self.text.as_bytes().get(begin..)?;
        let is_of_it = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = bytes.iter().position(|byte| !is_of_it(byte)).unwrap_or(bytes.len());
        let bytes = bytes.get(..length)?;
        self.at = begin + length;
        let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
        // So many digits fit into 64 bits.
        let is_short = digits.len() < 19 && digits.iter().all(u8::is_ascii_digit);
        match (bytes, digits) {
            ([b'0'], _) | (_, [b'1'..=b'9', ..]) if is_short => Some(()),
            _ => is_spelled::<Number>(self.text.get(begin..self.at)?).then_some(()),
        }
    }
}

/// Returns whether no name is there twice.
fn are_distinct(names: &mut [&str]) -> bool {
    const FEW: usize = 16;
    if names.len() > FEW {
        names.sort_unstable();
        return names.is_sorted_by(|name, next| name < next);
    }
    names.iter().enumerate().all(|(at, name)| !names[..at].contains(name))
}

/// Returns how many bytes come before the first that JSON writes as an escape, or that ends a
/// string.
fn unescaped(bytes: &[u8]) -> usize {
    let mut begin = 0;
    while let Some(word) = bytes.get(begin..).and_then(<[u8]>::first_chunk) {
        match ends(u64::from_le_bytes(*word)) {
            0 => begin += size_of::<u64>(),
            ends => return begin + ends.trailing_zeros() as usize / 8,
        }
    }
    let rest = bytes.get(begin..).unwrap_or_default();
    let is_end = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    begin + rest.iter().position(is_end).unwrap_or(rest.len())
}

/// Returns the highest bit of the first of eight bytes that ends such a run. Bits above it may be
/// wrong, as what one byte borrows from the next shows there.
/// <https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord>
const fn ends(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;

    const fn less(word: u64, than: u8) -> u64 {
        word.wrapping_sub(ONES * than as u64) & !word
    }

    let quote = less(word ^ (ONES * b'"' as u64), 1);
    let backslash = less(word ^ (ONES * b'\\' as u64), 1);
    (less(word, b' ') | quote | backslash) & (ONES << 7)
}

/// Returns whether `serde_json` writes this text for what it reads in it.
fn is_spelled<T: DeserializeOwned + Serialize>(text: &str) -> bool {
    serde_json::from_str::<T>(text).is_ok_and(|value| is_text_of(text, &value))
}

/// Returns whether `serde_json` writes this text for `value`.
pub(crate) fn is_text_of(text: &str, value: &impl Serialize) -> bool {
    /// Takes what is written for as long as it is what it holds.
    struct Rest<'a>(&'a [u8]);

    impl io::Write for Rest<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut rest = Rest(text.as_bytes());
    serde_json::to_writer(&mut rest, value).is_ok() && rest.0.is_empty()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::{Map, Value, from_str};

    use super::*;

    const LEVELS: usize = 127;

    /// Compares it with its definition. No text of `serde_json` may be left to it, except for names
    /// that are reserved.
    fn check(text: &str) {
        let list = list(text, LEVELS);
        let fields = from_str::<Map<String, Value>>(text).ok();
        let spelled = fields.filter(|fields| serde_json::to_string(fields).unwrap() == text);
        if !text.contains(RESERVED) {
            assert_eq!(list.is_some(), spelled.is_some(), "{text}");
        }
        let Some(list) = list else { return };
        let mut expected = Vec::new();
        add("", &spelled.expect(text).into(), LISTED, &mut expected);
        let found = list.into_iter().map(|Listed { name, value, members_end }| {
            (text[name].to_owned(), text[value].to_owned(), members_end)
        });
        assert_eq!(found.collect::<Vec<_>>(), expected, "{text}");
    }

    /// Adds a member and its own to what a list holds, with their texts in the place of the places.
    fn add(
        name: &str,
        value: &Value,
        levels: usize,
        list: &mut Vec<(String, String, Option<usize>)>,
    ) {
        let (place, name) = (list.len(), Value::from(name).to_string());
        list.push((name[1..name.len() - 1].to_owned(), value.to_string(), None));
        if let Some(members) = value.as_object().filter(|it| levels > 0 && it.len() <= MOST) {
            members.iter().for_each(|(name, value)| add(name, value, levels - 1, list));
            list[place].2 = Some(list.len());
        }
    }

    /// Strings of JSON, some in another spelling.
    fn strings() -> impl Strategy<Value = String> {
        let parts = vec![
            "a",
            "é",
            "€",
            "𝄞",
            "/",
            "\u{7f}",
            "\u{2028}",
            "0123456789abcdefg",
            "\n",
            r"\/",
            "\\\"",
            r"\\",
            r"\b",
            r"\f",
            r"\n",
            r"\r",
            r"\t",
            r"\u0000",
            r"\u0008",
            r"\u001f",
            r"\u001F",
            r"\u0020",
            r"\u00e9",
            r"\ud834\udd1e",
            r"\ud834",
            r"\u",
            r"\x",
        ];
        prop_oneof![
            "[a-z]{0,40}".prop_map(|text| format!("\"{text}\"")),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            vec(select(parts), 0..5).prop_map(|parts| format!("\"{}\"", parts.concat())),
        ]
    }

    fn numbers() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|number| number.to_string()),
            any::<u64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| Value::from(number).to_string()),
            "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
            "[-+0-9.eE]{1,4}",
        ]
    }

    /// Values, and texts that are not values, in several spellings.
    fn values() -> impl Strategy<Value = String> {
        let words =
            ["null", "true", "false", "nul", "truE", "-0", "0", "00", "{}", "[]", "{ }", "[,]", ""];
        let raw = ["\"[1,2]\"", r#""{\"a\":1}""#, "\"1.0\"", "\" true\""];
        let names = [
            r#""a""#,
            r#""b""#,
            r#""\n""#,
            r#""\u000a""#,
            "a",
            r#""$serde_json::private::RawValue""#,
            r#""$serde_json::private::Number""#,
        ];
        let leaf = prop_oneof![
            select(words.to_vec()).prop_map(str::to_owned),
            select(raw.to_vec()).prop_map(str::to_owned),
            strings(),
            numbers(),
        ];
        let space = || select(["", "", "", "", "", "", "", "", "", " ", "\n", ","].to_vec());
        leaf.prop_recursive(4, 24, 4, move |inner| {
            let element = (space(), inner, space()).prop_map(|(a, it, b)| format!("{a}{it}{b}"));
            let name = prop_oneof![select(names.to_vec()).prop_map(str::to_owned), strings()];
            let member = (name, element.clone()).prop_map(|(name, it)| format!("{name}:{it}"));
            prop_oneof![
                vec(element, 0..4).prop_map(|elements| format!("[{}]", elements.join(","))),
                vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_read_and_written_by_serde_json_as_well(value in values()) {
            check(&value);
            check(&format!("{{\"a\":{value}}}"));
            if let Ok(fields) = from_str::<Map<String, Value>>(&format!("{{\"a\":{value}}}")) {
                check(&serde_json::to_string(&fields).unwrap());
            }
        }
    }

    #[test]
    fn the_end_of_a_string_is_found_at_each_place() {
        for byte in 0..=u8::MAX {
            let ends = byte < b' ' || byte == b'"' || byte == b'\\';
            for place in 0..20 {
                for other in [b' ', b'a', 0x7f, 0x80, 0xff] {
                    let mut bytes = [other; 20];
                    bytes[place] = byte;
                    assert_eq!(unescaped(&bytes), if ends { place } else { 20 }, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn each_spelling_is_told_from_the_others() {
        let of = |inner: &str| format!("{{\"a\":{inner}}}");
        let deep = |levels| of(&format!("{}1{}", "[".repeat(levels), "]".repeat(levels)));
        for text in ["", "{", "{}", "{}}", " {}", "{} ", "[]", "1", r#"{"a":1}"#, r#"{"a":1,}"#] {
            check(text);
        }
        for value in [
            r#"1,"a":1"#,
            r#"1,"b":2,"a":1"#,
            r#"{"$serde_json::private::RawValue":"[1,2]"}"#,
            r#"{"$serde_json::private::RawValue":"{\"x\":1}"}"#,
            r#""0123456789abcde\u001f0123456789abcdef\"""#,
            "\"0123456789abcde\n\"",
            "9999999999999999999",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "-999999999999999999",
            "-01",
            "-",
            "--1",
            "-0",
            "-0.0",
            "1.0",
            "1.00",
            "1e300",
            "1e999",
            "1-2",
        ] {
            check(&of(value));
        }
        assert!(list(&deep(126), LEVELS).is_some());
        check(&deep(126));
        check(&deep(127));
        for count in [16, 17, MOST, MOST + 1] {
            let members: Vec<_> = (0..count).map(|it| format!("\"{it}\":{{\"a\":{it}}}")).collect();
            let members = members.join(",");
            check(&format!("{{{members}}}"));
            check(&format!("{{\"a\":{{\"b\":{{{members}}},\"c\":{{}}}},\"d\":1}}"));
            check(&format!("{{\"a\":{{{members},\"0\":1}}}}"));
        }
        let many = |inner: &str| {
            let members: Vec<_> = (0..MOST).map(|it| format!("\"{it}\":{inner}")).collect();
            format!("{{{}}}", members.join(","))
        };
        let many = many(&many(&many("1")));
        let listed = list(&many, LEVELS).unwrap();
        assert!(listed.len() <= MOST_OF_ALL && listed[0].members_end == Some(listed.len()));
        let cut = of(r#"["\n",{"b":1.5}]"#);
        for end in 0..cut.len() {
            check(&cut[..end]);
        }
    }
}
