//! The chains that were fetched, by URL. The URL is the caller's, so everything is bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::super::fetch::{DynFetcher, Fetcher};
use super::super::refusal::Cause;
use super::Chain;

/// The most chains that are kept. Amazon uses one at a time.
const MOST: usize = 16;

/// The age at which a chain is fetched again. Its dates are checked with each request.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The time for which a URL that led to nothing is not asked again.
const FAILED: Duration = Duration::from_secs(10);

/// The longest file of certificates, in bytes: Amazon's has 8 KB.
const LONGEST: usize = 64 * 1024;

/// The time limit of fetching, with the wait for other fetches. Alexa waits for eight seconds.
const TIME_LIMIT: Duration = Duration::from_secs(3);

/// The most fetches at a time.
const AT_ONCE: usize = 4;

pub(super) struct Chains {
    fetcher: Box<dyn DynFetcher>,
    kept: Mutex<HashMap<String, Kept>>,
    fetches: Semaphore,
}

#[derive(Clone)]
struct Kept {
    /// `None` if the URL has led to nothing.
    chain: Option<Arc<Chain>>,
    until: SystemTime,
}

impl Chains {
    pub(super) fn new(fetcher: impl Fetcher) -> Self {
        let (kept, fetches) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Self { fetcher: Box::new(fetcher), kept, fetches }
    }

    /// Returns the chain behind a normalised URL.
    pub(super) async fn get(&self, url: &str, now: SystemTime) -> Result<Arc<Chain>, Cause> {
        if let Some(kept) = self.kept(url, now) {
            return kept;
        }
        let fetched = timeout(TIME_LIMIT, async {
            let _permit = self.fetches.acquire().await.ok()?;
            // Another request may have fetched it meanwhile.
            if let Some(kept) = self.kept(url, now) {
                return Some(kept);
            }
            let fetched = self.fetcher.fetch(url, LONGEST).await;
            let body = fetched.inspect_err(|error| {
                tracing::warn!("fetching Alexa's certificates failed: {error}");
            });
            let body = body.map(|fetched| fetched.body).ok().filter(|it| it.len() <= LONGEST);
            let chain = body.and_then(|pem| Chain::parse(&pem)).map(Arc::new);
            Some(self.keep(url, chain, now).ok_or(Cause::KeysUnavailable))
        });
        fetched.await.ok().flatten().unwrap_or(Err(Cause::KeysUnavailable))
    }

    fn kept(&self, url: &str, now: SystemTime) -> Option<Result<Arc<Chain>, Cause>> {
        let kept = self.lock().get(url).filter(|kept| now <= kept.until).cloned()?;
        Some(kept.chain.ok_or(Cause::KeysUnavailable))
    }

    /// Keeps what a URL led to. Returns the chain to use: an older one if there is no new one,
    /// since its dates are checked with each request.
    fn keep(&self, url: &str, chain: Option<Arc<Chain>>, now: SystemTime) -> Option<Arc<Chain>> {
        let mut kept = self.lock();
        let age = if chain.is_some() { KEPT } else { FAILED };
        let chain = chain.or_else(|| kept.get(url)?.chain.clone());
        kept.retain(|_, kept| kept.chain.is_some() || now <= kept.until);
        if kept.len() >= MOST && !kept.contains_key(url) {
            // A stranger's URLs lead to nothing, so those that failed go first.
            let first = kept.iter().min_by_key(|(_, kept)| (kept.chain.is_some(), kept.until));
            if let Some(first) = first.map(|(url, _)| url.clone()) {
                kept.remove(&first);
            }
        }
        let until = now.checked_add(age).unwrap_or(now);
        kept.insert(url.to_owned(), Kept { chain: chain.clone(), until });
        chain
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
