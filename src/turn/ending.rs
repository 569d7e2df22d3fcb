//! The end of a turn whose reply is streamed, as the handles and the stream see it.

use std::pin::pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;

use crate::error::Error;

/// The way in which the stream of a reply ended for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The body ended.
    Complete,
    /// A handle asked for the end. The body may go on.
    Finished,
    /// The body failed.
    Failed,
    /// The client hung up.
    HungUp,
    /// The body yielded nothing, or was not read, for too long.
    Idle,
}

impl StreamEnd {
    /// Returns the `outcome` of the span, and the `error.type` of a stream that failed.
    pub(crate) fn outcome(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Complete => ("complete", None),
            Self::Finished => ("finished", None),
            Self::Failed => ("failed", Some("body")),
            Self::HungUp => ("hung_up", None),
            Self::Idle => ("idle", Some("timeout")),
        }
    }
}

/// The end of a turn. A turn that ends with the reply's head uses none of it.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The number of handles that wait for the end that they asked for.
    requests: AtomicUsize,
    is_streamed: AtomicBool,
    end: OnceLock<StreamEnd>,
    /// The result of storing the turn, once its stream has ended.
    result: OnceLock<Result<(), Error>>,
    /// Wakes the handles.
    changed: Notify,
    /// Wakes the stream.
    stream: AtomicWaker,
}

impl Ending {
    /// Notes that the turn ends with the body.
    pub(crate) fn begin_stream(&self) {
        self.is_streamed.store(true, Ordering::Release);
        self.notify();
    }

    pub(super) fn is_streamed(&self) -> bool {
        self.is_streamed.load(Ordering::Acquire)
    }

    /// Ends the stream for the turn, unless it has ended.
    pub(crate) fn end_stream(&self, end: StreamEnd) {
        if self.end.set(end).is_ok() {
            self.notify();
        }
    }

    pub(crate) fn stream_end(&self) -> Option<StreamEnd> {
        self.end.get().copied()
    }

    /// Notes the result of storing the turn, unless there is one, and wakes those who wait for it.
    pub(crate) fn store_result(&self, result: Result<(), Error>) {
        if self.result.set(result).is_ok() {
            self.notify();
            self.stream.wake();
        }
    }

    /// Returns the result of storing the turn, once its stream has ended.
    pub(crate) fn result(&self) -> Option<Result<(), Error>> {
        self.result.get().cloned()
    }

    /// Wakes the handles, so that they look again.
    pub(super) fn notify(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until `look` finds something. It looks again whenever the handles are woken.
    pub(super) async fn until<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            changed.await;
        }
    }

    /// Registers the stream to be woken by a request to end, or by the result.
    pub(crate) fn register(&self, waker: &Waker) {
        self.stream.register(waker);
    }

    /// Returns whether a handle waits for the end of the turn.
    pub(crate) fn is_finish_requested(&self) -> bool {
        self.requests.load(Ordering::Acquire) > 0
    }

    /// Asks for the end of the turn until the guard is dropped.
    pub(super) fn request_finish(&self) -> FinishRequest<'_> {
        self.requests.fetch_add(1, Ordering::AcqRel);
        self.stream.wake();
        FinishRequest(self)
    }
}

/// A request to end the turn, until it is dropped.
pub(super) struct FinishRequest<'a>(&'a Ending);

impl Drop for FinishRequest<'_> {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::AcqRel);
    }
}
