//! Replies that are kept with an event's id, and sent again to its repeats.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::Body;

use super::reply::{is_encoded, is_of_type};
use crate::body::ResponseBody;
use crate::error::BoxError;
use crate::media_type::content_type;
use crate::options::Config;
use crate::turn::StoredReply;

/// Reads the whole reply, if it can be kept: not compressed, not a stream of events, and complete
/// within the limits of size and time.
pub(super) async fn read<R: Body<Error: Into<BoxError>>>(
    config: &Config,
    response: Response<ResponseBody<R>>,
) -> (Response<ResponseBody<R>>, Option<Bytes>) {
    let headers = response.headers();
    // Reading a stream of events would hold it back until its end.
    let is_stream = content_type(headers).is_some_and(|it| is_of_type(it, b"text/event-stream"));
    if is_stream || is_encoded(headers) {
        return (response, None);
    }
    let (parts, body) = response.into_parts();
    let (body, read) = body.read(config.reply_limit, config.reply_timeout, |_| true).await;
    (Response::from_parts(parts, body), read.ok())
}

/// Returns the reply in the form that is kept; `None` if its body or its content type is not text.
pub(super) fn to_keep<R>(response: &Response<R>, body: &Bytes) -> Option<StoredReply> {
    let content_type = match response.headers().get(header::CONTENT_TYPE) {
        Some(content_type) => Some(content_type.to_str().ok()?.to_owned()),
        None => None,
    };
    let body = std::str::from_utf8(body).ok()?.to_owned();
    Some(StoredReply { status: response.status().as_u16(), content_type, body })
}

/// Returns the response to a repeat; `None` if another program has made an invalid reply of it.
pub(super) fn to_repeat<R: Body<Error: Into<BoxError>>>(
    reply: StoredReply,
) -> Option<Response<ResponseBody<R>>> {
    let StoredReply { status, content_type, body } = reply;
    let mut response = Response::new(ResponseBody::own(body.into()));
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    if let Some(content_type) = content_type {
        let content_type = HeaderValue::try_from(content_type).ok()?;
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    Some(response)
}
