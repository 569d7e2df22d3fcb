//! Decides whether a request's body is read, reads it within its limits, and puts it back.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, header};
use http_body::Body;
use http_body_util::combinators::{BoxBody, UnsyncBoxBody};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use crate::error::{BoxError, Error, Kind};
use crate::media_type::{content_type, is_form, is_json};
use crate::within::within;

/// A request body that can be made from bytes, so that the layer can read it and pass it on in the
/// same type.
///
/// The trait is implemented for [`Full<Bytes>`], [`BoxBody<Bytes, _>`](BoxBody) and
/// [`UnsyncBoxBody<Bytes, _>`](UnsyncBoxBody), with feature `axum` also for axum's `Body`, and with
/// feature `lambda` for `lambda_http::Body`. Box any other body before it reaches the layer: hyper's
/// `Incoming` with [`BodyExt::boxed`], in one line of `service_fn` or with tower-http's
/// `MapRequestBodyLayer`.
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
///
/// Any other body does not compile, and the error names the remedy:
///
/// ```compile_fail,E0277
/// use bytes::Bytes;
/// use http_body_util::Empty;
/// use tower::{Layer, Service, service_fn};
/// use tower_persistence::{BoxError, MemoryDb, PersistenceLayer};
///
/// let inner = service_fn(|_: http::Request<Empty<Bytes>>| async {
///     Ok::<_, BoxError>(http::Response::new(Empty::<Bytes>::new()))
/// });
/// let mut service = PersistenceLayer::new(MemoryDb::new()).layer(inner);
/// // error: the persistence layer cannot put back a request body of type `Empty<Bytes>`
/// let _ = Service::call(&mut service, http::Request::new(Empty::<Bytes>::new()));
/// ```
#[diagnostic::on_unimplemented(
    message = "the persistence layer cannot put back a request body of type `{Self}`",
    label = "this body cannot be made from bytes",
    note = "box it in front of the layer: \
            `.map_request(|request: Request<_>| request.map(BodyExt::boxed))`, \
            or for axum `.layer(MapRequestBodyLayer::new(Body::new))` of tower-http",
    note = "implement `FromBuffered` for a body type of your own"
)]
pub trait FromBuffered: Body {
    /// Makes a body that yields these bytes.
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

/// Makes text of UTF-8 and binary of any other bytes, as Lambda hands bodies over.
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

/// The request's body as it was sent, in the extensions of a request if its handler gets a
/// different one: Messenger and Instagram send several events at once, and each reaches the handler
/// in a body of its own.
///
/// A check of the raw body inside the layer, such as an HMAC, must look here first. The value is
/// the same for all events of the request, and cheap to clone. A check outside the layer does not
/// need it, and runs before the user is loaded.
///
/// ```
/// use bytes::Bytes;
/// use http::Request;
/// use tower_persistence::OriginalBody;
///
/// /// Returns the bytes that were signed.
/// fn signed<'a>(request: &'a Request<Bytes>) -> &'a Bytes {
///     match request.extensions().get::<OriginalBody>() {
///         Some(OriginalBody(bytes)) => bytes,
///         None => request.body(),
///     }
/// }
/// # let mut request = Request::new(Bytes::from("event"));
/// # assert_eq!(signed(&request), "event");
/// # request.extensions_mut().insert(OriginalBody("events".into()));
/// # assert_eq!(signed(&request), "events");
/// ```
#[derive(Clone)]
pub struct OriginalBody(pub Bytes);

/// Shows the length, not the content.
impl fmt::Debug for OriginalBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginalBody").field("bytes", &self.0.len()).finish()
    }
}

/// Marks a request, in its extensions, in which the layer found no user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoUser;

/// Returns whether the layer reads the body of this request: one that is not empty and of a content
/// type that `is_read_type`, or one without a content type and with an announced length within
/// `limit`. Any other body passes through unread, so that the layer never waits for a stream.
pub(crate) fn is_read<B: Body>(
    method: &Method,
    headers: &HeaderMap,
    body: &B,
    limit: usize,
    is_read_type: Option<bool>,
) -> bool {
    if is_bodiless(method) || body.is_end_stream() {
        return false;
    }
    let is_announced = || announced(headers, body).is_some_and(|length| is_within(length, limit));
    is_read_type.unwrap_or_else(is_announced)
}

/// Returns whether a request with this head may have a user.
pub(crate) fn may_have_user(method: &Method, headers: &HeaderMap) -> bool {
    !is_bodiless(method) && content_type(headers).is_none_or(|it| is_json(it) || is_form(it))
}

/// Returns the length that the body announces.
pub(crate) fn announced<B: Body>(headers: &HeaderMap, body: &B) -> Option<u64> {
    let in_head = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok();
    body.size_hint().exact().or_else(in_head)
}

fn is_within(length: u64, limit: usize) -> bool {
    usize::try_from(length).is_ok_and(|length| length <= limit)
}

/// Returns whether the body of a request with this method, if any, has no meaning.
#[inline]
pub(crate) fn is_bodiless(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::CONNECT | Method::TRACE
    )
}

/// Reads the whole body, and drops its trailers.
///
/// # Errors
///
/// [`is_body_too_large`](Error::is_body_too_large) for more than `limit` bytes, before anything is
/// read if the length is announced; [`is_incomplete_body`](Error::is_incomplete_body) for a body
/// that ends too early; [`is_body_timeout`](Error::is_body_timeout) after `time_limit`.
pub(crate) async fn buffer<B>(
    body: B,
    headers: &HeaderMap,
    limit: usize,
    time_limit: Duration,
) -> Result<Bytes, Error>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let too_large = || {
        let message = "the request body is over its limit: raise `body_limit` to accept it";
        Error::new(Kind::BodyTooLarge, message)
    };
    let least = body.size_hint().lower().max(announced(headers, &body).unwrap_or(0));
    if !is_within(least, limit) {
        return Err(too_large());
    }
    match within(time_limit, Limited::new(body, limit).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        // A limit of the app in front of this layer ends the body with the same error.
        Ok(Err(error)) if is_over_a_limit(&*error) => Err(too_large().with_source(error)),
        Ok(Err(error)) => {
            let message = "the request body broke off before its end: send it again";
            Err(Error::new(Kind::IncompleteBody, message).with_source(error))
        }
        Err(_) => {
            let message = format!(
                "the request body did not end within {time_limit:?}: send it faster, or raise \
                 `body_timeout`"
            );
            Err(Error::new(Kind::BodyTimeout, message))
        }
    }
}

fn is_over_a_limit(error: &(dyn StdError + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_over_a_limit)
}

/// Returns the request with its body put back.
pub(crate) fn put_back<B: FromBuffered>(parts: Parts, bytes: Bytes) -> Request<B> {
    Request::from_parts(parts, B::from_buffered(bytes))
}
