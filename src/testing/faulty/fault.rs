//! The faults that can be injected, and the log of those that were.

use std::time::Duration;

/// The fault of a call to a [`Faulty`](super::Faulty) database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No fault: the call is passed to the database.
    #[default]
    None,
    /// The call fails without an effect, as if the server could not be reached.
    ErrorBefore,
    /// The call takes effect and fails, as if the connection broke before the response.
    ErrorAfter,
    /// The call reaches the database after this delay.
    Delay(Duration),
    /// The call takes effect at once, but its response is delayed. A caller that stops waiting
    /// earlier does not learn the outcome.
    DelayAfter(Duration),
    /// Before the save, another process saves the unchanged record under a new version, so that the
    /// save is a conflict. If there is no record, the other process stores an empty one, as when a
    /// user's first two requests arrive at the same time.
    Conflict,
    /// The save is reported as a conflict with the stored record, even if that has the expected
    /// version. Nothing is written. If there is no record to report, the save is passed to the
    /// database.
    SpuriousConflict,
    /// The load returns the record from before the last write, like a replica that lags behind; a
    /// save over it is a conflict. If no older state is known, the load returns the current one.
    StaleRead,
    /// This call and those after it, `calls` in total, fail without an effect, for all users. They
    /// take nothing from the script.
    Outage {
        /// The number of calls that fail, including this one.
        calls: u32,
    },
}

impl Fault {
    /// Returns whether a call of this kind can have this fault.
    pub(super) fn concerns(self, operation: Operation) -> bool {
        match self {
            Self::None | Self::Outage { calls: 0 } => false,
            Self::Conflict | Self::SpuriousConflict => operation == Operation::Save,
            Self::StaleRead => operation == Operation::Load,
            _ => true,
        }
    }
}

/// A call of a [`Database`](crate::Database).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// A [`Database::load`](crate::Database::load).
    Load,
    /// A [`Database::save`](crate::Database::save).
    Save,
    /// A [`Database::delete`](crate::Database::delete).
    Delete,
}

/// A fault that was injected. It does not contain the user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedFault {
    /// The number of the call, counted from 0.
    pub call: u64,
    /// The operation of the call.
    pub operation: Operation,
    /// The injected fault. During an outage, it holds the number of calls that are still to fail,
    /// including this one.
    pub fault: Fault,
}
