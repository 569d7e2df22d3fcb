//! The request's body: whether it is read, its limit, and how it is put back.

use std::error::Error as StdError;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, header};
use http_body::Body;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use crate::Error;
use crate::error::{BoxError, Kind};

/// A request body that can be made from bytes, so that the layer can read it and pass it on as what it was.
///
/// It is implemented for [`Full<Bytes>`], [`BoxBody<Bytes, _>`](BoxBody), [`UnsyncBoxBody<Bytes, _>`](UnsyncBoxBody) and, with
/// feature `axum`, for axum's `Body`, with feature `lambda` for `lambda_http::Body`. Box another body before it reaches the layer: hyper's `Incoming` with
/// [`BodyExt::boxed`], in one line of `service_fn` or with tower-http's `MapRequestBodyLayer`.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use tower_persistence::FromBuffered;
///
/// fn passes_through(body: Bytes) -> Full<Bytes> {
///     Full::from_buffered(body)
/// }
/// ```
pub trait FromBuffered: Body {
    /// The body that yields these bytes.
    fn from_buffered(bytes: Bytes) -> Self;
}

impl FromBuffered for Full<Bytes> {
    fn from_buffered(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl<E: 'static> FromBuffered for BoxBody<Bytes, E> {
    fn from_buffered(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes).map_err(|never| match never {}))
    }
}

impl<E: 'static> FromBuffered for UnsyncBoxBody<Bytes, E> {
    fn from_buffered(bytes: Bytes) -> Self {
        Self::new(Full::new(bytes).map_err(|never| match never {}))
    }
}

#[cfg(feature = "axum")]
impl FromBuffered for axum_core::body::Body {
    fn from_buffered(bytes: Bytes) -> Self {
        Self::from(bytes)
    }
}

/// UTF-8 is text again, as Lambda hands it over.
#[cfg(feature = "lambda")]
impl FromBuffered for lambda_http::Body {
    fn from_buffered(bytes: Bytes) -> Self {
        match String::from_utf8(bytes.into()) {
            Ok(text) if text.is_empty() => Self::Empty,
            Ok(text) => Self::Text(text),
            Err(error) => Self::Binary(error.into_bytes()),
        }
    }
}

/// In the extensions of a request that the layer looked at without finding a user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoUser;

/// Whether a request of this kind may have a user: one with a JSON body. What has no content type may be JSON.
pub(crate) fn may_have_user(method: &Method, headers: &HeaderMap) -> bool {
    !is_bodiless(method) && headers.get(header::CONTENT_TYPE).is_none_or(is_json)
}

/// Whether a request of this method has no body that means anything.
#[inline]
pub(crate) fn is_bodiless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::CONNECT | Method::TRACE
    )
}

/// `application/json`, `text/json`, `application/*+json`, with or without parameters.
pub(crate) fn is_json(content_type: &header::HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii();
    let ends_with = |end: &[u8]| {
        essence.len() >= end.len() && essence[essence.len() - end.len()..].eq_ignore_ascii_case(end)
    };
    ends_with(b"/json") || ends_with(b"+json")
}

/// Reads the whole body.
///
/// # Errors
///
/// [`is_body_too_large`](Error::is_body_too_large) over `limit` bytes, before anything is read where the length is announced;
/// [`is_body_broken`](Error::is_body_broken) where it ends too early.
pub(crate) async fn buffer<B>(body: B, headers: &HeaderMap, limit: usize) -> Result<Bytes, Error>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let too_large = || Error::new(Kind::BodyTooLarge, "the request body is over the limit");
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced: Option<u64> = announced.and_then(|length| length.to_str().ok()?.parse().ok());
    let least = body.size_hint().lower().max(announced.unwrap_or(0));
    if usize::try_from(least).map_or(true, |least| least > limit) {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        // Also where a limit in front of this layer has struck.
        Err(error) if is_over_a_limit(&*error) => Err(too_large().with_source(error)),
        Err(error) => {
            Err(Error::new(Kind::BodyBroken, "the request body broke off").with_source(error))
        }
    }
}

fn is_over_a_limit(error: &(dyn StdError + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_over_a_limit)
}

/// The request with its body again.
pub(crate) fn put_back<B: FromBuffered>(parts: Parts, bytes: Bytes) -> Request<B> {
    Request::from_parts(parts, B::from_buffered(bytes))
}
