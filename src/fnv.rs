//! FNV-1a with 128 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
//!
//! Hashes of event ids are stored, so they must stay the same in every release, unlike those of
//! `std`. A user who contrives a collision loses an event, but other users do not.

const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Returns the hash of `bytes`.
pub(crate) fn hash(bytes: impl IntoIterator<Item = u8>) -> u128 {
    let add = |hash: u128, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    bytes.into_iter().fold(OFFSET, add)
}

#[cfg(test)]
mod tests {
    use super::hash;

    /// Checks the published test vectors: stored hashes must stay valid.
    #[test]
    fn it_is_fnv_1a() {
        for (text, expected) in [
            ("", 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d),
            ("a", 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964),
            ("foobar", 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18),
        ] {
            assert_eq!(hash(text.bytes()), expected, "{text}");
        }
    }
}
