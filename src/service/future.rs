//! The response future of the service.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::stream::Handoff;
use crate::body::ResponseBody;
use crate::error::BoxError;

type Turn<B, E> = Pin<Box<dyn Future<Output = Result<Response<ResponseBody<B>>, E>> + Send>>;

pin_project! {
    /// The response future of [`Persistence`](crate::Persistence).
    ///
    /// A request that passes through is not boxed.
    pub struct ResponseFuture<F, B, E>
    where
        B: Body,
    {
        #[pin]
        kind: Kind<F, B, E>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F, B, E>
    where
        B: Body,
    {
        PassThrough { #[pin] future: F },
        // The turn goes on in the body if the reply is streamed, so it can be taken.
        Turn { turn: Option<Turn<B, E>>, handoff: Arc<Handoff<B>> },
    }
}

impl<F, B: Body, E> ResponseFuture<F, B, E> {
    #[inline]
    pub(super) fn pass_through(future: F) -> Self {
        Self { kind: Kind::PassThrough { future } }
    }

    #[inline(never)]
    pub(super) fn turn(
        handoff: Arc<Handoff<B>>,
        turn: impl Future<Output = Result<Response<ResponseBody<B>>, E>> + Send + 'static,
    ) -> Self {
        Self { kind: Kind::Turn { turn: Some(Box::pin(turn)), handoff } }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Error: Into<BoxError>> + Send + 'static,
    E: 'static,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjection::PassThrough { future } => {
                Poll::Ready(Ok(ready!(future.poll(cx))?.map(ResponseBody::inner)))
            }
            KindProjection::Turn { turn, handoff } => poll_turn(turn, handoff, cx),
        }
    }
}

/// Polls the turn until there is a response, or the head of one that the rest of the turn follows.
fn poll_turn<B, E>(
    turn: &mut Option<Turn<B, E>>,
    handoff: &Handoff<B>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<ResponseBody<B>>, E>>
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
    E: 'static,
{
    // As any future, this one is not polled again once it was ready.
    let Some(work) = turn else { return Poll::Pending };
    if let Poll::Ready(response) = work.as_mut().poll(cx) {
        return Poll::Ready(response);
    }
    let Some(started) = handoff.take() else { return Poll::Pending };
    match turn.take() {
        Some(rest) => Poll::Ready(Ok(started.into_response(rest))),
        None => Poll::Pending,
    }
}

impl<F, B: Body, E> fmt::Debug for ResponseFuture<F, B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
