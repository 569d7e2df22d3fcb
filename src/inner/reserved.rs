//! The place that `poll_ready` reserved in the inner service, and its return.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::InnerService;

/// The inner service that was ready when the request came, until it is called or the request has to
/// wait.
///
/// A request that kept its place while waiting for its body, its user's earlier turns or the
/// database could block the very turns that it waits for. So a request always takes its user's turn
/// first, and then a place.
pub(crate) struct Reserved<S> {
    ready: Mutex<Option<S>>,
    /// A clone to make ready later. In a mutex, since services need not be `Sync`.
    clone: Mutex<S>,
}

impl<S> Reserved<S> {
    pub(crate) fn new(ready: S, clone: S) -> Self {
        Self { ready: Mutex::new(Some(ready)), clone: Mutex::new(clone) }
    }

    /// Runs `work`, and gives the place back if `work` has to wait before it takes the service.
    pub(crate) fn kept_until_pending<F: Future>(&self, work: F) -> KeptUntilPending<'_, S, F> {
        KeptUntilPending { reserved: self, work }
    }

    /// Returns a service that is ready to be called.
    ///
    /// # Errors
    ///
    /// Returns the error of the service's `poll_ready`.
    pub(crate) async fn service<B>(&self) -> Result<S, S::Error>
    where
        S: InnerService<B>,
    {
        if let Some(ready) = lock(&self.ready).take() {
            return Ok(ready);
        }
        let mut service = lock(&self.clone).clone();
        poll_fn(|cx| service.poll_ready(cx)).await.map(|()| service)
    }
}

pin_project! {
    /// The future of [`Reserved::kept_until_pending`]. Not an `async fn`, which would hold the large
    /// work twice and copy it.
    pub(crate) struct KeptUntilPending<'r, S, F> {
        reserved: &'r Reserved<S>,
        #[pin]
        work: F,
    }
}

impl<S, F: Future> Future for KeptUntilPending<'_, S, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = this.work.poll(cx);
        if poll.is_pending() {
            drop(lock(&this.reserved.ready).take());
        }
        poll
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
