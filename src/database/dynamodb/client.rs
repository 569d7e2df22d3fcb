//! The client: its endpoint, its credentials and its time limits.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, Credentials, Region, StalledStreamProtectionConfig};

use super::attempts::Attempts;
use super::credentials::CredentialsCache;
use crate::error::Error;

/// The region for an endpoint without one: requests are signed for a region, and servers other than
/// Amazon's accept any.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// The variables in which AWS SDKs look for an endpoint.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"];

/// The settings of the client.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) table: String,
    pub(super) region: Option<String>,
    pub(super) credentials: Option<(String, String)>,
    pub(super) endpoint: Option<String>,
    /// A client of the caller's, used in place of one made from these settings.
    pub(super) client: Option<Client>,
    pub(super) timeout: Duration,
    pub(super) ready_timeout: Duration,
}

impl Access {
    /// Makes the client, which takes its credentials from the cache `credentials`. Sends nothing.
    pub(super) async fn client(&self, credentials: CredentialsCache) -> Result<Client, Error> {
        match &self.client {
            Some(client) => Ok(adapted(client, credentials, self.timeout)),
            None => {
                let config = self.config().await?.identity_cache(credentials);
                Ok(Client::from_conf(config.build()))
            }
        }
    }

    /// Returns the endpoint for display, without the user and password that it may contain.
    pub(super) fn shown_endpoint(&self) -> Option<String> {
        let url = self.endpoint.as_deref()?;
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        Some(format!("{scheme}://{host}"))
    }

    async fn config(&self) -> Result<config::Builder, Error> {
        let mut config = self.environment().await;
        if let Some(region) = &self.region {
            config = config.region(Region::new(region.clone()));
        }
        if let Some((id, secret)) = &self.credentials {
            let credentials = Credentials::new(id, secret, None, None, "tower-persistence");
            config = config.credentials_provider(credentials);
        }
        if let Some(url) = &self.endpoint {
            config = config.endpoint_url(url);
        }
        config = limited(config, self.timeout).retry_config(retries()).interceptor(Attempts);

        let table = &self.table;
        let found = config.clone().build();
        if found.region().is_none() {
            if !self.has_endpoint() {
                return Err(Error::configuration(format!(
                    "the region of table \"{table}\" is not known: {}",
                    advice("AWS_REGION", "`.region(…)`")
                )));
            }
            config = config.region(Region::from_static(DEFAULT_REGION));
        }
        #[cfg(not(feature = "aws-config"))]
        if self.credentials.is_none() {
            return Err(Error::configuration(format!(
                "the credentials for table \"{table}\" are not known: {}",
                advice("", "`.credentials(…)` or `.client(…)`")
            )));
        }
        Ok(config)
    }

    /// Returns whether an endpoint is set, here or in the environment.
    pub(super) fn has_endpoint(&self) -> bool {
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        self.endpoint.is_some() || cfg!(feature = "aws-config") && ENDPOINTS.iter().any(is_set)
    }

    #[cfg(not(feature = "aws-config"))]
    async fn environment(&self) -> config::Builder {
        config::Builder::new()
    }
}

fn advice(variable: &str, method: &str) -> String {
    if cfg!(feature = "aws-config") {
        format!("set {variable}, or give it with {method}")
    } else {
        format!(
            "give it with {method}, or add the feature `aws-config`, which asks the environment"
        )
    }
}

/// Limits a call and its attempts: by default the SDK limits only the time to connect.
pub(super) fn timeouts(operation: Duration) -> TimeoutConfig {
    let attempt = operation / 2;
    TimeoutConfig::builder()
        .connect_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// Limits the time of calls about items. The limits bound an answer that stalls as well. The
/// client's own protection against such answers wraps each body, which takes a tenth of a call.
fn limited(config: config::Builder, timeout: Duration) -> config::Builder {
    let protection = StalledStreamProtectionConfig::disabled();
    config.timeout_config(timeouts(timeout)).stalled_stream_protection(protection)
}

/// Gives calls about the table more time than calls about items.
pub(super) fn patient() -> config::Builder {
    config::Builder::new().timeout_config(timeouts(Duration::from_secs(10)))
}

/// Retries soon or not at all, because a person waits for the reply.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500))
}

/// Rebuilds the caller's client with this credentials cache, and with time-outs where it has none.
fn adapted(client: &Client, credentials: CredentialsCache, timeout: Duration) -> Client {
    let config = client.config().to_builder().identity_cache(credentials).interceptor(Attempts);
    let is_bounded = client.config().timeout_config().is_some_and(|timeouts| {
        timeouts.operation_timeout().is_some() || timeouts.operation_attempt_timeout().is_some()
    });
    Client::from_conf(match is_bounded {
        true => config.build(),
        false => limited(config, timeout).build(),
    })
}
