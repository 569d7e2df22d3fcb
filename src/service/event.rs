//! One event: a transaction around the inner service.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tokio::time::timeout;

use super::reserved::Reserved;
use super::{Failure, InnerService, Served, acknowledge, reply};
use crate::body::ResponseBody;
use crate::body::{FromBuffered, NoUser, put_back};
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::incoming::EventRequest;
use crate::observe::Observer;
use crate::transaction::Shared;
use crate::transaction::{Attempt, Ran, UserGuard, transact};
use crate::turn::{Exchange, History, Keep, Session, Turn, User};

/// Serves one event. `guard` is its user's place, if it is held already.
pub(super) async fn serve<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    mut parts: Parts,
    request: EventRequest,
    guard: Option<UserGuard>,
) -> Served<S, B>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    let EventRequest { bytes, event } = request;
    let Some(event) = event else {
        parts.extensions.insert(NoUser);
        let mut service = reserved.service().await.map_err(Failure::Inner)?;
        let response = service.call(put_back(parts, bytes)).await.map_err(Failure::Inner)?;
        return Ok(response.map(ResponseBody::inner));
    };
    let watch = Observer::new(&shared.config.observe, &event);
    let platform = Arc::clone(&event.platform.platform);
    let run = |attempt: Attempt| {
        let parts = match attempt.is_last {
            true => std::mem::replace(&mut parts, Request::new(()).into_parts().0),
            false => parts.clone(),
        };
        call(reserved, shared, &watch, parts, bytes.clone(), attempt)
    };
    let transacted = transact(shared, event, guard, &watch, run).await;
    let answer = transacted.map_err(|failure| match failure {
        Failure::Own(error, _) => {
            let error = error.with_platform(Arc::clone(watch.platform()));
            Failure::Own(error, Some(watch.clone()))
        }
        inner => inner,
    })?;
    Ok(match answer {
        None => acknowledge(platform.empty_reply()),
        Some(Answer { response, unwritten: None }) => response,
        Some(Answer { response, unwritten: Some(turn) }) => {
            reply::write(&shared.config, &turn, &bytes, response, &watch).await
        }
    })
}

/// The handler's response.
struct Answer<R: http_body::Body> {
    response: Response<ResponseBody<R>>,
    /// The turn whose session has yet to be written into the response.
    unwritten: Option<Arc<Turn>>,
}

/// Calls the inner service with the handles of one attempt in the request's extensions.
async fn call<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    watch: &Observer,
    mut parts: Parts,
    bytes: Bytes,
    attempt: Attempt,
) -> Result<
    Ran<
        Answer<S::Reply>,
        impl Future<Output = (Answer<S::Reply>, Option<Exchange>)> + Send + 'static,
    >,
    Failure<S::Error>,
>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    let config = &shared.config;
    let Attempt { turn, waited, .. } = attempt;
    // Once a turn has begun, its user's next turns wait for this one.
    let limit = config.queue_timeout.saturating_sub(waited);
    let service = timeout(limit, reserved.service()).await.map_err(|_| {
        let message = format!(
            "the inner service was not ready within {:?}: raise its concurrency limit, or \
             `queue_timeout`",
            config.queue_timeout
        );
        Error::new(Kind::Timeout, message)
    })?;
    let mut service = service.map_err(Failure::Inner)?;

    parts.extensions.insert(Session(Arc::clone(&turn)));
    if turn.user().is_some() {
        parts.extensions.insert(User(Arc::clone(&turn)));
        parts.extensions.insert(History(Arc::clone(&turn)));
    } else {
        parts.extensions.insert(NoUser);
    }
    let request = put_back(parts, bytes.clone());
    let mut step = watch.call();
    let called = step.call(|| service.call(request)).await;
    step.called(&called);
    let response = called.inspect_err(|_| watch.skip("failed")).map_err(Failure::Inner)?;

    let status = response.status();
    if status.is_server_error() && !config.save_on_error {
        let response = response.map(ResponseBody::inner);
        return Ok(Ran::Discard(Answer { response, unwritten: None }, "server_error"));
    }
    let keep = if status.is_client_error() { Keep::IfWritten } else { Keep::All };
    let (shared, watch) = (Arc::clone(shared), watch.clone());
    let output = async move {
        let config = &shared.config;
        let (response, exchange) =
            reply::read_for_record(config, &turn, &bytes, response, keep, &watch).await;
        let is_written = keep == Keep::All || turn.has_written();
        (Answer { response, unwritten: is_written.then_some(turn) }, exchange)
    };
    Ok(Ran::Keep { output, keep })
}
