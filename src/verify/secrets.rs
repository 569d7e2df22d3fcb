//! Secrets, several at a time, and comparisons in constant time.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One or more secrets of a platform. Any of them is accepted, so that a secret can be replaced
/// without an outage: add the new one, change it at the platform, remove the old one.
///
/// Made of a text or of several. `Debug` shows their number only.
///
/// ```
/// use tower_persistence::verify::Secrets;
///
/// let one = Secrets::from("new secret");
/// let two = Secrets::from(["new secret", "old secret"]);
/// assert_eq!(format!("{two:?}"), "Secrets(2)");
/// ```
#[derive(Clone)]
pub struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Returns what is wrong: an environment variable that was not set must not become a secret
    /// that anyone knows.
    pub(super) fn problem(&self) -> Option<&'static str> {
        if self.0.is_empty() {
            return Some("there is no secret: pass the one that the platform shows");
        }
        let is_blank = self.0.iter().any(|secret| secret.trim().is_empty());
        is_blank.then_some("a secret is empty: pass the one that the platform shows")
    }

    /// Returns whether `candidate` is one of the secrets, in constant time.
    pub(super) fn contain(&self, candidate: &[u8]) -> bool {
        // All are compared, so that the time does not tell which one it is.
        self.iter().fold(false, |found, secret| found | is_equal(secret.as_bytes(), candidate))
    }
}

impl From<&str> for Secrets {
    fn from(secret: &str) -> Self {
        Self(vec![secret.to_owned()])
    }
}

impl From<String> for Secrets {
    fn from(secret: String) -> Self {
        Self(vec![secret])
    }
}

impl<T: Into<String>> From<Vec<T>> for Secrets {
    fn from(secrets: Vec<T>) -> Self {
        Self(secrets.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<String>, const N: usize> From<[T; N]> for Secrets {
    fn from(secrets: [T; N]) -> Self {
        Self(secrets.into_iter().map(Into::into).collect())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

/// Compares in a time that depends on the lengths only.
pub(super) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    // Of hashes, since unequal lengths would end the comparison at once.
    verify_slices_are_equal(&sha256(&[a]), &sha256(&[b])).is_ok()
}

/// Returns the SHA-256 of the parts, one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    hash
}

/// Decodes lower-case hex, as all platforms write it. A spelling has to be the only one, so that no
/// changed letter passes.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Decodes base64 with its padding, in its only spelling.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_have_one_spelling() {
        assert_eq!(from_hex("00ff1a"), Some(vec![0, 255, 26]));
        assert_eq!(to_hex(&[0, 255, 26]), "00ff1a");
        for other in ["00FF1A", "0", "0g", " 00", "00 ", "+1"] {
            assert_eq!(from_hex(other), None, "{other}");
        }
        assert_eq!(from_base64("AP8a"), Some(vec![0, 255, 26]));
        assert_eq!(from_base64("AA=="), Some(vec![0]));
        for other in ["AA", "AB==", "AA=", "A A==", "_-8=", "AA==\n"] {
            assert_eq!(from_base64(other), None, "{other}");
        }
    }

    #[test]
    fn each_secret_is_accepted_and_no_other() {
        let secrets = Secrets::from(["new", "old"]);
        assert!(secrets.contain(b"new") && secrets.contain(b"old"));
        assert!(Secrets::from(["twice", "twice"]).contain(b"twice"));
        for other in ["", "ne", "newer", "NEW"] {
            assert!(!secrets.contain(other.as_bytes()), "{other}");
        }
        assert_eq!(secrets.problem(), None);
        for unusable in [Secrets::from(""), Secrets::from(["new", " "])] {
            assert!(unusable.problem().unwrap().contains("empty"));
        }
        assert!(Secrets::from([""; 0]).problem().unwrap().contains("no secret"));
    }
}
