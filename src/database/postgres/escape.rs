//! NUL, which PostgreSQL's texts cannot hold.
//!
//! In a user id, and in the strings of a record, U+0000 is stored as U+001A (SUBSTITUTE) with a `0`
//! after it, and U+001A itself with a `1` after it. No two texts are stored alike, and a text
//! without either is stored as it is. The type `json` would accept `\u0000`, but any operator on
//! such a record fails, even one that asks for another member: a user who sends a NUL would break
//! the app's queries and generated columns.

use std::borrow::Cow;

/// Returns the id as it is stored.
pub(super) fn id(id: &str) -> Cow<'_, str> {
    match id.contains(['\0', '\u{1a}']) {
        true => Cow::Owned(id.replace('\u{1a}', "\u{1a}1").replace('\0', "\u{1a}0")),
        false => Cow::Borrowed(id),
    }
}

/// Returns the text of a record as it is stored.
pub(super) fn seal(text: String) -> String {
    rewrite(text, |escape, _| match escape {
        r"\u0000" => Some((r"\u001a0", 0)),
        _ if is_substitute(escape) => {
            Some((if escape.ends_with('A') { r"\u001A1" } else { r"\u001a1" }, 0))
        }
        _ => None,
    })
}

/// Returns the text of a record that is stored as `text`.
pub(super) fn open(text: String) -> String {
    rewrite(text, |escape, next| match next {
        Some(b'0') if is_substitute(escape) => Some((r"\u0000", 1)),
        Some(b'1') if is_substitute(escape) => {
            Some((if escape.ends_with('A') { r"\u001A" } else { r"\u001a" }, 1))
        }
        _ => None,
    })
}

fn is_substitute(escape: &str) -> bool {
    escape.eq_ignore_ascii_case(r"\u001a")
}

/// Replaces escapes `\uXXXX` of a JSON text. `replace` gets one with the byte after it, and returns
/// what takes its place, and the number of further bytes that it replaces.
fn rewrite(
    text: String,
    replace: impl Fn(&str, Option<u8>) -> Option<(&'static str, usize)>,
) -> String {
    if !text.contains(r"\u00") {
        return text;
    }
    let mut written = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('\\') {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        // A backslash begins an escape of two characters, or of six.
        let escape = rest.get(..6).unwrap_or_default();
        let length = match replace(escape, rest.as_bytes().get(6).copied()) {
            Some((by, more)) => {
                written.push_str(by);
                6 + more
            }
            None => {
                let length = rest.chars().take(2).map(char::len_utf8).sum();
                written.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    written.push_str(rest);
    written
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_nul_and_substitute_are_stored_otherwise() {
        assert_eq!(id("a\0b\u{1a}c"), "a\u{1a}0b\u{1a}1c");
        assert!(matches!(id("AMAZON.é"), Cow::Borrowed(_)));
        for (text, stored) in [
            (r#"{"a":"\u0000"}"#, r#"{"a":"\u001a0"}"#),
            (r#"{"\u0000b":"\u001a\u001A0"}"#, r#"{"\u001a0b":"\u001a1\u001A10"}"#),
            (r#"{"a":"\\u0000\\\u0000"}"#, r#"{"a":"\\u0000\\\u001a0"}"#),
            (r#"{"a":"\u001f\n\u00e9é"}"#, r#"{"a":"\u001f\n\u00e9é"}"#),
        ] {
            assert_eq!(seal(text.to_owned()), stored);
            assert_eq!(open(stored.to_owned()), text);
        }
        let of_another_program = r#"{"a":"\u001a","b":"\u001a2"}"#;
        assert_eq!(open(of_another_program.to_owned()), of_another_program);
        // What is broken stays so, without a panic.
        for broken in [r"\u00", r"\u0000", r"\", r"\u00é\", r"\u001aé"] {
            open(seal(broken.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "[\0\u{1a}01au\\\\é\"]{0,12}") {
            let record = json!({ (text.clone()): text }).to_string();
            let stored = seal(record.clone());
            prop_assert!(!stored.contains(r"\u0000") || text.contains('\\'));
            let read: Value = serde_json::from_str(&stored).unwrap();
            prop_assert!(!read.to_string().replace(r"\\", "").contains(r"\u0000"));
            prop_assert_eq!(open(stored), record);
        }

        #[test]
        fn no_two_ids_are_stored_alike(one in "[\0\u{1a}01]{0,5}", other in "[\0\u{1a}01]{0,5}") {
            prop_assert!(!id(&one).contains('\0'));
            prop_assert_eq!(id(&one) == id(&other), one == other);
        }
    }
}
