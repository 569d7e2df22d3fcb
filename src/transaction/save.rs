//! The end of a turn: stores the changes, even if the client no longer waits.

use std::future::Future;
use std::sync::Arc;

use tokio::time::sleep;
use tracing::Instrument;

use super::backoff::{ATTEMPTS, pause};
use super::{
    CloseOnDrop, DiscardOnDrop, Other, Shared, UserGuard, aliases, detached, with_timeout,
};
use crate::database::{Database, Expected, Saved, Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::observe::{Observer, StepSpan};
use crate::policy::OnConflict;
use crate::record::Record;
use crate::turn::{Exchange, Handled, Keep, Outcome, Turn};

/// A turn to be completed. It owns its parts, since a save goes on in a task of its own if the
/// client hangs up.
pub(super) struct Completion<D: Database> {
    /// The user's place, held until the turn is stored.
    pub(super) _guard: Option<UserGuard>,
    pub(super) shared: Arc<Shared<D>>,
    pub(super) turn: DiscardOnDrop,
    pub(super) conversation: CloseOnDrop<D>,
    /// The records under the user's further ids.
    pub(super) others: Arc<Vec<Other>>,
    pub(super) keep: Keep,
    pub(super) on_conflict: OnConflict,
    pub(super) observer: Observer,
}

/// The result of completing a turn.
pub(super) enum Completed<T> {
    Saved(T),
    /// The event was handled meanwhile, and the reply to it is kept. Nothing of this turn is
    /// stored.
    Handled(Handled),
    /// Another process has stored this record since the turn loaded its own, and the policy is to
    /// run the handler again.
    Conflict {
        current: VersionedRecord,
        has_stored_conversation: bool,
    },
    /// As [`Conflict`](Self::Conflict), for the record of the conversation.
    ConversationConflict,
}

/// The result of saving a record.
enum Resolved {
    Written,
    /// There was nothing to store, for this reason.
    Unchanged(&'static str),
    /// Nothing is stored of this turn: its user was deleted, or another process has handled the
    /// event.
    Dropped,
    /// As [`Dropped`](Self::Dropped), and the reply to the event is kept.
    Handled(Handled),
    /// Another process has stored this record, and the policy is to run the handler again.
    Rerun(VersionedRecord),
}

impl<D: Database> Completion<D> {
    /// Seals the turn once `output` is there, stores its changes, and begins the work after the
    /// reply. Those of the conversation are stored first, so that what the user's record notes as
    /// done is done.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds each argument twice")]
    pub(super) fn complete<T>(
        self,
        output: impl Future<Output = (T, Option<Exchange>)>,
    ) -> impl Future<Output = Result<Completed<T>, Error>> {
        async move {
            let Self { shared, turn, keep, observer, .. } = &self;
            // What is not in this block any more does not take room in the future.
            let (output, outcome, now) = {
                let (output, exchange) = output.await;
                let now = (shared.config.clock)();
                let Some(exchange) = exchange else {
                    observer.skip("unreachable");
                    return Ok(Completed::Saved(output));
                };
                (output, turn.0.seal(exchange, *keep, now), now)
            };
            // The place of the conversation is held until both are stored.
            let closed = self.conversation.close();
            let mut has_stored_conversation = false;
            if let Some(conversation) = closed.as_ref().and_then(|closed| closed.turn.as_ref()) {
                let changes = conversation.0.seal(Exchange::default(), Keep::IfWritten, now);
                has_stored_conversation = !matches!(changes, Outcome::Nothing(_));
                let stored = Box::pin(self.store(&conversation.0, changes)).await?;
                if let Resolved::Rerun(_) = stored {
                    return Ok(Completed::ConversationConflict);
                }
            }
            match self.store(&turn.0, outcome).await? {
                Resolved::Rerun(current) => {
                    return Ok(Completed::Conflict { current, has_stored_conversation });
                }
                Resolved::Handled(handled) => return Ok(Completed::Handled(handled)),
                Resolved::Written => {
                    if !self.others.is_empty() {
                        Box::pin(self.link()).await;
                    }
                    detached::begin(shared, &turn.0, true, observer);
                }
                Resolved::Unchanged(reason) => {
                    observer.skip(reason);
                    detached::begin(shared, &turn.0, false, observer);
                }
                // The ids of a user who was deleted meanwhile are not tied to anything.
                Resolved::Dropped => {}
            }
            Ok(Completed::Saved(output))
        }
    }

    /// Ties the user's further ids to the record. The turn is stored by then, so a failure is only
    /// logged: the user's next turn finishes.
    async fn link(&self) {
        let Self { shared, turn, observer, .. } = self;
        let Some(user) = turn.0.user() else { return };
        let limit = shared.config.save_timeout;
        for other in &*self.others {
            let link = other.link(&*shared.database, &user.storage_key);
            if let Err(error) = with_timeout("saving an alias", limit, link).await {
                observer.unlinked(&error);
            }
        }
    }

    /// Stores the outcome of `turn`.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds each argument twice")]
    fn store<'a>(
        &'a self,
        turn: &'a Turn,
        outcome: Outcome,
    ) -> impl Future<Output = Result<Resolved, Error>> + 'a {
        async move {
            let Self { shared, observer, .. } = self;
            let limit = shared.config.save_timeout;
            match outcome {
                Outcome::Nothing(reason) => Ok(Resolved::Unchanged(reason)),
                Outcome::Delete { key, aliases } => {
                    let delete = aliases::delete(&*shared.database, &key, &aliases);
                    let delete = with_timeout("deleting", limit, Box::pin(delete));
                    let mut step = observer.delete();
                    let deleted = step.run(delete).await;
                    step.deleted(&deleted);
                    deleted.map_err(Error::unavailable)?;
                    Ok(Resolved::Dropped)
                }
                Outcome::Save { key, record, expected } => {
                    let mut step = observer.save();
                    let span = step.span();
                    let save = self.save(turn, &key, record, expected, &mut step);
                    let saved = with_timeout("saving", limit, save).instrument(span).await;
                    saved.inspect_err(|error| step.fail(error))
                }
            }
        }
    }

    /// Saves the record, and resolves conflicts as the policy says.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` holds each argument twice")]
    fn save<'a>(
        &'a self,
        turn: &'a Turn,
        key: &'a str,
        mut record: Record,
        mut expected: Option<Version>,
        step: &'a mut StepSpan<'_>,
    ) -> impl Future<Output = Result<Resolved, Error>> + 'a {
        async move {
            let database = &self.shared.database;
            for attempt in 0..ATTEMPTS {
                step.holds(&record);
                let save = database.save(key, &record, Expected::from(expected.as_ref()));
                let mut current = match save.await.map_err(Error::unavailable)? {
                    Saved::Written(_) => {
                        step.end("stored");
                        return Ok(Resolved::Written);
                    }
                    Saved::Conflict(current) => current,
                };
                if let Some(pause) = pause(attempt) {
                    // The conflict's record may be outdated after a pause. A load that finds nothing
                    // does not overrule it: only a save tells for certain that the user was deleted.
                    let loaded = Box::pin(async move {
                        sleep(pause).await;
                        database.load(key).await.map(|loaded| loaded.or(current))
                    });
                    current = loaded.await.map_err(Error::unavailable)?;
                }
                // A deleted user stays deleted, even if not stored yet when the turn began.
                let Some(current) = current else {
                    step.conflict("stays_deleted");
                    step.end("stays_deleted");
                    return Ok(Resolved::Dropped);
                };
                // Another process has handled the event, or this one has, by an earlier save, the
                // answer to which was lost.
                if let Some(handled) = turn.handled(&current.record) {
                    step.conflict("handled");
                    step.end("handled");
                    // Without a kept reply, this run's own is a better one than none.
                    return Ok(match handled.reply {
                        Some(_) => Resolved::Handled(handled),
                        None => Resolved::Dropped,
                    });
                }
                match self.on_conflict {
                    OnConflict::Rerun { .. } => {
                        step.conflict("rerun");
                        step.end("overtaken");
                        return Ok(Resolved::Rerun(current));
                    }
                    OnConflict::Overwrite => step.conflict("overwrite"),
                    OnConflict::Merge => {
                        step.conflict("merge");
                        record = turn.merge(&current.record)?;
                    }
                }
                expected = Some(current.version);
            }
            Err(too_many_conflicts())
        }
    }
}

pub(crate) fn too_many_conflicts() -> Error {
    let message = "gave up after repeated conflicting writes, and nothing was written: send the \
                   request again";
    Error::new(Kind::Conflict, message)
}
