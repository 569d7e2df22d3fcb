//! Whose events are in a request.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;

use crate::error::{BoxError, Kind};
use crate::layer::Config;
use crate::platform::{self, CarriedSession, Document, Event, Input, MAX_EVENTS, NamedPlatform};
use crate::turn::{Identity, Recognised};
use crate::{Error, OriginalBody, body};

/// What reaches the inner service as one request: its body, and the event in it if there is one.
pub(crate) struct Incoming {
    pub(crate) bytes: Bytes,
    pub(crate) event: Option<Recognised>,
}

/// Reads the body and finds out whose events are in it: one thing to serve at least, several in a batch.
pub(crate) async fn recognise<B>(
    config: &Config,
    request: Request<B>,
) -> Result<(Parts, Vec<Incoming>), Error>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (mut parts, body) = request.into_parts();
    let limit = config.body_limit;
    // What is not read has no user, and is refused where one is required.
    let (bytes, mut incoming) = match body::is_read(&parts.method, &parts.headers, &body, limit) {
        true => {
            let bytes = body::buffer(body, &parts.headers, limit, config.body_timeout).await?;
            let incoming = find_events(config, &bytes)?;
            (bytes, incoming)
        }
        false => (Bytes::new(), Vec::new()),
    };
    if incoming.iter().any(|incoming| incoming.bytes != bytes) {
        parts.extensions.insert(OriginalBody(bytes.clone()));
    }
    if incoming.is_empty() {
        incoming.push(Incoming { bytes, event: None });
    }
    let mut events = incoming.iter().filter_map(|incoming| incoming.event.as_ref());
    if config.require_user && !events.any(|event| event.user.is_some()) {
        let message =
            "the request is none of a known platform with a user, and `require_user` is on";
        return Err(Error::new(Kind::NoUser, message));
    }
    Ok((parts, incoming))
}

fn find_events(config: &Config, bytes: &Bytes) -> Result<Vec<Incoming>, Error> {
    let Some(document) = Document::parse(bytes) else { return Ok(Vec::new()) };
    let claim = config
        .platforms
        .iter()
        .find_map(|known| known.platform.recognise(&document).map(|events| (known, events)));
    let Some((platform, mut events)) = claim else { return Ok(Vec::new()) };
    if events.len() > 1 {
        // One of nobody, without a body of its own, has nothing to say to the handler.
        let is_somebodys =
            |event: &Event<'_>| event.user_id.as_deref().is_some_and(platform::is_id);
        events.retain(|event| event.body.is_some() || is_somebodys(event));
    }
    if events.len() > MAX_EVENTS {
        let message = "the request has more than 1,000 events; nothing was stored";
        return Err(Error::new(Kind::Batch, message).with_platform(Arc::clone(&platform.name)));
    }
    let is_batch = events.len() > 1;
    let incoming = events.into_iter().map(|mut event| match event.body.take() {
        None => {
            let event = recognised(config, platform, &document, event, is_batch);
            Incoming { bytes: bytes.clone(), event }
        }
        Some(bytes) => {
            let document = Document::parse(&bytes);
            let event = document
                .and_then(|document| recognised(config, platform, &document, event, is_batch));
            Incoming { bytes, event }
        }
    });
    Ok(incoming.collect())
}

/// The event, if it has a user or a session of its own.
fn recognised(
    config: &Config,
    platform: &NamedPlatform,
    document: &Document<'_>,
    mut event: Event<'_>,
    is_batch: bool,
) -> Option<Recognised> {
    let elements = &config.stored_elements;
    let user = identity(config, platform, document, &mut event);
    let carries_session = platform.platform.carries_session() && !event.outside_session;
    let is_carried = carries_session && (elements.session.is_none() || user.is_none());
    let carried = if is_carried { CarriedSession::of(&event) } else { None };
    let session_id = event.session_id.filter(|id| platform::is_id(id)).map(Into::into);
    if user.is_none() && (!is_carried || (session_id.is_none() && carried.is_none())) {
        return None;
    }
    if elements.session.is_none() && !platform.platform.carries_session() {
        config.warn_of_sessions(&platform.name);
    }
    let asks_platform = elements.history.as_ref().is_some_and(|history| history.asks_platform());
    Some(Recognised {
        platform: platform.clone(),
        user,
        session_id,
        new_session: event.new_session,
        outside_session: event.outside_session,
        carried,
        withdrawn: event.withdrawn && config.forget_on_skill_disabled,
        id: event.id.filter(|id| platform::is_id(id)).map(Into::into),
        is_batch,
        input: if asks_platform { platform.platform.input(document) } else { Input::default() },
    })
}

/// Who the user is: as the request says, or as the app has to make it up.
fn identity(
    config: &Config,
    platform: &NamedPlatform,
    document: &Document<'_>,
    event: &mut Event<'_>,
) -> Option<Identity> {
    let named = event.user_id.take().filter(|id| platform::is_id(id)).map(Arc::<str>::from);
    let is_created = named.is_none();
    let id = named.or_else(|| {
        let created = platform.platform.create_user_id(document);
        created.filter(|id| platform::is_id(id)).map(Into::into)
    })?;
    let storage_key = match &config.storage_key {
        Some(storage_key) => storage_key(&platform.name, &id).into(),
        None => Arc::clone(&id),
    };
    let person_id = event.person_id.take().filter(|id| platform::is_id(id)).map(Into::into);
    Some(Identity { id, storage_key, person_id, is_created })
}
