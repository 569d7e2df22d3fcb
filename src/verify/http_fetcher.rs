//! Fetching with a kept HTTP client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};

use super::fetch::{Fetched, Fetcher};
use crate::error::BoxError;

/// The time for which a connection is kept for the next fetch.
const IDLE: Duration = Duration::from_secs(60);

/// The time limit of connecting to one host.
const CONNECT: Duration = Duration::from_secs(2);

/// Fetches by HTTPS, with one client for all: HTTP/1.1, the root certificates of Mozilla, no
/// redirects, no proxy. Clones share the client.
///
/// ```
/// use tower_persistence::verify::{HttpFetcher, Jwt};
///
/// let fetcher = HttpFetcher::new();
/// let chat = Jwt::google_chat_url("https://bot.example.com/chat", fetcher.clone());
/// let teams = Jwt::bot_framework("00000000-0000-0000-0000-000000000000", fetcher);
/// ```
#[derive(Clone)]
pub struct HttpFetcher {
    client: Option<Client<HttpsConnector<HttpConnector>, Empty<Bytes>>>,
}

impl HttpFetcher {
    /// Makes a client. It connects when it is asked first.
    ///
    /// ```
    /// use tower_persistence::verify::HttpFetcher;
    ///
    /// let fetcher = HttpFetcher::new();
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::with_roots(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
    }

    /// Trusts this root certificate alone, in DER, in the place of Mozilla's: for tests, and for a
    /// proxy with a certificate authority of its own. One that cannot be read lets nothing be
    /// fetched.
    ///
    /// ```
    /// # use tower_persistence::verify::HttpFetcher;
    /// # fn example(der: &[u8]) {
    /// let fetcher = HttpFetcher::new().root(der);
    /// # }
    /// ```
    #[must_use]
    pub fn root(self, der: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        // Without a root, no server is trusted.
        let _ = roots.add(der.to_vec().into());
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Self {
        // Named, since a program may have several, none of which is the default then.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = versions.ok().map(|versions| {
            let tls = versions.with_root_certificates(roots).with_no_client_auth();
            let mut connector = HttpConnector::new();
            connector.enforce_http(false);
            connector.set_connect_timeout(Some(CONNECT));
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_only()
                .enable_http1()
                .wrap_connector(connector);
            Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .pool_timer(TokioTimer::new())
                .build(connector)
        });
        Self { client }
    }
}

impl Default for HttpFetcher {
    fn default() -> Self {
        Self::new()
    }
}

impl Fetcher for HttpFetcher {
    async fn fetch(&self, url: &str, limit: usize) -> Result<Fetched, BoxError> {
        let client = self.client.as_ref().ok_or("TLS is not available")?;
        let request = Request::get(url).header("accept", "*/*").body(Empty::new())?;
        let response = client.request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the server answered with {}", response.status()).into());
        }
        let max_age = max_age(response.headers());
        let body = Limited::new(response.into_body(), limit).collect().await?.to_bytes();
        Ok(Fetched::new(body).max_age(max_age))
    }
}

/// Returns `max-age` of `Cache-Control`; none if the answer must not be kept.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = || {
        let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(str::trim)
    };
    if directives().any(|it| ["no-store", "no-cache"].contains(&&*it.to_ascii_lowercase())) {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim_matches('"').parse().ok())?
    });
    seconds.map(Duration::from_secs)
}

impl fmt::Debug for HttpFetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpFetcher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_read_as_servers_write_it() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(read(&["public, max-age=21405, must-revalidate"]), Some(21405));
        assert_eq!(read(&["public", "Max-Age=\"60\""]), Some(60));
        assert_eq!(read(&["max-age=60, no-store"]), Some(0));
        assert_eq!(read(&["max-age=soon"]), None);
        assert_eq!(read(&["s-maxage=5"]), None);
        assert_eq!(read(&[]), None);
    }
}
