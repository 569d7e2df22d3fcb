//! What is stored of a turn.
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

mod json;

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Kind};

/// Which elements of a user's item are stored.
///
/// | element | default | stored |
/// | --- | --- | --- |
/// | [`user`](Self::user) | on | `user.data` |
/// | [`session`](Self::session) | off | `session` |
/// | [`history`](Self::history) | off | `history.items` |
/// | [`created_at`](Self::created_at) | on | `createdAt` |
/// | [`updated_at`](Self::updated_at) | on | `updatedAt` |
/// | [`meta_data`](Self::meta_data) | off | `metaData` |
///
/// What is stored of an element that is switched off stays as it is; its handle reads as empty, and writing to it is an
/// [error](crate::Error::is_element_disabled). Only a session that is not stored works all the same where the platform carries it.
///
/// It deserializes from Jovo's JSON: each element a boolean or an object, whose `enabled: false` wins over its other
/// settings. `session: {expiresAfterSeconds}` and `history: {size}` switch the element on. An unknown key is an
/// error that names it, and so is a size or expiry that is not more than zero: Jovo takes zero for its default.
#[derive(Clone, Debug)]
pub struct StoredElements {
    pub(crate) user: bool,
    pub(crate) session: Option<SessionElement>,
    pub(crate) history: Option<HistoryElement>,
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
            created_at: true,
            updated_at: true,
            meta_data: false,
        }
    }
}

impl StoredElements {
    /// The defaults: user data and both timestamps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether `user.data` is stored. Default: `true`.
    #[must_use]
    pub fn user(mut self, on: bool) -> Self {
        self.user = on;
        self
    }

    /// Whether, and how, sessions are stored: `true`, `false` or a [`SessionElement`]. Default: `false`, they are left to the
    /// platforms that [carry](crate::Platform::has_client_sessions) them.
    #[must_use]
    pub fn session(mut self, session: impl Into<Setting<SessionElement>>) -> Self {
        self.session = session.into().0;
        self
    }

    /// Whether, and how, a history is stored: `true`, `false` or a [`HistoryElement`]. Default: `false`.
    #[must_use]
    pub fn history(mut self, history: impl Into<Setting<HistoryElement>>) -> Self {
        self.history = history.into().0;
        self
    }

    /// Whether `createdAt` is stored. Default: `true`.
    #[must_use]
    pub fn created_at(mut self, on: bool) -> Self {
        self.created_at = on;
        self
    }

    /// Whether `updatedAt`, the time of the last write, is stored. Default: `true`.
    #[must_use]
    pub fn updated_at(mut self, on: bool) -> Self {
        self.updated_at = on;
        self
    }

    /// Whether `metaData` is stored, as Jovo v1 does: `createdAt`, `lastUsedAt` and `sessionsCount`. It makes each request a
    /// write. Default: `false`.
    #[must_use]
    pub fn meta_data(mut self, on: bool) -> Self {
        self.meta_data = on;
        self
    }
}

impl StoredElements {
    /// Refuses settings with which nothing could be stored, as the JSON form does.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let is_zero = [
            ("HistoryElement::size", self.history.as_ref().is_some_and(|it| it.size == 0)),
            (
                "SessionElement::sessions_kept",
                self.session.as_ref().is_some_and(|it| it.times.kept == 0),
            ),
            (
                "SessionElement::expires_after",
                self.session.as_ref().is_some_and(SessionElement::never_lives),
            ),
        ];
        match is_zero.into_iter().find(|(_, is_zero)| *is_zero) {
            None => Ok(()),
            Some((option, _)) => Err(Error::new(
                Kind::Configuration,
                format!("`{option}` is zero: set it to more, or switch the element off"),
            )),
        }
    }
}

/// An element that is off, or on with its settings. Made from a `bool` or from the settings.
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

/// How sessions are stored.
#[derive(Clone, Debug)]
pub struct SessionElement {
    times: SessionTimes,
    /// What is different on a platform.
    expires_after_on: BTreeMap<String, Duration>,
}

/// When a stored session is over, and when its use is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimes {
    pub(crate) expires_after: Duration,
    pub(crate) touch_every: Duration,
    /// How many sessions are kept.
    pub(crate) kept: usize,
    /// The longest that a session of any platform lives.
    pub(crate) longest: Duration,
}

impl Default for SessionElement {
    fn default() -> Self {
        let expires_after = Duration::from_secs(900);
        let times = SessionTimes {
            expires_after,
            touch_every: Duration::ZERO,
            kept: 4,
            longest: expires_after,
        };
        Self { times, expires_after_on: BTreeMap::new() }
    }
}

impl SessionElement {
    /// The defaults: 900 seconds, and every use is written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A session whose last use is longer ago than this is over. Default: 900 seconds.
    #[must_use]
    pub fn expires_after(mut self, expires_after: Duration) -> Self {
        self.times.expires_after = expires_after;
        self
    }

    /// The same on one platform, by its [name](crate::Platform::name): a chat rests longer than a conversation with a
    /// speaker. Default: [`expires_after`](Self::expires_after).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::stored_elements::SessionElement;
    ///
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let element = SessionElement::new().expires_after_on("facebookmessenger", day);
    /// ```
    #[must_use]
    pub fn expires_after_on(
        mut self,
        platform: impl Into<String>,
        expires_after: Duration,
    ) -> Self {
        self.expires_after_on.insert(platform.into(), expires_after);
        self
    }

    /// Sets how many sessions of a user are kept side by side, told apart by the platform's ids: two
    /// devices of one account, two tabs of a browser, two channels. The one that was not used for the
    /// longest time goes. Default: 4.
    ///
    /// `session` of the record is the one used last, as in Jovo; the others stand beside it, in
    /// `otherSessions`. Sessions without an id have no others beside them.
    ///
    /// ```
    /// use tower_persistence::stored_elements::{SessionElement, StoredElements};
    ///
    /// let elements = StoredElements::new().session(SessionElement::new().sessions_kept(8));
    /// ```
    #[must_use]
    pub fn sessions_kept(mut self, sessions: usize) -> Self {
        self.times.kept = sessions;
        self
    }

    fn never_lives(&self) -> bool {
        let all = self.expires_after_on.values();
        all.chain([&self.times.expires_after]).any(Duration::is_zero)
    }

    pub(crate) fn times(&self, platform: &str) -> SessionTimes {
        let all = self.expires_after_on.values().copied();
        let longest = all.fold(self.times.expires_after, Duration::max);
        let own = self.expires_after_on.get(platform).copied();
        SessionTimes {
            expires_after: own.unwrap_or(self.times.expires_after),
            longest,
            ..self.times
        }
    }

    /// A use of a session less than this after the one that was written last is not written by itself: a session may then
    /// expire that much early. Default: zero, every use is written.
    #[must_use]
    pub fn touch_every(mut self, touch_every: Duration) -> Self {
        self.times.touch_every = touch_every;
        self
    }
}

/// What is stored of each request in the history.
#[derive(Clone)]
pub struct HistoryElement {
    pub(crate) size: usize,
    pub(crate) input: bool,
    pub(crate) nlu: bool,
    pub(crate) asr: bool,
    pub(crate) state: bool,
    pub(crate) output: bool,
    pub(crate) request: bool,
    pub(crate) response: bool,
    /// Elements of the app's own, which read the handles; only `turn` knows their type.
    pub(crate) custom: Vec<(Arc<str>, Arc<dyn Any + Send + Sync>)>,
}

impl Default for HistoryElement {
    fn default() -> Self {
        Self {
            size: 3,
            input: false,
            nlu: true,
            asr: false,
            state: false,
            output: true,
            request: false,
            response: false,
            custom: Vec::new(),
        }
    }
}

impl HistoryElement {
    /// The defaults: the last 3 items, each with `output` and `nlu`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many items are kept, the newest first. Default: 3. With 0, every request is answered with a
    /// [configuration](crate::Error::is_configuration) error.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Whether an item holds `input`: what kind of input it was, with its intent, entities and text. Default: `false`.
    #[must_use]
    pub fn input(mut self, on: bool) -> Self {
        self.input = on;
        self
    }

    /// Whether an item holds `nlu`: the intent and entities that the platform found. Default: `true`.
    #[must_use]
    pub fn nlu(mut self, on: bool) -> Self {
        self.nlu = on;
        self
    }

    /// Whether an item holds `asr`: what the platform's speech recognition heard. Default: `false`.
    #[must_use]
    pub fn asr(mut self, on: bool) -> Self {
        self.asr = on;
        self
    }

    /// Whether an item holds `state`: the session's state at the end of the turn. Default: `false`.
    #[must_use]
    pub fn state(mut self, on: bool) -> Self {
        self.state = on;
        self
    }

    /// Whether an item holds `output`: what the handler sets with [`History::set_output`](crate::History::set_output).
    /// Default: `true`.
    #[must_use]
    pub fn output(mut self, on: bool) -> Self {
        self.output = on;
        self
    }

    /// Whether an item holds `request`: the request's JSON, with all access tokens in it, but without the id of the person who
    /// speaks. Default: `false`.
    #[must_use]
    pub fn request(mut self, on: bool) -> Self {
        self.request = on;
        self
    }

    /// Whether an item holds `response`: the reply as the handler wrote it, where it is declared as
    /// JSON, not compressed, at most `reply_limit` long and ready within `reply_timeout`. Default:
    /// `false`.
    #[must_use]
    pub fn response(mut self, on: bool) -> Self {
        self.response = on;
        self
    }

    pub(crate) fn asks_platform(&self) -> bool {
        self.input || self.nlu || self.asr
    }
}

impl fmt::Debug for HistoryElement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryElement")
            .field("size", &self.size)
            .field("input", &self.input)
            .field("nlu", &self.nlu)
            .field("asr", &self.asr)
            .field("state", &self.state)
            .field("output", &self.output)
            .field("request", &self.request)
            .field("response", &self.response)
            .field("custom", &self.custom.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .finish()
    }
}
