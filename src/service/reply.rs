//! The handler's reply: what the record stores of it, and what the platform is to bring back.

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::Body;

use crate::body::{ResponseBody, Unread};
use crate::body::{content_type, is_json};
use crate::observe::Observer;
use crate::options::Config;
use crate::platform::{Document, Reply, ReplyState};
use crate::turn::{Exchange, Keep, Turn};

/// Why something could not be written into a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unwritten {
    Compressed,
    ContentType,
    NotObject,
    TooLong,
    TooSlow,
    Broken,
    Taken,
}

impl Unwritten {
    fn warn(self, watch: &Observer, what: &'static str) {
        watch.unwritten(what, self.reason(), self.cause());
    }

    /// In one word: the value of `reason`.
    fn reason(self) -> &'static str {
        match self {
            Self::Compressed => "compressed",
            Self::ContentType => "content_type",
            Self::NotObject => "not_object",
            Self::TooLong => "too_long",
            Self::TooSlow => "too_slow",
            Self::Broken => "broken",
            Self::Taken => "taken",
        }
    }

    /// The cause, and what to do about it.
    fn cause(self) -> &'static str {
        match self {
            Self::Compressed => {
                "the reply is compressed: put the compression outside of this layer"
            }
            Self::ContentType => {
                "the reply is not JSON: set its content type to `application/json`"
            }
            Self::NotObject => "the reply is not a JSON object: answer with one",
            Self::TooLong => "the reply is over its limit: raise `reply_limit`",
            Self::TooSlow => {
                "the reply did not end in time: raise `reply_timeout`, or do not stream it"
            }
            Self::Broken => "the reply broke off: see what its body failed with",
            Self::Taken => {
                "something else stands in its place: remove that from the reply, or from the session"
            }
        }
    }
}

impl From<Unread> for Unwritten {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLong => Self::TooLong,
            Unread::TooSlow => Self::TooSlow,
            Unread::Broken => Self::Broken,
            Unread::Unsuitable => Self::NotObject,
        }
    }
}

/// Reads what the record needs of request and reply before the turn is sealed.
///
/// The second value is `None` where the reply cannot hand over the id that was created for the
/// user: the turn is not to be stored then, since no later request could be that user's.
pub(crate) async fn read_for_record<R: Body>(
    config: &Config,
    turn: &Turn,
    request: &[u8],
    response: Response<R>,
    keep: Keep,
    watch: &Observer,
) -> (Response<ResponseBody<R>>, Option<Exchange>) {
    let mut response = response.map(ResponseBody::inner);
    let mut exchange = Exchange::default();
    let history = config.stored_elements.history.as_ref();
    let history = history.filter(|_| keep == Keep::All && turn.user().is_some());
    if history.is_some_and(|history| history.request) {
        exchange.request = serde_json::from_slice(request).ok();
    }
    if history.is_some_and(|history| history.response) && is_declared_json(response.headers()) {
        let (same, read) = read(config, response, |_| true).await;
        response = same;
        exchange.response = read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    }
    let is_stored = keep == Keep::All || turn.has_written();
    let created = turn.created_user_id().filter(|_| is_stored && !turn.is_degraded());
    let Some(created) = created else { return (response, Some(exchange)) };
    let (response, read) = read(config, response, may_be_object).await;
    let carried = ReplyState { session: None, created_user_id: Some(created) };
    let handed_over = read
        .and_then(|bytes| written(turn, request, &carried, &bytes))
        .and_then(|reply| hands_over(&reply, created).then_some(()).ok_or(Unwritten::Taken));
    match handed_over {
        Ok(()) => (response, Some(exchange)),
        Err(why) => {
            why.warn(watch, "the user is not stored, because the id created for them");
            (response, None)
        }
    }
}

/// Has the platform write into the reply what it is to bring back. Nothing of it waits for the
/// user's place in the order.
pub(crate) async fn write<R: Body>(
    config: &Config,
    turn: &Turn,
    request: &[u8],
    response: Response<ResponseBody<R>>,
    watch: &Observer,
) -> Response<ResponseBody<R>> {
    let session = turn.client_session((config.clock)());
    let carried = ReplyState { session: session.as_ref(), created_user_id: turn.created_user_id() };
    if carried.session.is_none() && carried.created_user_id.is_none() {
        return response;
    }
    // A platform does not look into a reply that says that it was at fault.
    let is_looked_into = !response.status().is_client_error();
    let (response, read) = read(config, response, may_be_object).await;
    let (mut parts, mut body) = response.into_parts();
    match read.and_then(|bytes| written(turn, request, &carried, &bytes)) {
        Ok(reply) => {
            if reply.is_blocked() {
                Unwritten::Taken.warn(watch, "the session");
            }
            let text = Bytes::from(reply.into_text());
            if parts.headers.contains_key(header::CONTENT_LENGTH) {
                parts.headers.insert(header::CONTENT_LENGTH, text.len().into());
            }
            body.replace(text);
        }
        Err(why) if session.is_some() && is_looked_into => why.warn(watch, "the session"),
        Err(_) => {}
    }
    Response::from_parts(parts, body)
}

/// Reads the reply, if it may be a JSON object.
async fn read<R: Body>(
    config: &Config,
    response: Response<ResponseBody<R>>,
    suitable: fn(&[u8]) -> bool,
) -> (Response<ResponseBody<R>>, Result<Bytes, Unwritten>) {
    if let Err(why) = check(response.headers()) {
        return (response, Err(why));
    }
    let (parts, body) = response.into_parts();
    let (body, read) = body.read(config.reply_limit, config.reply_timeout, suitable).await;
    (Response::from_parts(parts, body), read.map_err(Unwritten::from))
}

/// Whether what begins like this may be a JSON object. A streamed text is not waited for.
fn may_be_object(begin: &[u8]) -> bool {
    matches!(begin.trim_ascii_start(), [] | [b'{', ..])
}

/// The reply with all that is carried in it.
fn written(
    turn: &Turn,
    request: &[u8],
    carried: &ReplyState<'_>,
    reply: &[u8],
) -> Result<Reply, Unwritten> {
    let mut reply = Reply::parse(reply).ok_or(Unwritten::NotObject)?;
    if let Some(request) = Document::parse(request) {
        turn.platform().platform.write_reply(&request, carried, &mut reply);
    }
    Ok(reply)
}

/// Whether the id stands in the reply. It cannot be guessed, so it does not stand there by chance.
fn hands_over(reply: &Reply, id: &str) -> bool {
    let quoted = serde_json::Value::from(id).to_string();
    reply.text().contains(quoted.trim_matches('"'))
}

fn check(headers: &HeaderMap) -> Result<(), Unwritten> {
    if is_encoded(headers) {
        return Err(Unwritten::Compressed);
    }
    // What is JSON often goes as text, as a `String` of axum does.
    match content_type(headers) {
        Some(content_type) if !is_json(content_type) && !is_text(content_type.as_bytes()) => {
            Err(Unwritten::ContentType)
        }
        _ => Ok(()),
    }
}

fn is_declared_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(is_json) && !is_encoded(headers)
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

fn is_text(content_type: &[u8]) -> bool {
    let essence = content_type.split(|byte| matches!(byte, b';' | b',')).next();
    essence.unwrap_or_default().trim_ascii().eq_ignore_ascii_case(b"text/plain")
}
