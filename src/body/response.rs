//! The body of the layer's responses.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use pin_project_lite::pin_project;
use tokio::time::timeout;

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
    /// Why `read` is not all.
    unread: Option<Unread>,
}

/// Why a body was not read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLong,
    TooSlow,
    Broken,
    /// What came first is not what is looked for.
    Unsuitable,
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

    /// Reads up to `limit` bytes, for no longer than `time_limit` and as long as they are
    /// `suitable`, unless it was read before. Returns the body as it is to go on, and all bytes of
    /// it.
    ///
    /// # Errors
    ///
    /// Where the body has not ended by then, or breaks off. What was read goes out first all the
    /// same.
    pub(crate) async fn read(
        self,
        limit: usize,
        time_limit: Duration,
        suitable: fn(&[u8]) -> bool,
    ) -> (Self, Result<Bytes, Unread>) {
        let begun = match self.kind {
            Kind::Inner { body } => Box::new(Begun::read(body, limit, time_limit, suitable).await),
            Kind::Own { bytes } => {
                let all = bytes.clone().unwrap_or_default();
                return (Self { kind: Kind::Own { bytes } }, Ok(all));
            }
            Kind::Begun { begun } => begun,
        };
        let all = match begun.unread {
            None => Ok(begun.read.clone().unwrap_or_default()),
            Some(unread) => Err(unread),
        };
        (Self { kind: Kind::Begun { begun } }, all)
    }

    /// Puts `bytes` in the place of all that was read. What came after it, such as trailers, stays.
    pub(crate) fn replace(&mut self, bytes: Bytes) {
        match &mut self.kind {
            Kind::Begun { begun } => begun.read = Some(bytes),
            kind => *kind = Kind::Own { bytes: Some(bytes) },
        }
    }
}

impl<B: Body> Begun<B> {
    async fn read(
        body: B,
        limit: usize,
        time_limit: Duration,
        suitable: fn(&[u8]) -> bool,
    ) -> Self {
        let is_too_long = |length: u64| usize::try_from(length).map_or(true, |it| it > limit);
        let mut begun = Self { read: None, next: None, rest: None, unread: None };
        let mut body = Box::pin(body);
        let mut read = BytesMut::new();
        let reading = async {
            loop {
                if is_too_long((read.len() as u64).saturating_add(body.size_hint().lower())) {
                    return Some(Unread::TooLong);
                }
                if !suitable(&read) {
                    return Some(Unread::Unsuitable);
                }
                match body.frame().await {
                    None => return None,
                    Some(Err(error)) => {
                        begun.next = Some(Err(error));
                        return Some(Unread::Broken);
                    }
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(mut data) => {
                            read.extend_from_slice(&data.copy_to_bytes(data.remaining()));
                        }
                        // Trailers, which end the body, are the only other frames that there are.
                        Err(frame) => {
                            begun.next = Some(Ok(frame.map_data(|_| Bytes::new())));
                            return None;
                        }
                    },
                }
            }
        };
        begun.unread = timeout(time_limit, reading).await.unwrap_or(Some(Unread::TooSlow));
        begun.read = Some(read.freeze()).filter(|read| !read.is_empty());
        let has_ended = matches!(begun.unread, None | Some(Unread::Broken));
        begun.rest = (!has_ended).then_some(body);
        begun
    }
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
        if begun.next.is_some() {
            // An exact length would end the body for hyper before the error or the trailers.
            let mut hint = SizeHint::new();
            hint.set_lower(read);
            return hint;
        }
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http::{HeaderMap, HeaderValue};

    use super::*;

    /// Yields its frames, and then waits for ever if it is told to.
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
    async fn what_was_read_and_what_was_not_comes_out_in_order() {
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
    async fn trailers_and_errors_come_after_what_was_read() {
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
        assert_eq!(all, Err(Unread::Broken), "a reply that breaks off is not what was said");
        assert_eq!(body.size_hint().exact(), None, "hyper would stop before the error");
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert_eq!(body.frame().await.unwrap().unwrap_err(), "broken");
        assert!(body.is_end_stream() && body.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_to_an_end_is_not_waited_for() {
        let body = Frames { hangs: true, ..frames(&["ab"]) };
        let (mut body, all) = read(body).await;
        assert_eq!(all, Err(Unread::TooSlow));
        assert!(!body.is_end_stream());
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
        assert!(tokio_test::task::spawn(body.frame()).poll().is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_once_and_for_any_time() {
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
