//! Fetching keys and certificates: a trait, since the HTTP client is the app's choice.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::error::BoxError;

/// Fetches the certificates and keys that signatures are checked with.
///
/// The `HttpFetcher` of feature `verify-http` is ready. With an HTTP client of your own, implement
/// this trait: it must not follow redirects, must check TLS certificates, and must stop at the
/// limit.
///
/// ```
/// use tower_persistence::BoxError;
/// use tower_persistence::verify::{Fetched, Fetcher};
///
/// /// Has the keys at hand, for a test.
/// struct Canned(&'static str);
///
/// impl Fetcher for Canned {
///     async fn fetch(&self, _url: &str, _limit: usize) -> Result<Fetched, BoxError> {
///         Ok(Fetched::new(self.0))
///     }
/// }
/// ```
pub trait Fetcher: Send + Sync + 'static {
    /// Fetches `url`, always `https`, by GET.
    ///
    /// # Errors
    ///
    /// Any error, for a status other than 200 and a body of more than `limit` bytes, too. The
    /// caller has a time limit of its own.
    fn fetch(
        &self,
        url: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Fetched, BoxError>> + Send;
}

/// The fetched bytes.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub(super) body: Bytes,
    pub(super) max_age: Option<Duration>,
}

impl Fetched {
    /// Makes it of a body.
    ///
    /// ```
    /// use tower_persistence::verify::Fetched;
    ///
    /// let fetched = Fetched::new(r#"{"keys":[]}"#);
    /// ```
    #[must_use]
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), max_age: None }
    }

    /// Sets how long the server allows to keep it: `max-age` of `Cache-Control`. Default: it is
    /// kept for an hour.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::verify::Fetched;
    /// let fetched = Fetched::new("…").max_age(Some(Duration::from_secs(600)));
    /// ```
    #[must_use]
    pub fn max_age(self, max_age: Option<Duration>) -> Self {
        Self { max_age, ..self }
    }
}

/// [`Fetcher`] as an object.
pub(super) trait DynFetcher: Send + Sync {
    fn fetch<'a>(&'a self, url: &'a str, limit: usize) -> BoxFuture<'a, Result<Fetched, BoxError>>;
}

impl<F: Fetcher> DynFetcher for F {
    fn fetch<'a>(&'a self, url: &'a str, limit: usize) -> BoxFuture<'a, Result<Fetched, BoxError>> {
        Box::pin(Fetcher::fetch(self, url, limit))
    }
}
