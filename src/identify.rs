//! Users whom an authentication layer has identified.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;

type Subject = dyn Fn(&Parts) -> Option<String> + Send + Sync;

/// The source of a user whom something in front of the layer has authenticated: an extension that
/// an authentication layer has set, or a header of a trusted proxy.
///
/// Such a user is stored under `identity:<subject>` on every platform, so that the same person is
/// one user in a web chat and behind an MCP client, and counts as verified.
///
/// ```
/// use tower_persistence::{Identify, MemoryDb, PersistenceLayer};
///
/// /// What the authentication layer puts into the request's extensions.
/// #[derive(Clone)]
/// struct Claims {
///     sub: String,
/// }
///
/// let layer = PersistenceLayer::new(MemoryDb::new())
///     .identify(Identify::by_extension(|claims: &Claims| claims.sub.clone()));
/// ```
///
/// A request without a subject keeps the user that its platform names, if there is one.
#[derive(Clone)]
pub struct Identify {
    subject: Arc<Subject>,
    pub(crate) against_body: bool,
}

impl Identify {
    /// Takes the subject from the extension `T`, which only a layer in front can set.
    ///
    /// ```
    /// use tower_persistence::Identify;
    ///
    /// #[derive(Clone)]
    /// struct UserId(u64);
    ///
    /// let identify = Identify::by_extension(|id: &UserId| id.0.to_string());
    /// ```
    ///
    /// The closure may return an `Option`: here only MCP's tokens name the user. The subject of a
    /// platform's own token, such as Google Chat's, is the platform.
    ///
    /// ```
    /// use tower_persistence::{Identify, Verified};
    ///
    /// let identify = Identify::by_extension(|verified: &Verified| {
    ///     let subject = verified.subject().filter(|_| verified.platform() == "mcp");
    ///     subject.map(str::to_owned)
    /// });
    /// ```
    #[must_use]
    pub fn by_extension<T, S>(subject: impl Fn(&T) -> S + Send + Sync + 'static) -> Self
    where
        T: Send + Sync + 'static,
        S: Into<Option<String>>,
    {
        Self::by(move |head| subject(head.extensions.get::<T>()?).into())
    }

    /// Takes the subject from a header that a proxy in front sets.
    ///
    /// **Anybody can send a header.** The proxy must remove it from requests that come from
    /// outside, and nothing else may reach the server.
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_persistence::Identify;
    ///
    /// let identify = Identify::by_proxy_header(HeaderName::from_static("x-forwarded-user"));
    /// ```
    #[must_use]
    pub fn by_proxy_header(name: HeaderName) -> Self {
        Self::by(move |head| {
            let mut values = head.headers.get_all(&name).iter();
            // Two values are no proxy's: one of them came from outside.
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().ok().map(str::to_owned),
                _ => None,
            }
        })
    }

    fn by(subject: impl Fn(&Parts) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { subject: Arc::new(subject), against_body: false }
    }

    /// Sets whether the user id in the body must be the subject: a difference, or a body that names
    /// a user without a subject, is answered with a 403, and the handler does not run. Default:
    /// `false`, the subject takes the place of the body's user.
    ///
    /// ```
    /// use tower_persistence::Identify;
    ///
    /// let identify = Identify::by_extension(|subject: &String| subject.clone()).against_body(true);
    /// ```
    #[must_use]
    pub fn against_body(mut self, against_body: bool) -> Self {
        self.against_body = against_body;
        self
    }

    /// Returns the subject of the request, if it has one.
    pub(crate) fn subject(&self, head: &Parts) -> Option<String> {
        (self.subject)(head)
    }
}

impl fmt::Debug for Identify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identify").field("against_body", &self.against_body).finish_non_exhaustive()
    }
}
