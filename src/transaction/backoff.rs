//! Pauses between writers that collide.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How many times a save is tried before it is given up. As a rule its time limit ends it earlier.
pub(super) const ATTEMPTS: u32 = 50;

/// How many saves follow a conflict at once: what it brought is fresh, while the writer that won
/// has yet to load for its next turn.
const AT_ONCE: u32 = 3;

/// Returns how long to wait before the next attempt, so that writers that collide part. What the
/// last conflict brought is old after a pause.
pub(super) fn pause(attempt: u32) -> Option<Duration> {
    let exponent = attempt.checked_sub(AT_ONCE)?;
    let most = Duration::from_millis(1 << exponent.min(6));
    // Each `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(attempt) % 1024;
    Some(most.mul_f64(random as f64 / 1024.0))
}
