//! The end of a turn: what has changed is stored, whether or not somebody still waits for the reply.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Body;
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use crate::database::Version;
use crate::error::Kind;
use crate::layer::Shared;
use crate::observe::{Step, Watch};
use crate::order::InTurn;
use crate::policy::{ATTEMPTS, pause};
use crate::turn::{Outcome, Turn};
use crate::{Database, Error, OnConflict, Record, ResponseBody, Saved, Stored, reply};

/// A turn that is not stored, but over, when this is dropped: because the handler failed, or panicked, or the client
/// hung up before it answered.
pub(crate) struct OpenTurn(pub(crate) Arc<Turn>);

impl Drop for OpenTurn {
    fn drop(&mut self) {
        self.0.discard();
    }
}

/// How a turn ended.
pub(crate) enum End<R> {
    Saved(R),
    /// Somebody else has stored something, namely this, and the handler is to run again.
    Overtaken(Option<InTurn>, Stored),
}

/// Ends the turn after the handler has answered.
pub(crate) async fn end<D: Database, R: Body>(
    shared: Arc<Shared<D>>,
    turn: OpenTurn,
    in_turn: Option<InTurn>,
    request: Bytes,
    response: Response<R>,
    watch: Watch,
) -> Result<End<Response<ResponseBody<R>>>, Error> {
    let config = &shared.config;
    let (response, exchange) =
        reply::read_for_record(config, &turn.0, &request, response, true, &watch).await;
    let is_reachable = exchange.is_some();
    let outcome = match exchange {
        Some(exchange) => turn.0.seal(exchange, (config.clock)()),
        None => {
            turn.0.discard();
            Outcome::Nothing
        }
    };
    let limit = config.save_timeout;
    match outcome {
        Outcome::Nothing => {
            watch.skip(match is_reachable {
                _ if turn.0.is_degraded() => "degraded",
                true => "unchanged",
                false => "unreachable",
            });
        }
        Outcome::Delete => {
            let delete = shared.database.delete(turn.0.storage_key());
            let mut step = watch.delete();
            let deleted = step.run(in_time("deleting", limit, delete)).await;
            step.deleted(&deleted);
            deleted.map_err(Error::unavailable)?;
        }
        Outcome::Save { record, over } => {
            let mut step = watch.save();
            let span = step.span();
            let save = save(&shared, &turn.0, record, over, &mut step);
            let saved = in_time("saving", limit, save).instrument(span).await;
            if let Err(Overtaken(current)) = saved.inspect_err(|error| step.fail(error))? {
                return Ok(End::Overtaken(in_turn, current));
            }
        }
    }
    drop(in_turn);
    Ok(End::Saved(reply::write(config, &turn.0, &request, response, &watch).await))
}

struct Overtaken(Stored);

/// Saves, on a conflict as the policy says.
async fn save<D: Database>(
    shared: &Shared<D>,
    turn: &Turn,
    mut record: Record,
    mut over: Option<Version>,
    step: &mut Step<'_>,
) -> Result<Result<(), Overtaken>, Error> {
    for attempt in 0..ATTEMPTS {
        step.holds(&record);
        let save = shared.database.save(turn.storage_key(), &record, over.as_ref());
        let mut current = match save.await.map_err(Error::unavailable)? {
            Saved::Stored(_) => {
                step.end("stored");
                return Ok(Ok(()));
            }
            Saved::Conflict(current) => current,
        };
        if let Some(pause) = pause(attempt) {
            sleep(pause).await;
            let loaded = shared.database.load(turn.storage_key()).await;
            // That nothing is there any more, only a save can tell for certain.
            current = loaded.map_err(Error::unavailable)?.or(current);
        }
        // Deleted meanwhile: what is deleted stays so, also of a user who was not stored when the turn began.
        let Some(current) = current else {
            step.conflict("stays_deleted");
            step.end("stays_deleted");
            return Ok(Ok(()));
        };
        // Served elsewhere, or here by a save whose answer was lost.
        if turn.is_handled(&current.record) {
            step.conflict("handled");
            step.end("handled");
            return Ok(Ok(()));
        }
        match shared.config.on_conflict {
            OnConflict::Rerun { .. } => {
                step.conflict("rerun");
                step.end("overtaken");
                return Ok(Err(Overtaken(current)));
            }
            OnConflict::Overwrite => step.conflict("overwrite"),
            OnConflict::Merge => {
                step.conflict("merge");
                record = turn.merge(&current.record)?;
            }
        }
        over = Some(current.version);
    }
    Err(overtaken())
}

/// The error of those who were overtaken too often.
pub(crate) fn overtaken() -> Error {
    let message = "the user's data keeps being changed elsewhere; nothing was written";
    Error::new(Kind::Conflict, message)
}

pub(crate) async fn in_time<T>(
    what: &str,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::Timeout, format!("{what} took longer than {limit:?}")))
    })
}

/// Runs `work` to its end, even if nobody waits for it any more. What is ready at once needs no task. It stays in the span of
/// the request.
pub(crate) async fn to_its_end<T: Send + 'static>(
    mut work: Pin<Box<impl Future<Output = Result<T, Error>> + Send + 'static>>,
) -> Result<T, Error> {
    let first = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(result) => result,
        Poll::Pending => tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
            // The text of a panic may hold data.
            let how = if error.is_panic() { "panicked" } else { "was cancelled" };
            Err(Error::database(format!("the task that saves {how}")))
        }),
    }
}
