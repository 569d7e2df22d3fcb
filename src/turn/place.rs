//! The place that keeps a turn's session: the record, the client, or none.

use serde_json::Value;

use super::data::Data;
use super::state::{SESSION_DATA, change_data};
use super::writes::Writes;
use crate::error::{Error, Kind};
use crate::platform::ClientSession;
use crate::record::Record;
use crate::stored_elements::SessionTimes;

/// The place that keeps the session of a turn.
pub(super) enum SessionPlace {
    /// None: the element is off.
    Off,
    /// None: the event is outside any session.
    Outside,
    /// The client, which sends the session with each request. Boxed, so that the other variants
    /// stay small.
    Client(Box<ClientSession>),
    /// The record.
    Record(SessionTimes),
}

impl SessionPlace {
    /// Returns the time limits of the session, if it is in the record.
    pub(super) fn times(&self) -> Option<SessionTimes> {
        match self {
            Self::Record(times) => Some(*times),
            Self::Off | Self::Outside | Self::Client(_) => None,
        }
    }

    /// Returns the session, if the client keeps it.
    pub(super) fn client(&self) -> Option<&ClientSession> {
        match self {
            Self::Client(session) => Some(session),
            Self::Off | Self::Outside | Self::Record(_) => None,
        }
    }

    pub(super) fn state<'a>(&'a self, record: &'a Record) -> Option<&'a Value> {
        match self {
            Self::Record(_) => record.get(&["session", "state"]),
            Self::Client(session) => session.state(),
            Self::Off | Self::Outside => None,
        }
    }

    /// Sets the state, or removes it.
    pub(super) fn set_state(
        &mut self,
        record: &mut Record,
        state: Option<Value>,
    ) -> Result<(), Error> {
        match self {
            Self::Client(session) => session.set_state(state),
            Self::Record(_) => match state {
                Some(state) => record.set(&["session"], "state", state),
                None => drop(record.object_mut(&["session"]).shift_remove("state")),
            },
            Self::Off | Self::Outside => self.check_stored()?,
        }
        Ok(())
    }

    /// Lets `write` change the data. The session is made only to hold something.
    pub(super) fn change_data<T>(
        &mut self,
        record: &mut Record,
        writes: &mut Writes,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self {
            Self::Record(_) => change_data(record, &SESSION_DATA, |data| write(data, writes)),
            Self::Client(session) => {
                let result = write(session.data_mut(), writes)?;
                session.drop_unreadable(|key| writes.has(key));
                Ok(result)
            }
            Self::Off | Self::Outside => {
                self.check_stored()?;
                write(&mut Data::new(), writes)
            }
        }
    }

    /// Refuses to read `key`, or without one the whole session, if the client sent it in an
    /// unreadable form.
    pub(super) fn check_readable(&self, key: Option<&str>) -> Result<(), Error> {
        if !self.client().is_some_and(|session| session.is_unreadable(key)) {
            return Ok(());
        }
        let what = key.map_or("a member of the session".to_owned(), |key| format!("`{key}`"));
        Err(Error::decode(format!(
            "{what} cannot be read as JSON, and goes back as the client sent it: set or remove it \
             to replace it"
        )))
    }

    /// Empties the client's session. One in the record is emptied with the record.
    pub(super) fn clear(&mut self) {
        if let Self::Client(session) = self {
            session.clear();
        }
    }

    /// Refuses to write a session that no place keeps.
    pub(super) fn check_stored(&self) -> Result<(), Error> {
        match self {
            Self::Client(_) | Self::Record(_) => Ok(()),
            Self::Off => Err(Error::not_stored("the session", "StoredElements::session")),
            Self::Outside => Err(Error::new(
                Kind::ElementDisabled,
                "the turn is outside any session, as Alexa's AudioPlayer requests and turns without \
                 a request are: write to `User` instead",
            )),
        }
    }
}
