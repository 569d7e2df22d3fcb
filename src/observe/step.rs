//! One step of the request lifecycle: its span, its duration and its outcome.

use std::future::Future;

use http::Response;
use tokio::time::Instant;
use tracing::instrument::Instrumented;
use tracing::{Instrument, Span};

use super::Observer;
use crate::database::Loaded;
use crate::error::{Error, Kind};
use crate::incoming::EventRequest;
use crate::length;
use crate::record::Record;

#[derive(Clone, Copy)]
pub(super) enum Operation {
    Recognise,
    Load,
    Call,
    Stream,
    Save,
}

/// A step under way. Dropped before its end, it is reported as cancelled, because the client hung
/// up, or as panicked.
pub(crate) struct StepSpan<'a> {
    operation: Operation,
    span: Span,
    /// The observer with the metrics of the step, if it is counted.
    observer: Option<&'a Observer>,
    /// The beginning; `None` if neither span nor metrics are on, so that nothing is measured.
    began: Option<Instant>,
    bytes: Option<u64>,
    conflicts: u32,
    has_ended: bool,
}

impl<'a> StepSpan<'a> {
    pub(super) fn begin(operation: Operation, span: Span, observer: Option<&'a Observer>) -> Self {
        let is_counted = cfg!(feature = "metrics") && observer.is_some();
        let began = (is_counted || !span.is_disabled()).then(Instant::now);
        Self { operation, span, observer, began, bytes: None, conflicts: 0, has_ended: false }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Runs `work` in the span. Not an `async fn`, which would hold the large future twice and copy
    /// it.
    #[inline]
    pub(crate) fn run<F: Future>(&self, work: F) -> Instrumented<F> {
        work.instrument(self.span.clone())
    }

    /// Runs `call`, and the future that it returns, in the span.
    #[inline]
    pub(crate) fn call<F: Future>(&self, call: impl FnOnce() -> F) -> Instrumented<F> {
        self.run(self.span.in_scope(call))
    }

    /// Notes the size of the record that was loaded or is to be saved.
    pub(crate) fn holds(&mut self, record: &Record) {
        if self.began.is_some() {
            self.bytes = size(record);
        }
    }

    pub(crate) fn recognised(&mut self, requests: &[EventRequest]) {
        self.bytes = Some(requests.iter().map(|request| request.bytes.len() as u64).sum());
        let mut events = requests.iter().filter_map(|request| request.event.as_ref());
        let platform = events.clone().next().map(|event| &*event.platform.name);
        self.span.record("platform", platform);
        let has_user = events.any(|event| event.user.is_some());
        self.end(if has_user { "recognised" } else { "no_user" });
    }

    pub(crate) fn refused(&mut self, error: &Error) {
        self.fail_as("refused", error_type(error));
    }

    pub(crate) fn loaded(&mut self, result: &Result<Loaded, Error>) {
        match result {
            Ok(Loaded::Present(stored)) => {
                self.holds(&stored.record);
                self.end("found");
            }
            Ok(Loaded::Absent(_)) => self.end("new_user"),
            Err(error) => self.fail(error),
        }
    }

    pub(crate) fn called<B, E>(&mut self, result: &Result<Response<B>, E>) {
        let Ok(response) = result else {
            return self.fail_as("failed", "inner_service");
        };
        let status = response.status();
        self.span.record("http.response.status_code", status.as_u16());
        match status.is_server_error() {
            true => self.fail_as("server_error", status.as_str()),
            false => self.end("answered"),
        }
    }

    /// Reports how the stream of a reply has ended for its turn.
    pub(crate) fn streamed(&mut self, outcome: &'static str, error_type: Option<&str>) {
        match error_type {
            Some(error_type) => self.fail_as(outcome, error_type),
            None => self.end(outcome),
        }
    }

    /// Reports that the closure of a turn without a request has returned.
    pub(crate) fn returned(&mut self, is_ok: bool) {
        match is_ok {
            true => self.end("answered"),
            false => self.fail_as("failed", "closure"),
        }
    }

    pub(crate) fn deleted(&mut self, result: &Result<(), Error>) {
        match result {
            Ok(()) => self.end("deleted"),
            Err(error) => self.fail(error),
        }
    }

    /// Reports that another process modified the record concurrently, and how this is resolved.
    pub(crate) fn conflict(&mut self, answer: &'static str) {
        self.conflicts += 1;
        let attempt = self.conflicts;
        tracing::debug!(
            attempt,
            answer,
            "conflict: the record was modified concurrently by another process"
        );
        if let Some(observer) = self.observer {
            observer.labels().conflict(answer);
        }
    }

    pub(crate) fn end(&mut self, outcome: &'static str) {
        self.has_ended = true;
        let Some(began) = self.began else { return };
        let seconds = began.elapsed().as_secs_f64();
        self.span.record("outcome", outcome);
        self.span.record("duration_seconds", seconds);
        self.span.record("bytes", self.bytes);
        if self.conflicts > 0 {
            self.span.record("conflicts", self.conflicts);
        }
        let Some(observer) = self.observer else { return };
        match self.operation {
            Operation::Load => observer.labels().loaded(outcome, seconds, self.bytes),
            Operation::Save => observer.labels().saved(outcome, seconds, self.bytes),
            Operation::Recognise | Operation::Call | Operation::Stream => {}
        }
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        let outcome = match error.kind() {
            Kind::Timeout | Kind::QueueTimeout => "timeout",
            Kind::Conflict => "conflict",
            _ => "failed",
        };
        self.fail_as(outcome, error_type(error));
    }

    pub(super) fn fail_as(&mut self, outcome: &'static str, error_type: &str) {
        self.span.record("error.type", error_type);
        self.span.record("otel.status_code", "ERROR");
        self.end(outcome);
    }
}

impl Drop for StepSpan<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(if std::thread::panicking() { "panicked" } else { "cancelled" });
        }
    }
}

/// Returns the value of `error.type`, one of few words.
pub(super) fn error_type(error: &Error) -> &'static str {
    match error.kind() {
        Kind::BodyTooLarge => "body_too_large",
        Kind::IncompleteBody => "body_broken",
        Kind::BodyTimeout => "body_timeout",
        Kind::MissingUser => "no_user",
        Kind::MissingConversation => "no_conversation",
        Kind::OtherUser => "other_user",
        Kind::TooManyEvents => "batch",
        Kind::Timeout | Kind::QueueTimeout => "timeout",
        Kind::Database => "database",
        Kind::Conflict => "conflict",
        Kind::Decode => "decode",
        Kind::Encode => "encode",
        Kind::TurnEnded => "sealed",
        Kind::Reentrant => "reentrant",
        Kind::Ambiguous => "ambiguous",
        Kind::ElementDisabled => "not_stored",
        Kind::LayerMissing => "layer_missing",
        Kind::Configuration => "configuration",
        Kind::DetachedLimit => "detached_limit",
    }
}

/// Returns the length of the record as JSON.
fn size(record: &Record) -> Option<u64> {
    length::of_json(record).and_then(|length| u64::try_from(length).ok())
}
