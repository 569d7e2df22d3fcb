//! The body of the layer's responses.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project_lite::pin_project;
use tokio::time::{Instant, timeout_at};

use crate::body::is_json;

pin_project! {
    /// The body of a response that passed the layer: the inner service's, whole or in part read already, or that of a
    /// reply that the layer made itself.
    pub struct ResponseBody<B: Body> {
        read: Option<Bytes>,
        next: Option<Result<Frame<Bytes>, B::Error>>,
        #[pin]
        rest: Rest<B>,
    }
}

pin_project! {
    #[project = RestProjection]
    enum Rest<B> {
        Inner { #[pin] body: B },
        Begun { body: Pin<Box<B>> },
        Nothing,
    }
}

impl<B: Body> ResponseBody<B> {
    /// The inner service's body, untouched.
    pub(crate) fn inner(body: B) -> Self {
        Self { read: None, next: None, rest: Rest::Inner { body } }
    }

    /// A body of the layer's own.
    pub(crate) fn buffered(bytes: Bytes) -> Self {
        Self { read: Some(bytes), next: None, rest: Rest::Nothing }
    }

    /// Reads up to `limit` bytes of `body`, as long as `time_limit` allows. Returns the body as it is to go on, and the bytes
    /// if these are all.
    pub(crate) async fn read(body: B, limit: usize, time_limit: Duration) -> (Self, Option<Bytes>) {
        let deadline = Instant::now() + time_limit;
        let mut body = Box::pin(body);
        let mut read = BytesMut::new();
        let (next, rest) = loop {
            match timeout_at(deadline, body.frame()).await {
                Err(_) => break (None, Rest::Begun { body }),
                Ok(None) => break (None, Rest::Nothing),
                Ok(Some(Err(error))) => break (Some(Err(error)), Rest::Nothing),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => read.extend_from_slice(&data.copy_to_bytes(data.remaining())),
                    Err(frame) => {
                        // Trailers, which end the body, are the only other frames that there are.
                        break (Some(Ok(frame.map_data(|_| Bytes::new()))), Rest::Nothing);
                    }
                },
            }
            if read.len() > limit {
                break (None, Rest::Begun { body });
            }
        };
        let read = read.freeze();
        let is_all = matches!((&next, &rest), (None | Some(Ok(_)), Rest::Nothing));
        let all = is_all.then(|| read.clone());
        (Self { read: Some(read).filter(|read| !read.is_empty()), next, rest }, all)
    }
}

/// Whether a response with these headers is JSON that can be read as it is.
pub(crate) fn is_plain_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(is_json)
        && !headers.contains_key(header::CONTENT_ENCODING)
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(bytes) = this.read.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(next) = this.next.take() {
            return Poll::Ready(Some(next));
        }
        let frame = match this.rest.project() {
            RestProjection::Inner { body } => ready!(body.poll_frame(cx)),
            RestProjection::Begun { body } => ready!(body.as_mut().poll_frame(cx)),
            RestProjection::Nothing => None,
        };
        let to_bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(to_bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none()
            && self.next.is_none()
            && match &self.rest {
                Rest::Inner { body } => body.is_end_stream(),
                Rest::Begun { body } => body.is_end_stream(),
                Rest::Nothing => true,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.as_ref().map_or(0, |read| read.len() as u64);
        let rest = match &self.rest {
            Rest::Inner { body } => body.size_hint(),
            Rest::Begun { body } => body.size_hint(),
            Rest::Nothing => SizeHint::with_exact(0),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(read.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(read.saturating_add(upper));
        }
        hint
    }
}

/// tower-http's time-out layer makes an empty body of it.
impl<B: Body + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B: Body> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}
