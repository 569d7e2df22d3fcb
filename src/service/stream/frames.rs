//! The frames of a reply whose turn ends with them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use crate::body::poll_bytes;
use crate::error::{BoxError, Error};
use crate::turn::{StreamEnd, Turn};

type Polled = Option<Result<Frame<Bytes>, BoxError>>;

/// The frames of a reply, around the end of its turn.
pub(in crate::service) struct Frames<B> {
    /// The body of the handler, until it has ended.
    body: Option<Pin<Box<B>>>,
    /// The frame that was polled before the head was sent.
    first: Option<Result<Frame<Bytes>, BoxError>>,
    /// The announced bytes that are still to come, if the length is announced.
    remaining: Option<u64>,
    /// The frames that end the stream for the client, which are kept back until the turn is stored.
    held_data: Option<Bytes>,
    held_trailers: Option<HeaderMap>,
    turn: Arc<Turn>,
    phase: Phase,
    /// The time of the last step: a frame, or the beginning of the end.
    progress: Instant,
    /// Set while the body is polled, and left set by a panic of it.
    is_polling: bool,
}

enum Phase {
    /// The turn goes on.
    Streaming,
    /// The turn is sealed and stored. `error` is that of the body.
    Ending { error: Option<BoxError> },
    /// The turn has ended. `error` takes the place of the stream's end.
    Ended { error: Option<BoxError> },
}

impl<B: Body<Error: Into<BoxError>>> Frames<B> {
    /// Takes over a body of this announced length that was polled once. Returns its bytes if that was
    /// all of it.
    pub(super) fn new(
        body: Pin<Box<B>>,
        first: Poll<Polled>,
        length: Option<u64>,
        turn: &Arc<Turn>,
    ) -> Result<Self, Bytes> {
        let first = match first {
            Poll::Ready(None) => return Err(Bytes::new()),
            Poll::Ready(Some(Ok(frame))) if body.is_end_stream() => match frame.into_data() {
                Ok(whole) => return Err(whole),
                Err(trailers) => Some(Ok(trailers)),
            },
            Poll::Ready(Some(first)) => Some(first),
            Poll::Pending => None,
        };
        Ok(Self {
            body: Some(body),
            first,
            remaining: length,
            held_data: None,
            held_trailers: None,
            turn: Arc::clone(turn),
            phase: Phase::Streaming,
            progress: Instant::now(),
            is_polling: false,
        })
    }

    /// Polls for the next frame. `turn` polls the rest of the turn, and is not called again once it
    /// was ready.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        mut turn: impl FnMut(&mut Context<'_>) -> Poll<Result<(), Error>>,
    ) -> Poll<Polled> {
        if self.has_panicked() {
            return Poll::Ready(Some(Err("the body has panicked: see its own message".into())));
        }
        loop {
            match &mut self.phase {
                Phase::Streaming => {
                    if self.turn.ending().is_finish_requested() {
                        self.end(StreamEnd::Finished, None);
                        continue;
                    }
                    match self.poll_body(cx) {
                        Poll::Ready(Some(Ok(frame))) => {
                            if let Some(frame) = self.keep_back(frame) {
                                return Poll::Ready(Some(Ok(frame)));
                            }
                        }
                        Poll::Ready(Some(Err(error))) => self.end(StreamEnd::Failed, Some(error)),
                        Poll::Ready(None) => self.end(StreamEnd::Complete, None),
                        Poll::Pending => {
                            self.turn.ending().register(cx.waker());
                            // The body, which was polled, may have asked for the end itself.
                            if !self.turn.ending().is_finish_requested() {
                                return Poll::Pending;
                            }
                        }
                    }
                }
                Phase::Ending { error } => {
                    // The rest of the turn may go on elsewhere; its result wakes the stream.
                    self.turn.ending().register(cx.waker());
                    let result = ready!(turn(cx));
                    let error = error.take().or_else(|| result.err().map(BoxError::from));
                    self.phase = Phase::Ended { error };
                }
                Phase::Ended { error: None } => {
                    if let Some(data) = self.held_data.take() {
                        return Poll::Ready(Some(Ok(Frame::data(data))));
                    }
                    if let Some(trailers) = self.held_trailers.take() {
                        return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                    }
                    return self.poll_body(cx);
                }
                Phase::Ended { error } if self.body.is_none() => {
                    let error = error.take();
                    self.drop_body();
                    return Poll::Ready(error.map(Err));
                }
                Phase::Ended { error: Some(_) } => match ready!(self.poll_body(cx)) {
                    Some(Ok(frame)) => {
                        if let Some(frame) = self.keep_back(frame) {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                    Some(Err(error)) => self.phase = Phase::Ended { error: Some(error) },
                    None => {}
                },
            }
        }
    }

    /// Polls the body of the handler, and drops it at its end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = match self.first.take() {
            Some(first) => Some(first),
            None => {
                self.is_polling = true;
                let polled = poll_bytes(body.as_mut(), cx);
                self.is_polling = false;
                ready!(polled)
            }
        };
        self.progress = Instant::now();
        let is_over = match &polled {
            Some(Ok(frame)) => frame.is_trailers() || body.is_end_stream(),
            Some(Err(_)) | None => true,
        };
        if is_over {
            self.body = None;
        }
        Poll::Ready(polled)
    }

    /// Returns the frame, unless it is the last one, which tells the client that all is well.
    fn keep_back(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                self.held_trailers = frame.into_trailers().ok();
                return None;
            }
        };
        self.remaining = self.remaining.map(|left| left.saturating_sub(data.len() as u64));
        if self.body.is_none() || self.remaining == Some(0) {
            if data.is_empty() && self.held_data.is_some() {
                return None;
            }
            // Only a body longer than announced has two such frames.
            return self.held_data.replace(data).map(Frame::data);
        }
        Some(Frame::data(data))
    }

    /// Ends the stream for the turn.
    fn end(&mut self, end: StreamEnd, error: Option<BoxError>) {
        self.progress = Instant::now();
        self.phase = Phase::Ending { error };
        self.turn.ending().end_stream(end);
    }

    /// Ends the stream before its time, unless it has ended for the turn. The body is dropped before
    /// the turn is sealed, so that its destructors can write.
    pub(super) fn hang_up(&mut self, end: StreamEnd, error: Option<Error>) {
        if matches!(self.phase, Phase::Streaming) {
            self.end(end, error.map(BoxError::from));
            self.drop_body();
        }
    }

    fn drop_body(&mut self) {
        self.body = None;
        (self.first, self.held_data, self.held_trailers) = (None, None, None);
    }

    /// Returns whether the body has panicked.
    pub(super) fn has_panicked(&self) -> bool {
        self.is_polling
    }

    /// Returns the time of the last step, if the turn has not ended.
    pub(super) fn progress(&self) -> Option<Instant> {
        (!matches!(self.phase, Phase::Ended { .. })).then_some(self.progress)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let is_quiet = matches!(self.phase, Phase::Ended { error: None });
        let is_held = self.held_data.is_some() || self.held_trailers.is_some();
        is_quiet && !is_held && self.body.is_none()
    }

    /// Returns the bytes that are still to come. The length of a body that is announced stays
    /// exact, since hyper writes it into the head.
    pub(super) fn size_hint(&self) -> SizeHint {
        let rest = self.body.as_ref().map_or(SizeHint::with_exact(0), |body| body.size_hint());
        let first = match &self.first {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => 0,
        };
        let kept = (first + self.held_data.as_ref().map_or(0, Bytes::len)) as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}
