//! Observes the attempts of one call, which the client repeats by itself.

use std::cell::Cell;

use aws_sdk_dynamodb::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use tokio::task_local;

use crate::error::BoxError;

task_local! {
    static MAY_HAVE_WRITTEN: Cell<bool>;
}

/// Runs a call, for which [`may_have_written`] tells of its attempts. The client runs them in the
/// caller's task.
pub(super) fn noted<C: Future>(call: C) -> impl Future<Output = C::Output> {
    // Boxed, as each poll of a large future takes that much of a debug build's stack.
    MAY_HAVE_WRITTEN.scope(Cell::new(false), Box::pin(call))
}

/// Returns whether an attempt before the last one, which was refused, may have taken effect: its
/// answer was lost, came too late, or was a server error. A request that DynamoDB refuses (4xx: a
/// condition, throttling) has had no effect.
pub(super) fn may_have_written() -> bool {
    // Elsewhere than in a call that is noted, nothing is known.
    MAY_HAVE_WRITTEN.try_with(Cell::get).unwrap_or(true)
}

/// Notes the attempts of calls. One for the client: the client's code for a call with an
/// interceptor of its own takes a sixth more time.
#[derive(Debug)]
pub(super) struct Attempts;

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
            // Of reads and deletions nothing has to be known.
            let _ = MAY_HAVE_WRITTEN.try_with(|noted| noted.set(true));
        }
        Ok(())
    }
}
