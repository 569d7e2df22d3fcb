//! Streams that no client reads: those of the events of a batch.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use http_body::Body;
use tokio::time::timeout;

use super::{GivenUp, Handoff, Started, idle};
use crate::error::{BoxError, Error};
use crate::turn::StreamEnd;

/// Runs `turn`. If its reply is streamed, reads the stream to its end, since the handler does its
/// work in there. `result` tells how the turn has ended.
pub(in crate::service) async fn drained<F, B>(
    turn: F,
    handoff: &Handoff<B>,
    result: impl Fn(&F::Output) -> Result<(), Error>,
) -> F::Output
where
    F: Future,
    B: Body<Error: Into<BoxError>>,
{
    let mut turn = pin!(turn);
    let started = poll_fn(|cx| match turn.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Err(output)),
        Poll::Pending => handoff.take().map_or(Poll::Pending, |started| Poll::Ready(Ok(started))),
    });
    let started = match started.await {
        Ok(started) => started,
        Err(output) => return output,
    };
    let Started { reply, turn: ending, idle_timeout: limit, .. } = *started;
    let given_up = GivenUp(Arc::clone(&ending));
    let mut frames = reply.into_body();
    let mut output = None;
    loop {
        let frame = poll_fn(|cx| {
            frames.poll_frame(cx, |cx| {
                let ended = ready!(turn.as_mut().poll(cx));
                let result = result(&ended);
                ending.ending().store_result(result.clone());
                output = Some(ended);
                Poll::Ready(result)
            })
        });
        match timeout(limit, frame).await {
            Ok(Some(Ok(_))) => {}
            Ok(Some(Err(_)) | None) => break,
            Err(_) if output.is_some() => break,
            Err(_) => frames.hang_up(StreamEnd::Idle, Some(idle(limit))),
        }
    }
    drop(given_up);
    match output {
        Some(output) => output,
        None => turn.await,
    }
}
