//! The settings of stored sessions.

use std::collections::BTreeMap;
use std::time::Duration;

/// The number of sessions that are kept by default.
const KEPT: usize = 4;

/// The same on platforms on which each thread has a session.
const KEPT_WITH_THREADS: usize = 16;

/// The settings of stored sessions.
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::stored_elements::{SessionElement, StoredElements};
///
/// let session = SessionElement::new()
///     .expires_after(Duration::from_secs(600))
///     .expires_after_on("facebookmessenger", Duration::from_secs(24 * 60 * 60));
/// let elements = StoredElements::new().session(session);
/// ```
#[derive(Clone, Debug)]
pub struct SessionElement {
    times: SessionTimes,
    /// The number of sessions that are kept, if it is set.
    kept: Option<usize>,
    /// Exceptions, by platform.
    expires_after_on: BTreeMap<String, Duration>,
}

/// The times that decide when a stored session expires and when its use is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionTimes {
    pub(crate) expires_after: Duration,
    pub(crate) touch_every: Duration,
    /// The number of sessions that are kept.
    pub(crate) kept: usize,
    /// The longest life of a session on any platform.
    pub(crate) longest: Duration,
}

impl Default for SessionElement {
    fn default() -> Self {
        let expires_after = Duration::from_secs(900);
        let times = SessionTimes {
            expires_after,
            touch_every: Duration::ZERO,
            kept: KEPT,
            longest: expires_after,
        };
        Self { times, kept: None, expires_after_on: BTreeMap::new() }
    }
}

impl SessionElement {
    /// Creates the default settings: sessions expire after 900 seconds, four of them are kept side
    /// by side, or 16 on a platform with threads, and every use is written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time after its last use at which a session expires. Default: 900 seconds. With
    /// zero, every request is answered with a [configuration](crate::Error::is_configuration)
    /// error.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::stored_elements::SessionElement;
    ///
    /// let element = SessionElement::new().expires_after(Duration::from_secs(600));
    /// ```
    #[must_use]
    pub fn expires_after(mut self, expires_after: Duration) -> Self {
        self.times.expires_after = expires_after;
        self
    }

    /// Sets the time until expiry on one platform, by its [name](crate::Platform::name): a chat may
    /// pause for longer than a conversation with a speaker. Default:
    /// [`expires_after`](Self::expires_after).
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

    /// Sets how many sessions of a user are kept side by side, distinguished by the platform's ids:
    /// two devices of one account, two tabs of a browser, two channels. Beyond this number, the
    /// least recently used session is dropped. Default: 4, or 16 on a platform [with
    /// threads](crate::Platform::has_threads), each of which has a session. With 0, every request
    /// is answered with a [configuration](crate::Error::is_configuration) error.
    ///
    /// The record's `session` is the most recently used one, as in Jovo; the others are in
    /// `otherSessions`. A session without an id is always the only one.
    ///
    /// ```
    /// use tower_persistence::stored_elements::{SessionElement, StoredElements};
    ///
    /// let elements = StoredElements::new().session(SessionElement::new().sessions_kept(8));
    /// ```
    #[must_use]
    pub fn sessions_kept(mut self, sessions: usize) -> Self {
        self.kept = Some(sessions);
        self
    }

    /// Sets the shortest time between two writes that record only the use of a session. It saves
    /// writes, but a session may expire that much earlier. Default: zero, every use is written.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::stored_elements::SessionElement;
    ///
    /// let element = SessionElement::new().touch_every(Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn touch_every(mut self, touch_every: Duration) -> Self {
        self.times.touch_every = touch_every;
        self
    }

    /// Returns the option that is zero and must not be.
    pub(super) fn zero_setting(&self) -> Option<&'static str> {
        let mut lives = self.expires_after_on.values().chain([&self.times.expires_after]);
        if self.kept == Some(0) {
            Some("SessionElement::sessions_kept")
        } else if lives.any(Duration::is_zero) {
            Some("SessionElement::expires_after")
        } else {
            None
        }
    }

    /// Returns the times for the platform of this name.
    pub(crate) fn times(&self, platform: &str, has_threads: bool) -> SessionTimes {
        let all = self.expires_after_on.values().copied();
        let longest = all.fold(self.times.expires_after, Duration::max);
        let own = self.expires_after_on.get(platform).copied();
        let kept = self.kept.unwrap_or(if has_threads { KEPT_WITH_THREADS } else { KEPT });
        SessionTimes {
            kept,
            expires_after: own.unwrap_or(self.times.expires_after),
            longest,
            ..self.times
        }
    }
}
