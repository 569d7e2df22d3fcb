//! The state that the handles of one event share, and their access to it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::SystemTime;

use serde_json::Value;

use super::after_reply::DetachedWork;
use super::data::Data;
use super::ending::Ending;
use super::handled::{EventId, Noted};
use super::place::SessionPlace;
use super::receipts;
use super::typed::TypedState;
use super::writes::Writes;
use crate::database::{Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::incoming::{Identity, Recognised};
use crate::platform::{ClientSession, NamedPlatform};
use crate::record::{Path, Record};
use crate::stored_elements::StoredElements;
use crate::timestamp::Clock;

/// One turn, shared by the handles of its event.
pub(crate) struct Turn {
    pub(super) elements: Arc<StoredElements>,
    /// An id that tells the databases of two layers apart.
    pub(super) database_id: usize,
    pub(super) event: Box<Recognised>,
    /// The id of the event, if repeats of it are to be recognised.
    pub(super) event_id: Option<EventId>,
    pub(super) clock: Arc<Clock>,
    pub(super) began: SystemTime,
    pub(super) loaded: Basis,
    pub(super) is_new_session: bool,
    /// Set if the client's session is written into the reply even if it is empty.
    pub(super) replaces_session: bool,
    pub(super) state: Mutex<State>,
    /// Notified when an `update` has ended.
    pub(super) updated: Condvar,
    pub(super) ending: Ending,
}

/// The stored state that a turn begins with.
pub(crate) enum Basis {
    Record(VersionedRecord),
    /// This record, joined from those of several ids of the user. A save must name this version.
    Joined {
        record: Record,
        expected: Option<Version>,
    },
    /// Nothing: the user is new. A save must name the version of the tombstone, if there is one.
    Absent(Option<Version>),
    /// Unknown, since loading failed: the handler runs without memory, and nothing is saved.
    Unknown,
}

impl Basis {
    pub(crate) fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(stored) => Some(&stored.record),
            Self::Joined { record, .. } => Some(record),
            Self::Absent(_) | Self::Unknown => None,
        }
    }

    /// Returns the version that a save must name.
    pub(crate) fn version(&self) -> Option<&Version> {
        match self {
            Self::Record(stored) => Some(&stored.version),
            Self::Joined { expected, .. } => expected.as_ref(),
            Self::Absent(tombstone) => tombstone.as_ref(),
            Self::Unknown => None,
        }
    }
}

/// The part of a turn that changes.
pub(super) struct State {
    pub(super) phase: Phase,
    /// Set if a handle wrote.
    pub(super) is_written: bool,
    /// The thread with an `update` under way. Other threads wait for it.
    pub(super) updating: Option<ThreadId>,
    pub(super) record: Record,
    pub(super) session: SessionPlace,
    /// The writes to the data of the user, or of the conversation.
    pub(super) data_writes: Writes,
    pub(super) session_writes: Writes,
    pub(super) typed: TypedState,
    pub(super) output: Option<Value>,
    /// The entry that this turn adds to the history.
    pub(super) history_entry: Option<Value>,
    /// The messages that this turn adds to the history.
    pub(super) messages: Vec<Value>,
    /// The event of this turn, once it is noted in the record.
    pub(super) noted: Option<Noted>,
    /// The work to begin when the turn is stored; `None` if none can be started any more.
    pub(super) detached: Option<Vec<DetachedWork>>,
}

impl State {
    /// Returns whether the turn adds to the history. One to which it adds nothing stays as it is.
    pub(super) fn adds_to_history(&self) -> bool {
        self.history_entry.is_some() || !self.messages.is_empty()
    }
}

/// Selects the data to read or write.
#[derive(Clone, Copy)]
pub(super) enum DataOf {
    User,
    Session,
    Conversation,
}

impl DataOf {
    /// Returns the path of the data, if it is in the record.
    fn path(self, session: &SessionPlace) -> Option<Path> {
        match self {
            Self::User => Some(&USER_DATA),
            Self::Conversation => Some(&CONVERSATION_DATA),
            Self::Session if session.times().is_some() => Some(&SESSION_DATA),
            Self::Session => None,
        }
    }
}

/// The path of a user's data in the record.
pub(super) const USER_DATA: [&str; 2] = ["user", "data"];

/// The path of a conversation's data in the record.
pub(super) const CONVERSATION_DATA: [&str; 2] = ["conversation", "data"];

/// The path of the data of the latest session in the record.
pub(super) const SESSION_DATA: [&str; 2] = ["session", "data"];

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// The reply is final. Nothing may be written that it does not show.
    Answered,
    Forgotten,
    Sealed,
}

impl Phase {
    /// Refuses writes that can no longer be stored.
    pub(super) fn check(self) -> Result<(), Error> {
        let message = match self {
            Self::Open => return Ok(()),
            Self::Forgotten => {
                "the user was forgotten in this turn: write again from the next request on"
            }
            Self::Answered | Self::Sealed => {
                "the turn has ended: write before the handler answers, or end the turn with the \
                 body (`turn_end`)"
            }
        };
        Err(Error::new(Kind::TurnEnded, message))
    }
}

impl Turn {
    /// Returns the user, if the event has one.
    pub(crate) fn user(&self) -> Option<&Identity> {
        self.event.user.as_ref()
    }

    pub(crate) fn platform(&self) -> &NamedPlatform {
        &self.event.platform
    }

    pub(crate) fn ending(&self) -> &Ending {
        &self.ending
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.state().phase == Phase::Sealed
    }

    /// Returns the user id, if it was created in this turn.
    pub(crate) fn created_user_id(&self) -> Option<&str> {
        self.user().filter(|user| user.is_created).map(|user| &*user.id)
    }

    /// Returns whether the platform may have to write into the reply.
    pub(crate) fn writes_reply(&self) -> bool {
        self.created_user_id().is_some() || self.state().session.client().is_some()
    }

    /// Returns whether the handler runs without memory.
    pub(crate) fn is_degraded(&self) -> bool {
        matches!(self.loaded, Basis::Unknown)
    }

    pub(crate) fn has_written(&self) -> bool {
        self.state().is_written
    }

    /// Returns whether no turn of the user's own was stored before this one.
    pub(super) fn is_first(&self) -> bool {
        self.loaded.record().is_none_or(receipts::is_marked)
    }

    /// Locks the state, once no other thread's `update` is under way.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned state is whole, since every change to it is made in one step.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.updating.is_some_and(|owner| owner != thread::current().id()) {
            state = self.updated.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Refuses access inside an `update`, which would undo writes at its end.
    pub(super) fn check_not_updating(&self, state: &State) -> Result<(), Error> {
        match state.updating {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Kind::Reentrant,
                "a handle was used inside `update`: use what the closure is given",
            )),
        }
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&self.state().record)
    }

    /// Lets `write` change the state, if changes can still be stored.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state();
        self.check_not_updating(&state)?;
        state.phase.check()?;
        if self.event.deletion_requested {
            let message = "the user has left, and their data is deleted at the end of this turn: \
                           do not write in it";
            return Err(Error::new(Kind::TurnEnded, message));
        }
        write(&mut state)
    }

    /// As [`write`](Self::write), and counts as a write of the handler's.
    pub(super) fn write_as_handle<T>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.write(|state| {
            let result = write(state)?;
            state.is_written = true;
            Ok(result)
        })
    }

    /// Lets `write` change the data.
    pub(super) fn write_data<T>(
        &self,
        of: DataOf,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.write_as_handle(|state| Self::change_data(of, state, write))
    }

    /// Lets `make` make the value of one member of the data, out of the present one.
    pub(super) fn set_member<T>(
        &self,
        of: DataOf,
        key: &str,
        make: impl FnOnce(Option<&Value>, &mut Writes) -> Result<(Value, T), Error>,
    ) -> Result<T, Error> {
        self.write_as_handle(|state| {
            let Some(path) = of.path(&state.session) else {
                return Self::change_data(of, state, |data, writes| {
                    let (value, result) = make(data.get(key), writes)?;
                    data.insert(key.to_owned(), value);
                    Ok(result)
                });
            };
            let writes = match of {
                DataOf::User | DataOf::Conversation => &mut state.data_writes,
                DataOf::Session => &mut state.session_writes,
            };
            let (value, result) = make(state.record.member(path, key), writes)?;
            state.record.set(path, key, value);
            Ok(result)
        })
    }

    /// Lets `change` change a copy of the data without holding the lock, and replaces the data by
    /// it. Other threads wait meanwhile.
    pub(super) fn update_data<T>(
        &self,
        of: DataOf,
        change: impl FnOnce(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.write(|state| {
            state.updating = Some(thread::current().id());
            Ok(Self::data(of, state).cloned().unwrap_or_default())
        })?;
        // Lets other threads go on when it is dropped, even by a panic of `change`.
        let updating = Updating(self);
        let mut changed = before.clone();
        let result = change(&mut changed)?;
        let mut state = self.state();
        state.is_written = true;
        Self::change_data(of, &mut state, |data, writes| {
            writes.set_changed(&before, &changed);
            *data = changed;
            Ok(())
        })?;
        drop(state);
        drop(updating);
        Ok(result)
    }

    pub(super) fn data(of: DataOf, state: &State) -> Option<&Data> {
        match of.path(&state.session) {
            Some(path) => state.record.object(path),
            None => state.session.client().map(ClientSession::data),
        }
    }

    /// Returns one member of the data, without looking at the others.
    pub(super) fn member<'s>(of: DataOf, state: &'s State, key: &str) -> Option<&'s Value> {
        match of.path(&state.session) {
            Some(path) => state.record.member(path, key),
            None => state.session.client()?.data().get(key),
        }
    }

    /// Lets `write` change the data. Absent data is made only to hold something.
    fn change_data<T>(
        of: DataOf,
        state: &mut State,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let path = match of {
            DataOf::User => USER_DATA,
            DataOf::Conversation => CONVERSATION_DATA,
            DataOf::Session => {
                let State { session, record, session_writes, .. } = state;
                return session.change_data(record, session_writes, write);
            }
        };
        let (record, writes) = (&mut state.record, &mut state.data_writes);
        change_data(record, &path, |data| write(data, writes))
    }
}

/// Lets `change` change the data under `path`. Absent data is made only to hold something.
pub(super) fn change_data<T>(
    record: &mut Record,
    path: &[&str],
    change: impl FnOnce(&mut Data) -> Result<T, Error>,
) -> Result<T, Error> {
    if record.object(path).is_some() {
        return change(record.object_mut(path));
    }
    let mut data = Data::new();
    let result = change(&mut data)?;
    if !data.is_empty() {
        *record.object_mut(path) = data;
    }
    Ok(result)
}

/// An `update` under way, until it is dropped.
struct Updating<'a>(&'a Turn);

impl Drop for Updating<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.updating == Some(thread::current().id()) {
            state.updating = None;
        }
        drop(state);
        self.0.updated.notify_all();
    }
}
