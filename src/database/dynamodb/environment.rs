//! Looks up region and credentials in the environment, with feature `aws-config`.

use std::time::Duration;

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_dynamodb::config::{
    self, BehaviorVersion, HttpClient, Region, RuntimeComponents, SharedHttpClient,
};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};

use super::client::{Access, DEFAULT_REGION};

/// The number of requests to EC2's metadata service, one second each. The SDK makes four, with
/// pauses: outside EC2, where no answer comes, that takes ten seconds.
const METADATA_ATTEMPTS: u32 = 2;

impl Access {
    /// Reads the environment only where a setting is missing: outside AWS it can be slow to answer.
    pub(super) async fn environment(&self) -> config::Builder {
        let config = config::Builder::new();
        if self.credentials.is_some() && (self.region.is_some() || self.endpoint.is_some()) {
            return config;
        }
        let metadata = imds::Client::builder().max_attempts(METADATA_ATTEMPTS).build();
        // Without a region the loader would ask EC2 again, and wait longer.
        let Some(region) = self.regions(metadata.clone()).region().await else { return config };
        let loader = aws_config::defaults(BehaviorVersion::latest()).no_credentials();
        let found = loader.region(region.clone()).load().await;
        let config = config::Builder::from(&found);
        if self.credentials.is_some() {
            return config;
        }
        let mut providers = ProviderConfig::without_region()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_region(Some(region.clone()))
            .with_use_fips(found.use_fips())
            .with_use_dual_stack(found.use_dual_stack())
            .with_http_client(PatientClient::new(self.ready_timeout));
        if let Some(retries) = found.retry_config() {
            providers = providers.with_retry_config(retries.clone());
        }
        if let Some(timeouts) = found.timeout_config() {
            providers = providers.with_timeout_config(timeouts.clone());
        }
        let chain = DefaultCredentialsChain::builder()
            .configure(providers)
            .region(region)
            .imds_client(metadata)
            .build();
        config.credentials_provider(chain.await)
    }

    /// Looks for the region in the settings, the environment and a profile. Asks EC2's metadata
    /// service only if no endpoint is set.
    fn regions(&self, metadata: imds::Client) -> RegionProviderChain {
        let regions = RegionProviderChain::first_try(self.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        if self.has_endpoint() {
            return regions.or_else(DEFAULT_REGION);
        }
        regions.or_else(imds::region::ImdsRegionProvider::builder().imds_client(metadata).build())
    }
}

/// The read time-out of the SDK for a container's credentials, which no setting changes. After it
/// the SDK asks the container anew, although the second answer takes as long as the first.
const CONTAINER_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits for a container's credentials for as long as time remains.
#[derive(Debug)]
struct PatientClient {
    client: SharedHttpClient,
    limit: Duration,
}

impl PatientClient {
    fn new(limit: Duration) -> Self {
        let client = HttpClientBuilder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        Self { client: client.build_https(), limit }
    }
}

impl HttpClient for PatientClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let read_timeout = settings.read_timeout().map(|timeout| {
            if timeout == CONTAINER_TIMEOUT { timeout.max(self.limit) } else { timeout }
        });
        let mut patient = HttpConnectorSettings::builder();
        patient.set_connect_timeout(settings.connect_timeout()).set_read_timeout(read_timeout);
        self.client.http_connector(&patient.build(), components)
    }
}
