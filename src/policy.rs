//! The policies for conflicting writes and for outages of the database.

/// The policy if another process saved the same user's record between load and save.
///
/// Within one process, the requests of a user run one after the other, but turns
/// [after a reply](crate::AfterReply) run beside them and count as another process; their own
/// conflicts are merged under every policy. A user deleted in the meantime stays deleted under
/// every policy, and the reply is sent.
///
/// ```
/// use tower_persistence::{MemoryDb, OnConflict, PersistenceLayer};
///
/// let rerun = OnConflict::Rerun { attempts: 3 };
/// let layer = PersistenceLayer::new(MemoryDb::new()).on_conflict(rerun);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// Applies the changes of this turn to the stored record, key by key of user and session data:
    ///
    /// * A key that only one side changed is taken from that side; if both values are objects, the
    ///   same holds for their keys. Arrays and other values are taken as a whole.
    /// * The sum of this turn's `increment`s is added to the stored number.
    /// * A key that both sides changed to different values, or that one side removed and the other
    ///   changed, is a conflict: nothing is written, and the error is
    ///   [`is_conflict`](crate::Error::is_conflict), a 409.
    /// * The history holds the turns of both sides. Timestamps, session counts and the session's
    ///   state never conflict.
    #[default]
    Merge,
    /// Runs the handler again on the stored record, for handlers without effects elsewhere. It is
    /// called with the same request and fresh handles, by a clone of the inner service. After the
    /// last attempt the turn fails with a conflict.
    Rerun {
        /// The maximum number of additional runs.
        attempts: u32,
    },
    /// Replaces the stored record with this turn's. The changes of the other process are lost.
    Overwrite,
}

/// The policy if loading fails or takes too long.
///
/// ```
/// use tower_persistence::{MemoryDb, OnOutage, PersistenceLayer};
///
/// let layer = PersistenceLayer::new(MemoryDb::new()).on_outage(OnOutage::Degrade);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// Does not run the handler; the reply is a 503, or that of
    /// [`on_error`](crate::PersistenceLayer::on_error).
    #[default]
    Reject,
    /// Runs the handler without memory, which [`User::is_degraded`](crate::User::is_degraded)
    /// reports. Everything reads as empty, the handler can read its own writes in this turn, and
    /// nothing is stored.
    Degrade,
}
