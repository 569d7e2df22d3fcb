//! A time limit that costs work nothing that is ready at once.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::task::coop::{Unconstrained, unconstrained};
use tokio::time::{Sleep, sleep};

pin_project! {
    /// The future of [`within`].
    pub(crate) struct Within<F> {
        #[pin]
        work: F,
        limit: Duration,
        // The work may have used up what tokio lets a task do at once: time passes all the same.
        timer: Option<Pin<Box<Unconstrained<Sleep>>>>,
    }
}

/// The work was not ready within its limit.
pub(crate) struct Elapsed;

/// Runs `work` within `limit`, which counts from when it first has to wait. Unlike tokio's
/// `timeout`, makes no timer for work that does not wait, such as a database in memory, or a body
/// that came with its head.
pub(crate) fn within<F: Future>(limit: Duration, work: F) -> Within<F> {
    Within { work, limit, timer: None }
}

impl<F: Future> Future for Within<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.work.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let limit = *this.limit;
        let timer = this.timer.get_or_insert_with(|| Box::pin(unconstrained(sleep(limit))));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(Elapsed))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};
    use std::pin::pin;
    use std::task::Waker;

    use tokio::task::coop::{consume_budget, has_budget_remaining};

    use super::*;

    #[test]
    fn work_that_is_ready_needs_no_timer() {
        // Outside a runtime, a timer would panic.
        let mut work = pin!(within(Duration::ZERO, ready(7)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(work.as_mut().poll(&mut cx), Poll::Ready(Ok(7))));
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_waits_ends_at_its_limit() {
        let began = tokio::time::Instant::now();
        assert!(within(Duration::from_secs(3), pending::<()>()).await.is_err());
        assert_eq!(began.elapsed().as_secs(), 3);
        let work = sleep(Duration::from_secs(1));
        assert!(within(Duration::from_secs(3), work).await.is_ok());
    }

    #[tokio::test]
    async fn work_that_never_rests_ends_at_its_limit() {
        let began = std::time::Instant::now();
        let busy = poll_fn(|cx| {
            // Uses up what the task may do at once.
            while has_budget_remaining() {
                let _ = pin!(consume_budget()).poll(cx);
            }
            cx.waker().wake_by_ref();
            // Without an end of its own, a failure would hang.
            if began.elapsed().as_secs() < 5 { Poll::Pending } else { Poll::Ready(()) }
        });
        assert!(within(Duration::from_millis(50), busy).await.is_err());
    }
}
