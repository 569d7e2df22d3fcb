//! Forms and queries as raw bytes: no byte is replaced, as reading them as text would.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Returns the decoded names and values of a form or a query.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> + '_ {
    raw_pairs(text).map(|(name, value)| (decode(name), decode(value)))
}

/// Returns the first value of `name`, as text.
pub(super) fn value(text: &str, name: &str) -> Option<String> {
    let (_, value) = pairs(text).find(|(other, _)| other == name.as_bytes())?;
    String::from_utf8(value).ok()
}

pub(super) fn raw_pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let parts = text.split('&').filter(|pair| !pair.is_empty());
    parts.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

pub(super) fn decode(text: &str) -> Vec<u8> {
    let text =
        if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    percent_decode_str(&text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_as_they_are() {
        let found: Vec<_> = pairs("a=1+2&b=%2B%FF&&c&d=e=f").collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", b"1 2"), (b"b", b"+\xff"), (b"c", b""), (b"d", b"e=f")];
        assert_eq!(found.len(), expected.len());
        for ((name, value), expected) in found.iter().zip(expected) {
            assert_eq!((name.as_slice(), value.as_slice()), expected);
        }
        assert_eq!(value("x=1&hub.mode=subscribe", "hub.mode").as_deref(), Some("subscribe"));
        assert_eq!(value("x=%FF", "x"), None);
    }
}
