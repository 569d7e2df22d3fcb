//! The end of a turn: what changed is stored, whether or not the client still waits.

use std::future::Future;
use std::sync::Arc;

use tokio::time::sleep;
use tracing::Instrument;

use super::backoff::{ATTEMPTS, pause};
use super::{DiscardOnDrop, Shared, UserGuard, with_timeout};
use crate::database::{Database, Expected, Saved, Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::observe::{Observer, StepSpan};
use crate::policy::OnConflict;
use crate::record::Record;
use crate::turn::{Exchange, Keep, Outcome, Turn};

/// How a turn ended.
pub(super) enum Ended<T> {
    Saved(T),
    /// Another process has saved this record meanwhile, and the handler is to run again.
    Conflict(VersionedRecord),
}

/// Ends the turn once `output` is there. The user's place is held until then.
pub(super) async fn complete<D: Database, T>(
    shared: Arc<Shared<D>>,
    turn: DiscardOnDrop,
    _guard: Option<UserGuard>,
    output: impl Future<Output = (T, Option<Exchange>)>,
    keep: Keep,
    watch: Observer,
) -> Result<Ended<T>, Error> {
    let (output, exchange) = output.await;
    let turn = &turn.0;
    let limit = shared.config.save_timeout;
    let outcome = match exchange {
        Some(exchange) => turn.seal(exchange, keep, (shared.config.clock)()),
        None => Outcome::Nothing("unreachable"),
    };
    match outcome {
        Outcome::Nothing(reason) => watch.skip(reason),
        Outcome::Delete { key } => {
            let delete = shared.database.delete(&key);
            let mut step = watch.delete();
            let deleted = step.run(with_timeout("deleting", limit, delete)).await;
            step.deleted(&deleted);
            deleted.map_err(Error::unavailable)?;
        }
        Outcome::Save { key, record, over } => {
            let mut step = watch.save();
            let span = step.span();
            let save = save(&shared, turn, &key, record, over, &mut step);
            let saved = with_timeout("saving", limit, save).instrument(span).await;
            if let Some(current) = saved.inspect_err(|error| step.fail(error))? {
                return Ok(Ended::Conflict(current));
            }
        }
    }
    Ok(Ended::Saved(output))
}

/// Saves; on a conflict as the policy says. Returns the record that is there now if the handler is
/// to run again.
async fn save<D: Database>(
    shared: &Shared<D>,
    turn: &Turn,
    key: &str,
    mut record: Record,
    mut over: Option<Version>,
    step: &mut StepSpan<'_>,
) -> Result<Option<VersionedRecord>, Error> {
    for attempt in 0..ATTEMPTS {
        step.holds(&record);
        let save = shared.database.save(key, &record, Expected::from(over.as_ref()));
        let mut current = match save.await.map_err(Error::unavailable)? {
            Saved::Written(_) => {
                step.end("stored");
                return Ok(None);
            }
            Saved::Conflict(current) => current,
        };
        if let Some(pause) = pause(attempt) {
            sleep(pause).await;
            let loaded = shared.database.load(key).await;
            // Only a save can tell for certain that nothing is there any more.
            current = loaded.map_err(Error::unavailable)?.or(current);
        }
        // A deleted user stays deleted, also one who was not stored when the turn began.
        let Some(current) = current else {
            step.conflict("stays_deleted");
            step.end("stays_deleted");
            return Ok(None);
        };
        // Another process has handled the event, or this one has, by a save whose answer was lost.
        if turn.is_handled(&current.record) {
            step.conflict("handled");
            step.end("handled");
            return Ok(None);
        }
        match shared.config.on_conflict {
            OnConflict::Rerun { .. } => {
                step.conflict("rerun");
                step.end("overtaken");
                return Ok(Some(current));
            }
            OnConflict::Overwrite => step.conflict("overwrite"),
            OnConflict::Merge => {
                step.conflict("merge");
                record = turn.merge(&current.record)?;
            }
        }
        over = Some(current.version);
    }
    Err(too_many_conflicts())
}

pub(super) fn too_many_conflicts() -> Error {
    let message = "the user's data keeps being changed elsewhere; nothing was written";
    Error::new(Kind::Conflict, message)
}
