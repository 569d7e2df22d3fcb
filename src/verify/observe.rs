//! Reports what was verified and what was refused, by platform and cause. Neither body nor header
//! is ever part of it.

use std::sync::Arc;

use super::refusal::{Cause, Refusal};

/// Reports a refusal. `platform` is the name of a known platform, so that the log and the labels
/// hold nothing from outside.
pub(super) fn refused(platform: Option<&Arc<str>>, refusal: &Refusal) {
    let cause = refusal.cause();
    /// A macro, since tracing needs the level at compile time.
    macro_rules! log {
        ($log:ident) => {
            tracing::$log!(
                platform = platform.map(|name| &**name),
                cause = cause.as_str(),
                http.response.status_code = refusal.status().as_u16(),
                "request refused: {}",
                cause.as_str()
            )
        };
    }
    match cause {
        Cause::Misconfigured | Cause::KeysUnavailable => log!(error),
        _ => log!(warn),
    }
    count(platform, cause.as_str());
}

/// Reports a request that passed, or a handshake that was answered.
pub(super) fn passed(platform: &Arc<str>, outcome: &'static str) {
    count(Some(platform), outcome);
}

#[cfg(feature = "metrics")]
fn count(platform: Option<&Arc<str>>, outcome: &'static str) {
    use metrics::{SharedString, counter};

    let platform = platform.map_or(SharedString::const_str("none"), |name| {
        SharedString::from_shared(Arc::clone(name))
    });
    counter!("tower_persistence.verified", "platform" => platform, "outcome" => outcome)
        .increment(1);
}

#[cfg(not(feature = "metrics"))]
fn count(_: Option<&Arc<str>>, _: &'static str) {}

/// Describes the metric to the recorder, if one is installed already.
pub(super) fn describe() {
    #[cfg(feature = "metrics")]
    metrics::describe_counter!(
        "tower_persistence.verified",
        "Requests of known platforms, by the outcome of their check"
    );
}
