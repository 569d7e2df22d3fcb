//! The keyed hash of user ids for spans and logs.

use std::fmt::Write;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The app's key. It does not implement `Debug`, so that it cannot get into a log.
#[derive(Clone)]
pub(crate) struct Key(Hmac<Sha256>);

impl Key {
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        // Under the empty key, anyone could compute the hash of an id and find it in the logs.
        if key.is_empty() {
            return None;
        }
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// Returns the first 128 bits of the hash, which are enough to tell all users apart.
    pub(super) fn hash(&self, user_id: &str) -> Arc<str> {
        let mut hmac = self.0.clone();
        hmac.update(user_id.as_bytes());
        let mut text = String::with_capacity(32);
        for byte in hmac.finalize().into_bytes().iter().take(16) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231, cut to 128 bits.
    #[test]
    fn it_is_hmac_sha256() {
        let hash = Key::new(b"Jefe").unwrap().hash("what do ya want for nothing?");
        assert_eq!(&*hash, "5bdcc146bf60754e6a042426089575c7");
        assert!(Key::new(b"").is_none());
    }
}
