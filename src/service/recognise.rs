//! Reads a request, recognises its events, and identifies their users.

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body;

use crate::body::{self, OriginalBody};
use crate::error::{BoxError, Error, Kind};
use crate::incoming::{Alias, EventRequest, Identity, KEPT_FOR, Recognised};
use crate::options::Config;
use crate::platform::{
    Claim, ClientSession, Event, MAX_EVENTS, NamedPlatform, PlatformRequest, claim, is_id,
};
use crate::user_key::{UserId, UserKeys};
use crate::verified::Verified;

/// The result of recognising a request.
pub(crate) enum Recognition {
    /// A single request to the inner service, with or without a recognised event.
    Event(EventRequest),
    /// Several events of this platform.
    Batch(NamedPlatform, Vec<EventRequest>),
    /// A request of this platform without an event for the handler.
    Acknowledged(NamedPlatform),
}

impl Recognition {
    /// Returns the requests to the inner service.
    pub(super) fn requests(&self) -> &[EventRequest] {
        match self {
            Self::Event(request) => std::slice::from_ref(request),
            Self::Batch(_, requests) => requests,
            Self::Acknowledged(_) => &[],
        }
    }
}

/// Reads the body and recognises its events.
pub(super) async fn recognise<B>(
    config: &Config,
    head: &mut Parts,
    body: B,
) -> Result<Recognition, Error>
where
    B: Body<Error: Into<BoxError>>,
{
    if !config.reads(&head.method, &head.headers, &body) {
        // Only `require_user` brings an unread body here: without it, the request passes through.
        return unrecognised(config, Bytes::new());
    }
    let limit = config.body_limit;
    let bytes = body::buffer(body, &head.headers, limit, config.body_timeout).await?;
    let recognition = find_events(config, head, bytes.clone())?;
    if config.require_verified {
        insist(&recognition, head.extensions.get())?;
    }
    if recognition.requests().iter().any(|request| !is_same(&request.bytes, &bytes)) {
        head.extensions.insert(OriginalBody(bytes));
    }
    Ok(recognition)
}

/// Returns whether two bodies are equal, in most cases by looking only at their place.
fn is_same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr(), one.len()) == (other.as_ptr(), other.len()) || one == other
}

fn unrecognised(config: &Config, bytes: Bytes) -> Result<Recognition, Error> {
    if config.require_user {
        let message = "no platform recognised a user in this request: send one, or switch \
                       `require_user` off";
        return Err(Error::new(Kind::MissingUser, message));
    }
    Ok(Recognition::Event(EventRequest { bytes, event: None }))
}

fn find_events(config: &Config, head: &Parts, bytes: Bytes) -> Result<Recognition, Error> {
    // The request borrows from this clone, because `bytes` moves into the result.
    let body = bytes.clone();
    let Some(request) = PlatformRequest::parse(head, &body) else {
        return unrecognised(config, bytes);
    };
    let (platform, events) = match claim(&config.platforms, &request) {
        Claim::None => return unrecognised(config, bytes),
        Claim::One(platform, events) => (platform, events),
        Claim::Ambiguous(one, other) => return Err(ambiguous(one, other)),
    };
    if events.len() > MAX_EVENTS {
        let message = "the request has more than 1,000 events, and nothing was stored: send fewer \
                       in one request";
        return Err(
            Error::new(Kind::TooManyEvents, message).with_platform(Arc::clone(&platform.name))
        );
    }
    let subject = config.identify.as_ref().map(|identify| (identify, identify.subject(head)));
    if let Some((_, subject)) = subject.as_ref().filter(|(identify, _)| identify.against_body) {
        let named = events.iter().filter_map(|event| event.user_id.as_deref());
        if named.into_iter().any(|id| Some(id) != subject.as_deref()) {
            let message = "the body names another user than the one who was authenticated, so \
                           nothing was stored: send the request as that user";
            return Err(
                Error::new(Kind::OtherUser, message).with_platform(Arc::clone(&platform.name))
            );
        }
    }
    let subject = subject.and_then(|(_, subject)| subject);
    let (is_batch, is_skipped) = (events.len() > 1, events.is_empty());
    let requests = events.into_iter().map(|mut event| match event.body.take() {
        None => {
            let event = recognised(config, platform, &request, subject.as_deref(), event);
            // In a batch, the whole body holds the other events as well, so it cannot stand for an
            // event without a user.
            (event.is_some() || !is_batch).then(|| EventRequest { bytes: bytes.clone(), event })
        }
        Some(bytes) => {
            let request = PlatformRequest::parse(head, &bytes);
            let subject = subject.as_deref();
            let event = request.and_then(|it| recognised(config, platform, &it, subject, event));
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

/// Insists that the events with a user or a session were verified as this platform's, or that their
/// user was authenticated.
fn insist(recognition: &Recognition, verified: Option<&Verified>) -> Result<(), Error> {
    let mut events = recognition.requests().iter().filter_map(|request| request.event.as_ref());
    let is_missing = |event: &Recognised| {
        let is_authenticated = event.user.as_ref().is_some_and(|user| user.is_authenticated);
        let is_other = |verified: &Verified| verified.platform() != &*event.platform.name;
        !is_authenticated && verified.is_none_or(is_other)
    };
    let Some(event) = events.find(|event| is_missing(event)) else { return Ok(()) };
    let message = match verified {
        None => "the request was not verified: put a `VerifyLayer` around the persistence layer",
        Some(_) => {
            "the request was verified as another platform's: tell both layers of the same platforms"
        }
    };
    Err(Error::new(Kind::Unverified, message).with_platform(Arc::clone(&event.platform.name)))
}

/// The error of a request that two built-in platforms recognise.
fn ambiguous(one: &NamedPlatform, other: &NamedPlatform) -> Error {
    let message = format!(
        "both {} and {} recognise this request, and may find different users in it, so it was \
         refused: send the members of one platform only",
        one.name, other.name
    );
    Error::new(Kind::Ambiguous, message)
}

/// Sets the batch size of each event to the number of its user's events. Their ids are kept, since
/// a batch is repeated if one of its events fails; their replies are not, since no platform reads
/// them.
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
            event.id_kept_for.get_or_insert(KEPT_FOR);
            event.keeps_reply = false;
        }
    }
}

/// Completes the event with its user and its session; `None` if it has neither.
fn recognised(
    config: &Config,
    platform: &NamedPlatform,
    request: &PlatformRequest<'_>,
    subject: Option<&str>,
    mut event: Event<'_>,
) -> Option<Box<Recognised>> {
    let elements = &config.stored_elements;
    let conversation = conversation(config, platform, &event);
    let user = match subject.and_then(|subject| authenticated(subject, &mut event)) {
        Some(user) => Some(user),
        None => identity(config, platform, request, &mut event),
    };
    let has_client_sessions = platform.platform.has_client_sessions() && !event.sessionless;
    let is_client_session = has_client_sessions && (elements.session.is_none() || user.is_none());
    let client_session = if is_client_session { ClientSession::of(&event) } else { None };
    let client_session = client_session.map(Box::new);
    let session_id = event.take_session_id().filter(|id| is_id(id)).map(Into::into);
    let has_session = is_client_session && (session_id.is_some() || client_session.is_some());
    if user.is_none() && conversation.is_none() && !has_session {
        return None;
    }
    if elements.session.is_none() && !platform.platform.has_client_sessions() {
        config.warn_of_sessions(&platform.name);
    }
    // A created id is another one with each repeat, so the repeat would not find the record.
    let is_created = user.as_ref().is_some_and(|user| user.is_created);
    let is_own = !is_created && !event.has_shared_id;
    let id = event.id.filter(|id| is_own && is_id(id));
    let asks_platform = elements.history.as_ref().is_some_and(|history| history.asks_platform());
    Some(Box::new(Recognised {
        platform: platform.clone(),
        user,
        session_id,
        new_session: event.new_session,
        sessionless: event.sessionless,
        is_receipt: event.is_receipt,
        client_session,
        deletion_requested: event.deletion_requested && config.forget_on_skill_disabled,
        id: id.map(Into::into),
        batch_size: 0,
        id_kept_for: event.repeats.or(config.deduplicate.then_some(KEPT_FOR)),
        keeps_reply: config.deduplicate && event.repeats.is_none(),
        without_request: false,
        left: None,
        input: asks_platform.then(|| Box::new(platform.platform.input(request))),
        conversation,
        is_conversation: false,
    }))
}

/// Identifies the conversation, if the platform names one.
fn conversation(config: &Config, platform: &NamedPlatform, event: &Event<'_>) -> Option<Identity> {
    let id = event.conversation.as_deref()?;
    let user_id = UserId::new(event.scope.as_deref().map(Into::into), id.into());
    let storage_key = config.keys.conversation_key(&platform.name, &user_id)?;
    Some(Identity { id: id.into(), storage_key, ..Identity::default() })
}

/// Identifies the user as the one who was authenticated.
fn authenticated(subject: &str, event: &mut Event<'_>) -> Option<Identity> {
    let storage_key = UserKeys::identity_key(subject)?;
    let person_id = event.person_id.take().filter(|id| is_id(id)).map(Into::into);
    let id = subject.into();
    let is_authenticated = true;
    Some(Identity { id, storage_key, person_id, is_authenticated, ..Identity::default() })
}

/// Identifies the user: by the id in the request, or by one that the platform creates.
fn identity(
    config: &Config,
    platform: &NamedPlatform,
    request: &PlatformRequest<'_>,
    event: &mut Event<'_>,
) -> Option<Identity> {
    let named = event.user_id.take().filter(|id| is_id(id));
    let is_created = named.is_none();
    let id = match named {
        Some(id) => id,
        None => platform.platform.create_user_id(request)?.into(),
    };
    let scope = event.scope.take();
    let key = |id| {
        let id = UserId::new(scope.as_deref().map(Into::into), id);
        config.keys.key(&config.platforms, &platform.name, &id)
    };
    let storage_key = key(Cow::Borrowed(&*id))?;
    let also_known_as = mem::take(&mut event.also_known_as);
    let aliases = also_known_as.into_iter().filter_map(|id| key(id).map(Alias::from)).collect();
    let person_id = event.person_id.take().filter(|id| is_id(id)).map(Into::into);
    // Most keys are the bare id, which is long.
    let id = if *id == *storage_key { Arc::clone(&storage_key) } else { id.into() };
    Some(Identity { id, storage_key, aliases, person_id, is_created, is_authenticated: false })
}
