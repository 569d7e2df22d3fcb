//! Pauses between conflicting writes.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The number of attempts before a save is given up. Usually its time limit ends it earlier.
pub(super) const ATTEMPTS: u32 = 50;

/// The number of attempts that follow a conflict at once: its record is fresh, while the writer
/// that won has yet to load for its next turn.
const AT_ONCE: u32 = 3;

/// Returns the pause before the next attempt, which keeps writers from colliding again, if there is
/// one. After a pause the record of the last conflict is outdated.
pub(super) fn pause(attempt: u32) -> Option<Duration> {
    let exponent = attempt.checked_sub(AT_ONCE)?;
    let most = Duration::from_millis(1 << exponent.min(6));
    // Each `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(attempt) % 1024;
    Some(most.mul_f64(random as f64 / 1024.0))
}
