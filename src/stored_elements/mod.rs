//! The elements of a user's record that are stored.
//!
//! ```
//! use std::time::Duration;
//! use tower_persistence::stored_elements::{HistoryElement, SessionElement, StoredElements};
//!
//! let elements = StoredElements::new()
//!     .session(SessionElement::new().expires_after(Duration::from_secs(600)))
//!     .history(HistoryElement::new().size(5).asr(true));
//!
//! // The same from Jovo's JSON.
//! let elements: StoredElements = serde_json::from_str(
//!     r#"{ "session": { "expiresAfterSeconds": 600 }, "history": { "size": 5, "asr": true } }"#,
//! )?;
//! # Ok::<(), serde_json::Error>(())
//! ```

mod history;
mod json;
mod session;

pub use self::history::HistoryElement;
pub use self::session::SessionElement;
pub(crate) use self::session::SessionTimes;
use crate::error::{Error, Kind};

/// The elements of a user's record that are stored.
///
/// | element | default | field of the record |
/// | --- | --- | --- |
/// | [`user`](Self::user) | on | `user.data` |
/// | [`session`](Self::session) | off | `session` |
/// | [`history`](Self::history) | off | `history.items` |
/// | [`messages`](Self::messages) | on | `history.messages` |
/// | [`created_at`](Self::created_at) | on | `createdAt` |
/// | [`updated_at`](Self::updated_at) | on | `updatedAt` |
/// | [`meta_data`](Self::meta_data) | off | `metaData` |
///
/// While an element is off, its stored field stays as it is; its handle reads as empty, and writing
/// to it is an [error](crate::Error::is_element_disabled). Sessions are the exception: where the
/// platform has [client-side sessions](crate::Platform::has_client_sessions), they work without
/// being stored.
///
/// It deserializes from Jovo's JSON: each element is a boolean or an object, and `enabled: false`
/// takes precedence over the other settings in the object. `session: {expiresAfterSeconds}` and
/// `history: {size}` switch the element on. `messages` and `historyBudget` are our own. An unknown
/// key is an error that names it. So is a size or expiry of zero or less, although Jovo takes zero
/// for its default.
#[derive(Clone, Debug)]
pub struct StoredElements {
    pub(crate) user: bool,
    pub(crate) session: Option<SessionElement>,
    pub(crate) history: Option<HistoryElement>,
    pub(crate) messages: bool,
    pub(crate) history_budget: usize,
    pub(crate) created_at: bool,
    pub(crate) updated_at: bool,
    pub(crate) meta_data: bool,
}

impl Default for StoredElements {
    fn default() -> Self {
        Self {
            user: true,
            session: None,
            history: None,
            messages: true,
            history_budget: 100 * 1024,
            created_at: true,
            updated_at: true,
            meta_data: false,
        }
    }
}

impl StoredElements {
    /// Creates the default selection: user data and both timestamps.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer, StoredElements};
    ///
    /// let elements = StoredElements::new().session(true).history(true);
    /// let layer = PersistenceLayer::new(MemoryDb::new()).stored_elements(elements);
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether `user.data` is stored. Default: `true`.
    ///
    /// ```
    /// use tower_persistence::StoredElements;
    ///
    /// let sessions_only = StoredElements::new().user(false).session(true);
    /// ```
    #[must_use]
    pub fn user(mut self, on: bool) -> Self {
        self.user = on;
        self
    }

    /// Sets whether and how sessions are stored: `true`, `false` or a [`SessionElement`]. Default:
    /// `false`, only [client-side sessions](crate::Platform::has_client_sessions) work.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::stored_elements::{SessionElement, StoredElements};
    ///
    /// let session = SessionElement::new().expires_after(Duration::from_secs(3600));
    /// let elements = StoredElements::new().session(session);
    /// ```
    #[must_use]
    pub fn session(mut self, session: impl Into<Setting<SessionElement>>) -> Self {
        self.session = session.into().0;
        self
    }

    /// Sets whether and how a history is stored: `true`, `false` or a [`HistoryElement`]. Default:
    /// `false`.
    ///
    /// ```
    /// use tower_persistence::stored_elements::{HistoryElement, StoredElements};
    ///
    /// let elements = StoredElements::new().history(HistoryElement::new().size(10));
    /// ```
    #[must_use]
    pub fn history(mut self, history: impl Into<Setting<HistoryElement>>) -> Self {
        self.history = history.into().0;
        self
    }

    /// Sets whether the messages of [`History::push_message`](crate::History::push_message) are
    /// stored. They do not depend on [`history`](Self::history), and an app that pushes none stores
    /// none. Default: `true`.
    ///
    /// ```
    /// use tower_persistence::StoredElements;
    ///
    /// let elements = StoredElements::new().messages(false);
    /// ```
    #[must_use]
    pub fn messages(mut self, on: bool) -> Self {
        self.messages = on;
        self
    }

    /// Sets how many bytes of JSON the history's items and messages may take together, so that a
    /// record does not outgrow its database: DynamoDB takes 400 KB. The oldest go first, from the
    /// longer of the two lists. Default: 100 KiB (102,400). With 0, every request is answered with
    /// a [configuration](Error::is_configuration) error.
    ///
    /// ```
    /// use tower_persistence::StoredElements;
    ///
    /// let elements = StoredElements::new().history_budget(300 * 1024);
    /// ```
    #[must_use]
    pub fn history_budget(mut self, bytes: usize) -> Self {
        self.history_budget = bytes;
        self
    }

    /// Sets whether `createdAt` is stored. Default: `true`.
    ///
    /// ```
    /// use tower_persistence::StoredElements;
    ///
    /// let elements = StoredElements::new().created_at(false);
    /// ```
    #[must_use]
    pub fn created_at(mut self, on: bool) -> Self {
        self.created_at = on;
        self
    }

    /// Sets whether `updatedAt`, the time of the last write, is stored. Default: `true`.
    ///
    /// ```
    /// use tower_persistence::StoredElements;
    ///
    /// let elements = StoredElements::new().updated_at(false);
    /// ```
    #[must_use]
    pub fn updated_at(mut self, on: bool) -> Self {
        self.updated_at = on;
        self
    }

    /// Sets whether `metaData` is stored, as in Jovo v1: `createdAt`, `lastUsedAt` and
    /// `sessionsCount`. If it is, every request is a write. Default: `false`.
    ///
    /// ```
    /// use tower_persistence::StoredElements;
    ///
    /// let elements = StoredElements::new().meta_data(true);
    /// ```
    #[must_use]
    pub fn meta_data(mut self, on: bool) -> Self {
        self.meta_data = on;
        self
    }

    /// Rejects settings with which nothing could be stored, as the JSON form does.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let in_history = self.history.as_ref().and_then(HistoryElement::zero_setting);
        let in_session = || self.session.as_ref().and_then(SessionElement::zero_setting);
        let budget = (self.history_budget == 0).then_some("StoredElements::history_budget");
        match in_history.or_else(in_session).or(budget) {
            None => Ok(()),
            Some(option) => Err(Error::new(
                Kind::Configuration,
                format!("`{option}` is zero; set it to more than zero, or switch the element off"),
            )),
        }
    }
}

/// An element that is off, or on with its settings. It is made from a `bool` or from the settings.
#[derive(Clone, Debug)]
pub struct Setting<T>(Option<T>);

impl<T: Default> From<bool> for Setting<T> {
    fn from(on: bool) -> Self {
        Self(on.then(T::default))
    }
}

impl From<SessionElement> for Setting<SessionElement> {
    fn from(session: SessionElement) -> Self {
        Self(Some(session))
    }
}

impl From<HistoryElement> for Setting<HistoryElement> {
    fn from(history: HistoryElement) -> Self {
        Self(Some(history))
    }
}
