//! The body of a reply that is streamed: it drives the rest of its turn, in the client's place if
//! that hangs up.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::BoxBody;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::frames::Frames;
use super::{GivenUp, Started, idle};
use crate::body::ResponseBody;
use crate::error::{BoxError, Error};
use crate::turn::{StreamEnd, Turn};
use crate::under_way::UnderWay;

/// The rest of a turn.
type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of a reply that is streamed.
struct Streamed<B: Body<Error: Into<BoxError>> + Send + 'static> {
    shared: Arc<Shared<B>>,
    watch: Option<AbortHandle>,
}

struct Shared<B> {
    state: Mutex<State<B>>,
    idle_timeout: Duration,
    turn: Arc<Turn>,
    saves: UnderWay,
    runtime: Option<Handle>,
}

struct State<B> {
    frames: Box<Frames<B>>,
    /// The rest of the turn; `None` once it has ended, or goes on in a task of its own.
    rest: Option<Rest>,
}

impl<B> Started<B>
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    /// Makes the response, the body of which takes the rest of the turn along.
    pub(in crate::service) fn into_response<E: 'static>(
        self,
        turn: impl Future<Output = Result<Response<ResponseBody<B>>, E>> + Send + 'static,
    ) -> Response<ResponseBody<B>> {
        let (parts, frames) = self.reply.into_parts();
        // The rest of the turn stays in the span of its request.
        let rest: Rest = Box::pin(rest(turn, GivenUp(Arc::clone(&self.turn))).in_current_span());
        let shared = Arc::new(Shared {
            state: Mutex::new(State { frames, rest: Some(rest) }),
            idle_timeout: self.idle_timeout,
            turn: self.turn,
            saves: self.saves,
            runtime: Handle::try_current().ok(),
        });
        let watch = watch(Arc::downgrade(&shared), shared.idle_timeout);
        let watch = shared.runtime.as_ref().map(|runtime| runtime.spawn(watch).abort_handle());
        let body = Streamed { shared, watch };
        Response::from_parts(parts, ResponseBody::streamed(BoxBody::new(body)))
    }
}

/// Runs the rest of the turn, and tells the handles its result.
async fn rest<B: Body, E>(
    work: impl Future<Output = Result<Response<ResponseBody<B>>, E>>,
    given_up: GivenUp,
) {
    let result = ended(work.await.as_ref().ok());
    given_up.0.ending().store_result(result);
}

/// Returns the result of a turn whose reply was streamed. Only an error of the layer is left to be
/// reported in the response of such a turn.
pub(in crate::service) fn ended<B>(response: Option<&Response<B>>) -> Result<(), Error> {
    let error = response.and_then(|response| response.extensions().get::<Error>().cloned());
    error.map_or(Ok(()), Err)
}

impl<B: Body<Error: Into<BoxError>> + Send + 'static> Shared<B> {
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the turn in a task of its own. Without a runtime it is given up.
    fn detach(&self, rest: Rest) {
        let Some(runtime) = &self.runtime else { return };
        let under_way = self.saves.begin();
        let work = async move {
            rest.await;
            drop(under_way);
        };
        runtime.spawn(work);
    }

    /// Looks whether the stream is idle for too long, and ends it then. Returns the time of the next
    /// look, or `None` if there is nothing left to watch.
    fn look(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            // The stream is polled at this moment, so it is read.
            Err(TryLockError::WouldBlock) => return now.checked_add(self.idle_timeout),
            Err(TryLockError::Poisoned(_)) => return None,
        };
        let deadline = state.frames.progress()?.checked_add(self.idle_timeout)?;
        if now < deadline {
            return Some(deadline);
        }
        state.frames.hang_up(StreamEnd::Idle, Some(idle(self.idle_timeout)));
        let rest = state.rest.take();
        drop(state);
        if let Some(rest) = rest {
            self.detach(rest);
        }
        None
    }
}

/// Ends a stream that is idle for too long. A body that is not read is not polled, so it cannot
/// notice this itself.
async fn watch<B>(shared: Weak<Shared<B>>, idle_timeout: Duration)
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let mut next = Instant::now().checked_add(idle_timeout);
    while let Some(deadline) = next {
        sleep_until(deadline).await;
        next = shared.upgrade().and_then(|shared| shared.look());
    }
}

impl<B: Body<Error: Into<BoxError>> + Send + 'static> Body for Streamed<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { shared, watch } = &mut *self;
        let mut state = shared.state();
        let State { frames, rest } = &mut *state;
        frames.poll_frame(cx, |cx| {
            if let Some(here) = rest {
                ready!(here.as_mut().poll(cx));
                *rest = None;
            }
            // Where the rest goes on elsewhere, its result wakes the stream.
            let result = shared.turn.ending().result();
            if let Some(watch) = watch.take_if(|_| result.is_some()) {
                watch.abort();
            }
            result.map_or(Poll::Pending, Poll::Ready)
        })
    }

    fn is_end_stream(&self) -> bool {
        self.shared.state().frames.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.shared.state().frames.size_hint()
    }
}

/// The client has hung up, unless the stream has ended.
impl<B: Body<Error: Into<BoxError>> + Send + 'static> Drop for Streamed<B> {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
        let mut state = self.shared.state();
        let rest = if state.frames.has_panicked() {
            // As with a handler that panics, nothing is stored.
            state.rest = None;
            None
        } else {
            state.frames.hang_up(StreamEnd::HungUp, None);
            state.rest.take()
        };
        drop(state);
        if let Some(rest) = rest {
            self.shared.detach(rest);
        }
    }
}
