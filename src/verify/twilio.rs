//! Twilio's signature: HMAC-SHA1 over the URL and the form's fields.

use std::fmt;
use std::future::{Future, ready};

use aws_lc_rs::hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key};
use http::header::{CONTENT_TYPE, HOST};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::query;
use super::refusal::{Cause, Refusal};
use super::secrets::{Secrets, from_base64, is_equal, sha256, to_hex};
use super::verifier::{Proof, SignedRequest, Verifier};

/// The most fields of a form: Twilio sends a few dozen.
const MOST_FIELDS: usize = 1000;

/// The characters that JavaScript's `encodeURIComponent` escapes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Checks `X-Twilio-Signature` with the account's auth token
/// ([documentation](https://www.twilio.com/docs/usage/security#validating-requests)).
///
/// The signature is over the URL as Twilio knows it, and the fields of the form. Behind a proxy, name
/// that URL with [`public_url`](Self::public_url). The spellings that Twilio's own library accepts
/// pass: with or without the default port, and with the query encoded in another way.
///
/// A body that is not a form is signed by its hash in the query, `bodySHA256`. Without it, such a
/// request is refused, since its body is not signed at all.
///
/// Twilio joins names and values without a sign between them, so the signature does not tell where
/// a name ends. Fields without a name or without `=` are refused for that reason.
///
/// ```
/// use tower_persistence::verify::Twilio;
///
/// let twilio = Twilio::new("auth token").public_url("https://bot.example.com");
/// ```
#[derive(Clone)]
pub struct Twilio {
    keys: Vec<Key>,
    public_url: Option<PublicUrl>,
    problem: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct PublicUrl {
    scheme: String,
    authority: String,
    /// `None` keeps that of the request.
    path: Option<String>,
}

impl Twilio {
    /// Makes a check with these auth tokens.
    ///
    /// ```
    /// use tower_persistence::verify::Twilio;
    ///
    /// let twilio = Twilio::new(["new auth token", "old auth token"]);
    /// ```
    #[must_use]
    pub fn new(auth_tokens: impl Into<Secrets>) -> Self {
        let tokens = auth_tokens.into();
        let key = |token: &str| Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
        Self { keys: tokens.iter().map(key).collect(), public_url: None, problem: tokens.problem() }
    }

    /// Sets the URL under which Twilio reaches the service. A path in it replaces that of the
    /// request; the query is always the request's. Default: `https`, the header `Host` and the path
    /// of the request.
    ///
    /// ```
    /// # use tower_persistence::verify::Twilio;
    /// let whole_site = Twilio::new("auth token").public_url("https://bot.example.com");
    /// let one_page = Twilio::new("auth token").public_url("https://example.com/bot/twilio");
    /// ```
    #[must_use]
    pub fn public_url(mut self, url: &str) -> Self {
        let parts = url.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme));
        let Some((scheme, rest)) = parts.filter(|(_, rest)| !rest.contains(['?', '#', '@'])) else {
            self.problem = Some("the public URL is not like `https://bot.example.com`");
            return self;
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = (path.len() > 1).then(|| path.to_owned());
        let (scheme, authority) = (scheme.to_owned(), authority.to_owned());
        self.public_url = Some(PublicUrl { scheme, authority, path });
        self
    }

    fn check(&self, request: SignedRequest<'_>) -> Result<(), Cause> {
        let signature = request.header("x-twilio-signature").and_then(from_base64);
        let signature = signature.ok_or(Cause::NoSignature)?;
        let query = request.head.uri.query();
        let fields = match query.and_then(|query| query::value(query, "bodySHA256")) {
            Some(hash)
                if is_equal(hash.as_bytes(), to_hex(&sha256(&[request.body])).as_bytes()) =>
            {
                Vec::new()
            }
            Some(_) => return Err(Cause::BadSignature),
            None if is_form(request) => fields(request.body).ok_or(Cause::BadSignature)?,
            None if request.body.is_empty() => Vec::new(),
            None => return Err(Cause::NoSignature),
        };
        let is_signed = self.spellings(request).ok_or(Cause::NoSignature)?.iter().any(|url| {
            let message = [url.as_bytes(), &fields].concat();
            self.keys.iter().any(|key| hmac::verify(key, &message, &signature).is_ok())
        });
        if is_signed { Ok(()) } else { Err(Cause::BadSignature) }
    }

    /// Returns the spellings of the URL that Twilio may have signed.
    fn spellings(&self, request: SignedRequest<'_>) -> Option<Vec<String>> {
        let uri = &request.head.uri;
        let (scheme, authority, path) = match &self.public_url {
            Some(url) => (&*url.scheme, &*url.authority, url.path.as_deref()),
            None => {
                let authority = uri.authority().map(http::uri::Authority::as_str);
                let authority = authority.or_else(|| request.header(HOST.as_str()))?;
                (uri.scheme_str().unwrap_or("https"), authority, None)
            }
        };
        let path = path.unwrap_or(uri.path());
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        // A colon inside the brackets of an IPv6 address is not a port's.
        let port = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let authorities = match port {
            Some(at) => [authority.to_owned(), authority[..at].to_owned()],
            None => [authority.to_owned(), format!("{authority}{default_port}")],
        };
        let queries = match uri.query() {
            None => vec![String::new()],
            Some(query) => vec![
                format!("?{query}"),
                format!("?{}", query.replace('\'', "%27")),
                format!("?{}", encoded_anew(query)),
            ],
        };
        let urls = authorities.iter().flat_map(|authority| {
            queries.iter().map(move |query| format!("{scheme}://{authority}{path}{query}"))
        });
        Some(urls.collect())
    }
}

impl Verifier for Twilio {
    fn verify(
        &self,
        request: SignedRequest<'_>,
    ) -> impl Future<Output = Result<Proof, Refusal>> + Send {
        ready(self.check(request).map(|()| Proof::new()).map_err(Refusal::from))
    }

    fn problem(&self) -> Option<&str> {
        self.problem
    }
}

/// Shows no auth token.
impl fmt::Debug for Twilio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Twilio")
            .field("keys", &self.keys.len())
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

fn is_form(request: SignedRequest<'_>) -> bool {
    let content_type = request.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = content_type.split([';', ',']).next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Returns the form's fields as Twilio signs them: sorted by name, each name and value joined; of
/// equal fields one.
fn fields(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let is_whole =
        |pair: &str| pair.find('=').is_some_and(|at| at > 0 && !pair[at + 1..].contains('='));
    if !text.is_empty() && !text.split('&').all(is_whole) {
        return None;
    }
    let mut fields: Vec<_> = query::pairs(text).collect();
    if fields.len() > MOST_FIELDS {
        return None;
    }
    fields.sort();
    fields.dedup();
    Some(fields.into_iter().flat_map(|(name, value)| [name, value].concat()).collect())
}

fn encoded_anew(query: &str) -> String {
    let encode = |text| percent_encode(&query::decode(text), COMPONENT).to_string();
    let pairs = query::raw_pairs(query);
    let pairs: Vec<_> =
        pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

impl From<&str> for Twilio {
    fn from(auth_token: &str) -> Self {
        Self::new(auth_token)
    }
}

impl From<String> for Twilio {
    fn from(auth_token: String) -> Self {
        Self::new(auth_token)
    }
}
