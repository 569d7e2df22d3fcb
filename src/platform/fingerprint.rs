//! A hash by which an event without an id of its own is known when it comes again.

/// The parameters of FNV-1a with 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>). Hashes
/// are stored, so they have to stay the same in every release, which those of `std` do not. A
/// collision that a user contrives costs that user an event, and no one else.
const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Returns a hash of the JSON text `json` that whitespace between its tokens does not change.
pub(super) fn fingerprint(json: &str) -> u128 {
    let (mut is_text, mut is_escaped) = (false, false);
    json.bytes().fold(OFFSET, |hash, byte| {
        if !is_text && byte.is_ascii_whitespace() {
            return hash;
        }
        is_text ^= byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        (hash ^ u128::from(byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::fingerprint;

    /// The published test vectors: what is stored today has to be known tomorrow.
    #[test]
    fn it_is_fnv_1a() {
        assert_eq!(fingerprint(""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fingerprint("a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fingerprint("foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

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
