//! One event: the transaction of a turn around a call of the inner service.

use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{Extensions, Response, StatusCode};
use http_body::Body;

use super::reply::{ReplyWriter, reads_head};
use super::stream::{self, Handoff, Opened};
use super::{Failure, Served, acknowledge, kept_reply};
use crate::body::{FromBuffered, NoUser, ResponseBody, put_back};
use crate::database::Database;
use crate::error::{BoxError, Error, Kind};
use crate::incoming::EventRequest;
use crate::inner::{InnerService, Reserved};
use crate::observe::Observer;
use crate::transaction::{
    Attempt, Ran, Shared, Transacted, UserGuard, too_many_conflicts, transact,
};
use crate::turn::{
    AfterReply, Conversation, Exchange, History, Keep, Session, StreamEnd, Turn, User,
};
use crate::within::within;

/// Serves one event. `guard` is the user's place, if the caller holds it already. A reply that is
/// streamed is left in `handoff`, and what is returned at the end of its turn has no body.
pub(super) async fn serve<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    mut head: Box<Parts>,
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
        head.extensions.insert(NoUser);
        let mut service = reserved.service().await.map_err(Failure::Inner)?;
        let response = service.call(put_back(*head, bytes)).await.map_err(Failure::Inner)?;
        return Ok(response.map(ResponseBody::inner));
    };
    let observer = Observer::new(&shared.config.observe, &event);
    let platform = Arc::clone(&event.platform.platform);
    let mut request = Some((head, bytes));
    let run = |attempt: Attempt| {
        // The last attempt takes the request, so that most turns do not copy it.
        let request = match attempt.is_last {
            true => request.take(),
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
    unwritten: Option<Box<ReplyWriter<D>>>,
}

/// The result of an attempt. Its output, what the record needs of the reply, is boxed once rather
/// than moved through the futures of a turn.
type Attempted<R, D> = Ran<Answer<R, D>, BoxFuture<'static, (Answer<R, D>, Option<Exchange>)>>;

/// Calls the inner service with the handles of one attempt in the request's extensions. `request`
/// is absent if the attempt before was the last one.
async fn call<S, D, B>(
    reserved: &Reserved<S>,
    shared: &Arc<Shared<D>>,
    observer: &Observer,
    request: Option<(Box<Parts>, Bytes)>,
    attempt: Attempt,
    handoff: &Handoff<S::Reply>,
) -> Result<Attempted<S::Reply, D>, Failure<S::Error>>
where
    S: InnerService<B>,
    D: Database,
    B: FromBuffered,
{
    let config = &shared.config;
    let Attempt { turn, conversation, waited, .. } = attempt;
    // The user's later turns wait for this one from now on, so it must not wait for ever.
    let limit = config.queue_timeout.saturating_sub(waited);
    let service = within(limit, reserved.service()).await.map_err(|_| {
        let message = format!(
            "the inner service was not ready within {:?}: raise its concurrency limit, or \
             `queue_timeout`",
            config.queue_timeout
        );
        Error::new(Kind::Timeout, message)
    })?;
    let mut service = service.map_err(Failure::Inner)?;

    let Some((mut head, bytes)) = request else { return Err(too_many_conflicts().into()) };
    let writer = Box::new(ReplyWriter {
        shared: Arc::clone(shared),
        turn: Arc::clone(&turn),
        request: bytes.clone(),
        head: reads_head(&turn).then(|| head.clone()),
        observer: observer.clone(),
        is_written: false,
    });
    insert_handles(&mut head.extensions, shared, turn, conversation.clone());
    let request = put_back(*head, bytes);
    let response = {
        let mut step = observer.call();
        let called = step.call(|| service.call(request)).await;
        step.called(&called);
        called.inspect_err(|_| observer.skip("failed")).map_err(Failure::Inner)?
    };
    // A stream goes on for long, and does not need the service.
    drop(service);
    match answered(writer, response) {
        Answered::Whole(attempted) => Ok(attempted),
        // Boxed, so that the futures of other turns are small.
        Answered::Streamed(writer, response) => {
            Ok(Box::pin(stream(writer, response, conversation, handoff)).await)
        }
    }
}

/// Puts the handles of an attempt where the handler finds them.
fn insert_handles<D>(
    extensions: &mut Extensions,
    shared: &Shared<D>,
    turn: Arc<Turn>,
    conversation: Option<Conversation>,
) {
    if turn.user().is_some() {
        let limit = shared.config.detached_limit;
        extensions.insert(AfterReply::new(&turn, &shared.detached, limit));
        extensions.insert(User(Arc::clone(&turn)));
        extensions.insert(History(Arc::clone(&turn)));
    } else {
        extensions.insert(NoUser);
    }
    extensions.insert(Session(turn));
    if let Some(conversation) = conversation {
        extensions.insert(conversation);
    }
}

/// The handler's response, by the end that it has for the turn.
enum Answered<R: Body, D> {
    Whole(Attempted<R, D>),
    Streamed(Box<ReplyWriter<D>>, Response<R>),
}

fn answered<R, D>(writer: Box<ReplyWriter<D>>, response: Response<R>) -> Answered<R, D>
where
    R: Body<Data: Send, Error: Into<BoxError> + Send> + Send + 'static,
    D: Database,
{
    let (config, status) = (&writer.shared.config, response.status());
    if status.is_server_error() && !config.save_on_error {
        let response = response.map(ResponseBody::inner);
        let answer = Answer { response, unwritten: None };
        return Answered::Whole(Ran::Discard(answer, "server_error"));
    }
    if status.as_u16() >= 400 {
        drop(writer.turn.take_detached());
    }
    if stream::ends_with_body(config, &response) {
        return Answered::Streamed(writer, response);
    }
    let keep = if status.is_client_error() { Keep::IfWritten } else { Keep::All };
    Answered::Whole(attempted(writer, response.map(ResponseBody::inner), keep))
}

/// Returns the result of an attempt whose reply is there as a whole.
fn attempted<R, D>(
    mut writer: Box<ReplyWriter<D>>,
    response: Response<ResponseBody<R>>,
    keep: Keep,
) -> Attempted<R, D>
where
    R: Body<Data: Send, Error: Into<BoxError> + Send> + Send + 'static,
    D: Database,
{
    let output = Box::pin(async move {
        let (response, exchange) = writer.read_for_record(response, keep).await;
        let unwritten = writer.is_stored(keep).then_some(writer);
        (Answer { response, unwritten }, exchange)
    });
    Ran::Keep { output, keep }
}

/// Hands over a reply that is streamed, and waits until its stream has ended for the turn.
async fn stream<R, D>(
    writer: Box<ReplyWriter<D>>,
    response: Response<R>,
    conversation: Option<Conversation>,
    handoff: &Handoff<R>,
) -> Attempted<R, D>
where
    R: Body<Data: Send, Error: Into<BoxError> + Send> + Send + 'static,
    D: Database,
{
    let reply = match stream::open(response, &writer.turn).await {
        // A reply with the status of a failure is not streamed.
        Opened::Whole(response) => return attempted(writer, response, Keep::All),
        Opened::Stream(reply) => reply,
    };
    if let Some(conversation) = conversation {
        conversation.0.leave();
    }
    let mut step = writer.observer.stream();
    let (saves, limit) = (&writer.shared.saves, writer.shared.config.stream_idle_timeout);
    let end = handoff.pass(reply, &writer.turn, saves, limit).await;
    let (outcome, error_type) = end.outcome();
    step.streamed(outcome, error_type);
    streamed(&writer, end)
}

/// Decides what is stored of a turn whose reply was streamed, and makes the answer, which has no
/// body, since that is sent already.
fn streamed<R, D>(writer: &ReplyWriter<D>, end: StreamEnd) -> Attempted<R, D>
where
    R: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    D: Database,
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
            Ran::Sent { output: Box::pin(ready((answer, exchange))) }
        }
    }
}
