use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// What happens when somebody else has stored something of the same user between load and save: another process, for
/// within one the user's requests run one after the other.
///
/// A user who was deleted meanwhile stays deleted, whatever the policy, and the reply goes out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// What this turn changed is done to what is stored now, key by key of user and session data:
    ///
    /// * A key that only one side changed is taken from that side; of two objects, the same goes for their keys. Arrays and
    ///   other values are taken as a whole.
    /// * What `increment` added is added to the number that is there now.
    /// * A key that both changed to different values, or that one removed and the other changed, is a conflict: nothing is
    ///   written, and the error is [`is_conflict`](crate::Error::is_conflict), a 409.
    /// * The history has the items of both. Timestamps, session counts and the session's state never conflict.
    #[default]
    Merge,
    /// The handler runs again on what is stored now, up to this many times: for handlers without effects elsewhere. It is called with
    /// the same request and fresh handles, by a clone of the inner service. After that many it is a conflict.
    Rerun {
        /// How often it runs again.
        attempts: u32,
    },
    /// What this turn stores replaces what somebody else has stored. Their changes are lost.
    Overwrite,
}

/// What happens when loading fails or takes too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// The handler does not run; the reply is a 503, or [`on_error`](crate::PersistenceLayer::on_error)'s.
    #[default]
    Reject,
    /// The handler runs without memory: [`User::is_degraded`](crate::User::is_degraded) tells it. Everything reads as empty, what it
    /// writes it reads again in this turn, and nothing of it is stored.
    Degrade,
}

/// How often a save is tried again before it is given up: as a rule it is the time-out that ends it.
pub(crate) const ATTEMPTS: u32 = 50;

/// How many saves follow a conflict at once: what it brought is fresh then, while whoever has won has yet to load for their next turn.
const AT_ONCE: u32 = 3;

/// How long to wait so that those who collide again and again do so no more. What the last conflict brought is old afterwards.
pub(crate) fn pause(attempt: u32) -> Option<Duration> {
    let exponent = attempt.checked_sub(AT_ONCE)?;
    let most = Duration::from_millis(1 << exponent.min(6));
    // Each `RandomState` has keys of its own.
    let random = RandomState::new().hash_one(attempt) % 1024;
    Some(most.mul_f64(random as f64 / 1024.0))
}
