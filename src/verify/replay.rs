//! A bounded memory of the requests that were seen within their tolerance.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::secrets::sha256;
use super::verifier::Once;

/// Remembers what came, until it is too old to come again.
pub(super) struct Seen {
    capacity: usize,
    messages: Mutex<Messages>,
}

#[derive(Default)]
struct Messages {
    known: HashSet<[u8; 32]>,
    by_end: BTreeSet<(SystemTime, [u8; 32])>,
}

impl Seen {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), messages: Mutex::default() }
    }

    /// Remembers a message of `platform`; returns whether it comes for the first time.
    ///
    /// Only verified messages come here, so no stranger can fill the memory. When it is full, the
    /// message that is too old first is forgotten.
    pub(super) fn is_first(&self, platform: &str, once: &Once, now: SystemTime) -> bool {
        let message = sha256(&[platform.as_bytes(), &[0], &once.message]);
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        while messages.by_end.first().is_some_and(|(end, _)| *end < now) {
            messages.forget_first();
        }
        if !messages.known.insert(message) {
            return false;
        }
        if messages.known.len() > self.capacity {
            messages.forget_first();
        }
        messages.by_end.insert((once.until, message));
        true
    }
}

impl Messages {
    fn forget_first(&mut self) {
        if let Some((_, message)) = self.by_end.pop_first() {
            self.known.remove(&message);
        }
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn once(message: u8, until: u64) -> Once {
        Once { message: [message; 32], until: at(until) }
    }

    #[test]
    fn the_same_comes_once_until_it_is_too_old() {
        let seen = Seen::new(10);
        assert!(seen.is_first("slack", &once(1, 300), at(0)));
        assert!(!seen.is_first("slack", &once(1, 300), at(300)));
        assert!(seen.is_first("slack", &once(2, 300), at(0)));
        assert!(seen.is_first("discord", &once(1, 300), at(0)), "another platform's");
        assert!(seen.is_first("slack", &once(1, 600), at(301)), "it was too old");
        assert_eq!(seen.messages.lock().unwrap().by_end.len(), 1);
    }

    #[test]
    fn it_is_bounded_and_forgets_what_ends_first() {
        let seen = Seen::new(2);
        for message in 1..=3 {
            assert!(seen.is_first("slack", &once(message, u64::from(message)), at(0)));
        }
        assert_eq!(format!("{seen:?}"), "Seen { capacity: 2, .. }");
        let messages = seen.messages.lock().unwrap();
        assert_eq!((messages.known.len(), messages.by_end.len()), (2, 2));
        drop(messages);
        assert!(seen.is_first("slack", &once(1, 1), at(0)), "it was forgotten");
        assert!(!seen.is_first("slack", &once(3, 3), at(0)));
    }
}
