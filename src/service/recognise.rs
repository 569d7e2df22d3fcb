//! Reading the request, and recognising whose events are in it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;

use crate::body::{self, OriginalBody};
use crate::error::{BoxError, Error, Kind};
use crate::incoming::{EventRequest, Identity, Recognised};
use crate::options::Config;
use crate::platform::{ClientSession, Document, Event, Input, MAX_EVENTS, NamedPlatform, is_id};
use crate::user_key::UserId;

/// What a request turned out to be.
pub(crate) enum Recognition {
    /// One request to the inner service, with or without an event of a user.
    Event(EventRequest),
    /// Several events of this platform.
    Batch(NamedPlatform, Vec<EventRequest>),
    /// A request of this platform with nothing for the handler.
    Acknowledged(NamedPlatform),
}

impl Recognition {
    /// The requests to the inner service.
    pub(super) fn requests(&self) -> &[EventRequest] {
        match self {
            Self::Event(request) => std::slice::from_ref(request),
            Self::Batch(_, requests) => requests,
            Self::Acknowledged(_) => &[],
        }
    }
}

/// Reads the body and recognises whose events are in it.
pub(super) async fn recognise<B>(
    config: &Config,
    request: Request<B>,
) -> Result<(Parts, Recognition), Error>
where
    B: Body<Error: Into<BoxError>>,
{
    let (mut parts, body) = request.into_parts();
    let limit = config.body_limit;
    if !body::is_read(&parts.method, &parts.headers, &body, limit) {
        // It would have passed through, if a user were not required.
        return Ok((parts, unrecognised(config, Bytes::new())?));
    }
    let bytes = body::buffer(body, &parts.headers, limit, config.body_timeout).await?;
    let recognition = find_events(config, bytes.clone())?;
    if recognition.requests().iter().any(|request| request.bytes != bytes) {
        parts.extensions.insert(OriginalBody(bytes));
    }
    Ok((parts, recognition))
}

fn unrecognised(config: &Config, bytes: Bytes) -> Result<Recognition, Error> {
    if config.require_user {
        let message = "no platform recognised the request, and `require_user` is on";
        return Err(Error::new(Kind::MissingUser, message));
    }
    Ok(Recognition::Event(EventRequest { bytes, event: None }))
}

fn find_events(config: &Config, bytes: Bytes) -> Result<Recognition, Error> {
    // The document borrows from the bytes, which are moved at the end.
    let body = bytes.clone();
    let Some(document) = Document::parse(&body) else { return unrecognised(config, bytes) };
    let Some((platform, events)) = claim(config, &document)? else {
        return unrecognised(config, bytes);
    };
    if events.len() > MAX_EVENTS {
        let message = "the request has more than 1,000 events; nothing was stored";
        return Err(
            Error::new(Kind::TooManyEvents, message).with_platform(Arc::clone(&platform.name))
        );
    }
    let (is_batch, is_skipped) = (events.len() > 1, events.is_empty());
    let requests = events.into_iter().map(|mut event| match event.body.take() {
        None => {
            let event = recognised(config, platform, &document, event);
            // In a batch, the whole body would be another event's as well.
            (event.is_some() || !is_batch).then(|| EventRequest { bytes: bytes.clone(), event })
        }
        Some(bytes) => {
            let document = Document::parse(&bytes);
            let event = document.and_then(|it| recognised(config, platform, &it, event));
            Some(EventRequest { bytes, event })
        }
    });
    let mut requests: Vec<EventRequest> = requests.flatten().collect();
    if config.require_user {
        requests.retain(|it| it.event.as_ref().is_some_and(|event| event.user.is_some()));
    }
    Ok(match requests.pop() {
        None if is_skipped || config.require_user => Recognition::Acknowledged(platform.clone()),
        None => Recognition::Event(EventRequest { bytes, event: None }),
        Some(only) if requests.is_empty() => Recognition::Event(only),
        Some(last) => {
            requests.push(last);
            count(&mut requests);
            Recognition::Batch(platform.clone(), requests)
        }
    })
}

/// The platform whose request it is, and the events in it. The app's own platforms come first.
///
/// # Errors
///
/// Where two built-in platforms recognise it: a check in front of the layer may have taken it for
/// the one, and the layer would take it for the other, with another user.
fn claim<'a, 'd>(
    config: &'a Config,
    document: &Document<'d>,
) -> Result<Option<(&'a NamedPlatform, Vec<Event<'d>>)>, Error> {
    let mut claimed: Option<(&NamedPlatform, _)> = None;
    let own = config.platforms.iter().filter(|platform| !platform.is_built_in);
    let built_in = config.platforms.iter().filter(|platform| platform.is_built_in);
    for platform in own.chain(built_in) {
        let Some(events) = platform.platform.recognise(document) else { continue };
        if let Some((first, _)) = &claimed {
            let message = format!(
                "the request can be one of {} and one of {}: it was refused, since they may have \
                 different users; send only what belongs to one platform",
                first.name, platform.name
            );
            return Err(Error::new(Kind::Ambiguous, message));
        }
        claimed = Some((platform, events));
        if !platform.is_built_in {
            break;
        }
    }
    Ok(claimed)
}

/// Notes how many events each user has.
fn count(requests: &mut [EventRequest]) {
    let key = |request: &EventRequest| {
        let user = request.event.as_ref()?.user.as_ref()?;
        Some(Arc::clone(&user.storage_key))
    };
    let mut sizes: HashMap<Arc<str>, usize> = HashMap::new();
    for key in requests.iter().filter_map(key) {
        *sizes.entry(key).or_default() += 1;
    }
    for request in requests {
        let size = key(request).and_then(|key| sizes.get(&key).copied());
        if let (Some(event), Some(size)) = (&mut request.event, size) {
            event.batch_size = size;
        }
    }
}

/// The event, if it has a user or a session of its own.
fn recognised(
    config: &Config,
    platform: &NamedPlatform,
    document: &Document<'_>,
    mut event: Event<'_>,
) -> Option<Recognised> {
    let elements = &config.stored_elements;
    let user = identity(config, platform, document, &mut event);
    let has_client_sessions = platform.platform.has_client_sessions() && !event.sessionless;
    let is_carried = has_client_sessions && (elements.session.is_none() || user.is_none());
    let carried = if is_carried { ClientSession::of(&event) } else { None };
    let session_id = event.session_id.filter(|id| is_id(id)).map(Into::into);
    if user.is_none() && (!is_carried || (session_id.is_none() && carried.is_none())) {
        return None;
    }
    if elements.session.is_none() && !platform.platform.has_client_sessions() {
        config.warn_of_sessions(&platform.name);
    }
    let asks_platform = elements.history.as_ref().is_some_and(|history| history.asks_platform());
    Some(Recognised {
        platform: platform.clone(),
        user,
        session_id,
        new_session: event.new_session,
        sessionless: event.sessionless,
        is_receipt: event.is_receipt,
        carried,
        deletion_requested: event.deletion_requested && config.forget_on_skill_disabled,
        id: event.id.filter(|id| is_id(id)).map(Into::into),
        batch_size: 0,
        input: if asks_platform { platform.platform.input(document) } else { Input::default() },
    })
}

/// The user's identity: as the request says, or as the app has to make it up.
fn identity(
    config: &Config,
    platform: &NamedPlatform,
    document: &Document<'_>,
    event: &mut Event<'_>,
) -> Option<Identity> {
    let named = event.user_id.take().filter(|id| is_id(id));
    let is_created = named.is_none();
    let id = match named {
        Some(id) => id,
        None => platform.platform.create_user_id(document)?.into(),
    };
    let id = UserId::new(event.scope.take(), id);
    let storage_key = config.keys.key(&config.platforms, &platform.name, &id)?;
    let person_id = event.person_id.take().filter(|id| is_id(id)).map(Into::into);
    Some(Identity { id: id.id().into(), storage_key, person_id, is_created })
}
