//! One event: the transaction of a turn around a call of the inner service.

use std::future::{Future, Ready, ready};
use std::mem;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio::time::timeout;

use super::reply::ReplyWriter;
use super::stream::{self, Handoff, Opened};
use super::{Failure, Served, acknowledge, kept_reply};
use crate::body::{FromBuffered, NoUser, ResponseBody, put_back};
use crate::database::Database;
use crate::error::{BoxError, Error, Kind};
use crate::incoming::EventRequest;
use crate::inner::{InnerService, Reserved};
use crate::observe::Observer;
use crate::transaction::{Attempt, Ran, Shared, Transacted, UserGuard, transact};
use crate::turn::{AfterReply, Exchange, History, Keep, Session, StreamEnd, User};

/// Serves one event. `guard` is the user's place, if the caller holds it already. A reply that is
/// streamed is left in `handoff`, and what is returned at the end of its turn has no body.
pub(super) async fn serve<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    mut parts: Parts,
    request: EventRequest,
    guard: Option<UserGuard>,
    handoff: &Handoff<S::Reply>,
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
        call(reserved, shared, &observer, request, attempt, handoff)
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
        Transacted::StaysDeleted => acknowledge(platform.empty_reply()),
        Transacted::Handled(handled) => handled
            .reply
            .and_then(kept_reply::to_repeat)
            .unwrap_or_else(|| acknowledge(platform.empty_reply())),
        Transacted::Ran(Answer { response, unwritten: None }) => response,
        Transacted::Ran(Answer { response, unwritten: Some(writer) }) => {
            writer.write(response).await
        }
    })
}

/// The handler's response.
struct Answer<R: Body, D> {
    response: Response<ResponseBody<R>>,
    /// Writes the session into the response, unless nothing is stored.
    unwritten: Option<ReplyWriter<D>>,
}

/// The handler's response, and what the record needs of it.
type Output<R, D> = (Answer<R, D>, Option<Exchange>);

/// The result of an attempt whose reply is sent already; `O` is the output of other attempts.
type Sent<R, D, O> = Ran<Answer<R, D>, Either<O, Ready<Output<R, D>>>>;

/// Calls the inner service with the handles of one attempt in the request's extensions.
async fn call<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    observer: &Observer,
    request: Request<Bytes>,
    attempt: Attempt,
    handoff: &Handoff<S::Reply>,
) -> Result<
    Ran<Answer<S::Reply, D>, impl Future<Output = Output<S::Reply, D>> + Send + 'static>,
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
        let after_reply = AfterReply::new(&turn, &shared.detached, config.detached_limit);
        parts.extensions.insert(after_reply);
        parts.extensions.insert(User(Arc::clone(&turn)));
        parts.extensions.insert(History(Arc::clone(&turn)));
    } else {
        parts.extensions.insert(NoUser);
    }
    if let Some(conversation) = conversation.clone() {
        parts.extensions.insert(conversation);
    }
    let request = put_back(parts, bytes.clone());
    let mut step = observer.call();
    let called = step.call(|| service.call(request)).await;
    step.called(&called);
    // A stream goes on for long, and neither the span nor the service is needed for it.
    drop((step, service));
    let response = called.inspect_err(|_| observer.skip("failed")).map_err(Failure::Inner)?;

    let status = response.status();
    if status.is_server_error() && !config.save_on_error {
        let response = response.map(ResponseBody::inner);
        return Ok(Ran::Discard(Answer { response, unwritten: None }, "server_error"));
    }
    if status.as_u16() >= 400 {
        drop(turn.take_detached());
    }
    let mut writer = ReplyWriter {
        shared: Arc::clone(shared),
        turn,
        request: bytes,
        head,
        observer: observer.clone(),
        is_written: false,
    };
    let response = match stream::ends_with_body(config, &response) {
        false => response.map(ResponseBody::inner),
        true => match stream::open(response, &writer.turn).await {
            Opened::Whole(response) => response,
            Opened::Stream(reply) => {
                if let Some(conversation) = conversation {
                    conversation.0.leave();
                }
                let mut step = observer.stream();
                let limit = config.stream_idle_timeout;
                let end = handoff.pass(reply, &writer.turn, &shared.saves, limit).await;
                let (outcome, error_type) = end.outcome();
                step.streamed(outcome, error_type);
                return Ok(streamed(&writer, end));
            }
        },
    };
    let keep = if status.is_client_error() { Keep::IfWritten } else { Keep::All };
    let output = async move {
        let (response, exchange) = writer.read_for_record(response, keep).await;
        let unwritten = writer.is_stored(keep).then_some(writer);
        (Answer { response, unwritten }, exchange)
    };
    Ok(Ran::Keep { output: Either::Left(output), keep })
}

/// Decides what is stored of a turn whose reply was streamed, and makes the answer, which has no
/// body, since that is sent already.
fn streamed<R, D, O>(writer: &ReplyWriter<D>, end: StreamEnd) -> Sent<R, D, O>
where
    R: Body<Error: Into<BoxError>>,
{
    let discards = stream::discards(&writer.shared.config, end);
    let mut response = Response::new(ResponseBody::own(Bytes::new()));
    // A batch reads the status, so that its platform repeats the event.
    if end == StreamEnd::Failed || discards.is_some() {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let answer = Answer { response, unwritten: None };
    match discards {
        Some(reason) => {
            writer.turn.ending().store_result(Err(stream::not_stored()));
            Ran::Discard(answer, reason)
        }
        None => {
            let exchange = writer.without_reply();
            Ran::Sent { output: Either::Right(ready((answer, exchange))) }
        }
    }
}
