//! The handle to the user's data.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::data::DataHandle;
use super::state::{DataOf, Phase, Turn};
use crate::error::Error;
use crate::record::Record;
use crate::timestamp;

/// The user behind a request, and the user's data.
///
/// The layer puts it into the request's extensions; with feature `axum` it is an extractor. Clones
/// share the data, and work from spawned tasks as well. Changes are stored when the handler has
/// answered; from then on writing is an error.
///
/// ```
/// use tower_persistence::{Error, User};
///
/// async fn handler(user: User) -> Result<String, Error> {
///     let name: Option<String> = user.get("name")?;
///     let visits = user.increment("visits", 1)?;
///     Ok(format!("Hello {}, this is visit {visits}", name.as_deref().unwrap_or("stranger")))
/// }
/// ```
#[derive(Clone)]
pub struct User(pub(crate) Arc<Turn>);

/// The metadata that Jovo v1 keeps of a user: see
/// [`StoredElements::meta_data`](crate::StoredElements::meta_data).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetaData {
    /// The time when the user was first seen.
    pub created_at: Option<SystemTime>,
    /// The time when the user was last seen before this turn.
    pub last_used_at: Option<SystemTime>,
    /// The number of the user's sessions, this one included.
    pub sessions_count: u64,
}

impl User {
    /// Returns the user's id, as the platform gives it.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// println!("{} characters", user.id().len());
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> &str {
        // A turn without a user has no such handle.
        self.0.user().map_or("", |user| &user.id)
    }

    /// Returns the [name](crate::Platform::name) of the platform that sent the request.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// let is_voice = matches!(user.platform(), "alexa" | "googleassistant");
    /// # }
    /// ```
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.0.platform().name
    }

    /// Identifies the household member who is speaking, where the platform recognises voices:
    /// Alexa's `personId`
    /// ([personalization](https://developer.amazon.com/en-US/docs/alexa/custom-skills/add-personalization-to-your-skill.html)).
    ///
    /// It is taken from each request anew and never stored, since the record belongs to the whole
    /// household. An app that keeps something for each person puts it under a key of its own.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// let is_recognised = user.person_id().is_some();
    /// # }
    /// ```
    #[must_use]
    pub fn person_id(&self) -> Option<&str> {
        self.0.user()?.person_id.as_deref()
    }

    /// Returns whether no turn of the user's own was stored before this one. What was stored for a
    /// [receipt](crate::platform::Event::is_receipt) does not count. A turn that
    /// [is degraded](Self::is_degraded) does not know, and returns `false`.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// let greeting = if user.is_new() { "Nice to meet you" } else { "Welcome back" };
    /// # }
    /// ```
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.0.is_first() && !self.0.is_degraded()
    }

    /// Returns whether the turn runs without memory, because the database failed and the layer is
    /// told to [degrade](crate::OnOutage::Degrade). Everything reads as empty then, and nothing
    /// is stored.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// if user.is_degraded() {
    ///     println!("I cannot look up your orders right now.");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.is_degraded()
    }

    /// Returns the time when the record was first stored; `None` for a new user, and where the
    /// record has no such time.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// if let Some(since) = user.created_at() {
    ///     println!("a customer for {:?}", since.elapsed());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.loaded_time("createdAt")
    }

    /// Returns the time when the record was last stored before this turn; `None` for a new user,
    /// and where the record has no such time.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// let was_here = user.updated_at();
    /// # }
    /// ```
    #[must_use]
    pub fn updated_at(&self) -> Option<SystemTime> {
        self.loaded_time("updatedAt")
    }

    fn loaded_time(&self, field: &str) -> Option<SystemTime> {
        timestamp::parse(self.0.loaded.record()?.get_str(&[field])?)
    }

    /// Returns the metadata of Jovo v1, or `None` unless
    /// [`StoredElements::meta_data`](crate::StoredElements::meta_data) is on.
    ///
    /// ```
    /// # use tower_persistence::User;
    /// # fn example(user: &User) {
    /// let sessions = user.meta_data().map_or(0, |meta_data| meta_data.sessions_count);
    /// # }
    /// ```
    #[must_use]
    pub fn meta_data(&self) -> Option<MetaData> {
        let time = |record: &Record, field| timestamp::parse(record.get_str(&["metaData", field])?);
        self.0.elements.meta_data.then(|| {
            self.0.read(|record| MetaData {
                created_at: time(record, "createdAt"),
                last_used_at: time(record, "lastUsedAt"),
                sessions_count: record
                    .get(&["metaData", "sessionsCount"])
                    .and_then(Value::as_u64)
                    .unwrap_or(0),
            })
        })
    }

    /// Deletes everything stored for this user at the end of the turn: user data, sessions,
    /// history, and fields of other programs. From now on this turn's handles read as empty,
    /// and writing is an error. The user's next request is a new user's.
    ///
    /// A turn that is not stored, because the handler fails or answers with a 5xx, does not delete
    /// either.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// user.forget()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended.
    pub fn forget(&self) -> Result<(), Error> {
        let mut state = self.0.state();
        if state.phase != Phase::Forgotten {
            self.0.check_not_updating(&state)?;
            state.phase.check()?;
            state.phase = Phase::Forgotten;
            state.record = Record::default();
            state.session.clear();
        }
        Ok(())
    }

    /// Returns the value under `key`, or `None` if there is none. A stored `null` counts as none
    /// unless `T` takes it.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// let name: Option<String> = user.get("name")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where data of another type is stored, which stays as it is;
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.data_handle().get(key)
    }

    /// Sets the value under `key`. JSON has neither NaN nor infinity: they become `null`.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// user.set("name", "Anna")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `value` has no JSON form,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the user's data is not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn set(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        self.data_handle().set(key, value)
    }

    /// Removes the value under `key`, if there is one.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// user.remove("basket")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the user's data is not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.data_handle().remove(key)
    }

    /// Adds `by`, which may be negative, to the whole number under `key`, and returns the sum. An
    /// absent number counts as 0.
    ///
    /// Concurrent increments of two processes add up.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// let visits = user.increment("visits", 1)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the stored value is not a whole number that fits an
    /// `i64`, [`is_encode`](Error::is_encode) where the sum would not be one,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the user's data is not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.data_handle().increment(key, by)
    }

    /// Returns a copy of all of the user's data.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// for key in user.data().keys() {
    ///     println!("{key} is stored");
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn data(&self) -> Map<String, Value> {
        self.data_handle().data()
    }

    /// Returns all of the user's data as a `T`.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Order { drink: String }
    /// let order: Order = user.data_as()?;
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

    /// Replaces all of the user's data, including keys that are not in `data`.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// user.set_data(&serde_json::json!({ "drink": "tea" }))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `data` is not a JSON object,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the user's data is not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn set_data(&self, data: &impl Serialize) -> Result<(), Error> {
        self.data_handle().set_data(data)
    }

    /// Changes the user's data in one step, and returns what `change` returns.
    ///
    /// Other threads that use handles of this turn wait meanwhile. Inside `change`, methods of the
    /// handles that return a `Result` fail, and the others return what was there before. If
    /// `change` panics, nothing has changed.
    ///
    /// ```
    /// # use tower_persistence::{Error, User};
    /// # fn example(user: &User) -> Result<(), Error> {
    /// user.update(|data| data.retain(|key, _| !key.starts_with("draft")))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended,
    /// [`is_element_disabled`](Error::is_element_disabled) where the user's data is not stored, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn update<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> T) -> Result<T, Error> {
        self.data_handle().update(|data| Ok(change(data)))
    }

    pub(super) fn data_handle(&self) -> DataHandle<'_> {
        DataHandle::new(&self.0, DataOf::User)
    }
}

/// Shows neither the id nor the data.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("platform", &self.platform())
            .field("is_new", &self.is_new())
            .finish_non_exhaustive()
    }
}
