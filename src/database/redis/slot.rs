//! The slot of a key in a cluster.

/// The number of slots of every cluster.
pub(super) const SLOTS: u16 = 16_384;

/// Returns the slot of a key: CRC-16 of it, or of what its first braces hold, so that servers and
/// clients agree on which keys are together.
/// <https://valkey.io/topics/cluster-spec/#key-distribution-model>
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc(tag.filter(|tag| !tag.is_empty()).unwrap_or(key)) % SLOTS
}

/// CRC-16/XMODEM. `redis` has it only along with its client for clusters.
fn crc(text: &str) -> u16 {
    text.bytes().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| match crc & 0x8000 {
            0 => crc << 1,
            _ => (crc << 1) ^ 0x1021,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the specification, and of `CLUSTER KEYSLOT`.
    #[test]
    fn keys_have_the_slots_of_the_server() {
        assert_eq!(crc("123456789"), 0x31c3);
        for (key, expected) in [
            ("", 0),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("bar{foo}{zap}", 12182),
            ("foo{}", slot("foo{}")),
            ("}foo{", crc("}foo{") % SLOTS),
        ] {
            assert_eq!(slot(key), expected, "{key}");
        }
        assert_eq!(slot("foo{}{bar}"), crc("foo{}{bar}") % SLOTS, "empty braces hold nothing");
        assert_eq!(slot("foo{{bar}}zap"), crc("{bar") % SLOTS);
    }
}
