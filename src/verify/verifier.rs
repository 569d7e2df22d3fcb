//! The request and the verdict of a check: the trait of all verifiers.

use std::future::Future;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use http::request::Parts;
use serde_json::{Map, Value};

use super::refusal::Refusal;

/// A request as it was sent: the head, and the raw bytes of the body, over which signatures are
/// made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SignedRequest<'a> {
    /// The head.
    pub head: &'a Parts,
    /// The raw body.
    pub body: &'a [u8],
    /// The time at which the request is checked.
    pub now: SystemTime,
}

impl<'a> SignedRequest<'a> {
    /// Makes a request to check at `now`.
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_persistence::verify::SignedRequest;
    ///
    /// let (head, body) = http::Request::post("/").body("hello").unwrap().into_parts();
    /// let request = SignedRequest::new(&head, body.as_bytes(), SystemTime::now());
    /// assert_eq!(request.header("x-signature"), None);
    /// ```
    #[must_use]
    pub fn new(head: &'a Parts, body: &'a [u8], now: SystemTime) -> Self {
        Self { head, body, now }
    }

    /// Returns the value of the header `name`. `None` if it is missing, is not ASCII text, or
    /// stands there more than once, so that it is unclear which value counts.
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use tower_persistence::verify::SignedRequest;
    /// let request = http::Request::post("/").header("x-signature", "abc").body(()).unwrap();
    /// let (head, ()) = request.into_parts();
    /// let request = SignedRequest::new(&head, b"", SystemTime::now());
    /// assert_eq!(request.header("x-signature"), Some("abc"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        let mut values = self.head.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }
}

/// The outcome of a check that passed.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    pub(super) once: Option<Once>,
    pub(super) claims: Option<Map<String, Value>>,
}

/// A signed message with a time stamp: the same may not come twice until it is too old anyway.
#[derive(Clone, Debug)]
pub(super) struct Once {
    pub(super) message: [u8; 32],
    pub(super) until: SystemTime,
}

impl Proof {
    /// Makes a proof that a request is genuine.
    ///
    /// ```
    /// use tower_persistence::verify::Proof;
    ///
    /// let proof = Proof::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the claims of a token, which a handler reads from [`Verified`](crate::Verified).
    ///
    /// ```
    /// use serde_json::{Map, json};
    /// use tower_persistence::verify::Proof;
    ///
    /// let proof = Proof::new().claims(Map::from_iter([("sub".to_owned(), json!("user-1"))]));
    /// ```
    #[must_use]
    pub fn claims(self, claims: Map<String, Value>) -> Self {
        Self { claims: Some(claims), ..self }
    }

    /// Names the message that was signed, by its SHA-256, and the time after which its time stamp
    /// is too old. [`remember`](super::VerifyLayer::remember) refuses the same message until then.
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    /// use tower_persistence::verify::Proof;
    ///
    /// let proof = Proof::new().once([0; 32], SystemTime::now() + Duration::from_secs(300));
    /// ```
    #[must_use]
    pub fn once(self, message: [u8; 32], until: SystemTime) -> Self {
        Self { once: Some(Once { message, until }), ..self }
    }
}

/// Checks that a request is genuine.
///
/// [`VerifyLayer::verifier`](super::VerifyLayer::verifier) puts one in charge of a platform. The
/// request is not yet known to be anybody's: read it with care, and compare secrets in constant
/// time.
///
/// ```
/// use tower_persistence::verify::{Cause, Proof, Refusal, SignedRequest, Verifier};
///
/// /// Lets pass what a proxy has checked, which adds a header, and removes it from requests.
/// struct FromProxy;
///
/// impl Verifier for FromProxy {
///     async fn verify(&self, request: SignedRequest<'_>) -> Result<Proof, Refusal> {
///         match request.header("x-checked") {
///             Some("yes") => Ok(Proof::new()),
///             _ => Err(Cause::NoSignature.into()),
///         }
///     }
/// }
/// ```
pub trait Verifier: Send + Sync + 'static {
    /// Checks the request.
    ///
    /// # Errors
    ///
    /// The cause, and the status to answer with.
    fn verify(
        &self,
        request: SignedRequest<'_>,
    ) -> impl Future<Output = Result<Proof, Refusal>> + Send;

    /// Returns what is wrong with the settings, such as an empty secret: the verifier is not asked
    /// then, and every request that it should check is refused. The text never holds a secret.
    ///
    /// Default: `None`.
    fn problem(&self) -> Option<&str> {
        None
    }
}

/// [`Verifier`] as an object.
pub(super) trait DynVerifier: Send + Sync {
    fn verify<'a>(&'a self, request: SignedRequest<'a>) -> BoxFuture<'a, Result<Proof, Refusal>>;
}

impl<V: Verifier> DynVerifier for V {
    fn verify<'a>(&'a self, request: SignedRequest<'a>) -> BoxFuture<'a, Result<Proof, Refusal>> {
        Box::pin(Verifier::verify(self, request))
    }
}
