//! The body of the layer's responses.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use pin_project_lite::pin_project;

use crate::error::BoxError;
use crate::within::within;

pin_project! {
    /// The body of a response that passed the layer: that of the inner service, of which the layer
    /// may have read the beginning, or that of a reply that the layer made itself.
    ///
    /// It fails with the error of the inner body. If it is a stream whose turn
    /// [ends with it](crate::TurnEnd::Body) and cannot be stored, it fails with an
    /// [`Error`](crate::Error).
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
        // Boxed, so that the other kinds stay small.
        Buffered { buffered: Box<Buffered<B>> },
        Streamed { body: BoxBody<Bytes, BoxError> },
    }
}

/// A body, the beginning of which has been read.
struct Buffered<B: Body> {
    /// The bytes that were read, until they are sent; `None` if there were none.
    prefix: Option<Bytes>,
    end: End<B>,
}

/// The end of reading, and the part of the body that comes after the prefix.
enum End<B: Body> {
    /// The prefix is the whole body, before its trailers.
    Complete { trailers: Option<Frame<Bytes>> },
    /// The body broke off after the prefix.
    Broken { error: Option<BoxError> },
    /// Reading stopped early. The rest is streamed.
    Stopped { reason: Unread, rest: Pin<Box<B>> },
}

/// The reason why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLong,
    TooSlow,
    Broken,
    /// The beginning does not suit the reader.
    Unsuitable,
}

impl<B: Body<Error: Into<BoxError>>> ResponseBody<B> {
    /// Passes on a body that knows when its turn ends.
    pub(crate) fn streamed(body: BoxBody<Bytes, BoxError>) -> Self {
        Self { kind: Kind::Streamed { body } }
    }

    /// Passes on the inner service's body untouched.
    pub(crate) fn inner(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }

    /// Makes a body of the layer's own.
    pub(crate) fn own(bytes: Bytes) -> Self {
        Self { kind: Kind::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    /// Reads up to `limit` bytes, for no longer than `time_limit` and as long as they are
    /// `suitable`, unless the body was read before. Returns the body to send on, and all its bytes.
    ///
    /// # Errors
    ///
    /// The reason why not all bytes are known. The body to send on still begins with those that
    /// were read.
    pub(crate) async fn read(
        self,
        limit: usize,
        time_limit: Duration,
        suitable: fn(&[u8]) -> bool,
    ) -> (Self, Result<Bytes, Unread>) {
        let buffered = match self.kind {
            Kind::Inner { body } => {
                Box::new(Buffered::read(body, limit, time_limit, suitable).await)
            }
            Kind::Own { bytes } => {
                let all = bytes.clone().unwrap_or_default();
                return (Self { kind: Kind::Own { bytes } }, Ok(all));
            }
            Kind::Buffered { buffered } => buffered,
            streamed @ Kind::Streamed { .. } => {
                return (Self { kind: streamed }, Err(Unread::Unsuitable));
            }
        };
        let all = buffered.all();
        (Self { kind: Kind::Buffered { buffered } }, all)
    }

    /// Replaces the bytes that were read. Trailers behind them stay.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        match &mut self.kind {
            Kind::Buffered { buffered } => buffered.prefix = Some(bytes),
            kind => *kind = Kind::Own { bytes: Some(bytes) },
        }
    }
}

impl<B: Body<Error: Into<BoxError>>> Buffered<B> {
    async fn read(
        body: B,
        limit: usize,
        time_limit: Duration,
        suitable: fn(&[u8]) -> bool,
    ) -> Self {
        let mut body = Box::pin(body);
        let mut prefix = BytesMut::new();
        let reading = async {
            loop {
                let least = (prefix.len() as u64).saturating_add(body.size_hint().lower());
                if usize::try_from(least).map_or(true, |least| least > limit) {
                    return Err(Unread::TooLong);
                }
                if !suitable(&prefix) {
                    return Err(Unread::Unsuitable);
                }
                match body.frame().await {
                    None => return Ok(End::Complete { trailers: None }),
                    Some(Err(error)) => return Ok(End::Broken { error: Some(error.into()) }),
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(mut data) => {
                            prefix.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                        }
                        // Trailers, which end the body, are the only other kind of frame.
                        Err(frame) => {
                            let trailers = frame.map_data(|_| Bytes::new());
                            return Ok(End::Complete { trailers: Some(trailers) });
                        }
                    },
                }
            }
        };
        let end = match within(time_limit, reading).await.unwrap_or(Err(Unread::TooSlow)) {
            Ok(end) => end,
            Err(reason) => End::Stopped { reason, rest: body },
        };
        Self { prefix: Some(prefix.freeze()).filter(|prefix| !prefix.is_empty()), end }
    }

    /// Returns all bytes of the body.
    fn all(&self) -> Result<Bytes, Unread> {
        match &self.end {
            End::Complete { .. } => Ok(self.prefix.clone().unwrap_or_default()),
            End::Broken { .. } => Err(Unread::Broken),
            End::Stopped { reason, .. } => Err(*reason),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(prefix) = self.prefix.take() {
            return Poll::Ready(Some(Ok(Frame::data(prefix))));
        }
        match &mut self.end {
            End::Complete { trailers } => Poll::Ready(trailers.take().map(Ok)),
            End::Broken { error } => Poll::Ready(error.take().map(Err)),
            End::Stopped { rest, .. } => poll_bytes(rest.as_mut(), cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.prefix.is_none()
            && match &self.end {
                End::Complete { trailers } => trailers.is_none(),
                End::Broken { error } => error.is_none(),
                End::Stopped { rest, .. } => rest.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.end {
            // An exact length would end the body for hyper before the trailers or the error.
            End::Complete { trailers: Some(_) } | End::Broken { error: Some(_) } => SizeHint::new(),
            End::Complete { trailers: None } | End::Broken { error: None } => {
                SizeHint::with_exact(0)
            }
            End::Stopped { rest, .. } => rest.size_hint(),
        };
        let prefix = length(&self.prefix);
        let mut hint = SizeHint::new();
        hint.set_lower(prefix.saturating_add(rest.lower()));
        if let Some(upper) = rest.upper() {
            hint.set_upper(prefix.saturating_add(upper));
        }
        hint
    }
}

/// Polls a frame of `body`, with its data as `Bytes`.
pub(crate) fn poll_bytes<B: Body<Error: Into<BoxError>>>(
    body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    let to_bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
    let frame = ready!(body.poll_frame(cx));
    Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(to_bytes)).map_err(Into::into)))
}

fn length(bytes: &Option<Bytes>) -> u64 {
    bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
}

impl<B: Body<Error: Into<BoxError>>> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => poll_bytes(body, cx),
            KindProjection::Own { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            KindProjection::Buffered { buffered } => buffered.poll_frame(cx),
            KindProjection::Streamed { body } => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { bytes } => bytes.is_none(),
            Kind::Buffered { buffered } => buffered.is_end_stream(),
            Kind::Streamed { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { bytes } => SizeHint::with_exact(length(bytes)),
            Kind::Buffered { buffered } => buffered.size_hint(),
            Kind::Streamed { body } => body.size_hint(),
        }
    }
}

/// Makes an empty body, which tower-http's timeout layer needs.
impl<B: Body<Error: Into<BoxError>> + Default> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::inner(B::default())
    }
}

impl<B: Body<Error: Into<BoxError>>> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("size", &self.size_hint()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::{HeaderMap, HeaderValue};

    use super::*;

    /// Yields its frames, and then ends, or never does if `hangs`.
    #[derive(Default)]
    struct Frames {
        frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
        hangs: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            match self.frames.pop_front() {
                None if self.hangs => Poll::Pending,
                frame => Poll::Ready(frame),
            }
        }
    }

    fn frames(texts: &[&'static str]) -> Frames {
        let frames = texts.iter().map(|text| Ok(Frame::data(Bytes::from_static(text.as_bytes()))));
        Frames { frames: frames.collect(), hangs: false }
    }

    async fn read(body: Frames) -> (ResponseBody<Frames>, Result<Bytes, Unread>) {
        ResponseBody::inner(body).read(5, Duration::from_secs(2), |_| true).await
    }

    async fn collect(body: ResponseBody<Frames>) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test(start_paused = true)]
    async fn read_and_unread_bytes_are_sent_in_order() {
        for (texts, all) in [
            (&[][..], Ok("")),
            (&["ab", "cde"], Ok("abcde")),
            (&["ab", "cdef"], Err(Unread::TooLong)),
            (&["ab", "cdef", "g", "h"], Err(Unread::TooLong)),
        ] {
            let (body, read) = read(frames(texts)).await;
            assert_eq!(read.as_deref(), all.map(str::as_bytes).as_ref().copied());
            assert_eq!(body.is_end_stream(), texts.is_empty());
            assert!(body.size_hint().lower() as usize >= texts.concat().len().min(5));
            assert_eq!(collect(body).await, texts.concat());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn trailers_and_errors_are_sent_after_the_bytes_read() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let mut body = frames(&["ab"]);
        body.frames.push_back(Ok(Frame::trailers(trailers.clone())));
        let (body, all) = read(body).await;
        assert_eq!(all.as_deref(), Ok(&b"ab"[..]));
        assert_eq!(body.size_hint().exact(), None, "hyper would stop before the trailers");
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers(), Some(&trailers));
        assert_eq!(collected.to_bytes(), "ab");

        let mut body = frames(&["ab"]);
        body.frames.push_back(Err("broken"));
        let (mut body, all) = read(body).await;
        assert_eq!(all, Err(Unread::Broken), "a reply that breaks off is not read as a whole one");
        assert_eq!(body.size_hint().exact(), None, "hyper would stop before the error");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "broken");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_body_is_not_waited_for() {
        let body = Frames { hangs: true, ..frames(&["ab"]) };
        let (mut body, all) = read(body).await;
        assert_eq!(all, Err(Unread::TooSlow));
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(tokio_test::task::spawn(body.frame()).poll().is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_only_once() {
        let (body, all) =
            ResponseBody::inner(frames(&["ab"])).read(5, Duration::MAX, |_| true).await;
        assert_eq!(all.as_deref(), Ok(&b"ab"[..]));
        assert_eq!(body.size_hint().exact(), Some(2));
        let (_, again) = body.read(1, Duration::ZERO, |_| false).await;
        assert_eq!(again, all);
    }

    #[test]
    fn the_layers_own_body_knows_its_length() {
        let body = ResponseBody::<Frames>::own(Bytes::from_static(b"abc"));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(ResponseBody::<Frames>::own(Bytes::new()).is_end_stream());
        assert!(!ResponseBody::<Frames>::default().is_end_stream());
    }
}
