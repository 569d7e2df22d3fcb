//! placeholder until the reply branch lands
use bytes::Bytes;
use http::{Response, header};
use http_body::Body;

use crate::ResponseBody;
use crate::options::Config;
use crate::platform::{Carried, Document, Reply};
use crate::response::is_plain_json;
use crate::turn::{Exchange, Turn};

/// Takes from request and response what the history stores of them.
pub(crate) async fn capture<R: Body>(
    config: &Config,
    request: &[u8],
    response: Response<R>,
) -> (Response<ResponseBody<R>>, Exchange) {
    let mut exchange = Exchange::default();
    let Some(history) = &config.stored_elements.history else {
        return (response.map(ResponseBody::inner), exchange);
    };
    if history.request {
        exchange.request = serde_json::from_slice(request).ok();
    }
    if !history.response || !is_plain_json(response.headers()) {
        return (response.map(ResponseBody::inner), exchange);
    }
    let (parts, body) = response.into_parts();
    let (body, all) = ResponseBody::read(body, config.body_limit, config.save_timeout).await;
    exchange.response = all.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    (Response::from_parts(parts, body), exchange)
}

/// Has the platform write into the reply what it is to bring back.
pub(crate) async fn carry<R: Body>(
    config: &Config,
    turn: &Turn,
    request: &[u8],
    response: Response<ResponseBody<R>>,
) -> Response<ResponseBody<R>> {
    let session = turn.carried_session((config.clock)());
    let carried = Carried { session: session.as_ref(), created_user_id: turn.created_user_id() };
    let is_due = carried.session.is_some() || carried.created_user_id.is_some();
    if !is_due || !is_plain_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let (mut body, all) = body.read_all(config.body_limit, config.save_timeout).await;
    let reply = all.and_then(|bytes| Reply::parse(&bytes));
    if let (Some(mut reply), Some(request)) = (reply, Document::parse(request)) {
        turn.platform().platform.write_reply(&request, &carried, &mut reply);
        let text = Bytes::from(reply.into_text());
        if parts.headers.contains_key(header::CONTENT_LENGTH) {
            parts.headers.insert(header::CONTENT_LENGTH, text.len().into());
        }
        body.replace(text);
    }
    Response::from_parts(parts, body)
}
