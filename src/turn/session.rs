use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::begin::SessionStorage;
use super::data::{self, Data, data_methods};
use super::merge::Writes;
use super::{DataOf, Turn, not_stored};
use crate::error::{Error, Kind};

/// The session that the request belongs to: one conversation, with its own data and state.
///
/// Where [`StoredElements::session`](crate::StoredElements::session) is on it is stored, and ends when it has not been used for
/// a while (900 seconds by default), or when the platform starts another one; the next one is empty.
///
/// Where it is off, the session is the platform's: on one that
/// [carries](crate::Platform::carries_session) sessions it is read from the request and written
/// into the reply, a JSON object. Attributes that the handler puts there itself win, and so does
/// the end of the session (Alexa's `shouldEndSession: true`); a mere copy of what came with the
/// request does not. Data that came and cannot be read, such as a lone surrogate, goes back as it
/// came until its key is set or removed: [`get`](Self::get) of it and
/// [`data_as`](Self::data_as) are errors, and [`data`](Self::data) leaves it out. On any other platform it is empty, and writing is an error.
///
/// Like [`User`](crate::User) it is in the request's extensions, and an extractor with feature `axum`. A request without user has one, too, if the
/// platform carries it.
///
/// ```
/// use tower_persistence::{Error, Session};
///
/// async fn handler(session: Session) -> Result<String, Error> {
///     if session.is_new() {
///         session.set_state("Quiz")?;
///     }
///     let question = session.increment("question", 1)?;
///     Ok(format!("Question {question}"))
/// }
/// ```
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Turn>);

impl Session {
    /// The platform's id of the session, where the request has one.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.session_id.as_deref()
    }

    /// Whether the session starts with this request.
    ///
    /// Where sessions are not stored this is what the platform says; where it says nothing, whether no session data came.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.0.is_new_session
    }

    /// The state, such as the step of a dialogue or Jovo's stack of components, where one is set.
    #[must_use]
    pub fn state(&self) -> Option<Value> {
        self.0.session_state(&self.0.state()).cloned()
    }

    /// Sets the state; one without value (`None`, `()`) removes it.
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `state` has no JSON form; otherwise as for every write:
    /// [`is_sealed`](Error::is_sealed) after the turn's end, [`is_not_stored`](Error::is_not_stored) where
    /// the session is not stored.
    pub fn set_state(&self, state: impl Serialize) -> Result<(), Error> {
        let state = data::to_value(state, "the state")?;
        self.check_kept()?;
        self.0.write_as_handle(|turn| {
            if let SessionStorage::Carried = self.0.session_storage {
                turn.carried.set_state(Some(state).filter(|state| !state.is_null()));
                return Ok(());
            }
            let session = turn.record.object_mut(&["session"]);
            if state.is_null() {
                session.shift_remove("state");
            } else {
                session.insert("state".into(), state);
            }
            Ok(())
        })
    }

    data_methods!("the session's");

    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the platform brought `key`, or without one any key, in a form that cannot be read.
    fn check_readable(&self, key: Option<&str>) -> Result<(), Error> {
        let state = self.0.state();
        self.0.check_not_updating(&state)?;
        let is_carried = matches!(self.0.session_storage, SessionStorage::Carried);
        if !is_carried || !state.carried.is_unreadable(key) {
            return Ok(());
        }
        let what = key.map_or("a member of the session".to_owned(), |key| format!("`{key}`"));
        Err(Error::decode(format!(
            "{what} came with the request, but cannot be read as JSON; it goes back as it came: set or remove it to replace it"
        )))
    }

    fn read_data<T>(&self, read: impl FnOnce(&Data) -> T) -> T {
        match self.0.session_data(&self.0.state()) {
            Some(data) => read(data),
            None => read(&Map::new()),
        }
    }

    fn write_data<T>(
        &self,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_kept()?;
        self.0.write_data(DataOf::Session, write)
    }

    fn update_data<T>(
        &self,
        change: impl FnOnce(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_kept()?;
        self.0.update_data(DataOf::Session, change)
    }

    /// Whether the layer that made this handle has this database.
    pub(crate) fn is_served_on<D>(&self, database: &Arc<D>) -> bool {
        self.0.database_id == Arc::as_ptr(database).addr()
    }

    fn check_kept(&self) -> Result<(), Error> {
        match self.0.session_storage {
            SessionStorage::Stored(_) | SessionStorage::Carried => Ok(()),
            SessionStorage::Off => Err(not_stored("the session", "StoredElements::session")),
            SessionStorage::Outside => Err(Error::new(
                Kind::NotStored,
                "the request stands outside any session, as Alexa's AudioPlayer requests do",
            )),
        }
    }
}

/// Shows neither the id nor the data.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("platform", &self.0.platform.name)
            .field("is_new", &self.is_new())
            .finish_non_exhaustive()
    }
}
