//! One event: the transaction of a turn around a call of the inner service.

use std::future::Future;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tokio::time::timeout;

use super::reply::ReplyWriter;
use super::reserved::Reserved;
use super::{Failure, InnerService, Served, acknowledge};
use crate::body::{FromBuffered, NoUser, ResponseBody, put_back};
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::incoming::EventRequest;
use crate::observe::Observer;
use crate::transaction::{Attempt, Ran, Shared, UserGuard, transact};
use crate::turn::{Exchange, History, Keep, Session, User};

/// Serves one event. `guard` is the user's place, if the caller holds it already.
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
    let observer = Observer::new(&shared.config.observe, &event);
    let platform = Arc::clone(&event.platform.platform);
    let mut request = Request::from_parts(parts, bytes);
    let run = |attempt: Attempt| {
        // The last attempt takes the request, so that most turns do not copy it.
        let request = match attempt.is_last {
            true => mem::take(&mut request),
            false => request.clone(),
        };
        call(reserved, shared, &observer, request, attempt)
    };
    let transacted = transact(shared, event, guard, &observer, run).await;
    let answer = transacted.map_err(|failure| match failure {
        Failure::Own(error, _) => {
            let error = error.with_platform(Arc::clone(observer.platform()));
            Failure::Own(error, Some(observer.clone()))
        }
        inner => inner,
    })?;
    Ok(match answer {
        None => acknowledge(platform.empty_reply()),
        Some(Answer { response, unwritten: None }) => response,
        Some(Answer { response, unwritten: Some(writer) }) => writer.write(response).await,
    })
}

/// The handler's response.
struct Answer<R: Body, D> {
    response: Response<ResponseBody<R>>,
    /// Writes the session into the response, unless nothing is stored.
    unwritten: Option<ReplyWriter<D>>,
}

/// Calls the inner service with the handles of one attempt in the request's extensions.
async fn call<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    observer: &Observer,
    request: Request<Bytes>,
    attempt: Attempt,
) -> Result<
    Ran<
        Answer<S::Reply, D>,
        impl Future<Output = (Answer<S::Reply, D>, Option<Exchange>)> + Send + 'static,
    >,
    Failure<S::Error>,
>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    let config = &shared.config;
    let Attempt { turn, conversation, waited, .. } = attempt;
    // The user's later turns wait for this one from now on, so it must not wait for ever.
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

    let (mut parts, bytes) = request.into_parts();
    let head = turn.writes_reply().then(|| parts.clone());
    parts.extensions.insert(Session(Arc::clone(&turn)));
    if turn.user().is_some() {
        parts.extensions.insert(User(Arc::clone(&turn)));
        parts.extensions.insert(History(Arc::clone(&turn)));
    } else {
        parts.extensions.insert(NoUser);
    }
    if let Some(conversation) = conversation {
        parts.extensions.insert(conversation);
    }
    let request = put_back(parts, bytes.clone());
    let mut step = observer.call();
    let called = step.call(|| service.call(request)).await;
    step.called(&called);
    let response = called.inspect_err(|_| observer.skip("failed")).map_err(Failure::Inner)?;

    let status = response.status();
    if status.is_server_error() && !config.save_on_error {
        let response = response.map(ResponseBody::inner);
        return Ok(Ran::Discard(Answer { response, unwritten: None }, "server_error"));
    }
    let keep = if status.is_client_error() { Keep::IfWritten } else { Keep::All };
    let writer = ReplyWriter {
        shared: Arc::clone(shared),
        turn,
        request: bytes,
        head,
        observer: observer.clone(),
    };
    let output = async move {
        let (response, exchange) = writer.read_for_record(response, keep).await;
        let unwritten = writer.is_stored(keep).then_some(writer);
        (Answer { response, unwritten }, exchange)
    };
    Ok(Ran::Keep { output, keep })
}
