use std::time::Duration;

/// What a call to a [`Faulty`](super::Faulty) database meets with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: the call goes to the database as it is.
    #[default]
    None,
    /// The call fails and has no effect: the server could not be reached.
    ErrorBefore,
    /// The call takes effect, and fails: the connection broke before the answer came.
    ErrorAfter,
    /// The call reaches the database this much later.
    Delay(Duration),
    /// The call takes effect at once, and its answer comes this much later. Who does not wait so long does not know.
    DelayAfter(Duration),
    /// Before the save, somebody else stores the item once more, unchanged but under a new version, so that the save is a conflict.
    /// Where nothing is stored, they store an empty item: two first requests of one user at the same time.
    Conflict,
    /// The save is reported as a conflict with the item that is stored, although that may be the very version it was to replace.
    /// Nothing is written. Where no item is stored there is none to report, and the save goes to the database as it is.
    SpuriousConflict,
    /// The load finds what was stored before the last write, as a replica may that lags behind; a save over it is a conflict. Where no
    /// older state is known, it finds what there is.
    StaleRead,
    /// This call and those after it, `calls` in all, fail and have no effect, whoever's they are. They take nothing off the
    /// script.
    Outage {
        /// How many calls fail, this one included.
        calls: u32,
    },
}

impl Fault {
    /// Whether a call of this kind can have it.
    pub(super) fn concerns(self, operation: Operation) -> bool {
        match self {
            Self::None | Self::Outage { calls: 0 } => false,
            Self::Conflict | Self::SpuriousConflict => operation == Operation::Save,
            Self::StaleRead => operation == Operation::Load,
            _ => true,
        }
    }
}

/// Which call of a [`Database`](crate::Database) it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// [`Database::load`](crate::Database::load)
    Load,
    /// [`Database::save`](crate::Database::save)
    Save,
    /// [`Database::delete`](crate::Database::delete)
    Delete,
}

/// A fault that was injected. It does not say whose call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedFault {
    /// Which call it was of all, counted from 0.
    pub call: u64,
    /// What was called.
    pub operation: Operation,
    /// What happened. During an outage: how many calls are still to fail, this one included.
    pub fault: Fault,
}
