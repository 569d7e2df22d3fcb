//! Reports turns after a reply.

use tracing::Span;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;

use super::step::error_type;
use super::{Observer, span};
use crate::error::Error;

/// The reason why a turn after a reply was not stored.
#[derive(Clone, Copy)]
pub(crate) enum WorkLost<'a> {
    /// It failed with an error of this crate, whose text holds no data.
    Failed(&'a Error),
    /// The closure returned an error of the app's own, whose text may hold data.
    ByClosure,
    Panicked,
}

impl Observer {
    /// Makes the span of a turn after a reply. It follows from the request's span, but is not in
    /// it: that would go on until the work has ended.
    pub(crate) fn after_reply(&self) -> Span {
        let span = span!(
            parent: None,
            "after_reply",
            otel.status_code = Empty,
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            outcome = Empty,
            error.type = Empty,
        );
        span.follows_from(Span::current());
        span
    }

    /// Reports the outcome of a turn after a reply, which is the current span.
    pub(crate) fn detached(&self, outcome: &'static str) {
        Span::current().record("outcome", outcome);
        self.labels().detached(outcome);
    }

    /// Reports that nothing of a turn after a reply, which is the current span, is stored.
    pub(crate) fn detached_lost(&self, lost: WorkLost<'_>) {
        let (outcome, error) = match lost {
            WorkLost::Failed(error) => (error_type(error), Some(error)),
            WorkLost::ByClosure => ("failed", None),
            WorkLost::Panicked => ("panicked", None),
        };
        let span = Span::current();
        span.record("error.type", outcome);
        span.record("otel.status_code", "ERROR");
        let cause = error.map_or(outcome.to_owned(), |error| format!("{error:?}"));
        tracing::error!(
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            error.type = outcome,
            "the work after the reply was lost: {cause}"
        );
        self.detached(outcome);
    }
}
