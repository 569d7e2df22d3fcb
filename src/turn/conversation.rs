//! The handles to the data of a conversation.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::data::DataHandle;
use super::state::{DataOf, Phase, Turn};
use crate::error::Error;
use crate::record::Record;
use crate::timestamp;

/// Loads the record of a conversation, once for all handles of one event.
pub(crate) trait OpenConversation: Send + Sync {
    /// Returns the conversation's id, as the platform gives it.
    fn id(&self) -> &str;

    /// Returns the name of the platform.
    fn platform(&self) -> &str;

    fn open(&self) -> BoxFuture<'_, Result<Arc<Turn>, Error>>;

    /// Gives the conversation's place back, since the turn goes on after the head of its reply.
    fn leave(&self);
}

/// The conversation of a request: a channel, a group or a thread, in which several users may speak.
///
/// The layer puts it into the request's extensions if the platform names a
/// [conversation](crate::platform::Event::conversation); with feature `axum` it is an extractor.
/// The data that all its participants share is a record of its own, which is loaded when the
/// handler first asks for it, and stored with the user's before the reply leaves.
///
/// ```
/// use tower_persistence::{Conversation, Error};
///
/// async fn handler(conversation: Conversation) -> Result<String, Error> {
///     let votes = conversation.load().await?.increment("votes", 1)?;
///     Ok(format!("{votes} votes in this channel"))
/// }
/// ```
///
/// # Order
///
/// From [`load`](Self::load) on, the conversation's other turns wait for this one, as the user's
/// do, up to [`queue_timeout`](crate::PersistenceLayer::queue_timeout). A turn takes its user's
/// place first, and the place of one conversation after it. A turn that goes on after the head of
/// its reply does not hold the conversation's place: its changes are merged.
///
/// # Two records
///
/// The conversation is stored first, then the user. If the process dies in between, the platform
/// repeats the event: the handler runs again, but its changes do not apply to the conversation
/// again, since the record holds the event's id with what the event changed. An event without an id
/// has no such protection.
#[derive(Clone)]
pub struct Conversation(pub(crate) Arc<dyn OpenConversation>);

impl Conversation {
    /// Returns the conversation's id, as the platform gives it.
    ///
    /// ```
    /// # use tower_persistence::Conversation;
    /// # fn example(conversation: &Conversation) {
    /// println!("{} characters", conversation.id().len());
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id()
    }

    /// Returns the [name](crate::Platform::name) of the platform.
    ///
    /// ```
    /// # use tower_persistence::Conversation;
    /// # fn example(conversation: &Conversation) {
    /// let is_slack = conversation.platform() == "slack";
    /// # }
    /// ```
    #[must_use]
    pub fn platform(&self) -> &str {
        self.0.platform()
    }

    /// Loads the conversation's data, unless this turn has loaded it already.
    ///
    /// ```
    /// # use tower_persistence::{Conversation, Error};
    /// # async fn example(conversation: &Conversation) -> Result<(), Error> {
    /// let topic: Option<String> = conversation.load().await?.get("topic")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the record cannot be read within
    /// [`load_timeout`](crate::PersistenceLayer::load_timeout), or the conversation's turns under
    /// way do not end within [`queue_timeout`](crate::PersistenceLayer::queue_timeout);
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended.
    pub async fn load(&self) -> Result<ConversationState, Error> {
        self.0.open().await.map(ConversationState)
    }
}

/// Shows neither the id nor the data.
impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").field("platform", &self.platform()).finish_non_exhaustive()
    }
}

/// The data that the participants of a [`Conversation`] share.
///
/// Clones share the data, and work from spawned tasks as well. Changes are stored when the handler
/// has answered; from then on writing is an error. Changes of two processes are merged as
/// [those of a user](crate::OnConflict) are.
///
/// ```
/// # use tower_persistence::{Conversation, Error};
/// # async fn example(conversation: &Conversation) -> Result<(), Error> {
/// let state = conversation.load().await?;
/// state.set("topic", "lunch")?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ConversationState(Arc<Turn>);

impl ConversationState {
    /// Returns whether nothing was stored for this conversation before this turn.
    ///
    /// ```
    /// # use tower_persistence::ConversationState;
    /// # fn example(state: &ConversationState) {
    /// let greeting = if state.is_new() { "Hello everybody" } else { "Welcome back" };
    /// # }
    /// ```
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.0.is_first() && !self.0.is_degraded()
    }

    /// Returns whether the turn runs without memory, because the database failed and the layer is
    /// told to [degrade](crate::OnOutage::Degrade).
    ///
    /// ```
    /// # use tower_persistence::ConversationState;
    /// # fn example(state: &ConversationState) {
    /// let is_complete = !state.is_degraded();
    /// # }
    /// ```
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.0.is_degraded()
    }

    /// Returns the time when the record was first stored; `None` for a new conversation.
    ///
    /// ```
    /// # use tower_persistence::ConversationState;
    /// # fn example(state: &ConversationState) {
    /// let since = state.created_at();
    /// # }
    /// ```
    #[must_use]
    pub fn created_at(&self) -> Option<SystemTime> {
        timestamp::parse(self.0.loaded.record()?.get_str(&["createdAt"])?)
    }

    /// Deletes everything stored for this conversation at the end of the turn. From now on its
    /// handles read as empty, and writing is an error.
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// state.forget()?;
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
        }
        Ok(())
    }

    /// Returns the value under `key`, or `None` if there is none. A stored `null` counts as none
    /// unless `T` takes it.
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// let topic: Option<String> = state.get("topic")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where data of another type is stored, which stays as it is;
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        self.handle().get(key)
    }

    /// Sets the value under `key`. JSON has neither NaN nor infinity: they become `null`.
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// state.set("topic", "lunch")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_encode`](Error::is_encode) where `value` has no JSON form,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn set(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        self.handle().set(key, value)
    }

    /// Removes the value under `key`, if there is one.
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// state.remove("topic")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn remove(&self, key: &str) -> Result<(), Error> {
        self.handle().remove(key)
    }

    /// Adds `by`, which may be negative, to the whole number under `key`, and returns the sum. An
    /// absent number counts as 0. Concurrent increments of two processes add up.
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// let votes = state.increment("votes", 1)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the stored value is not a whole number that fits an
    /// `i64`, [`is_encode`](Error::is_encode) where the sum would not be one,
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, Error> {
        self.handle().increment(key, by)
    }

    /// Returns a copy of all of the conversation's data.
    ///
    /// ```
    /// # use tower_persistence::ConversationState;
    /// # fn example(state: &ConversationState) {
    /// let members = state.data().len();
    /// # }
    /// ```
    #[must_use]
    pub fn data(&self) -> Map<String, Value> {
        self.handle().data()
    }

    /// Returns all of the conversation's data as a `T`.
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Poll { topic: String }
    /// let poll: Poll = state.data_as()?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where the data is not a `T`, and stays as it is;
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.handle().data_as()
    }

    /// Changes the conversation's data in one step, and returns what `change` returns. The rules
    /// are those of [`User::update`](crate::User::update).
    ///
    /// ```
    /// # use tower_persistence::{ConversationState, Error};
    /// # fn example(state: &ConversationState) -> Result<(), Error> {
    /// state.update(|data| data.retain(|key, _| !key.starts_with("draft")))?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_turn_ended`](Error::is_turn_ended) after the turn has ended, and
    /// [`is_reentrant`](Error::is_reentrant) inside the closure of an `update`.
    pub fn update<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> T) -> Result<T, Error> {
        self.handle().update(|data| Ok(change(data)))
    }

    fn handle(&self) -> DataHandle<'_> {
        DataHandle::new(&self.0, DataOf::Conversation)
    }
}

/// Shows no data.
impl fmt::Debug for ConversationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConversationState").field("is_new", &self.is_new()).finish_non_exhaustive()
    }
}
