//! The error of this crate, and the response that is made of it.

mod predicates;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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
    /// Marks a failed load or save, of whatever kind.
    unavailable: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BodyTooLarge,
    IncompleteBody,
    BodyTimeout,
    MissingUser,
    MissingConversation,
    OtherUser,
    TooManyEvents,
    Timeout,
    /// The user's earlier requests took too long.
    QueueTimeout,
    Database,
    Conflict,
    Decode,
    Encode,
    TurnEnded,
    Reentrant,
    Ambiguous,
    Unverified,
    ElementDisabled,
    LayerMissing,
    Configuration,
    DetachedLimit,
}

impl Error {
    #[cold]
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
    /// | 401 | the request was not verified |
    /// | 403 | the authenticated user is not the one in the body |
    /// | 408 | the body did not end within `body_timeout` |
    /// | 409 | another process modified the same record concurrently |
    /// | 413 | the body is over the limit, or has more than 1,000 events |
    /// | 500 | the handler misused a handle, or found data of another type |
    /// | 503 | loading or saving failed, or took too long; too much work after replies is under way |
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.inner.kind {
            _ if self.inner.unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::IncompleteBody
            | Kind::MissingUser
            | Kind::MissingConversation
            | Kind::Ambiguous => StatusCode::BAD_REQUEST,
            Kind::Unverified => StatusCode::UNAUTHORIZED,
            Kind::OtherUser => StatusCode::FORBIDDEN,
            Kind::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Kind::BodyTooLarge | Kind::TooManyEvents => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::Timeout | Kind::QueueTimeout | Kind::Database | Kind::DetachedLimit => {
                StatusCode::SERVICE_UNAVAILABLE
            }
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

    /// Returns how long the client should wait before it sends the request again: 1 second where the
    /// user's earlier requests took longer than
    /// [`queue_timeout`](crate::PersistenceLayer::queue_timeout). It is the header `Retry-After` of
    /// the response that is made of this error; an `on_error` has to set it itself.
    ///
    /// ```
    /// # use tower_persistence::Error;
    /// fn retry_after(error: &Error) -> Option<String> {
    ///     error.retry_after().map(|wait| wait.as_secs().to_string())
    /// }
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        (self.inner.kind == Kind::QueueTimeout).then_some(Duration::from_secs(1))
    }

    /// Makes the reply for a client: the kind of the failure, never the message, which may name
    /// files or servers.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let text: &'static str = match self.inner.kind {
            Kind::BodyTooLarge => "the request body is too large",
            Kind::IncompleteBody => "the request body broke off",
            Kind::BodyTimeout => "the request body took too long",
            Kind::MissingUser => "the request has no user",
            Kind::MissingConversation => "the request belongs to no conversation",
            Kind::OtherUser => "the request names another user",
            Kind::TooManyEvents => "the request has too many events",
            Kind::Ambiguous => "the request can belong to more than one platform",
            Kind::Unverified => "the request was not verified",
            Kind::QueueTimeout => "an earlier request of the user is still served, try again",
            Kind::DetachedLimit => "too much work is under way, try again",
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
        if let Some(wait) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
        }
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
