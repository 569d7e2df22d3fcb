//! The end of a turn: seals it, and decides whether to store it.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use super::handled::StoredReply;
use super::state::{Basis, Phase, State, Turn};
use super::{aliases, handled, history, messages, receipts, sessions};
use crate::database::Version;
use crate::platform::ClientSession;
use crate::record::Record;
use crate::timestamp;

/// Selects the changes of a turn to store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All changes.
    All,
    /// All changes, but only if a handle wrote.
    IfWritten,
}

/// The action that ends a turn.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Stores nothing, for this reason.
    Nothing(&'static str),
    Save {
        key: Arc<str>,
        record: Record,
        expected: Option<Version>,
    },
    Delete {
        key: Arc<str>,
        /// The keys of the user's further ids.
        aliases: Vec<Arc<str>>,
    },
}

/// The parts of request and reply that the record needs.
#[derive(Default)]
pub(crate) struct Exchange {
    /// Set if the reply is a 5xx.
    pub(crate) is_failure: bool,
    /// The reply, if it is kept for repeats of the event.
    pub(crate) reply: Option<StoredReply>,
    /// The request, if the history stores it.
    pub(crate) request: Option<Value>,
    /// The response, if the history stores it.
    pub(crate) response: Option<Value>,
}

impl Turn {
    /// Ends the turn without storing anything.
    pub(crate) fn discard(&self) {
        self.state().phase = Phase::Sealed;
        self.ending.notify();
        // Dropped without the lock, since the closures may hold handles of this turn.
        drop(self.take_detached());
    }

    /// Refuses later writes, since the reply is final. The turn can still be sealed.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Answered;
        }
    }

    /// Ends the turn, and returns the action to take.
    pub(crate) fn seal(
        self: &Arc<Self>,
        mut exchange: Exchange,
        keep: Keep,
        now: SystemTime,
    ) -> Outcome {
        // The app's closures read the handles, so they run before the seal, and without the lock.
        let custom = history::custom_elements(self);
        let mut state = self.state();
        let phase = match std::mem::replace(&mut state.phase, Phase::Sealed) {
            Phase::Answered => Phase::Open,
            phase => phase,
        };
        let user = match self.user() {
            _ if self.is_degraded() => return Outcome::Nothing("degraded"),
            None => return Outcome::Nothing("unchanged"),
            Some(user) => user,
        };
        let key = Arc::clone(&user.storage_key);
        let delete = |key| {
            let aliases = user.aliases.iter().map(|alias| Arc::clone(&alias.key)).collect();
            Outcome::Delete { key, aliases }
        };
        let (is_whole, is_receipt) = (keep == Keep::All, self.event.is_receipt);
        match phase {
            Phase::Sealed | Phase::Answered => return Outcome::Nothing("unchanged"),
            Phase::Forgotten => return delete(key),
            Phase::Open if self.event.deletion_requested && is_whole => {
                return delete(key);
            }
            Phase::Open if state.is_written => {}
            Phase::Open if !is_whole => return Outcome::Nothing("client_error"),
            Phase::Open if self.event.without_request => return Outcome::Nothing("unchanged"),
            Phase::Open if is_receipt => return Outcome::Nothing("receipt"),
            Phase::Open => {}
        }
        // A failed event is done only as far as it wrote something.
        if state.is_written || !exchange.is_failure {
            handled::note(self, &mut state, exchange.reply.take(), now);
        }
        let has_entry = !is_receipt || (self.event.without_request && state.output.is_some());
        if is_whole && has_entry {
            history::add_entry(self, &mut state, exchange, custom);
        }
        if state.adds_to_history() {
            messages::trim(&mut state.record, self.elements.history_budget);
        }
        aliases::add(self, &mut state.record, now);
        match &self.loaded {
            _ if !is_receipt => receipts::unmark(&mut state.record),
            Basis::Absent(_) => receipts::mark(&mut state.record),
            Basis::Record(_) | Basis::Joined { .. } | Basis::Unknown => {}
        }
        if !self.is_save_due(&state, now) {
            return Outcome::Nothing("unchanged");
        }
        self.stamp(&mut state, now);
        let (record, expected) = (state.record.clone(), self.loaded.version().cloned());
        Outcome::Save { key, record, expected }
    }

    /// Returns whether something changed, or the time of this use must be written anyway.
    fn is_save_due(&self, state: &State, now: SystemTime) -> bool {
        let record = &state.record;
        let is_joined = matches!(self.loaded, Basis::Joined { .. });
        let is_unchanged = self.loaded.record() == Some(record);
        let is_counted = self.elements.meta_data && !self.event.is_receipt;
        !is_unchanged
            || is_joined
            || is_counted
            || sessions::is_touch_due(&state.session, record, now)
    }

    /// Returns the session to write into the reply, if the client keeps it.
    pub(crate) fn client_session(&self, now: SystemTime) -> Option<ClientSession> {
        let state = self.state();
        let session = state.session.client()?;
        (self.replaces_session || session.has_something()).then(|| {
            let mut session = session.clone();
            session.stamp(self.event.session_id.as_deref(), self.is_new_session, now);
            session
        })
    }

    /// Returns whether the client keeps the session, and there is something to keep.
    pub(crate) fn has_client_session(&self) -> bool {
        self.state().session.client().is_some_and(ClientSession::has_something)
    }

    /// Sets the record's times.
    fn stamp(&self, state: &mut State, now: SystemTime) {
        let (record, is_receipt) = (&mut state.record, self.event.is_receipt);
        let now = timestamp::format(now);
        if state.session.times().is_some() {
            record.set(&["session"], "updatedAt", now.clone().into());
        }
        if self.elements.meta_data && !is_receipt {
            if record.member(&["metaData"], "createdAt").is_none() {
                let created_at = record.get_str(&["createdAt"]).map(str::to_owned);
                let created_at = created_at.unwrap_or_else(|| timestamp::format(self.began));
                record.set(&["metaData"], "createdAt", created_at.into());
            }
            record.set(&["metaData"], "lastUsedAt", now.clone().into());
        }
        if self.elements.created_at && !is_receipt && record.member(&[], "createdAt").is_none() {
            record.set(&[], "createdAt", timestamp::format(self.began).into());
        }
        if self.elements.updated_at {
            record.set(&[], "updatedAt", now.into());
        }
    }
}
