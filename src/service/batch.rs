//! Several events in one request: one request for each to the inner service, with handles and a
//! save of its own.

use std::any::Any;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use http::request::Parts;
use http::{Response, header};
use http_body::Body;

use super::reserved::Reserved;
use super::{Failure, InnerService, Served, acknowledge, event, refuse};
use crate::body::FromBuffered;
use crate::body::ResponseBody;
use crate::database::Database;
use crate::error::Error;
use crate::incoming::EventRequest;
use crate::platform::NamedPlatform;
use crate::transaction::QueuedTurn;
use crate::transaction::Shared;

/// Serves each user's events in their order, and several users at a time. The answer says nothing
/// if all went well, and is that of the first failed event otherwise.
///
/// After a failed event the same user's later ones wait for the repeat, so that their order is
/// kept; a receipt that fails holds up nothing.
///
/// # Panics
///
/// If the inner service does, once the other users are served.
pub(super) async fn serve<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    platform: &NamedPlatform,
    parts: &Parts,
    events: Vec<EventRequest>,
) -> Served<S, B>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    // All places are taken at once: no later request comes between two events of a user, and of two
    // batches one is before the other with every user, so that they cannot wait for each other.
    let lanes = lanes(shared, events);
    let served = lanes
        .into_iter()
        .map(|lane| AssertUnwindSafe(serve_lane(reserved, shared, parts, lane)).catch_unwind());
    let limit = shared.config.batch_concurrency.max(1);
    let ended: Vec<_> = stream::iter(served).buffer_unordered(limit).collect().await;
    let mut failed = Vec::new();
    for ended in ended {
        failed.extend(ended.unwrap_or_else(|panic| resume(panic)));
    }
    match failed.into_iter().min_by_key(|(position, _)| *position) {
        Some((_, answer)) => answer.map(not_a_success),
        None => Ok(acknowledge(platform.platform.empty_reply())),
    }
}

fn resume<T>(panic: Box<dyn Any + Send>) -> T {
    resume_unwind(panic)
}

/// One user's events, with their positions in the request.
struct Lane {
    /// The user's place; events without user have none.
    place: Option<QueuedTurn>,
    events: Vec<(usize, EventRequest)>,
}

fn lanes<D>(shared: &Shared<D>, events: Vec<EventRequest>) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut of_user = HashMap::new();
    for (position, request) in events.into_iter().enumerate() {
        let user = request.event.as_ref().and_then(|event| event.user.as_ref());
        let key = user.map(|user| Arc::clone(&user.storage_key));
        let known = key.as_ref().and_then(|key| of_user.get(key).copied());
        let at = known.unwrap_or_else(|| {
            let place = key.as_ref().map(|key| shared.locks.queue(key));
            lanes.push(Lane { place, events: Vec::new() });
            lanes.len() - 1
        });
        if let Some(key) = key {
            of_user.insert(key, at);
        }
        lanes[at].events.push((position, request));
    }
    lanes
}

/// Serves one user's events, and returns those that failed.
async fn serve_lane<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    parts: &Parts,
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
        let parts = with_length(parts.clone(), &request.bytes);
        let answer = event::serve(reserved, shared, parts, request, guard.clone()).await;
        let answer = match answer {
            Err(Failure::Own(error, watch)) => Ok(refuse(config, error, watch.as_ref())),
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

/// The head of a request with this body.
fn with_length(mut parts: Parts, bytes: &Bytes) -> Parts {
    if let Some(length) = parts.headers.get_mut(header::CONTENT_LENGTH) {
        *length = bytes.len().into();
    }
    parts
}

/// Also where the app's own reply to a failure of the layer has a status that does not say so.
fn is_failure<R: Body, E>(answer: &Result<Response<ResponseBody<R>>, E>) -> bool {
    answer.as_ref().map_or(true, |response| {
        let status = response.status();
        let is_refused = response.extensions().get::<Error>().is_some();
        is_refused || status.is_client_error() || status.is_server_error()
    })
}

/// The answer to a batch that has to come again: the platform reads nothing but the status.
fn not_a_success<R: Body>(mut response: Response<ResponseBody<R>>) -> Response<ResponseBody<R>> {
    let status = response.extensions().get::<Error>().map(Error::status);
    if let Some(status) = status.filter(|_| response.status().as_u16() < 400) {
        *response.status_mut() = status;
    }
    response
}
