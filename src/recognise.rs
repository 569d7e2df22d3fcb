//! Whose event is in a request.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;

use crate::error::{BoxError, Kind};
use crate::layer::Config;
use crate::platform::{self, Document, Input};
use crate::turn::Recognised;
use crate::{Error, body};

/// Reads the body and finds out whose event is in it.
pub(crate) async fn recognise<B>(
    config: &Config,
    request: Request<B>,
) -> Result<(Parts, Bytes, Option<Recognised>), Error>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (parts, body) = request.into_parts();
    let bytes = body::buffer(body, &parts.headers, config.body_limit).await?;
    let event = match body::may_have_user(&parts.method, &parts.headers) {
        true => find_event(config, &bytes)?,
        false => None,
    };
    if event.is_none() && config.require_user {
        let message =
            "the request is none of a known platform with a user, and `require_user` is on";
        return Err(Error::new(Kind::NoUser, message));
    }
    Ok((parts, bytes, event))
}

fn find_event(config: &Config, bytes: &[u8]) -> Result<Option<Recognised>, Error> {
    let Some(document) = Document::parse(bytes) else { return Ok(None) };
    let claim = config
        .platforms
        .iter()
        .find_map(|known| known.platform.recognise(&document).map(|events| (known, events)));
    let Some((known, mut events)) = claim else { return Ok(None) };
    events.retain(|event| event.user_id.as_deref().is_some_and(platform::is_id));
    if events.len() > 1 {
        let message = "several events in one request are not supported yet; nothing was stored";
        return Err(Error::new(Kind::Batch, message).with_platform(Arc::clone(&known.name)));
    }
    let Some(event) = events.pop() else { return Ok(None) };
    let Some(user_id) = event.user_id else { return Ok(None) };
    let user_id: Arc<str> = user_id.into();
    let storage_key = match &config.storage_key {
        Some(storage_key) => storage_key(&known.name, &user_id).into(),
        None => Arc::clone(&user_id),
    };
    let asks_platform =
        config.stored_elements.history.as_ref().is_some_and(|history| history.asks_platform());
    Ok(Some(Recognised {
        platform: Arc::clone(&known.name),
        user_id,
        storage_key,
        session_id: event.session_id.filter(|id| platform::is_id(id)).map(Into::into),
        new_session: event.new_session,
        outside_session: event.outside_session,
        withdrawn: event.withdrawn && config.forget_on_skill_disabled,
        input: if asks_platform { known.platform.input(&document) } else { Input::default() },
    }))
}
