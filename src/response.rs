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
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B: Body> {
        Inner { #[pin] body: B },
        Own { bytes: Option<Bytes> },
        // Boxed, so that the others stay small.
        Begun { begun: Box<Begun<B>> },
    }
}

/// A body that has been read, at least in part.
struct Begun<B: Body> {
    read: Option<Bytes>,
    /// What came after it: an error, or trailers.
    next: Option<Result<Frame<Bytes>, B::Error>>,
    rest: Option<Pin<Box<B>>>,
}

impl<B: Body> ResponseBody<B> {
    /// The inner service's body, untouched.
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// A body of the layer's own.
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self { kind: Kind::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    /// Reads up to `limit` bytes of `body`, as long as `time_limit` allows. Returns the body as it is to go on, and the bytes
    /// if these are all.
    pub(crate) async fn read(body: B, limit: usize, time_limit: Duration) -> (Self, Option<Bytes>) {
        let deadline = Instant::now() + time_limit;
        let mut body = Box::pin(body);
        let mut read = BytesMut::new();
        let (next, rest) = loop {
            match timeout_at(deadline, body.frame()).await {
                Err(_) => break (None, Some(body)),
                Ok(None) => break (None, None),
                Ok(Some(Err(error))) => break (Some(Err(error)), None),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(mut data) => read.extend_from_slice(&data.copy_to_bytes(data.remaining())),
                    // Trailers, which end the body, are the only other frames that there are.
                    Err(frame) => break (Some(Ok(frame.map_data(|_| Bytes::new()))), None),
                },
            }
            if read.len() > limit {
                break (None, Some(body));
            }
        };
        let read = read.freeze();
        let is_all = rest.is_none() && !matches!(next, Some(Err(_)));
        let all = is_all.then(|| read.clone());
        let read = Some(read).filter(|read| !read.is_empty());
        (Self { kind: Kind::Begun { begun: Box::new(Begun { read, next, rest }) } }, all)
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
        let to_bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
        let frame = match self.project().kind.project() {
            KindProjection::Inner { body } => ready!(body.poll_frame(cx)),
            KindProjection::Own { bytes } => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            KindProjection::Begun { begun } => {
                if let Some(bytes) = begun.read.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                if let Some(next) = begun.next.take() {
                    return Poll::Ready(Some(next));
                }
                match &mut begun.rest {
                    Some(body) => ready!(body.as_mut().poll_frame(cx)),
                    None => None,
                }
            }
        };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(to_bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { bytes } => bytes.is_none(),
            Kind::Begun { begun } => {
                begun.read.is_none()
                    && begun.next.is_none()
                    && begun.rest.as_ref().is_none_or(|body| body.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let begun = match &self.kind {
            Kind::Inner { body } => return body.size_hint(),
            Kind::Own { bytes } => return SizeHint::with_exact(length(bytes)),
            Kind::Begun { begun } => begun,
        };
        let read = length(&begun.read);
        let rest = begun.rest.as_ref().map_or(SizeHint::with_exact(0), |body| body.size_hint());
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
