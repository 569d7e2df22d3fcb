//! A reply that is streamed: its turn ends with the body instead of the head.
//!
//! The transaction goes on while the body passes. [`frames`] passes the frames on, keeps back the
//! last one until the turn has ended, and drives the rest of the transaction then; [`body`] is the
//! body that does so for a client, and [`drain`] reads the reply to one event of a batch. No frame
//! waits for a task or a channel: the body of the handler is polled where that of the reply is.

mod body;
mod drain;
mod frames;

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use http::Response;
use http_body::Body;

pub(super) use self::body::ended;
pub(super) use self::drain::drained;
use self::frames::Frames;
use crate::body::{ResponseBody, announced, poll_bytes};
use crate::error::{BoxError, Error, Kind};
use crate::options::Config;
use crate::policy::{OnHangUp, TurnEnd};
use crate::turn::{StreamEnd, Turn};
use crate::under_way::UnderWay;

/// Returns whether the turn ends with the body of this reply, and not with its head.
pub(super) fn ends_with_body<B: Body>(config: &Config, response: &Response<B>) -> bool {
    let end = response.extensions().get().copied().unwrap_or(config.turn_end);
    let is_failure = response.status().is_client_error() || response.status().is_server_error();
    end == TurnEnd::Body && !is_failure && !response.body().is_end_stream()
}

/// A reply, after a look at the beginning of its body.
pub(super) enum Opened<B: Body> {
    Whole(Response<ResponseBody<B>>),
    Stream(Response<Box<Frames<B>>>),
}

/// Looks whether the body is there as a whole. That is not a stream: where its turn cannot be
/// stored, the client gets a proper response instead of a broken one.
///
/// To tell this, the body is polled once; that of a stream is polled at this moment anyway, to be
/// sent with the head.
pub(super) async fn open<B>(response: Response<B>, turn: &Arc<Turn>) -> Opened<B>
where
    B: Body<Error: Into<BoxError>>,
{
    let (parts, body) = response.into_parts();
    let length = announced(&parts.headers, &body);
    let mut body = Box::pin(body);
    let first = poll_fn(|cx| Poll::Ready(poll_bytes(body.as_mut(), cx))).await;
    match Frames::new(body, first, length, turn) {
        Ok(frames) => Opened::Stream(Response::from_parts(parts, Box::new(frames))),
        Err(whole) => Opened::Whole(Response::from_parts(parts, ResponseBody::own(whole))),
    }
}

/// A reply that is streamed, on its way from its turn to the response future.
pub(super) struct Started<B: Body> {
    reply: Response<Box<Frames<B>>>,
    turn: Arc<Turn>,
    saves: UnderWay,
    idle_timeout: Duration,
}

/// The place in which a turn leaves a reply that is streamed. The turn itself goes on.
pub(super) struct Handoff<B: Body>(Mutex<Option<Box<Started<B>>>>);

impl<B: Body> Default for Handoff<B> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<B: Body> Handoff<B> {
    /// Hands the reply over, and waits until the stream has ended for the turn.
    pub(super) async fn pass(
        &self,
        reply: Response<Box<Frames<B>>>,
        turn: &Arc<Turn>,
        saves: &UnderWay,
        idle_timeout: Duration,
    ) -> StreamEnd {
        let started = Started { reply, turn: Arc::clone(turn), saves: saves.clone(), idle_timeout };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(started));
        turn.ending().begin_stream();
        // The frames poll the turn again once they have ended, so no waker is needed.
        poll_fn(|_| turn.ending().stream_end().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Takes the reply, if there is one.
    pub(super) fn take(&self) -> Option<Box<Started<B>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Returns the reason why nothing of the turn is stored, if the stream ended so.
pub(super) fn discards(config: &Config, end: StreamEnd) -> Option<&'static str> {
    match end {
        StreamEnd::Complete | StreamEnd::Finished => None,
        StreamEnd::Failed => (!config.save_on_error).then_some("stream_failed"),
        StreamEnd::HungUp | StreamEnd::Idle => {
            (config.on_hang_up == OnHangUp::Discard).then_some("hung_up")
        }
    }
}

/// The error of a turn of which nothing is stored.
pub(super) fn not_stored() -> Error {
    let message = "nothing of this turn is stored, since its stream failed or its client hung up: \
                   send the request again, or set `on_hang_up` or `save_on_error` to store what \
                   there is";
    Error::new(Kind::TurnEnded, message)
}

/// Tells the handles, when it is dropped, that the turn was given up, unless they know its result.
struct GivenUp(Arc<Turn>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.ending().store_result(Err(not_stored()));
    }
}

/// The error of a stream that is idle for too long.
fn idle(limit: Duration) -> Error {
    let message = format!(
        "the stream yielded nothing, or was not read, for {limit:?}: read it, or raise \
         `stream_idle_timeout`"
    );
    Error::new(Kind::Timeout, message)
}
