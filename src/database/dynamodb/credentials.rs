//! The client's credentials: loaded once for all requests, and again ahead of their expiry.
//!
//! The client's own cache loads them within the first request, under its time limit: where a
//! container, STS or SSO takes longer, each request gives up, and the next one begins anew.

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

use super::Inner;
use super::flight::Flight;
use crate::error::{BoxError, Error, Kind};

/// How long credentials without an expiry are kept, as the SDK does it: a profile may be edited.
const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How long before they expire they are loaded again; half their lifetime where that is shorter.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// How long after a failure it is tried again while the old ones are still valid.
const PAUSE: Duration = Duration::from_secs(10);

/// An identity cache that loads outside the requests that wait for it. Clones share it.
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
    /// For the table `table`; loading them may take `limit`.
    pub(super) fn new(table: &str, limit: Duration) -> Self {
        let (current, flight) = (RwLock::default(), Flight::default());
        Self(Arc::new(Shared { table: table.to_owned(), limit, current, flight }))
    }

    /// Whether a request can be sent without waiting for them.
    fn are_there(&self) -> bool {
        self.valid(SystemTime::now()).is_some()
    }

    fn valid(&self, now: SystemTime) -> Option<Current> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|current| now < current.expires).cloned()
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
        // Providers of credentials read nothing of a request's configuration.
        let config = ConfigBag::base();
        let loading = resolver.resolve_identity(&components, &config);
        let identity = match tokio::time::timeout(*limit, loading).await {
            Ok(loaded) => loaded.map_err(|error| self.failed(error)),
            // An expired one of EC2, which AWS accepts while its metadata service is down.
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

/// Our feature that adds what the profile asks for.
fn missing_feature(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    // `FeatureNotEnabled`, of a type that is only there with `aws-config`.
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
    /// Waits until there are credentials, under no request's time limit.
    pub(super) async fn credentials(&self) -> Result<(), Error> {
        if self.credentials.are_there() {
            return Ok(());
        }
        // Only the client knows where they come from: it signs a request that is not sent.
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

/// Ends a request before it is sent.
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
