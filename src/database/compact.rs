//! Reads JSON in the one spelling that `serde_json` writes, as all texts have that come from here.
//!
//! Each load reads a text and asks whether it has that spelling. To do both at once costs two
//! fifths less than to read it and write it again. Any other text is left to `serde_json`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// The members for which an object has room from the start.
const MEMBERS: usize = 4;

/// The prefix of the names that mean something else to `serde_json`, such as a
/// [`RawValue`](serde_json::value::RawValue).
const RESERVED: &str = "$serde_json::";

/// Reads an object of at most so many levels. Returns `None` unless `serde_json` certainly reads
/// the same, and writes it as this text.
pub(super) fn read(text: &str, levels: usize) -> Option<Map<String, Value>> {
    let mut rest = Rest { text, at: 0 };
    rest.take(b'{')?;
    let fields = rest.members(levels.checked_sub(1)?)?;
    (rest.at == text.len()).then_some(fields)
}

/// A text, read up to a byte.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at)?;
        self.at += 1;
        Some(*byte)
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn word<T>(&mut self, word: &str, value: T) -> Option<T> {
        let end = self.at + word.len();
        let is_there = self.text.as_bytes().get(self.at..end)? == word.as_bytes();
        self.at = end;
        is_there.then_some(value)
    }

    /// Reads a value with at most so many levels.
    fn value(&mut self, levels: usize) -> Option<Value> {
        match self.next()? {
            b'"' => self.string().map(Value::String),
            b'{' => self.members(levels.checked_sub(1)?).map(Value::Object),
            b'[' => self.elements(levels.checked_sub(1)?).map(Value::Array),
            b't' => self.word("rue", Value::Bool(true)),
            b'f' => self.word("alse", Value::Bool(false)),
            b'n' => self.word("ull", Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    /// Reads an object from behind its first brace.
    fn members(&mut self, levels: usize) -> Option<Map<String, Value>> {
        if self.text.as_bytes().get(self.at) == Some(&b'}') {
            self.at += 1;
            return Some(Map::new());
        }
        let mut members = Map::with_capacity(MEMBERS);
        loop {
            self.take(b'"')?;
            let name = self.string()?;
            if name.starts_with(RESERVED) {
                return None;
            }
            self.take(b':')?;
            // The first of two with one name would not be written.
            if members.insert(name, self.value(levels)?).is_some() {
                return None;
            }
            match self.next()? {
                b',' => {}
                b'}' => return Some(members),
                _ => return None,
            }
        }
    }

    /// Reads an array from behind its first bracket.
    fn elements(&mut self, levels: usize) -> Option<Vec<Value>> {
        let mut elements = Vec::new();
        if self.text.as_bytes().get(self.at) == Some(&b']') {
            self.at += 1;
            return Some(elements);
        }
        loop {
            elements.push(self.value(levels)?);
            match self.next()? {
                b',' => {}
                b']' => return Some(elements),
                _ => return None,
            }
        }
    }

    /// Reads a string from behind its first quotation mark.
    fn string(&mut self) -> Option<String> {
        let begin = self.at;
        self.at += unescaped(self.text.as_bytes().get(begin..)?);
        match self.next()? {
            b'"' => self.text.get(begin..self.at - 1).map(str::to_owned),
            b'\\' => {
                self.at -= 1;
                self.escaped(begin)
            }
            _ => None,
        }
    }

    /// Reads a string that has escapes. `begin` is behind its first quotation mark.
    fn escaped(&mut self, begin: usize) -> Option<String> {
        loop {
            match self.next()? {
                b'"' => return same(self.text.get(begin - 1..self.at)?),
                b'\\' => self.at += 1,
                _ => {}
            }
            self.at += unescaped(self.text.as_bytes().get(self.at..)?);
        }
    }

    /// Reads a number from behind its first byte.
    fn number(&mut self) -> Option<Number> {
        let begin = self.at - 1;
        let bytes = self.text.as_bytes().get(begin..)?;
        let is_of_it = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = bytes.iter().position(|byte| !is_of_it(byte)).unwrap_or(bytes.len());
        let bytes = bytes.get(..length)?;
        self.at = begin + length;
        // So many digits fit into 64 bits.
        let is_short = length < 20 && bytes.iter().all(u8::is_ascii_digit);
        match bytes {
            [b'0'] | [b'1'..=b'9', ..] if is_short => {
                let value = |value: u64, digit: &u8| value * 10 + u64::from(digit - b'0');
                Some(bytes.iter().fold(0, value).into())
            }
            _ => same(self.text.get(begin..self.at)?),
        }
    }
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

/// Reads what `serde_json` writes the same way.
fn same<T: DeserializeOwned + Serialize>(text: &str) -> Option<T> {
    let value: T = serde_json::from_str(text).ok()?;
    (serde_json::to_string(&value).ok()? == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;
    use serde_json::from_str;

    use super::*;

    const LEVELS: usize = 127;

    /// Compares it with its definition. No text of `serde_json` may be left to it, except for names
    /// that are reserved.
    fn check(text: &str) {
        let read = read(text, LEVELS);
        let fields = from_str::<Map<String, Value>>(text).ok();
        let spelled = fields.filter(|fields| serde_json::to_string(fields).unwrap() == text);
        if !text.contains(RESERVED) {
            assert_eq!(read.is_some(), spelled.is_some(), "{text}");
        }
        if let Some(read) = read {
            let spelled = spelled.expect(text);
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
            assert_eq!(read, spelled, "{text}");
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
        assert!(read(&deep(126), LEVELS).is_some());
        check(&deep(126));
        check(&deep(127));
        let cut = of(r#"["\n",{"b":1.5}]"#);
        for end in 0..cut.len() {
            check(&cut[..end]);
        }
    }
}
