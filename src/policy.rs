//! What happens in a conflict, and in an outage.

/// Decides what happens when another process saved the same user's record between load and save. Within
/// one process the user's turns run one after the other.
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
