//! What can go wrong, and the reply that is made of it.
//!
//! ```
//! use tower_persistence::Error;
//!
//! let error = Error::database("connection refused");
//! assert!(error.is_database());
//! assert_eq!(error.status(), 503);
//! ```

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

/// Any error, boxed: what a database's own error is turned into.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error of this crate.
///
/// It is opaque: ask it with the `is_…` methods; its cause is its [`source`](StdError::source). It is cheap to
/// clone, and where the layer answers in the handler's place, it is in the extensions of the response.
///
/// With feature `axum` it is a response, so that `?` works in a handler; being a 5xx, that response
/// also keeps the turn from being stored.
///
/// No user id and no user data stand in its texts. `Debug` prints the message and those of its sources,
/// so that an error returned from `main` can be read.
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

    /// A failure of the database, for those who write a [`Database`](crate::Database).
    ///
    /// `source` is the database's own error or a text. It goes to the log, not to the client; it should
    /// hold neither user ids nor user data.
    pub fn database(source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Database, "the database failed").with_source(source)
    }

    /// A stored item or value that cannot be read as what is asked for, for those who write a
    /// [`Database`](crate::Database). `message` should hold neither user ids nor user data.
    pub fn decode(message: impl Into<String>) -> Self {
        Self::new(Kind::Decode, message.into())
    }

    /// A value that the database cannot hold, for those who write a [`Database`](crate::Database).
    /// `message` names the field's path and the limit, not the value.
    pub fn encode(message: impl Into<String>) -> Self {
        Self::new(Kind::Encode, message.into())
    }

    /// The HTTP status of the reply that is made of this error:
    ///
    /// | status | when |
    /// | --- | --- |
    /// | 400 | the body broke off; no platform recognised the request where a user is required; two platforms recognised it |
    /// | 408 | the body did not end within `body_timeout` |
    /// | 409 | another process changed the same user's data meanwhile |
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

    /// The [name](crate::Platform::name) of the platform whose request failed, where the request got as far as
    /// being recognised: what an `on_error` needs to answer in the platform's form.
    #[must_use]
    pub fn platform(&self) -> Option<&str> {
        self.inner.platform.as_deref()
    }

    /// Whether the request's body was longer than `body_limit`.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        self.inner.kind == Kind::BodyTooLarge
    }

    /// Whether the request's body broke off before its end.
    #[must_use]
    pub fn is_incomplete_body(&self) -> bool {
        self.inner.kind == Kind::IncompleteBody
    }

    /// Whether the request's body did not end within `body_timeout`.
    #[must_use]
    pub fn is_body_timeout(&self) -> bool {
        self.inner.kind == Kind::BodyTimeout
    }

    /// Whether the request has no user although one is needed: `require_user(true)` is set, or the handler
    /// takes a `User`.
    #[must_use]
    pub fn is_missing_user(&self) -> bool {
        self.inner.kind == Kind::MissingUser
    }

    /// Returns whether two built-in platforms recognised the request. Nothing was stored.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.inner.kind == Kind::Ambiguous
    }

    /// Whether the request held more than 1,000 events. Nothing was stored.
    #[must_use]
    pub fn is_too_many_events(&self) -> bool {
        self.inner.kind == Kind::TooManyEvents
    }

    /// Whether waiting for the user's turn, loading or saving took longer than its time-out.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.inner.kind == Kind::Timeout
    }

    /// Whether the database failed.
    #[must_use]
    pub fn is_database(&self) -> bool {
        self.inner.kind == Kind::Database
    }

    /// Whether the user's data was changed elsewhere between load and save. Nothing was written.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.inner.kind == Kind::Conflict
    }

    /// Whether stored data is not of the type that was asked for. It is kept as it is.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        self.inner.kind == Kind::Decode
    }

    /// Whether a value cannot be stored, because it has no JSON form or the database cannot hold it.
    #[must_use]
    pub fn is_encode(&self) -> bool {
        self.inner.kind == Kind::Encode
    }

    /// Whether a handle was written to after the turn had ended or the user had been forgotten.
    #[must_use]
    pub fn is_turn_ended(&self) -> bool {
        self.inner.kind == Kind::TurnEnded
    }

    /// Returns whether a handle was used inside the closure of an `update`, which would have waited for
    /// itself.
    #[must_use]
    pub fn is_reentrant(&self) -> bool {
        self.inner.kind == Kind::Reentrant
    }

    /// Whether the handle of an element was written to that is not stored anywhere.
    #[must_use]
    pub fn is_element_disabled(&self) -> bool {
        self.inner.kind == Kind::ElementDisabled
    }

    /// Whether a handler asked for a handle in a service without [`PersistenceLayer`](crate::PersistenceLayer).
    #[must_use]
    pub fn is_layer_missing(&self) -> bool {
        self.inner.kind == Kind::LayerMissing
    }

    /// Whether a setting is wrong: a database URL, or stored elements.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        self.inner.kind == Kind::Configuration
    }

    /// The reply for a client: what went wrong in general, never the message, which may name files or servers.
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
            Kind::Conflict => "the user's data was changed by another request, try again",
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
