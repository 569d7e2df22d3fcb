//! Work that runs to its end, also when nothing waits for it any more.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tracing::Instrument;

use crate::error::Error;
use crate::under_way::{UnderWay, WorkUnderWay};

/// Work that goes on in a task of its own if this is dropped before its end, within the span of the
/// request. In a task from the start, each save would cost two more switches between tasks.
pub(crate) struct ToCompletion<'a, T: Send + 'static> {
    /// `None` after the end.
    work: Option<BoxFuture<'static, Result<T, Error>>>,
    under_way: &'a UnderWay,
    /// Set once the work has to wait: it counts as under way, and goes on in this runtime.
    waits: Option<(WorkUnderWay, Handle)>,
}

impl<'a, T: Send + 'static> ToCompletion<'a, T> {
    pub(crate) fn new(
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
        under_way: &'a UnderWay,
    ) -> Self {
        Self { work: Some(Box::pin(work)), under_way, waits: None }
    }
}

impl<T: Send + 'static> Future for ToCompletion<'_, T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let Some(work) = &mut this.work else { return Poll::Pending };
        let result = match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(Poll::Pending) => {
                let waits = || (this.under_way.begin(), Handle::current());
                this.waits.get_or_insert_with(waits);
                return Poll::Pending;
            }
            Ok(Poll::Ready(result)) => result,
            // The message of a panic is left out, since it may hold user data.
            Err(_) => Err(Error::database("the code that saves panicked")),
        };
        this.work = None;
        this.waits = None;
        Poll::Ready(result)
    }
}

impl<T: Send + 'static> Drop for ToCompletion<'_, T> {
    fn drop(&mut self) {
        if let Some((work, (under_way, runtime))) = self.work.take().zip(self.waits.take()) {
            let work = async move {
                // Nothing waits for the result any more.
                let _ = work.await;
                drop(under_way);
            };
            runtime.spawn(work.in_current_span());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;
    use std::task::Waker;

    use futures_util::FutureExt;
    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[test]
    fn work_that_is_ready_needs_no_runtime() {
        let under_way = UnderWay::default();
        assert_eq!(ToCompletion::new(ready(Ok(1)), &under_way).now_or_never().unwrap().unwrap(), 1);
    }

    #[tokio::test]
    async fn work_that_waits_goes_on_when_it_is_dropped() {
        let (under_way, go) = (UnderWay::default(), Arc::new(Notify::new()));
        let (tell, told) = oneshot::channel();
        let waits = Arc::clone(&go);
        let work = async move {
            waits.notified().await;
            tell.send("done").unwrap();
            Ok(())
        };
        let mut work = ToCompletion::new(work, &under_way);
        assert!(work.poll_unpin(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(work);
        assert!(under_way.ended().now_or_never().is_none());
        go.notify_one();
        under_way.ended().await;
        assert_eq!(told.await.unwrap(), "done");
    }

    #[tokio::test]
    async fn a_panic_is_an_error_without_its_message() {
        let under_way = UnderWay::default();
        for waits in [false, true] {
            let work = async move {
                if waits {
                    tokio::task::yield_now().await;
                }
                panic!("SECRET")
            };
            let error = ToCompletion::<()>::new(work, &under_way).await.unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(error.is_database() && text.contains("panicked") && !text.contains("SECRET"));
        }
        under_way.ended().await;
    }
}
