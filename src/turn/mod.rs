//! One event of one user: what the handles share, from load to save.

mod begin;
mod data;
#[cfg(feature = "axum")]
mod extract;
mod handled;
mod history;
mod merge;
mod receipts;
mod session;
mod sessions;
mod typed;
mod user;

use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::SystemTime;

use serde_json::Value;

pub(crate) use self::begin::Loaded;
use self::begin::SessionStorage;
use self::data::Data;
use self::handled::EventId;
pub use self::history::History;
use self::merge::Writes;
pub use self::session::Session;
use self::typed::TypedState;
pub use self::typed::{Migrated, Migrations, Schema, UserData};
pub use self::user::{MetaData, User};
use crate::database::{Stored, Version};
use crate::error::{Error, Kind};
use crate::incoming::Identity;
use crate::platform::{CarriedSession, Input, NamedPlatform};
use crate::record::Record;
use crate::stored_elements::StoredElements;
use crate::timestamp;

/// What the handles of one event share.
pub(crate) struct Turn {
    elements: Arc<StoredElements>,
    /// Tells the databases of two layers apart.
    database_id: usize,
    platform: NamedPlatform,
    /// Nobody's turn stores nothing; there is only a session that the platform carries.
    user: Option<Identity>,
    session_id: Option<Arc<str>>,
    is_new_session: bool,
    session_storage: SessionStorage,
    /// Whether what the platform carries of the session has to be written into the reply even where there is nothing in it.
    replaces_session: bool,
    is_degraded: bool,
    /// The event is no turn of the user's own.
    is_receipt: bool,
    /// The platform says that the user's data is to be deleted, and the layer is told to do so.
    withdrawn: bool,
    event_id: Option<EventId>,
    input: Input,
    began: SystemTime,
    loaded: Option<Stored>,
    /// Where nothing was loaded, but the database knows that the user was deleted: what a save goes over.
    tombstone: Option<Version>,
    state: Mutex<State>,
    /// Told when an `update` has ended.
    updated: Condvar,
}

struct State {
    phase: Phase,
    /// Whether a handle wrote.
    is_written: bool,
    /// The thread whose `update` is under way. The others wait for it.
    updating: Option<ThreadId>,
    record: Record,
    user_writes: Writes,
    session_writes: Writes,
    /// The session, where the platform carries it.
    carried: CarriedSession,
    typed: TypedState,
    output: Option<Value>,
    /// What this turn adds to the history.
    item: Option<Value>,
}

/// Whose data is written.
#[derive(Clone, Copy)]
enum DataOf {
    User,
    Session,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Forgotten,
    Sealed,
}

impl Phase {
    /// Whether what is written now can still be stored.
    fn check(self) -> Result<(), Error> {
        let message = match self {
            Self::Open => return Ok(()),
            Self::Forgotten => "the user has been forgotten in this turn",
            Self::Sealed => {
                "the turn is over: what is written after the handler has answered is not stored"
            }
        };
        Err(Error::new(Kind::Sealed, message))
    }
}

/// What is stored of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// All that changed.
    All,
    /// All that changed, if a handle wrote.
    IfWritten,
}

/// What is to be done at the end of a turn.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing, for this reason.
    Nothing(&'static str),
    Save {
        record: Record,
        over: Option<Version>,
    },
    Delete,
}

impl Turn {
    /// Who the user is. Of nobody's turn it is not asked.
    fn user(&self) -> &Identity {
        static NOBODY: LazyLock<Identity> = LazyLock::new(Identity::default);
        self.user.as_ref().unwrap_or(&NOBODY)
    }

    pub(crate) fn storage_key(&self) -> &str {
        &self.user().storage_key
    }

    pub(crate) fn platform(&self) -> &NamedPlatform {
        &self.platform
    }

    /// The user id, if it was created in this turn.
    pub(crate) fn created_user_id(&self) -> Option<&str> {
        self.user.as_ref().filter(|user| user.is_created).map(|user| &*user.id)
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.is_degraded
    }

    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    pub(crate) fn has_written(&self) -> bool {
        self.state().is_written
    }

    /// Whether nothing of the user's own was stored before this turn.
    fn is_first(&self) -> bool {
        self.loaded.as_ref().is_none_or(|loaded| receipts::is_marked(&loaded.record))
    }

    /// The state, once no other thread's `update` is under way.
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic with the state locked leaves it whole: every change is made in one step.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.updating.is_some_and(|owner| owner != thread::current().id()) {
            state = self.updated.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Refuses to go on inside an `update`, which would be undone by its end.
    fn check_not_updating(&self, state: &State) -> Result<(), Error> {
        match state.updating {
            None => Ok(()),
            Some(_) => Err(Error::new(
                Kind::Reentrant,
                "a handle was used inside `update`: use what the closure is given",
            )),
        }
    }

    /// The session's state, wherever the session is.
    fn session_state<'a>(&self, state: &'a State) -> Option<&'a Value> {
        match self.session_storage {
            SessionStorage::Stored(_) => state.record.get(&["session", "state"]),
            SessionStorage::Carried => state.carried.state(),
            SessionStorage::Off | SessionStorage::Outside => None,
        }
    }

    /// The session's data, wherever the session is.
    fn session_data<'a>(&self, state: &'a State) -> Option<&'a Data> {
        match self.session_storage {
            SessionStorage::Stored(_) => state.record.object(&["session", "data"]),
            SessionStorage::Carried => Some(state.carried.data()),
            SessionStorage::Off | SessionStorage::Outside => None,
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Record) -> T) -> T {
        read(&self.state().record)
    }

    /// Lets `write` change the record, as long as this can still be stored.
    fn write<T>(&self, write: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let mut state = self.state();
        self.check_not_updating(&state)?;
        state.phase.check()?;
        if self.withdrawn {
            let message = "the user has left, and their data is deleted at the end of this turn";
            return Err(Error::new(Kind::Sealed, message));
        }
        write(&mut state)
    }

    /// As [`write`](Self::write), in the handler's name.
    fn write_as_handle<T>(
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
    fn write_data<T>(
        &self,
        of: DataOf,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.write_as_handle(|state| self.change_data(of, state, write))
    }

    /// Lets `change` change a copy of the data without holding the lock, and puts it in the place of the
    /// data. Other threads wait meanwhile.
    fn update_data<T>(
        &self,
        of: DataOf,
        change: impl FnOnce(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.write(|state| {
            state.updating = Some(thread::current().id());
            Ok(self.data(of, state).cloned().unwrap_or_default())
        })?;
        // Lets the others go on, also after a panic.
        let updating = Updating(self);
        let mut changed = before.clone();
        let result = change(&mut changed)?;
        let mut state = self.state();
        state.is_written = true;
        self.change_data(of, &mut state, |data, writes| {
            writes.all(&before, &changed);
            *data = changed;
            Ok(())
        })?;
        drop(state);
        drop(updating);
        Ok(result)
    }

    fn data<'a>(&self, of: DataOf, state: &'a State) -> Option<&'a Data> {
        match of {
            DataOf::User => state.record.object(&["user", "data"]),
            DataOf::Session => self.session_data(state),
        }
    }

    /// Lets `write` change the data. Where there is none, it is made only to hold something.
    fn change_data<T>(
        &self,
        of: DataOf,
        state: &mut State,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (path, writes) = match of {
            DataOf::User => (["user", "data"], &mut state.user_writes),
            DataOf::Session => (["session", "data"], &mut state.session_writes),
        };
        if let (DataOf::Session, SessionStorage::Carried) = (of, self.session_storage) {
            let result = write(state.carried.data_mut(), writes)?;
            state.carried.drop_unreadable(|key| writes.has(key));
            return Ok(result);
        }
        if state.record.object(&path).is_some() {
            return write(state.record.object_mut(&path), writes);
        }
        let mut data = Data::new();
        let result = write(&mut data, writes)?;
        if !data.is_empty() {
            *state.record.object_mut(&path) = data;
        }
        Ok(result)
    }

    /// Ends the turn without storing anything.
    pub(crate) fn discard(&self) {
        self.state().phase = Phase::Sealed;
    }

    /// Ends the turn. `exchange` is what the history stores of request and response, if it does.
    pub(crate) fn seal(
        self: &Arc<Self>,
        exchange: Exchange,
        keep: Keep,
        now: SystemTime,
    ) -> Outcome {
        // The app's closures read the handles: neither under the lock nor after the seal.
        let custom = history::custom_elements(self);
        let mut state = self.state();
        let phase = std::mem::replace(&mut state.phase, Phase::Sealed);
        let is_whole = keep == Keep::All;
        match phase {
            _ if self.is_degraded => return Outcome::Nothing("degraded"),
            _ if self.user.is_none() => return Outcome::Nothing("unchanged"),
            Phase::Sealed => return Outcome::Nothing("unchanged"),
            Phase::Forgotten => return Outcome::Delete,
            Phase::Open if self.withdrawn && is_whole => return Outcome::Delete,
            Phase::Open if state.is_written => {}
            Phase::Open if !is_whole => return Outcome::Nothing("client_error"),
            Phase::Open if self.is_receipt => return Outcome::Nothing("receipt"),
            Phase::Open => {}
        }
        if is_whole && !self.is_receipt {
            history::add_item(self, &mut state, exchange, custom);
        }
        handled::add(self, &mut state.record);
        let record = &mut state.record;
        if !self.is_receipt {
            receipts::unmark(record);
        } else if self.loaded.is_none() {
            receipts::mark(record);
        }
        let touched = sessions::is_touch_due(self, record, now);
        let unchanged = match &self.loaded {
            Some(loaded) => record.is_same(&loaded.record) || *record == loaded.record,
            None => false,
        };
        let is_counted = self.elements.meta_data && !self.is_receipt;
        if unchanged && !touched && !is_counted {
            return Outcome::Nothing("unchanged");
        }
        self.stamp(record, now);
        let loaded = self.loaded.as_ref().map(|loaded| &loaded.version);
        let over = loaded.or(self.tombstone.as_ref()).cloned();
        Outcome::Save { record: record.clone(), over }
    }

    /// What the reply has to carry of the session, at the end of the turn.
    pub(crate) fn carried_session(&self, now: SystemTime) -> Option<CarriedSession> {
        let state = self.state();
        let is_due = self.replaces_session || state.carried.has_something();
        (is_due && matches!(self.session_storage, SessionStorage::Carried)).then(|| {
            let mut session = state.carried.clone();
            session.stamp(self.session_id.as_deref(), self.is_new_session, now);
            session
        })
    }

    /// Writes the times of this write.
    fn stamp(&self, record: &mut Record, now: SystemTime) {
        let now = timestamp::format(now);
        if matches!(self.session_storage, SessionStorage::Stored(_)) {
            record.object_mut(&["session"]).insert("updatedAt".into(), now.clone().into());
        }
        if self.elements.meta_data && !self.is_receipt {
            let created_at = record.get_str(&["createdAt"]).map(str::to_owned);
            let meta_data = record.object_mut(&["metaData"]);
            let created_at = || created_at.unwrap_or_else(|| timestamp::format(self.began)).into();
            meta_data.entry("createdAt").or_insert_with(created_at);
            meta_data.insert("lastUsedAt".into(), now.clone().into());
        }
        let fields = record.object_mut(&[]);
        if self.elements.created_at && !self.is_receipt {
            fields.entry("createdAt").or_insert_with(|| timestamp::format(self.began).into());
        }
        if self.elements.updated_at {
            fields.insert("updatedAt".into(), now.into());
        }
    }
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

/// What passed between client and handler, as far as the history stores it.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    pub(crate) request: Option<Value>,
    pub(crate) response: Option<Value>,
}

/// The error of writing through the handle of an element that is switched off.
fn not_stored(element: &str, option: &str) -> Error {
    Error::new(Kind::NotStored, format!("{element} is not stored: switch it on with `{option}`"))
}
