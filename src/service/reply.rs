//! The handler's reply: reads the parts that the record stores, and writes the session and a
//! created user id into it, which the platform sends back with the next request.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::Body;

use super::kept_reply;
use super::unwritten::Unwritten;
use crate::body::ResponseBody;
use crate::error::BoxError;
use crate::media_type::{content_type, is_json};
use crate::observe::Observer;
use crate::options::Config;
use crate::platform::{ClientSession, PlatformRequest, Reply, ReplyState};
use crate::transaction::Shared;
use crate::turn::{Exchange, Keep, StoredReply, Turn};

const NOT_HANDED_OVER: &str = "the user is not stored, because the id created for them";

/// Reads and writes the reply to one request. It owns its parts, since a turn goes on in a task of
/// its own if the client hangs up.
pub(super) struct ReplyWriter<D> {
    pub(super) shared: Arc<Shared<D>>,
    pub(super) turn: Arc<Turn>,
    /// The body of the request.
    pub(super) request: Bytes,
    /// The head of the request, if the platform [reads](reads_head) it.
    pub(super) head: Option<Box<Parts>>,
    pub(super) observer: Observer,
    /// Set once the session is written into the reply.
    pub(super) is_written: bool,
}

/// Returns whether the platform may write into the reply, and look at the head of the request for
/// it. Those of this crate look at its body alone.
pub(super) fn reads_head(turn: &Turn) -> bool {
    !turn.platform().is_built_in && turn.writes_reply()
}

impl<D> ReplyWriter<D> {
    /// Returns whether `keep` lets this turn be stored.
    pub(super) fn is_stored(&self, keep: Keep) -> bool {
        keep == Keep::All || self.turn.has_written()
    }

    /// Reads the parts of request and reply that the record needs before the turn is sealed.
    ///
    /// Returns no exchange if the reply cannot hand over the id that was created for the user. The
    /// turn must not be stored then, since no later request could belong to that user.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds each argument twice")]
    pub(super) fn read_for_record<R: Body<Error: Into<BoxError>>>(
        &mut self,
        mut response: Response<ResponseBody<R>>,
        keep: Keep,
    ) -> impl Future<Output = (Response<ResponseBody<R>>, Option<Exchange>)> {
        async move {
            let is_failure = response.status().is_server_error();
            let mut exchange = Exchange { is_failure, ..Exchange::default() };
            let history = self.config().stored_elements.history.as_ref();
            let history = history.filter(|_| keep == Keep::All && self.turn.user().is_some());
            if history.is_some_and(|history| history.request) {
                exchange.request = serde_json::from_slice(&self.request).ok();
            }
            if history.is_some_and(|history| history.response)
                && is_declared_json(response.headers())
            {
                let (same, read) = Box::pin(read(self.config(), response, |_| true)).await;
                response = same;
                exchange.response = read.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            }
            let created = self.turn.created_user_id();
            let created = created.filter(|_| self.is_stored(keep) && !self.turn.is_degraded());
            let Some(created) = created else {
                if self.turn.keeps_reply() && self.is_stored(keep) {
                    (response, exchange.reply) = Box::pin(self.keep(response)).await;
                }
                return (response, Some(exchange));
            };
            let (response, read) = Box::pin(read(self.config(), response, may_be_object)).await;
            let state = ReplyState { session: None, created_user_id: Some(created) };
            let handed_over = read
                .and_then(|bytes| self.written(&state, &bytes))
                .and_then(|reply| holds(&reply, created).then_some(()).ok_or(Unwritten::Taken));
            match handed_over {
                Ok(()) => (response, Some(exchange)),
                Err(unwritten) => {
                    unwritten.warn(&self.observer, NOT_HANDED_OVER);
                    (response, None)
                }
            }
        }
    }

    /// Reads what the record needs of request and reply, if the reply was streamed: nothing of the
    /// reply. Returns no exchange if an id was created for the user, which a stream cannot hand
    /// over.
    pub(super) fn without_reply(&self) -> Option<Exchange> {
        if self.turn.has_client_session() {
            Unwritten::Streamed.warn(&self.observer, "the session");
        }
        if self.turn.created_user_id().is_some() && !self.turn.is_degraded() {
            Unwritten::Streamed.warn(&self.observer, NOT_HANDED_OVER);
            return None;
        }
        let history = self.config().stored_elements.history.as_ref();
        let history = history.filter(|history| history.request && self.turn.user().is_some());
        let request = history.and_then(|_| serde_json::from_slice(&self.request).ok());
        Some(Exchange { request, ..Exchange::default() })
    }

    /// Completes the reply before the turn is stored, and returns it in the form that is kept with
    /// the event's id. The handles are closed, since the session in the reply is final.
    async fn keep<R: Body<Error: Into<BoxError>>>(
        &mut self,
        response: Response<ResponseBody<R>>,
    ) -> (Response<ResponseBody<R>>, Option<StoredReply>) {
        let (response, read) = kept_reply::read(self.config(), response).await;
        if read.is_none() {
            return (response, None);
        }
        self.turn.close();
        let response = self.write(response).await;
        self.is_written = true;
        let (response, read) = kept_reply::read(self.config(), response).await;
        let kept = read.and_then(|body| kept_reply::to_keep(&response, &body));
        (response, kept)
    }

    /// Has the platform write the client's session and a created user id into the reply. The turn
    /// has ended by then, so the user's next turn does not wait for it.
    pub(super) async fn write<R: Body<Error: Into<BoxError>>>(
        &self,
        response: Response<ResponseBody<R>>,
    ) -> Response<ResponseBody<R>> {
        if self.is_written {
            return response;
        }
        let session = self.turn.client_session((self.config().clock)());
        let created_user_id = self.turn.created_user_id();
        if session.is_none() && created_user_id.is_none() {
            return response;
        }
        Box::pin(self.write_state(response, session, created_user_id)).await
    }

    async fn write_state<R: Body<Error: Into<BoxError>>>(
        &self,
        response: Response<ResponseBody<R>>,
        session: Option<ClientSession>,
        created_user_id: Option<&str>,
    ) -> Response<ResponseBody<R>> {
        let state = ReplyState { session: session.as_ref(), created_user_id };
        // Platforms do not read the body of a 4xx: a session missing there is not worth a warning.
        let is_read_by_platform = !response.status().is_client_error();
        let (response, read) = read(self.config(), response, may_be_object).await;
        let (mut parts, mut body) = response.into_parts();
        match read.and_then(|bytes| self.written(&state, &bytes)) {
            Ok(reply) => {
                if reply.is_blocked() {
                    Unwritten::Taken.warn(&self.observer, "the session");
                }
                let text = Bytes::from(reply.into_text());
                if parts.headers.contains_key(header::CONTENT_LENGTH) {
                    parts.headers.insert(header::CONTENT_LENGTH, text.len().into());
                }
                body.replace(text);
            }
            Err(unwritten) if session.is_some() && is_read_by_platform => {
                unwritten.warn(&self.observer, "the session");
            }
            Err(_) => {}
        }
        Response::from_parts(parts, body)
    }

    /// Returns the reply with `state` written into it.
    fn written(&self, state: &ReplyState<'_>, reply: &[u8]) -> Result<Reply, Unwritten> {
        let mut reply = Reply::parse(reply).ok_or(Unwritten::NotObject)?;
        let no_head;
        let head = match &self.head {
            Some(head) => head,
            None => {
                no_head = http::Request::new(()).into_parts().0;
                &no_head
            }
        };
        if let Some(request) = PlatformRequest::parse(head, &self.request) {
            self.turn.platform().platform.write_reply(&request, state, &mut reply);
        }
        Ok(reply)
    }

    fn config(&self) -> &Config {
        &self.shared.config
    }
}

/// Reads the reply, if its head allows it to be JSON.
async fn read<R: Body<Error: Into<BoxError>>>(
    config: &Config,
    response: Response<ResponseBody<R>>,
    suitable: fn(&[u8]) -> bool,
) -> (Response<ResponseBody<R>>, Result<Bytes, Unwritten>) {
    if let Err(unwritten) = check(response.headers()) {
        return (response, Err(unwritten));
    }
    let (parts, body) = response.into_parts();
    let (body, read) = body.read(config.reply_limit, config.reply_timeout, suitable).await;
    (Response::from_parts(parts, body), read.map_err(Unwritten::from))
}

/// Returns whether a body that begins like this may be a JSON object. Streamed text is not, so the
/// layer does not wait for its end.
fn may_be_object(beginning: &[u8]) -> bool {
    matches!(beginning.trim_ascii_start(), [] | [b'{', ..])
}

/// Returns whether the reply holds the created id. Such an id cannot be guessed, so it is not there
/// by chance.
fn holds(reply: &Reply, id: &str) -> bool {
    let quoted = serde_json::Value::from(id).to_string();
    reply.text().contains(quoted.trim_matches('"'))
}

fn check(headers: &HeaderMap) -> Result<(), Unwritten> {
    if is_encoded(headers) {
        return Err(Unwritten::Compressed);
    }
    // JSON is often declared as text: a `String` returned from an axum handler is.
    match content_type(headers) {
        Some(content_type)
            if !is_json(content_type) && !is_of_type(content_type, b"text/plain") =>
        {
            Err(Unwritten::ContentType)
        }
        _ => Ok(()),
    }
}

fn is_declared_json(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(is_json) && !is_encoded(headers)
}

pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
}

/// Returns whether the content type is `essence`, whatever its parameters.
pub(super) fn is_of_type(content_type: &HeaderValue, essence: &[u8]) -> bool {
    let first = content_type.as_bytes().split(|byte| matches!(byte, b';' | b',')).next();
    first.unwrap_or_default().trim_ascii().eq_ignore_ascii_case(essence)
}
