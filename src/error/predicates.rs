//! The questions that an error answers.

use super::{Error, Kind};

impl Error {
    /// Returns whether the request's body was longer than `body_limit`.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_body_too_large() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        self.inner.kind == Kind::BodyTooLarge
    }

    /// Returns whether the request's body broke off before its end.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_incomplete_body() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_incomplete_body(&self) -> bool {
        self.inner.kind == Kind::IncompleteBody
    }

    /// Returns whether the request's body did not end within `body_timeout`.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_body_timeout() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_body_timeout(&self) -> bool {
        self.inner.kind == Kind::BodyTimeout
    }

    /// Returns whether the request has no user although one is needed: the handler takes a `User`,
    /// or no platform recognised it and `require_user(true)` is set.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_missing_user() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_missing_user(&self) -> bool {
        self.inner.kind == Kind::MissingUser
    }

    /// Returns whether the handler takes a [`Conversation`](crate::Conversation) and the request
    /// belongs to none.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_missing_conversation() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_missing_conversation(&self) -> bool {
        self.inner.kind == Kind::MissingConversation
    }

    /// Returns whether the request names another user than the one who was authenticated, as
    /// [`Identify::against_body`](crate::Identify::against_body) forbids.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_other_user() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_other_user(&self) -> bool {
        self.inner.kind == Kind::OtherUser
    }

    /// Returns whether two built-in platforms recognised the request, of which nothing was stored.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_ambiguous() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.inner.kind == Kind::Ambiguous
    }

    /// Returns whether the request held more than 1,000 events, of which nothing was stored.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_too_many_events() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_too_many_events(&self) -> bool {
        self.inner.kind == Kind::TooManyEvents
    }

    /// Returns whether waiting for the user's turn, loading or saving took longer than its time
    /// limit.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// assert!(Error::timeout("the server did not answer within 5s").is_timeout());
    /// ```
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(self.inner.kind, Kind::Timeout | Kind::QueueTimeout)
    }

    /// Returns whether the database failed.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// assert!(Error::database("connection refused").is_database());
    /// ```
    #[must_use]
    pub fn is_database(&self) -> bool {
        self.inner.kind == Kind::Database
    }

    /// Returns whether another process modified the record between load and save, so that nothing
    /// was written.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// assert!(Error::conflict("modified concurrently").is_conflict());
    /// ```
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.inner.kind == Kind::Conflict
    }

    /// Returns whether stored data is not of the type that was asked for. It is kept as it is.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// assert!(Error::decode("`name` is stored, but not as a `u32`").is_decode());
    /// ```
    #[must_use]
    pub fn is_decode(&self) -> bool {
        self.inner.kind == Kind::Decode
    }

    /// Returns whether a value cannot be stored, because it has no JSON form or the database cannot
    /// hold it.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// assert!(Error::encode("`user.data` is over 400 KB").is_encode());
    /// ```
    #[must_use]
    pub fn is_encode(&self) -> bool {
        self.inner.kind == Kind::Encode
    }

    /// Returns whether a handle was written to after the turn had ended, or its user had been
    /// forgotten.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_turn_ended() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_turn_ended(&self) -> bool {
        self.inner.kind == Kind::TurnEnded
    }

    /// Returns whether a handle was used inside the closure of an `update`, which would have waited
    /// for itself.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_reentrant() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_reentrant(&self) -> bool {
        self.inner.kind == Kind::Reentrant
    }

    /// Returns whether the handle of an element that is not stored was written to.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_element_disabled() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_element_disabled(&self) -> bool {
        self.inner.kind == Kind::ElementDisabled
    }

    /// Returns whether a handler asked for a handle in a service without
    /// [`PersistenceLayer`](crate::PersistenceLayer).
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_layer_missing() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_layer_missing(&self) -> bool {
        self.inner.kind == Kind::LayerMissing
    }

    /// Returns whether a setting is wrong: a database URL, or stored elements.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// assert!(Error::configuration("`timeout` is zero").is_configuration());
    /// ```
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.inner.kind == Kind::Configuration
    }

    /// Returns whether no work could be started after the reply, since
    /// [`detached_limit`](crate::PersistenceLayer::detached_limit) turns are under way.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn log(error: &Error) {
    ///     if error.is_detached_limit() {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_detached_limit(&self) -> bool {
        self.inner.kind == Kind::DetachedLimit
    }
}
