//! Observes the attempts of one call, which the client repeats by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;

use crate::error::BoxError;

/// Notes whether an attempt that the client counts as failed may still have taken effect: its
/// answer was lost, came too late, or was a server error. A request that DynamoDB refuses (4xx: a
/// condition, throttling) has had no effect.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    uncertain: Arc<AtomicBool>,
}

impl Attempts {
    /// Returns whether an attempt before the last one, which was refused, may have taken effect.
    pub(super) fn may_have_written(&self) -> bool {
        self.uncertain.load(Ordering::Relaxed)
    }
}

// Without the hint, every step of a request asks whether the interceptor has a part in it.
#[dyn_dispatch_hint]
impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if !context.response().is_some_and(|response| response.status().is_client_error()) {
            self.uncertain.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
