//! The metrics of feature `metrics`. Without the feature these functions do nothing.

use std::sync::Arc;

#[cfg(feature = "metrics")]
use metrics::{
    Label, SharedString, Unit, counter, describe_counter, describe_histogram, histogram,
};

/// The labels of all metrics: the database and the platform.
pub(super) struct Labels {
    #[cfg(feature = "metrics")]
    labels: Vec<Label>,
}

#[cfg(feature = "metrics")]
impl Labels {
    pub(super) fn new(database: &Arc<str>, platform: Option<&Arc<str>>) -> Self {
        // The label is never left out: some recorders want each metric to have the same labels.
        let platform = platform.map_or(SharedString::const_str("none"), shared);
        let labels =
            vec![Label::new("database", shared(database)), Label::new("platform", platform)];
        Self { labels }
    }

    fn with(&self, name: &'static str, value: &'static str) -> Vec<Label> {
        let mut labels = self.labels.clone();
        labels.push(Label::from_static_parts(name, value));
        labels
    }

    pub(super) fn loaded(&self, outcome: &'static str, seconds: f64, bytes: Option<u64>) {
        counter!("tower_persistence.loads", self.with("outcome", outcome)).increment(1);
        self.measured("load", outcome, seconds, bytes);
    }

    pub(super) fn saved(&self, outcome: &'static str, seconds: f64, bytes: Option<u64>) {
        counter!("tower_persistence.saves", self.with("outcome", outcome)).increment(1);
        self.measured("save", outcome, seconds, bytes);
    }

    fn measured(
        &self,
        operation: &'static str,
        outcome: &'static str,
        seconds: f64,
        bytes: Option<u64>,
    ) {
        let mut labels = self.with("outcome", outcome);
        labels.push(Label::from_static_parts("operation", operation));
        if let Some(bytes) = bytes {
            histogram!("tower_persistence.bytes", labels.clone()).record(bytes as f64);
        }
        histogram!("tower_persistence.duration", labels).record(seconds);
    }

    pub(super) fn skipped(&self, reason: &'static str) {
        counter!("tower_persistence.saves.skipped", self.with("outcome", reason)).increment(1);
    }

    pub(super) fn conflict(&self, answer: &'static str) {
        counter!("tower_persistence.conflicts", self.with("outcome", answer)).increment(1);
    }

    pub(super) fn degraded(&self, error_type: &'static str) {
        counter!("tower_persistence.degraded", self.with("outcome", error_type)).increment(1);
    }

    pub(super) fn refused(&self, error_type: &'static str) {
        counter!("tower_persistence.refused", self.with("outcome", error_type)).increment(1);
    }

    pub(super) fn detached(&self, outcome: &'static str) {
        counter!("tower_persistence.detached", self.with("outcome", outcome)).increment(1);
    }

    pub(super) fn unwritten(&self, reason: &'static str) {
        counter!("tower_persistence.replies_unwritten", self.with("reason", reason)).increment(1);
    }
}

#[cfg(feature = "metrics")]
fn shared(text: &Arc<str>) -> SharedString {
    SharedString::from_shared(Arc::clone(text))
}

/// Describes the metrics to the recorder, if one is installed already.
#[cfg(feature = "metrics")]
pub(super) fn describe() {
    describe_counter!("tower_persistence.loads", "Loads of a user, by outcome");
    describe_counter!("tower_persistence.saves", "Saves and deletions of a user, by outcome");
    describe_counter!("tower_persistence.saves.skipped", "Turns that stored nothing, by reason");
    describe_counter!(
        "tower_persistence.conflicts",
        "Saves that found a record modified by another process"
    );
    describe_counter!("tower_persistence.degraded", "Turns that ran without memory, by error");
    describe_counter!(
        "tower_persistence.refused",
        "Requests that the handler did not answer, by error"
    );
    describe_counter!("tower_persistence.detached", "Turns after a reply, by outcome");
    describe_counter!(
        "tower_persistence.replies_unwritten",
        "Sessions and created ids that could not be written into the reply, by reason"
    );
    describe_histogram!("tower_persistence.bytes", Unit::Bytes, "Sizes of records as JSON");
    describe_histogram!("tower_persistence.duration", Unit::Seconds, "Times of loads and saves");
}

#[cfg(not(feature = "metrics"))]
impl Labels {
    pub(super) fn new(_: &Arc<str>, _: Option<&Arc<str>>) -> Self {
        Self {}
    }

    pub(super) fn loaded(&self, _: &'static str, _: f64, _: Option<u64>) {}

    pub(super) fn saved(&self, _: &'static str, _: f64, _: Option<u64>) {}

    pub(super) fn skipped(&self, _: &'static str) {}

    pub(super) fn conflict(&self, _: &'static str) {}

    pub(super) fn degraded(&self, _: &'static str) {}

    pub(super) fn refused(&self, _: &'static str) {}

    pub(super) fn detached(&self, _: &'static str) {}

    pub(super) fn unwritten(&self, _: &'static str) {}
}

#[cfg(not(feature = "metrics"))]
pub(super) fn describe() {}
