//! The setters of the places of ids.

use std::time::Duration;

use super::{JsonPlatform, Pointers};
#[cfg(doc)]
use crate::platform::Event;

impl JsonPlatform {
    /// Sets the pointer to the user id. A request without it has no user. Default: none, no request
    /// has a user.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect("/badge").user_id("/badge/id");
    /// ```
    #[must_use]
    pub fn user_id(mut self, pointers: impl Into<Pointers>) -> Self {
        self.user_id = pointers.into();
        self
    }

    /// Sets the pointer to the part of the platform within which user ids are unique, such as
    /// Slack's team: [`Event::scope`]. A request without it has no user, because its id may belong
    /// to several users. Default: none, ids are unique on the whole platform.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let slack = JsonPlatform::new("slack").user_id("/event/user").user_scope("/team_id");
    /// ```
    #[must_use]
    pub fn user_scope(mut self, pointers: impl Into<Pointers>) -> Self {
        self.user_scope = pointers.into();
        self
    }

    /// Sets the pointer to the event's id, text or a number, which identifies repeats:
    /// [`Event::id`]. Default: none, each repeat counts as a new event.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let slack = JsonPlatform::new("slack").detect("/event_id").event_id("/event_id");
    /// ```
    #[must_use]
    pub fn event_id(mut self, pointers: impl Into<Pointers>) -> Self {
        self.event_id = pointers.into();
        self
    }

    /// Sets how long the platform sends an event again until it is answered with success:
    /// [`Event::repeats`]. Events with an [`event_id`](Self::event_id) are then served once.
    /// Default: none, the platform does not repeat events, or it reads the reply.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let chat = JsonPlatform::new("chat").detect("/event_id").event_id("/event_id").repeats(day);
    /// ```
    #[must_use]
    pub fn repeats(mut self, within: Duration) -> Self {
        self.repeats = Some(within);
        self
    }

    /// Sets the pointers to the part of the platform that received the event, which is not part of
    /// the user's key: [`Event::account`]. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let chat = JsonPlatform::new("chat").detect("/bot").account("/bot/id");
    /// ```
    #[must_use]
    pub fn account(mut self, pointers: impl Into<Pointers>) -> Self {
        self.account = pointers.into();
        self
    }

    /// Sets whether ids may be integers of up to 20 digits, besides texts. Default: `false`, a
    /// number is not an id.
    ///
    /// The number 42 and the text `42` are then the same id.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let chat = JsonPlatform::new("chat").detect("/from").user_id("/from").numeric_ids(true);
    /// ```
    #[must_use]
    pub fn numeric_ids(mut self, numeric_ids: bool) -> Self {
        self.has_numeric_ids = numeric_ids;
        self
    }

    /// Sets the user ids that several users share, such as `anonymous`: a request with one of them
    /// has no user. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let calls = JsonPlatform::new("calls").detect("/call").user_id("/caller");
    /// let calls = calls.shared_ids(["anonymous", "unknown"]);
    /// ```
    #[must_use]
    pub fn shared_ids(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.shared_ids = ids.into_iter().map(Into::into).collect();
        self
    }
}
