//! The keys of an issuer: fetched when they are needed, kept, and fetched again when a token names
//! a new one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::fetch::{DynFetcher, Fetched, Fetcher};
use super::super::refusal::Cause;
use super::jwks::{self, Key};
use crate::error::BoxError;

/// The longest document, in bytes: Entra's set has 20 KB.
const LONGEST: usize = 256 * 1024;

/// The time limit of fetching.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// The time for which keys count as fresh: at least, by default, and at most.
const FRESH: [Duration; 3] =
    [Duration::from_secs(300), Duration::from_secs(3600), Duration::from_secs(24 * 3600)];

/// The time for which keys are used while newer ones cannot be fetched.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The wait before the next attempt: a token that names an unknown key costs a stranger
/// nothing.
const PAUSE: Duration = Duration::from_secs(30);

/// The public keys of an issuer.
///
/// They are kept as long as the server allows, from five minutes to a day, by default an hour. A
/// token that names an unknown key has them fetched again, at most every 30 seconds, so that a new
/// key of the issuer is known at once. While they cannot be fetched, the last ones are used for a
/// day.
///
/// ```
/// # use tower_persistence::BoxError;
/// # use tower_persistence::verify::{Fetched, Fetcher, Keys};
/// # struct MyClient;
/// # impl Fetcher for MyClient {
/// #     async fn fetch(&self, _: &str, _: usize) -> Result<Fetched, BoxError> {
/// #         Err("offline".into())
/// #     }
/// # }
/// let keys = Keys::jwks("https://www.googleapis.com/oauth2/v3/certs", MyClient);
/// ```
pub struct Keys {
    source: Source,
    state: Mutex<State>,
    /// One fetch at a time, for all who wait.
    fetching: Semaphore,
}

enum Source {
    Fixed { is_usable: bool },
    Jwks { url: String, fetcher: Box<dyn DynFetcher> },
    Discovery { url: String, issuer: Option<String>, fetcher: Box<dyn DynFetcher> },
}

#[derive(Default)]
struct State {
    keys: Vec<Arc<Key>>,
    /// When the keys were fetched, and until when they are fresh.
    fetched: Option<(SystemTime, SystemTime)>,
    /// The last attempt.
    tried: Option<SystemTime>,
}

/// The action to take for a key.
enum Next {
    Use(Arc<Key>),
    Refuse(Cause),
    Fetch,
}

impl Keys {
    fn new(source: Source, keys: Vec<Key>) -> Self {
        let keys = keys.into_iter().map(Arc::new).collect();
        let state = Mutex::new(State { keys, ..State::default() });
        Self { source, state, fetching: Semaphore::new(1) }
    }

    /// Takes these keys, a set in JSON ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)), and no
    /// others.
    ///
    /// ```
    /// use tower_persistence::verify::Keys;
    ///
    /// let keys = Keys::fixed(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"…"}]}"#);
    /// ```
    #[must_use]
    pub fn fixed(json: impl AsRef<[u8]>) -> Self {
        let keys = jwks::parse(json.as_ref()).unwrap_or_default();
        Self::new(Source::Fixed { is_usable: !keys.is_empty() }, keys)
    }

    /// Fetches the set of keys from this URL.
    ///
    /// ```
    /// # use tower_persistence::BoxError;
    /// # use tower_persistence::verify::{Fetched, Fetcher, Keys};
    /// # fn example(fetcher: impl Fetcher) {
    /// let keys = Keys::jwks("https://issuer.example.com/keys", fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn jwks(url: impl Into<String>, fetcher: impl Fetcher) -> Self {
        let source = Source::Jwks { url: url.into(), fetcher: Box::new(fetcher) };
        Self::new(source, Vec::new())
    }

    /// Fetches the set of keys from where the OpenID configuration under this URL says.
    ///
    /// ```
    /// # use tower_persistence::verify::{Fetcher, Keys};
    /// # fn example(fetcher: impl Fetcher) {
    /// let url = "https://issuer.example.com/.well-known/openid-configuration";
    /// let keys = Keys::discovery(url, fetcher);
    /// # }
    /// ```
    #[must_use]
    pub fn discovery(url: impl Into<String>, fetcher: impl Fetcher) -> Self {
        let fetcher = Box::new(fetcher);
        Self::new(Source::Discovery { url: url.into(), issuer: None, fetcher }, Vec::new())
    }

    /// The same, and the configuration must be this issuer's.
    pub(super) fn of_issuer(issuer: &str, fetcher: impl Fetcher) -> Self {
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let (issuer, fetcher) = (Some(issuer.to_owned()), Box::new(fetcher));
        Self::new(Source::Discovery { url, issuer, fetcher }, Vec::new())
    }

    pub(super) fn problem(&self) -> Option<&'static str> {
        match &self.source {
            Source::Fixed { is_usable } => {
                (!is_usable).then_some("the set of keys has none that can check a signature")
            }
            Source::Jwks { url, .. } | Source::Discovery { url, .. } => {
                (!url.starts_with("https://")).then_some("the URL of the keys is not `https://…`")
            }
        }
    }

    /// Returns the key of this id; without an id, the only one.
    pub(super) async fn find(&self, id: Option<&str>, now: SystemTime) -> Result<Arc<Key>, Cause> {
        let mut next = self.next(id, now);
        if matches!(next, Next::Fetch) {
            let permit = self.fetching.acquire().await;
            // Another request may have fetched them meanwhile.
            next = self.next(id, now);
            if matches!(next, Next::Fetch) {
                self.refresh(now).await;
                next = self.next(id, now);
            }
            drop(permit);
        }
        match next {
            Next::Use(key) => Ok(key),
            Next::Refuse(cause) => Err(cause),
            Next::Fetch => Err(Cause::KeysUnavailable),
        }
    }

    fn next(&self, id: Option<&str>, now: SystemTime) -> Next {
        let state = self.lock();
        let key = match id {
            Some(id) => state.keys.iter().find(|key| key.id.as_deref() == Some(id)),
            None => state.keys.first().filter(|_| state.keys.len() == 1),
        };
        if let Source::Fixed { .. } = self.source {
            return key.cloned().map_or(Next::Refuse(Cause::UnknownKey), Next::Use);
        }
        let is_fresh = state.fetched.is_some_and(|(_, until)| now < until);
        // Either way: another request may have read the clock a moment later.
        let is_recent = state.tried.is_some_and(|tried| apart(tried, now) < PAUSE);
        let is_usable = state.fetched.is_some_and(|(at, _)| apart(at, now) < STALE);
        match key.cloned() {
            Some(key) if is_fresh || (is_recent && is_usable) => Next::Use(key),
            _ if !is_recent => Next::Fetch,
            None if is_fresh => Next::Refuse(Cause::UnknownKey),
            _ => Next::Refuse(Cause::KeysUnavailable),
        }
    }

    async fn refresh(&self, now: SystemTime) {
        let fetched = match timeout(TIME_LIMIT, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err("no answer in time".into()),
        };
        let mut state = self.lock();
        state.tried = Some(now);
        match fetched {
            Ok((keys, max_age)) => {
                let [least, usual, most] = FRESH;
                let fresh = max_age.unwrap_or(usual).clamp(least, most);
                state.keys = keys.into_iter().map(Arc::new).collect();
                state.fetched = Some((now, now.checked_add(fresh).unwrap_or(now)));
            }
            Err(error) => {
                tracing::warn!("fetching the keys of an issuer failed: {error}");
            }
        }
    }

    async fn fetch(&self) -> Result<(Vec<Key>, Option<Duration>), BoxError> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: Option<String>,
            jwks_uri: String,
        }

        let set = match &self.source {
            Source::Fixed { .. } => return Err("fixed keys are not fetched".into()),
            Source::Jwks { url, fetcher } => fetch(&**fetcher, url).await?,
            Source::Discovery { url, issuer, fetcher } => {
                let fetched = fetch(&**fetcher, url).await?;
                let found: Configuration = serde_json::from_slice(&fetched.body)?;
                if issuer.is_some() && found.issuer != *issuer {
                    return Err("the configuration is another issuer's".into());
                }
                if !found.jwks_uri.starts_with("https://") {
                    return Err("the URL of the keys is not `https://…`".into());
                }
                fetch(&**fetcher, &found.jwks_uri).await?
            }
        };
        let keys = jwks::parse(&set.body).ok_or("the set of keys cannot be read")?;
        Ok((keys, set.max_age))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(fetcher: &dyn DynFetcher, url: &str) -> Result<Fetched, BoxError> {
    let fetched = fetcher.fetch(url, LONGEST).await?;
    if fetched.body.len() > LONGEST {
        return Err("the document is too long".into());
    }
    Ok(fetched)
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match &self.source {
            Source::Fixed { .. } => None,
            Source::Jwks { url, .. } | Source::Discovery { url, .. } => Some(url),
        };
        f.debug_struct("Keys").field("url", &url).finish_non_exhaustive()
    }
}
