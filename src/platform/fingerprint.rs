//! A hash that recognises a repeated event that has no id of its own.

use crate::fnv;

/// Returns a hash of the JSON text `json`, ignoring whitespace between its tokens.
pub(super) fn fingerprint(json: &str) -> u128 {
    let (mut is_text, mut is_escaped) = (false, false);
    fnv::hash(json.bytes().filter(|&byte| {
        if !is_text && byte.is_ascii_whitespace() {
            return false;
        }
        is_text ^= byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        true
    }))
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    #[test]
    fn only_whitespace_between_tokens_is_left_out() {
        let compact = fingerprint(r#"{"a":["b \" c",1]}"#);
        assert_eq!(fingerprint("{ \"a\" :\n\t[ \"b \\\" c\" , 1 ] }\r\n"), compact);
        for other in [
            r#"{"a":["b \" c",2]}"#,
            r#"{"a":["b \"  c",1]}"#,
            r#"{"a":["b \"c",1]}"#,
            r#"{"a":["b \\",1]}"#,
        ] {
            assert_ne!(fingerprint(other), compact, "{other}");
        }
        assert_ne!(fingerprint(r#"["\\", "x y"]"#), fingerprint(r#"["\\", "xy"]"#));
    }
}
