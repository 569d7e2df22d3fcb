//! Several events in one request. Each reaches the inner service in a request of its own, with its
//! own handles and its own save.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::request::Parts;
use http::{Response, header};
use http_body::Body;

use super::stream::{Handoff, drained, ended};
use super::{Failure, Served, acknowledge, event, refuse};
use crate::body::{FromBuffered, ResponseBody};
use crate::database::Database;
use crate::error::Error;
use crate::incoming::EventRequest;
use crate::inner::{InnerService, Reserved};
use crate::platform::NamedPlatform;
use crate::transaction::{QueuedTurn, Shared};

/// Serves the events of a batch: each user's events run in order, different users run concurrently.
/// Returns an empty reply if all went well, and otherwise the response to the first failed event.
///
/// After a failed event the same user's later ones are left for the repeated batch, so that their
/// order is kept. A failed receipt does not hold up later events.
///
/// # Panics
///
/// Panics if the inner service does, once the other users are served.
pub(super) async fn serve<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    platform: &NamedPlatform,
    head: &Parts,
    events: Vec<EventRequest>,
) -> Served<S, B>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    // All places are taken before the first is waited for, in the order in which they are served: no
    // later request comes between two events of a user, and a batch only ever waits for places that
    // were taken before its own, so that batches cannot wait for each other in a circle.
    let lanes = lanes(shared, events);
    let served = lanes
        .into_iter()
        .map(|lane| AssertUnwindSafe(serve_lane(reserved, shared, head, lane)).catch_unwind());
    let limit = shared.config.batch_concurrency.max(1);
    let ended: Vec<_> = stream::iter(served).buffer_unordered(limit).collect().await;
    let mut failed = Vec::new();
    for ended in ended {
        failed.extend(ended.unwrap_or_else(|panic| resume_unwind(panic)));
    }
    match failed.into_iter().min_by_key(|(position, _)| *position) {
        Some((_, answer)) => answer.map(not_a_success),
        None => Ok(acknowledge(platform.platform.empty_reply())),
    }
}

/// The events of one user, with their positions in the request.
struct Lane {
    /// The user's place; `None` for an event without a user.
    place: Option<QueuedTurn>,
    events: Vec<(usize, EventRequest)>,
}

/// Groups the events by user, and takes each user's place.
fn lanes<D>(shared: &Shared<D>, events: Vec<EventRequest>) -> Vec<Lane> {
    let mut lanes = Vec::new();
    let mut of_key: HashMap<Arc<str>, usize> = HashMap::new();
    for (position, request) in events.into_iter().enumerate() {
        let user = request.event.as_ref().and_then(|event| event.user.as_ref());
        let further = user.iter().flat_map(|user| &user.aliases).map(|alias| &alias.key);
        let keys = user.iter().map(|user| &user.storage_key).chain(further);
        let keys: Vec<_> = keys.map(Arc::clone).collect();
        // Events that share one of their ids are one user's.
        let known = keys.iter().find_map(|key| of_key.get(key).copied());
        let at = known.unwrap_or_else(|| {
            lanes.push((Vec::<Arc<str>>::new(), Vec::new()));
            lanes.len() - 1
        });
        for key in keys {
            let of = *of_key.entry(Arc::clone(&key)).or_insert(at);
            if of == at && !lanes[at].0.contains(&key) {
                lanes[at].0.push(key);
            }
        }
        lanes[at].1.push((position, request));
    }
    let lanes = lanes.into_iter().map(|(keys, events)| {
        let place = keys.split_first().map(|(key, further)| shared.locks.queue_all(key, further));
        Lane { place, events }
    });
    lanes.collect()
}

/// Serves the events of one user, and returns the answers to those that failed.
async fn serve_lane<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    head: &Parts,
    lane: Lane,
) -> Vec<(usize, Served<S, B>)>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    let config = &shared.config;
    let mut failed = Vec::new();
    let mut guard = None;
    if let Some(place) = lane.place {
        match place.wait(config.queue_timeout).await {
            Ok(held) => guard = Some(held),
            Err(error) => {
                let position = lane.events.first().map_or(0, |(position, _)| *position);
                failed.push((position, Ok(refuse(config, error, None))));
                return failed;
            }
        }
    }
    for (position, request) in lane.events {
        let is_receipt = request.event.as_ref().is_some_and(|event| event.is_receipt);
        let head = Box::new(with_length(head.clone(), &request.bytes));
        let handoff = Handoff::default();
        let turn = event::serve(reserved, shared, head, request, guard.clone(), &handoff);
        // The reply is not read, but a handler that streams it works while it does.
        let answer = drained(turn, &handoff, |answer| match answer {
            Ok(response) => ended(Some(response)),
            Err(Failure::Own(error, _)) => Err(error.clone()),
            Err(Failure::Inner(_)) => ended::<()>(None),
        });
        let answer = match answer.await {
            Err(Failure::Own(error, observer)) => Ok(refuse(config, error, observer.as_ref())),
            answer => answer,
        };
        if is_failure(&answer) {
            failed.push((position, answer));
            if !is_receipt {
                break;
            }
        }
    }
    failed
}

/// Sets the head's content length, if it has one, to that of this body.
fn with_length(mut head: Parts, bytes: &Bytes) -> Parts {
    if let Some(length) = head.headers.get_mut(header::CONTENT_LENGTH) {
        *length = bytes.len().into();
    }
    head
}

/// Returns whether the event failed, even if the app's `on_error` gave the failure a status of
/// success.
fn is_failure<R: Body, E>(answer: &Result<Response<ResponseBody<R>>, E>) -> bool {
    answer.as_ref().map_or(true, |response| {
        let status = response.status();
        let is_refused = response.extensions().get::<Error>().is_some();
        is_refused || status.is_client_error() || status.is_server_error()
    })
}

/// Gives the answer a status of failure, since platforms read nothing else, so that the platform
/// sends the batch again.
fn not_a_success<R: Body>(mut response: Response<ResponseBody<R>>) -> Response<ResponseBody<R>> {
    let status = response.extensions().get::<Error>().map(Error::status);
    if let Some(status) = status.filter(|_| response.status().as_u16() < 400) {
        *response.status_mut() = status;
    }
    response
}
