//! The handle to the session.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::data::{DataHandle, to_value};
use super::state::{DataOf, State, Turn};
use crate::error::Error;

/// The session that a request belongs to: one conversation, with data and a state of its own.
///
/// Where [`StoredElements::session`](crate::StoredElements::session) is on, sessions are stored.
/// One ends when it has not been used for a while (900 seconds by default), or when the platform
/// starts another one. Two devices or browser tabs of a user have a session each, side by side: see
/// [`sessions_kept`](crate::stored_elements::SessionElement::sessions_kept).
///
/// Where it is off, the client keeps the session on platforms with
/// [client-side sessions](crate::Platform::has_client_sessions): it is read from the request and
/// written into the reply, a JSON object. Attributes that the handler writes into its reply win,
/// and so does the end of the session (Alexa's `shouldEndSession: true`); a mere copy of what came
/// does not. What the client sends is a claim of the client's on Jovo Core and Web, which any
/// program can make.
///
/// Data of the client that cannot be read, such as half a surrogate pair, goes back as it came
/// until its key is set or removed: [`get`](Self::get) of it and [`data_as`](Self::data_as) are
/// errors, and [`data`](Self::data) leaves it out. On any other platform the session is empty, and
/// writing is an error.
///
/// Like [`User`](crate::User) it is in the request's extensions, and an extractor with feature
/// `axum`. A request without a user has a session as well where the client keeps it.
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
    /// Returns the platform's id of the session, if the request has one.
    ///
    /// ```
    /// # use tower_persistence::Session;
    /// # fn example(session: &Session) {
    /// let has_id = session.id().is_some();
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.0.event.session_id.as_deref()
    }

    /// Returns whether the session starts with this request.
    ///
    /// Where sessions are not stored this is what the platform says; where it says nothing, whether
    /// no session data came.
    ///
    /// ```
    /// # use tower_persistence::Session;
    /// # fn example(session: &Session) {
    /// let greeting = if session.is_new() { "Hello" } else { "As I was saying" };
    /// # }
    /// ```
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.0.is_new_session
    }

    /// Returns the state, such as the step of a dialogue or Jovo's stack of components, if one is
    /// set.
    ///
    /// ```
    /// # use tower_persistence::Session;
    /// # fn example(session: &Session) {
    /// let is_quiz = session.state().is_some_and(|state| state == "Quiz");
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> Option<Value> {
        let state = self.0.state();
        state.session.state(&state.record).cloned()
    }

    /// Sets the state. One without a value (`None`, `()`) removes it.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// session.set_state("Quiz")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `state` has no JSON form,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the session is not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn set_state(&self, state: impl Serialize) -> Result<(), Error> {
        let new = Some(to_value(state, "the state")?).filter(|state| !state.is_null());
        self.0.write_as_handle(|state| {
            let State { session, record, .. } = state;
            session.set_state(record, new)
        })
    }

    /// Returns the value under `key`, or `None` if there is none. A stored `null` counts as none
    /// unless `T` takes it.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// let name: Option<String> = session.get("name")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where data of another type is stored, which stays as it is;
    /// or where the client sent it in a form that cannot be read;
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.data_handle().get(key)
    }

    /// Sets the value under `key`. JSON has neither NaN nor infinity: they become `null`.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// session.set("name", "Anna")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `value` has no JSON form,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the session's data is not stored,
    /// and [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn set(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        self.data_handle().set(key, value)
    }

    /// Removes the value under `key`, if there is one.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// session.remove("basket")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the session's data is not stored,
    /// and [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.data_handle().remove(key)
    }

    /// Adds `by`, which may be negative, to the whole number under `key`, and returns the sum. An
    /// absent number counts as 0.
    ///
    /// Concurrent increments of two processes add up.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// let visits = session.increment("visits", 1)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the stored value is not a whole number that fits an
    /// `i64`, [`is_encode`](Error::is_encode) where the sum would not be one,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the session's data is not stored,
    /// and [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.data_handle().increment(key, by)
    }

    /// Returns a copy of all of the session's data.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// for key in session.data().keys() {
    ///     println!("{key} is stored");
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn data(&self) -> Map<String, Value> {
        self.data_handle().data()
    }

    /// Returns all of the session's data as a `T`.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Order { drink: String }
    /// let order: Order = session.data_as()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the data is not a `T`, and stays as it is;
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.data_handle().data_as()
    }

    /// Replaces all of the session's data, including keys that are not in `data`.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// session.set_data(&serde_json::json!({ "drink": "tea" }))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `data` is not a JSON object,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the session's data is not stored,
    /// and [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn set_data(&self, data: &impl Serialize) -> Result<(), Error> {
        self.data_handle().set_data(data)
    }

    /// Changes the session's data in one step, and returns what `change` returns.
    ///
    /// Other threads that use handles of this turn wait meanwhile. Inside `change`, methods of the
    /// handles that return a `Result` fail, and the others return what was there before. If
    /// `change` panics, nothing has changed.
    ///
    /// ```
    /// # use tower_persistence::{Error, Session};
    /// # fn example(session: &Session) -> Result<(), Error> {
    /// session.update(|data| data.retain(|key, _| !key.starts_with("draft")))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the session's data is not stored,
    /// and [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn update<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> T) -> Result<T, Error> {
        self.data_handle().update(|data| Ok(change(data)))
    }

    fn data_handle(&self) -> DataHandle<'_> {
        DataHandle::new(&self.0, DataOf::Session)
    }

    /// Returns whether the layer that made this handle has this database.
    pub(crate) fn is_served_on<D>(&self, database: &Arc<D>) -> bool {
        self.0.database_id == Arc::as_ptr(database).addr()
    }
}

/// Shows neither the id nor the data.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("platform", &self.0.platform().name)
            .field("is_new", &self.is_new())
            .finish_non_exhaustive()
    }
}
