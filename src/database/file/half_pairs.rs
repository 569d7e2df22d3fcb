//! Halves of surrogate pairs in the text of JSON strings.
//!
//! `JSON.stringify` writes a text that was cut inside an emoji as `"\ud83d"`. `JSON.parse` reads
//! that valid JSON, but `serde_json` refuses it because it is not Unicode text.

use std::borrow::Cow;
use std::ops::RangeInclusive;

const HIGH: RangeInclusive<u16> = 0xd800..=0xdbff;
const LOW: RangeInclusive<u16> = 0xdc00..=0xdfff;
const REPLACEMENT: &str = "\\ufffd";

/// Returns whether `json` holds half of a surrogate pair.
pub(super) fn contains(json: &str) -> bool {
    next(json, 0).is_some()
}

/// Replaces each half in `json` by U+FFFD.
pub(super) fn replace(json: &str) -> Cow<'_, str> {
    let Some(first) = next(json, 0) else { return Cow::Borrowed(json) };
    let mut replaced = String::with_capacity(json.len());
    let (mut done, mut found) = (0, Some(first));
    while let Some(start) = found {
        replaced.push_str(&json[done..start]);
        replaced.push_str(REPLACEMENT);
        done = start + REPLACEMENT.len();
        found = next(json, done);
    }
    replaced.push_str(&json[done..]);
    Cow::Owned(replaced)
}

/// Returns the offset of the next half, at or after `from`.
fn next(json: &str, from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        let start = at + json.get(at..)?.find('\\')?;
        at = match unit(json, start) {
            Some(high) if HIGH.contains(&high) => match unit(json, start + 6) {
                Some(low) if LOW.contains(&low) => start + 12,
                _ => return Some(start),
            },
            Some(low) if LOW.contains(&low) => return Some(start),
            Some(_) => start + 6,
            // Another escape, such as that of the backslash itself.
            None => start + 2,
        };
    }
}

/// Returns the UTF-16 code unit of an escape such as `\ud83d` at `start`.
fn unit(json: &str, start: usize) -> Option<u16> {
    let digits = json.get(start..start + 6)?.strip_prefix("\\u")?;
    // `from_str_radix` would accept a sign as well.
    if digits.starts_with('+') {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        for (json, expected) in [
            (r#""""#, r#""""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\uD83D \uDE00""#, r#""\ufffd \ufffd""#),
            (r#""\uDE00\uD83D""#, r#""\ufffd\ufffd""#),
            (r#""\ud83d\ud83d\ude00é""#, r#""\ufffd\ud83d\ude00é""#),
            (r#""\ud83d\n""#, r#""\ufffd\n""#),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83d""#, r#""\\\ufffd""#),
            (r#""\u00e9\/\ufffd""#, r#""\u00e9\/\ufffd""#),
            (r#"{"\udc00":["\udbff"]}"#, r#"{"\ufffd":["\ufffd"]}"#),
            // Not JSON, but not a reason to panic either.
            ("\\é\\u12é\\", "\\é\\u12é\\"),
        ] {
            assert_eq!(replace(json), expected);
            assert_eq!(contains(json), json != expected, "{json}");
        }
    }
}
