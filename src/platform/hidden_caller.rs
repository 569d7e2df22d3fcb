//! Placeholders in place of a phone number that its caller hides, the same for all such callers.

/// Placeholders, reduced to letters and digits. Twilio also sends them as they are typed on the
/// keypad of a phone: `+266696687` is `ANONYMOUS`.
const WORDS: [&str; 7] =
    ["anonymous", "blocked", "private", "restricted", "unavailable", "unknown", "withheld"];

/// Placeholders that are never typed on a keypad.
const OTHER_WORDS: [&str; 9] = [
    "callerunknown",
    "hidden",
    "nocallerid",
    "none",
    "notavailable",
    "null",
    "privatecaller",
    "privatenumber",
    "undefined",
];

/// Another number that Twilio sends for hidden callers; it spells no word.
const SPELLS_NOTHING: &str = "464";

/// Returns whether `caller` is a placeholder for all callers that hide their number: with or
/// without a scheme such as `sip:` or `whatsapp:`, a host, a plus sign and punctuation, in any
/// case.
pub(super) fn is_hidden(caller: &str) -> bool {
    let (caller, host) = caller.split_once('@').unwrap_or((caller, ""));
    // `anonymous.invalid` of RFC 3323, and hosts modelled on it.
    let host = host.split([';', '>']).next().unwrap_or_default();
    if host.to_lowercase().ends_with(".invalid") {
        return true;
    }
    let name = caller.rsplit(':').next().unwrap_or_default();
    let name = name.split(';').next().unwrap_or_default();
    let name: String = name.chars().filter(|char| char.is_alphanumeric()).collect();
    let name = name.to_lowercase();
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        // The country code of the US may precede it.
        let number = name.strip_prefix('1').unwrap_or(&name);
        let is_zero = number.bytes().all(|digit| digit == b'0');
        let is_spelled = |word: &str| number.bytes().eq(word.bytes().map(key));
        return is_zero || number == SPELLS_NOTHING || WORDS.into_iter().any(is_spelled);
    }
    WORDS.into_iter().chain(OTHER_WORDS).any(|word| word == name) || name.starts_with("redacted")
}

/// Returns the key of a phone that bears this letter.
fn key(letter: u8) -> u8 {
    match letter {
        b'a'..=b'c' => b'2',
        b'd'..=b'f' => b'3',
        b'g'..=b'i' => b'4',
        b'j'..=b'l' => b'5',
        b'm'..=b'o' => b'6',
        b'p'..=b's' => b'7',
        b't'..=b'v' => b'8',
        _ => b'9',
    }
}

#[cfg(test)]
mod tests {
    use super::is_hidden;

    #[test]
    fn placeholders_are_hidden() {
        for hidden in [
            "anonymous",
            "Anonymous",
            "ANONYMOUS",
            "restricted",
            "unavailable",
            "Unknown",
            "private",
            "withheld",
            "blocked",
            "Private Number",
            "No Caller ID",
            "not-available",
            "+266696687",
            "266696687",
            "+1266696687",
            "+7378742833",
            "+17378742833",
            "+2562533",
            "+8656696",
            "+464",
            "+86282452253",
            "sip:anonymous@example.org",
            "sips:Anonymous@anonymous.invalid",
            "\"x\" <sip:c8oqz84zk7z@privacy.invalid>",
            "sip:+266696687@example.org",
            "sip:anonymous@anonymous.invalid;transport=udp",
            "sip:x@ANONYMOUS.INVALID;transport=udp",
            "tel:+266696687;phone-context=example.org",
            "whatsapp:anonymous",
            "whatsapp:+266696687",
            "client:Anonymous",
            "tel:+7378742833",
            "REDACTED_IN_STANDARD_TIER_AGENT",
            "[Redacted]",
            "",
            "+",
            "whatsapp:",
            "0000000000",
            "+00",
        ] {
            assert!(is_hidden(hidden), "{hidden}");
        }
    }

    #[test]
    fn numbers_and_names_are_not_hidden() {
        for caller in [
            "+15550100",
            "+1 555 0100",
            "+442066696687",
            "+2666966871",
            "whatsapp:+15550100",
            "sip:anna@example.org",
            "sip:anonymouse@example.org",
            "client:anna",
            "+46400000000",
            "+4670464",
            "private-eye",
            "sip:anna@invalid.example.org",
            "Анна",
        ] {
            assert!(!is_hidden(caller), "{caller}");
        }
    }
}
