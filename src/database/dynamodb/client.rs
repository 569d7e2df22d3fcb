//! The client: where it connects to, as whom, and how long it waits.

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, Credentials, Region};

use super::builder::{DynamoDbBuilder, configuration};
use super::credentials::CredentialsCache;
use crate::error::Error;

/// The region where an endpoint is given: requests are signed for one, and another server takes any.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// Where AWS SDKs look for an endpoint.
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"];

impl DynamoDbBuilder {
    pub(super) async fn config(&self) -> Result<config::Builder, Error> {
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
        config = config.timeout_config(timeouts(self.timeout)).retry_config(retries());

        let table = &self.table;
        let found = config.clone().build();
        if found.region().is_none() {
            if !self.has_endpoint() {
                return Err(configuration(format!(
                    "the region of table \"{table}\" is not known: {}",
                    advice("AWS_REGION", "`.region(…)`")
                )));
            }
            config = config.region(Region::from_static(DEFAULT_REGION));
        }
        #[cfg(not(feature = "aws-config"))]
        if self.credentials.is_none() {
            return Err(configuration(format!(
                "the credentials for table \"{table}\" are not known: {}",
                advice("", "`.credentials(…)` or `.client(…)`")
            )));
        }
        Ok(config)
    }

    /// Says whether an endpoint is given, here or where AWS SDKs look for one.
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

/// The SDK has none by default but for connecting.
pub(super) fn timeouts(operation: Duration) -> TimeoutConfig {
    let attempt = operation / 2;
    TimeoutConfig::builder()
        .connect_timeout(attempt)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// A person waits for the reply: try again soon, or not at all.
fn retries() -> RetryConfig {
    RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(500))
}

/// The client with these credentials' cache, and with time-outs where it has none.
pub(super) fn adapted(client: &Client, credentials: CredentialsCache, timeout: Duration) -> Client {
    let config = client.config().to_builder().identity_cache(credentials);
    let is_bounded = client.config().timeout_config().is_some_and(|timeouts| {
        timeouts.operation_timeout().is_some() || timeouts.operation_attempt_timeout().is_some()
    });
    Client::from_conf(match is_bounded {
        true => config.build(),
        false => config.timeout_config(timeouts(timeout)).build(),
    })
}
