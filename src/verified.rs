//! The proof that a request is genuine, which a check hands on in the extensions.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Marks a request, in its extensions, as verified: a platform's own, and not one that was
/// made up.
///
/// A `VerifyLayer` (feature `verify`) inserts it.
/// [`require_verified`](crate::PersistenceLayer::require_verified) insists on it, and a handler may
/// read it. A check of your own in front of the persistence layer makes it with
/// [`new`](Self::new).
///
/// ```
/// use tower_persistence::Verified;
///
/// let verified = Verified::new("web");
/// assert_eq!(verified.platform(), "web");
/// assert_eq!(verified.subject(), None);
/// ```
#[derive(Clone)]
pub struct Verified {
    platform: Arc<str>,
    is_trusted: bool,
    claims: Option<Arc<Map<String, Value>>>,
}

impl Verified {
    /// Makes the proof that a request is this platform's: the [name](crate::Platform::name), such
    /// as `web`.
    ///
    /// ```
    /// use tower_persistence::Verified;
    ///
    /// let mut request = http::Request::new("body");
    /// request.extensions_mut().insert(Verified::new("web"));
    /// ```
    #[must_use]
    pub fn new(platform: impl Into<Arc<str>>) -> Self {
        Self { platform: platform.into(), is_trusted: false, claims: None }
    }

    /// Adds the claims of the token that was verified.
    ///
    /// ```
    /// use serde_json::{Map, json};
    /// use tower_persistence::Verified;
    ///
    /// let claims = Map::from_iter([("sub".to_owned(), json!("user-1"))]);
    /// assert_eq!(Verified::new("mcp").claims(claims).subject(), Some("user-1"));
    /// ```
    #[must_use]
    pub fn claims(self, claims: Map<String, Value>) -> Self {
        Self { claims: Some(Arc::new(claims)), ..self }
    }

    /// Marks the request as one that was not checked here, because its check stands elsewhere.
    #[cfg(feature = "verify")]
    pub(crate) fn trusted(self) -> Self {
        Self { is_trusted: true, ..self }
    }

    /// Returns the name of the platform whose request this is.
    ///
    /// ```
    /// # use tower_persistence::Verified;
    /// assert_eq!(Verified::new("alexa").platform(), "alexa");
    /// ```
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// Returns whether the request was let through unchecked, because the app trusts the platform:
    /// its check stands elsewhere.
    ///
    /// ```
    /// # use tower_persistence::Verified;
    /// assert!(!Verified::new("alexa").is_trusted());
    /// ```
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Returns a claim of the token that was verified, such as `scope`. `None` if there is none, or
    /// the platform sends no token.
    ///
    /// ```
    /// # use tower_persistence::Verified;
    /// assert_eq!(Verified::new("alexa").claim("scope"), None);
    /// ```
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.as_ref()?.get(name)
    }

    /// Returns the subject of the token that was verified, claim `sub`: the user, where the
    /// platform sends a user's token ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519#section-4.1.2)).
    ///
    /// ```
    /// # use tower_persistence::Verified;
    /// assert_eq!(Verified::new("alexa").subject(), None);
    /// ```
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claim("sub")?.as_str()
    }
}

/// Shows no claims, which may name a user.
impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified")
            .field("platform", &self.platform)
            .field("is_trusted", &self.is_trusted)
            .finish_non_exhaustive()
    }
}
