use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::data::{self, Data, data_methods};
use super::merge::Writes;
use super::{DataOf, Phase, Turn, not_stored};
use crate::{Error, Record, timestamp};

/// The user whose request it is, and what is stored of them.
///
/// The layer puts it into the request's extensions; with feature `axum` it is an extractor. Clones share the data, and work from
/// spawned tasks, too. What is changed is stored when the handler has answered; from then on writing is an error.
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

/// What Jovo v1 keeps of a user: see [`StoredElements::meta_data`](crate::StoredElements::meta_data).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MetaData {
    /// When the user was first seen.
    pub created_at: Option<SystemTime>,
    /// When the user was last seen before this turn.
    pub last_used_at: Option<SystemTime>,
    /// How many sessions the user has had, this one included.
    pub sessions_count: u64,
}

impl User {
    /// The user's id, as the platform gives it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.user().id
    }

    /// The [name](crate::Platform::name) of the platform whose request it is.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.0.platform.name
    }

    /// Who of those who share this user's account speaks, where the platform recognises the voice: Alexa's `personId`
    /// ([personalization](https://developer.amazon.com/en-US/docs/alexa/custom-skills/add-personalization-to-your-skill.html)).
    ///
    /// It is taken from each request anew and never stored: what is stored belongs to the whole household. An app that keeps something for
    /// each person puts it under a key of its own.
    #[must_use]
    pub fn person_id(&self) -> Option<&str> {
        self.0.user().person_id.as_deref()
    }

    /// Returns whether no turn of the user's own was stored before this one. What was stored for a
    /// [receipt](crate::platform::Event::is_receipt) does not count. A turn that [is degraded](Self::is_degraded) does not know, and
    /// says `false`.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.0.is_first() && !self.0.is_degraded
    }

    /// Whether the turn runs without memory, because the database failed and the layer is told to
    /// [degrade](crate::OnOutage::Degrade): everything reads as empty, and nothing is stored, whatever is written.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.is_degraded
    }

    /// When the item was first stored; `None` for a new user, and where it was not written down.
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        self.loaded_time("createdAt")
    }

    /// When the item was last stored before this turn; `None` for a new user, and where it was not written down.
    #[must_use]
    pub fn updated_at(&self) -> Option<SystemTime> {
        self.loaded_time("updatedAt")
    }

    fn loaded_time(&self, field: &str) -> Option<SystemTime> {
        let loaded = self.0.loaded.as_ref()?;
        timestamp::parse(loaded.record.get_str(&[field])?)
    }

    /// What Jovo v1 keeps of a user, or `None` unless
    /// [`StoredElements::meta_data`](crate::StoredElements::meta_data) is on.
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

    /// Deletes everything that is stored of this user, at the end of the turn: user data, session, history, and fields of
    /// others. From now on this turn's handles read as empty, and writing is an error. The user's next request is a new user's.
    ///
    /// A turn that is not stored (the handler fails, or answers with a 5xx) does not delete either.
    ///
    /// # Errors
    ///
    /// [`is_sealed`](Error::is_sealed) after the turn's end.
    pub fn forget(&self) -> Result<(), Error> {
        let mut state = self.0.state();
        if state.phase != Phase::Forgotten {
            self.0.check_not_updating(&state)?;
            state.phase.check()?;
            state.phase = Phase::Forgotten;
            state.record = Record::default();
            state.carried.clear();
        }
        Ok(())
    }

    data_methods!("the user's");

    /// A record that cannot be read is not served, so its keys can be read.
    fn check_readable(&self, _: Option<&str>) -> Result<(), Error> {
        self.0.check_not_updating(&self.0.state())
    }

    fn read_data<T>(&self, read: impl FnOnce(&Data) -> T) -> T {
        self.0.read(|record| match record.object(&["user", "data"]) {
            Some(data) if self.0.elements.user => read(data),
            _ => read(&Map::new()),
        })
    }

    fn write_data<T>(
        &self,
        write: impl FnOnce(&mut Data, &mut Writes) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_stored()?;
        self.0.write_data(DataOf::User, write)
    }

    pub(super) fn update_data<T>(
        &self,
        change: impl FnOnce(&mut Data) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.check_stored()?;
        self.0.update_data(DataOf::User, change)
    }

    fn check_stored(&self) -> Result<(), Error> {
        match self.0.elements.user {
            true => Ok(()),
            false => Err(not_stored("the user's data", "StoredElements::user")),
        }
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
