//! The error of this crate, and the response that is made of it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// A boxed error of any type, as a database's own becomes the source of an [`Error`].
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error of this crate.
///
/// It is opaque, so that causes can be added without breaking an app: ask it with the `is_…`
/// methods, and its [`source`](StdError::source) for the cause. Cloning it is cheap. Where the
/// layer answers in the handler's place, the error is in the extensions of the response, and
/// [`on_error`](crate::PersistenceLayer::on_error) can make another response of it.
///
/// With feature `axum` it is a response, so that `?` works in a handler. That response is a 5xx,
/// which keeps the turn from being stored.
///
/// Its texts contain neither user ids nor user data. `Debug` prints the message and those of its
/// sources, so that an error returned from `main` can be read.
///
/// ```
/// use tower_persistence::Error;
///
/// fn retry_later(error: &Error) -> bool {
///     error.is_database() || error.is_timeout() || error.is_conflict()
/// }
/// assert!(retry_later(&Error::database("connection refused")));
/// ```
#[derive(Clone)]
pub struct Error {
    inner: Arc<Inner>,
}

#[derive(Clone)]
struct Inner {
    kind: Kind,
    message: Cow<'static, str>,
    platform: Option<Arc<str>>,
    /// Whether loading or saving failed, whatever the reason.
    unavailable: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BodyTooLarge,
    IncompleteBody,
    BodyTimeout,
    MissingUser,
    TooManyEvents,
    Timeout,
    Database,
    Conflict,
    Decode,
    Encode,
    TurnEnded,
    Reentrant,
    Ambiguous,
    ElementDisabled,
    LayerMissing,
    Configuration,
}

impl Error {
    pub(crate) fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self {
            inner: Arc::new(Inner {
                kind,
                message,
                platform: None,
                unavailable: false,
                source: None,
            }),
        }
    }

    pub(crate) fn with_source(self, source: impl Into<BoxError>) -> Self {
        let source = Some(Arc::from(source.into()));
        Self { inner: Arc::new(Inner { source, ..Arc::unwrap_or_clone(self.inner) }) }
    }

    pub(crate) fn with_platform(self, platform: Arc<str>) -> Self {
        let platform = Some(platform);
        Self { inner: Arc::new(Inner { platform, ..Arc::unwrap_or_clone(self.inner) }) }
    }

    /// The same, as the reason why the user's data could not be loaded or saved.
    pub(crate) fn unavailable(self) -> Self {
        Self { inner: Arc::new(Inner { unavailable: true, ..Arc::unwrap_or_clone(self.inner) }) }
    }

    /// The error of writing through the handle of an element that is switched off.
    pub(crate) fn not_stored(element: &str, option: &str) -> Self {
        let message = format!("{element} is not stored: switch it on with `{option}`");
        Self::new(Kind::ElementDisabled, message)
    }

    /// Makes the error of a database that failed, for implementations of
    /// [`Database`](crate::Database).
    ///
    /// `source` is the database's own error or a text. It goes to the log, not to the client; it
    /// should hold neither user ids nor user data.
    ///
    /// ```
    /// use tower_persistence::Error;
    ///
    /// let error = Error::database("connection refused");
    /// assert!(error.is_database());
    /// assert_eq!(error.status(), 503);
    /// ```
    pub fn database(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Database, "the database failed").with_source(source)
    }

    /// Makes the error of a stored record or value that cannot be read as what is asked for, for
    /// implementations of [`Database`](crate::Database). `message` should hold neither user ids nor
    /// user data.
    ///
    /// ```
    /// use tower_persistence::Error;
    ///
    /// assert!(Error::decode("the record is not a JSON object").is_decode());
    /// ```
    pub fn decode(message: impl Into<String>) -> Self {
        Self::new(Kind::Decode, message.into())
    }

    /// Makes the error of a value that the database cannot hold, for implementations of
    /// [`Database`](crate::Database). `message` names the field and the limit, not the value.
    ///
    /// ```
    /// use tower_persistence::Error;
    ///
    /// assert!(Error::encode("`user.data` is over 400 KB").is_encode());
    /// ```
    pub fn encode(message: impl Into<String>) -> Self {
        Self::new(Kind::Encode, message.into())
    }

    /// Makes the error of a wrong setting, such as a database URL, for implementations of
    /// [`Database`](crate::Database).
    ///
    /// ```
    /// use tower_persistence::Error;
    ///
    /// assert!(Error::configuration("`timeout` is zero: set it to more").is_configuration());
    /// ```
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, message.into())
    }

    /// Makes the error of a record that another process modified concurrently, for implementations
    /// of [`Database`](crate::Database) that cannot tell what is stored now. Otherwise return
    /// [`Saved::Conflict`](crate::Saved::Conflict), which the layer resolves.
    ///
    /// ```
    /// use tower_persistence::Error;
    ///
    /// assert_eq!(Error::conflict("gave up after repeated conflicting writes").status(), 409);
    /// ```
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Kind::Conflict, message.into())
    }

    /// Makes the error of a call that took too long, for implementations of
    /// [`Database`](crate::Database).
    ///
    /// ```
    /// use tower_persistence::Error;
    ///
    /// assert_eq!(Error::timeout("the server did not answer within 5s").status(), 503);
    /// ```
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Kind::Timeout, message.into())
    }

    /// Returns the HTTP status of the response that is made of this error:
    ///
    /// | status | when |
    /// | --- | --- |
    /// | 400 | the body broke off; a required user is missing; two platforms recognised the request |
    /// | 408 | the body did not end within `body_timeout` |
    /// | 409 | another process modified the same record concurrently |
    /// | 413 | the body is over the limit, or has more than 1,000 events |
    /// | 500 | the handler misused a handle, or found data of another type |
    /// | 503 | loading or saving failed, or took too long |
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.inner.kind {
            _ if self.inner.unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::IncompleteBody | Kind::MissingUser | Kind::Ambiguous => StatusCode::BAD_REQUEST,
            Kind::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::BodyTooLarge | Kind::TooManyEvents => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Timeout | Kind::Database => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Decode
            | Kind::Encode
            | Kind::TurnEnded
            | Kind::Reentrant
            | Kind::ElementDisabled
            | Kind::LayerMissing
            | Kind::Configuration => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Returns the [name](crate::Platform::name) of the platform whose request failed, once it was
    /// recognised: what an `on_error` needs to answer in the platform's form.
    #[must_use]
    pub fn platform(&self) -> Option<&str> {
        self.inner.platform.as_deref()
    }

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
        self.inner.kind == Kind::Timeout
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

    /// The reply for a client: what went wrong in general, never the message, which may name files
    /// or servers.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let text: &'static str = match self.inner.kind {
            Kind::BodyTooLarge => "the request body is too large",
            Kind::IncompleteBody => "the request body broke off",
            Kind::BodyTimeout => "the request body took too long",
            Kind::MissingUser => "the request has no user",
            Kind::TooManyEvents => "the request has too many events",
            Kind::Ambiguous => "the request can belong to more than one platform",
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => {
                "the user's data is not available, try again"
            }
            Kind::Conflict => "the user's data was modified concurrently, try again",
            Kind::Timeout
            | Kind::Database
            | Kind::Decode
            | Kind::Encode
            | Kind::TurnEnded
            | Kind::Reentrant
            | Kind::ElementDisabled
            | Kind::LayerMissing
            | Kind::Configuration => "the request could not be served",
        };
        let mut response = Response::new(Bytes::from_static(text.as_bytes()));
        *response.status_mut() = self.status();
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = self.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source.as_deref().map(|source| source as _)
    }
}

#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for Error {
    fn into_response(self) -> axum_core::response::Response {
        let mut response = self.response().map(axum_core::body::Body::from);
        response.extensions_mut().insert(self);
        response
    }
}
