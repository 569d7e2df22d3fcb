//! The client's credentials: loaded once for all requests, and again before they expire.
//!
//! The client's own cache loads them within the first request, under its time limit: where a
//! container, STS or SSO takes longer, each request gives up and the next one starts over.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{
    self, ConfigBag, Intercept, ResolveCachedIdentity, RuntimeComponents,
};
use aws_smithy_runtime_api::client::identity::{
    Identity, IdentityFuture, ResolveIdentity, SharedIdentityResolver,
};

use super::inner::Inner;
use crate::database::flight::Flight;
use crate::error::{BoxError, Error, Kind};

/// The time for which to keep credentials without an expiry. Same as the SDK's: a profile may be
/// edited.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The time before their expiry at which to load credentials again. Half their lifetime if that
/// is shorter.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The pause after a failed refresh while the old credentials are still valid.
const PAUSE: Duration = Duration::from_secs(10);

/// Caches an identity, and loads it outside the requests that wait for it. Clones share the cache.
#[derive(Clone)]
pub(super) struct CredentialsCache(Arc<Shared>);

struct Shared {
    table: String,
    limit: Duration,
    current: RwLock<Option<Current>>,
    flight: Flight<Identity>,
}

#[derive(Clone)]
struct Current {
    identity: Identity,
    refresh: SystemTime,
    expires: SystemTime,
}

impl Current {
    fn new(identity: Identity, now: SystemTime) -> Self {
        let expires = identity.expiration().unwrap_or(now + LIFETIME);
        let lifetime = expires.duration_since(now).unwrap_or_default();
        Self { identity, refresh: expires - AHEAD.min(lifetime / 2), expires }
    }
}

impl CredentialsCache {
    /// Creates a cache for the table `table`. Loading credentials may take `limit`.
    pub(super) fn new(table: &str, limit: Duration) -> Self {
        let (current, flight) = (RwLock::default(), Flight::default());
        Self(Arc::new(Shared { table: table.to_owned(), limit, current, flight }))
    }

    /// Returns whether a request can be sent without waiting for credentials.
    fn are_there(&self) -> bool {
        self.with_valid(SystemTime::now(), |_| ()).is_some()
    }

    fn valid(&self, now: SystemTime) -> Option<Current> {
        self.with_valid(now, Current::clone)
    }

    fn with_valid<T>(&self, now: SystemTime, read: impl FnOnce(&Current) -> T) -> Option<T> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|current| now < current.expires).map(read)
    }

    fn note(&self, current: Current) {
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Some(current);
    }

    async fn load(
        self,
        resolver: SharedIdentityResolver,
        components: RuntimeComponents,
    ) -> Result<Identity, Error> {
        let Shared { table, limit, .. } = &*self.0;
        // Credentials providers read nothing from a request's configuration.
        let config = ConfigBag::base();
        let loading = resolver.resolve_identity(&components, &config);
        let identity = match tokio::time::timeout(*limit, loading).await {
            Ok(loaded) => loaded.map_err(|error| self.failed(error)),
            // Falls back to expired credentials of EC2, which AWS accepts while its metadata
            // service is down.
            Err(_) => resolver.fallback_on_interrupt().ok_or_else(|| {
                Error::new(
                    Kind::Database,
                    format!(
                        "the AWS credentials for table \"{table}\" were not loaded within {limit:?}; \
                         look at what provides them, or allow more with `ready_timeout`"
                    ),
                )
            }),
        };
        let now = SystemTime::now();
        match identity {
            Ok(identity) => {
                self.note(Current::new(identity.clone(), now));
                Ok(identity)
            }
            Err(error) => {
                if let Some(current) = self.valid(now) {
                    tracing::warn!("the old credentials are still used: {error:?}");
                    self.note(Current { refresh: now + PAUSE, ..current });
                }
                Err(error)
            }
        }
    }

    fn failed(&self, error: BoxError) -> Error {
        let table = &self.0.table;
        let advice = match missing_feature(&*error) {
            Some(feature) => format!("add the feature `{feature}` of tower-persistence"),
            None => {
                "give the app a role or a profile, or name them with `.credentials(…)`".to_owned()
            }
        };
        let message =
            format!("the AWS credentials for table \"{table}\" could not be loaded; {advice}");
        Error::new(Kind::Database, message).with_source(error)
    }
}

/// Returns the feature of this crate that supports the profile's kind of credentials.
fn missing_feature(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    // The error is a `FeatureNotEnabled`, a type that exists only with `aws-config`.
    let text = causes.map(ToString::to_string).find(|text| text.contains("cargo feature"))?;
    text.contains("credentials-login").then_some("aws-login")
}

impl ResolveCachedIdentity for CredentialsCache {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        _: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let now = SystemTime::now();
        let load = || self.clone().load(resolver, components.clone());
        match self.valid(now) {
            Some(current) => {
                if current.refresh <= now {
                    drop(self.0.flight.begin(load()));
                }
                IdentityFuture::ready(Ok(current.identity))
            }
            None => {
                let load = load();
                IdentityFuture::new(async { self.0.flight.join(load).await.map_err(Into::into) })
            }
        }
    }
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CredentialsCache").finish_non_exhaustive()
    }
}

impl Inner {
    /// Waits until there are credentials, without the time limit of a request.
    pub(super) async fn credentials(&self) -> Result<(), Error> {
        if self.credentials.are_there() {
            return Ok(());
        }
        // Only the client knows its provider of credentials, and it asks the provider when it
        // signs. So it signs a request that is never sent.
        let limits = config::Builder::new()
            .timeout_config(TimeoutConfig::disabled())
            .retry_config(RetryConfig::disabled());
        let request = self.client.list_tables().customize();
        match request.config_override(limits).interceptor(Unsent).send().await {
            Err(error) if !self.credentials.are_there() => Err(self.failed("signing", error)),
            _ => Ok(()),
        }
    }
}

/// Aborts a request before it is sent.
#[derive(Debug)]
struct Unsent;

impl Intercept for Unsent {
    fn name(&self) -> &'static str {
        "Unsent"
    }

    fn modify_before_transmit(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        Err("it is signed and not sent".into())
    }
}
