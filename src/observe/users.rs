use std::fmt::Write;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{Database, PersistenceLayer};

/// The app's key. It has no `Debug`, so that it cannot get into a log.
#[derive(Clone)]
pub(super) struct Key(Hmac<Sha256>);

impl Key {
    fn new(key: &[u8]) -> Option<Self> {
        // Whoever can guess an id can find out its hash under the empty key.
        if key.is_empty() {
            return None;
        }
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// The first 128 bits, which is enough to tell all users apart.
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

impl<D: Database> PersistenceLayer<D> {
    /// Marks spans and failures with `user.hash`, by which the lines of one user are found without showing who it is: the first
    /// 16 bytes of HMAC-SHA256 of the user id under this key, in hexadecimal digits. It is the same in all processes that have the
    /// same key. Without the key nobody finds the user; with it, whoever knows an id finds its lines, so keep it as you keep a
    /// password. Use at least 16 random bytes. An empty key marks nothing. Default: nothing is marked.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let key = std::env::var("LOG_KEY").unwrap_or_default();
    /// let layer = PersistenceLayer::new(MemoryDb::new()).log_users_with_key(key);
    /// ```
    #[must_use]
    pub fn log_users_with_key(self, key: impl AsRef<[u8]>) -> Self {
        let key = Key::new(key.as_ref());
        self.with(|config| Arc::make_mut(&mut config.observe).key = key)
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
