//! What the handles of one event share, and how they read and write it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::SystemTime;

use serde_json::Value;

use super::data::Data;
use super::handled::EventId;
use super::place::SessionPlace;
use super::receipts;
use super::typed::TypedState;
use super::writes::Writes;
use crate::database::{Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::incoming::Identity;
use crate::platform::{Input, NamedPlatform};
use crate::record::Record;
use crate::stored_elements::StoredElements;

/// What the handles of one event share.
pub(crate) struct Turn {
    pub(super) elements: Arc<StoredElements>,
    /// Tells the databases of two layers apart.
    pub(super) database_id: usize,
    pub(super) event: TurnEvent,
    pub(super) began: SystemTime,
    pub(super) loaded: Basis,
    pub(super) is_new_session: bool,
    /// Whether the client's session is written into the reply even where there is nothing in it.
    pub(super) replaces_session: bool,
    pub(super) state: Mutex<State>,
    /// Told when an `update` has ended.
    pub(super) updated: Condvar,
}

/// The event whose turn it is.
pub(super) struct TurnEvent {
    pub(super) platform: NamedPlatform,
    /// Without a user there is only a session, which the client keeps.
    pub(super) user: Option<Identity>,
    pub(super) session_id: Option<Arc<str>>,
    pub(super) id: Option<EventId>,
    pub(super) is_receipt: bool,
    /// The platform asks for the user's data to be deleted, and the layer is to do so.
    pub(super) deletion_requested: bool,
    pub(super) input: Input,
}

/// What a turn begins with.
pub(crate) enum Basis {
    Record(VersionedRecord),
    /// Nothing is stored: a new user. A save names the tombstone, if there is one.
    Absent(Option<Version>),
    /// It is not known what is stored: the handler runs without memory, and nothing is saved.
    Unknown,
}

impl Basis {
    pub(super) fn record(&self) -> Option<&Record> {
        match self {
            Self::Record(stored) => Some(&stored.record),
            Self::Absent(_) | Self::Unknown => None,
        }
    }

    /// The version that a save has to name.
    pub(super) fn version(&self) -> Option<&Version> {
        match self {
            Self::Record(stored) => Some(&stored.version),
            Self::Absent(tombstone) => tombstone.as_ref(),
            Self::Unknown => None,
        }
    }
}

/// What changes in the course of a turn.
pub(super) struct State {
    pub(super) phase: Phase,
    /// Whether a handle wrote.
    pub(super) is_written: bool,
    /// The thread whose `update` is under way. The others wait for it.
    pub(super) updating: Option<ThreadId>,
    pub(super) record: Record,
    pub(super) session: SessionPlace,
    pub(super) user_writes: Writes,
    pub(super) session_writes: Writes,
    pub(super) typed: TypedState,
    pub(super) output: Option<Value>,
    /// What this turn adds to the history.
    pub(super) item: Option<Value>,
}

/// Selects the data that is written.
#[derive(Clone, Copy)]
pub(super) enum DataOf {
    User,
    Session,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Forgotten,
    Sealed,
}

impl Phase {
    /// Refuses writes that can no longer be stored.
    pub(super) fn check(self) -> Result<(), Error> {
        let message = match self {
            Self::Open => return Ok(()),
            Self::Forgotten => "the user has been forgotten in this turn",
            Self::Sealed => "the turn has ended: write before the handler answers",
        };
        Err(Error::new(Kind::TurnEnded, message))
    }
}

impl Turn {
    /// The user, where the event has one.
    pub(crate) fn user(&self) -> Option<&Identity> {
        self.event.user.as_ref()
    }

    pub(crate) fn platform(&self) -> &NamedPlatform {
        &self.event.platform
    }

    /// The user id, if it was created in this turn.
    pub(crate) fn created_user_id(&self) -> Option<&str> {
        self.user().filter(|user| user.is_created).map(|user| &*user.id)
    }

    /// Whether the handler runs without memory.
    pub(crate) fn is_degraded(&self) -> bool {
        matches!(self.loaded, Basis::Unknown)
    }

    pub(crate) fn has_written(&self) -> bool {
        self.state().is_written
    }

    /// Whether no turn of the user's own was stored before this one.
    pub(super) fn is_first(&self) -> bool {
        self.loaded.record().is_none_or(receipts::is_marked)
    }

    /// The state, once no other thread's `update` is under way.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic with the state locked leaves it whole: every change is made in one step.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.updating.is_some_and(|owner| owner != thread::current().id()) {
            state = self.updated.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Refuses to go on inside an `update`, which would be undone by its end.
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

    /// Lets `write` change the record, as long as this can still be stored.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut state = self.state();
        self.check_not_updating(&state)?;
        state.phase.check()?;
        if self.event.deletion_requested {
            let message = "the user has left, and their data is deleted at the end of this turn";
            return Err(Error::new(Kind::TurnEnded, message));
        }
        write(&mut state)
    }

    /// As [`write`](Self::write), in the handler's name.
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

    /// Lets `change` change a copy of the data without holding the lock, and puts it in the place
    /// of the data. Other threads wait meanwhile.
    pub(super) fn update_data<T>(
        &self,
        of: DataOf,
        change: impl FnOnce(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.write(|state| {
            state.updating = Some(thread::current().id());
            Ok(Self::data(of, state).cloned().unwrap_or_default())
        })?;
        // Lets the others go on, also after a panic.
        let updating = Updating(self);
        let mut changed = before.clone();
        let result = change(&mut changed)?;
        let mut state = self.state();
        state.is_written = true;
        Self::change_data(of, &mut state, |data, writes| {
            writes.all(&before, &changed);
            *data = changed;
            Ok(())
        })?;
        drop(state);
        drop(updating);
        Ok(result)
    }

    pub(super) fn data(of: DataOf, state: &State) -> Option<&Data> {
        match of {
            DataOf::User => state.record.object(&["user", "data"]),
            DataOf::Session => state.session.data(&state.record),
        }
    }

    /// Lets `write` change the data. Where there is none, it is made only to hold something.
    fn change_data<T>(
        of: DataOf,
        state: &mut State,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match of {
            DataOf::User => {
                let (record, writes) = (&mut state.record, &mut state.user_writes);
                change_data(record, &["user", "data"], |data| write(data, writes))
            }
            DataOf::Session => {
                let State { session, record, session_writes, .. } = state;
                session.change_data(record, session_writes, write)
            }
        }
    }
}

/// Lets `change` change the data under `path`. Where there is none, it is made only to hold
/// something.
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

/// An `update` under way.
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
