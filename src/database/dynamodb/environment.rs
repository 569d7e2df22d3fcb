//! What the environment says of region and credentials, with the feature `aws-config`.

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_dynamodb::config::{self, BehaviorVersion, Region};

use super::builder::DynamoDbBuilder;

/// How often EC2's metadata service is asked, a second each time. The SDK asks four times, with
/// pauses: outside of EC2, where nothing answers, that takes ten seconds.
const METADATA_ATTEMPTS: u32 = 2;

impl DynamoDbBuilder {
    /// Reads the environment only where something is missing: outside of AWS it may be slow to answer.
    pub(super) async fn environment(&self) -> config::Builder {
        if self.credentials.is_some() && (self.region.is_some() || self.endpoint.is_some()) {
            return config::Builder::new();
        }
        let metadata = imds::Client::builder().max_attempts(METADATA_ATTEMPTS).build();
        let loader = aws_config::defaults(BehaviorVersion::latest()).no_credentials();
        let found = loader.region(self.regions(metadata.clone())).load().await;
        let config = config::Builder::from(&found);
        if self.credentials.is_some() {
            return config;
        }
        let mut providers = ProviderConfig::without_region()
            .with_behavior_version(Some(BehaviorVersion::latest()))
            .with_region(found.region().cloned())
            .with_use_fips(found.use_fips())
            .with_use_dual_stack(found.use_dual_stack());
        if let Some(retries) = found.retry_config() {
            providers = providers.with_retry_config(retries.clone());
        }
        if let Some(timeouts) = found.timeout_config() {
            providers = providers.with_timeout_config(timeouts.clone());
        }
        let chain = DefaultCredentialsChain::builder()
            .configure(providers)
            .region(found.region().cloned())
            .imds_client(metadata)
            .build();
        config.credentials_provider(chain.await)
    }

    /// The region that is given, or of the environment or a profile. EC2's metadata service is asked
    /// only where no endpoint says where to go.
    fn regions(&self, metadata: imds::Client) -> RegionProviderChain {
        let regions = RegionProviderChain::first_try(self.region.clone().map(Region::new))
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new());
        if self.has_endpoint() {
            return regions;
        }
        regions.or_else(imds::region::ImdsRegionProvider::builder().imds_client(metadata).build())
    }
}
