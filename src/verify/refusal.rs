//! Why a request is refused, and with which status.

use http::{HeaderValue, StatusCode};

/// The cause for which a request is refused. It goes to the log and the metric, not to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The platform has no verifier, and is not trusted.
    NoVerifier,
    /// The signature, secret or token is missing, or cannot be read.
    NoSignature,
    /// The signature or secret is wrong.
    BadSignature,
    /// The time stamp, or the validity of the token or the certificate, is past.
    TooOld,
    /// The time stamp, or the beginning of the validity, lies too far ahead.
    TooNew,
    /// The key or certificate that the request names is not one of the platform's.
    UnknownKey,
    /// The token or request is genuine, but meant for another app, or made by another issuer.
    WrongAudience,
    /// The header `Origin` names a site that may not call.
    WrongOrigin,
    /// The same signed request came before.
    Replayed,
    /// The keys or certificates could not be fetched.
    KeysUnavailable,
    /// The verifier's settings are unusable.
    Misconfigured,
    /// Two platforms recognise the request.
    Ambiguous,
}

impl Cause {
    /// Returns the cause in words, as the log has it.
    ///
    /// ```
    /// use tower_persistence::verify::Cause;
    ///
    /// assert_eq!(Cause::BadSignature.as_str(), "bad signature");
    /// ```
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoVerifier => "no verifier",
            Self::NoSignature => "no signature",
            Self::BadSignature => "bad signature",
            Self::TooOld => "too old",
            Self::TooNew => "too new",
            Self::UnknownKey => "unknown key",
            Self::WrongAudience => "wrong audience",
            Self::WrongOrigin => "wrong origin",
            Self::Replayed => "replayed",
            Self::KeysUnavailable => "keys unavailable",
            Self::Misconfigured => "misconfigured",
            Self::Ambiguous => "ambiguous",
        }
    }

    /// Returns the status for this cause: 401, unless the platform expects another.
    fn status(self) -> StatusCode {
        match self {
            Self::WrongOrigin => StatusCode::FORBIDDEN,
            Self::KeysUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Ambiguous => StatusCode::BAD_REQUEST,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

/// The refusal of a request: the cause, and the answer.
///
/// ```
/// use tower_persistence::verify::{Cause, Refusal};
///
/// assert_eq!(Refusal::from(Cause::BadSignature).status(), 401);
/// assert_eq!(Refusal::new(Cause::BadSignature, http::StatusCode::BAD_REQUEST).status(), 400);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    cause: Cause,
    status: StatusCode,
    /// The value of `WWW-Authenticate`.
    pub(super) challenge: Option<HeaderValue>,
}

impl Refusal {
    /// Makes a refusal with this status.
    ///
    /// ```
    /// use http::StatusCode;
    /// use tower_persistence::verify::{Cause, Refusal};
    ///
    /// let refusal = Refusal::new(Cause::BadSignature, StatusCode::FORBIDDEN);
    /// assert_eq!(refusal.cause(), Cause::BadSignature);
    /// ```
    #[must_use]
    pub fn new(cause: Cause, status: StatusCode) -> Self {
        Self { cause, status, challenge: None }
    }

    /// Returns the cause.
    ///
    /// ```
    /// # use tower_persistence::verify::{Cause, Refusal};
    /// assert_eq!(Refusal::from(Cause::TooOld).cause(), Cause::TooOld);
    /// ```
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the status of the answer.
    ///
    /// ```
    /// # use tower_persistence::verify::{Cause, Refusal};
    /// assert_eq!(Refusal::from(Cause::WrongOrigin).status(), 403);
    /// ```
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        Self::new(cause, cause.status())
    }
}
