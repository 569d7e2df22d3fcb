//! A turn as a transaction: order, load, run, seal, save. Nothing in here depends on HTTP.

mod aliases;
mod backoff;
mod closure;
mod conversation;
mod detached;
mod load;
mod locks;
mod save;
mod shared;
mod to_completion;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use self::aliases::{Opened, Other};
pub(crate) use self::aliases::{delete, place};
pub(crate) use self::closure::{Failed, run_closure};
use self::conversation::{CloseOnDrop, ConversationSlot};
pub(crate) use self::locks::{QueuedTurn, UserGuard, UserLocks};
pub(crate) use self::save::too_many_conflicts;
use self::save::{Completed, Completion};
pub(crate) use self::shared::Shared;
use self::to_completion::ToCompletion;
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::incoming::Recognised;
use crate::observe::Observer;
use crate::policy::OnConflict;
use crate::turn::{Basis, Conversation, Exchange, Handled, Keep, Turn};
use crate::within::within;

/// One run of the handler.
pub(crate) struct Attempt {
    pub(crate) turn: Arc<Turn>,
    /// The conversation of the event, if it has one.
    pub(crate) conversation: Option<Conversation>,
    /// Set if the handler will not run again after this attempt.
    pub(crate) is_last: bool,
    /// The time that the turn waited for the user's earlier ones.
    pub(crate) waited: Duration,
}

/// The result of an attempt.
pub(crate) enum Ran<T, F> {
    /// Stores nothing, for this reason.
    Discard(T, &'static str),
    /// Stores the changes once `output` is there, or nothing if it comes without an exchange.
    Keep { output: F, keep: Keep },
    /// Stores the changes, and merges them on a conflict: the client has the reply, so the handler
    /// cannot run again.
    Sent { output: F },
}

/// The result of a turn.
pub(crate) enum Transacted<T> {
    Ran(T),
    /// The event was handled before, or by another process at the same time.
    Handled(Handled),
    /// The turn follows a request whose user was deleted since.
    StaysDeleted,
}

/// Runs `run` as one turn of the event's user, unless the event was handled before, or follows a
/// request whose user was deleted since.
///
/// Nothing is stored if `run` fails, or if the future is dropped before `run` has returned. After
/// that the turn is completed even if the future is dropped.
///
/// `guard` is the user's place, if the caller holds it already.
///
/// # Errors
///
/// Returns the errors of `run`, and those of waiting, loading and saving.
pub(crate) async fn transact<D, T, E, F, R, O>(
    shared: &Arc<Shared<D>>,
    mut event: Box<Recognised>,
    guard: Option<UserGuard>,
    observer: &Observer,
    mut run: F,
) -> Result<Transacted<T>, E>
where
    D: Database,
    E: From<Error>,
    T: Send + 'static,
    F: FnMut(Attempt) -> R,
    R: Future<Output = Result<Ran<T, O>, E>>,
    O: Future<Output = (T, Option<Exchange>)> + Send + 'static,
{
    let config = &shared.config;
    config.stored_elements.check()?;
    let Opened { guard, waited, basis, others } =
        aliases::open(shared, event.user.as_mut(), guard, observer).await?;
    let others = Arc::new(others);
    let key = event.user.as_ref().map(|user| Arc::clone(&user.storage_key));
    let Some(mut loaded) = detached::basis(&event, basis) else {
        observer.skip("stays_deleted");
        return Ok(Transacted::StaysDeleted);
    };
    // Work after a reply is never done twice.
    let on_conflict = match &event.left {
        Some(_) => OnConflict::Merge,
        None => config.on_conflict,
    };
    let mut reruns = match on_conflict {
        OnConflict::Rerun { attempts } => attempts,
        OnConflict::Merge | OnConflict::Overwrite => 0,
    };
    let mut next = Some(event);
    let mut is_conversation_stored = false;
    loop {
        let is_last = reruns == 0;
        // The last attempt takes the event, so that most turns do not copy it. After a conflict of
        // that one, there is no event for another.
        let event = if is_last { next.take() } else { next.clone() };
        let Some(event) = event else { return Err(too_many_conflicts().into()) };
        let conversation =
            CloseOnDrop(ConversationSlot::new(shared, &event, observer, is_conversation_stored));
        let (elements, clock) = (&config.stored_elements, Arc::clone(&config.clock));
        let turn = Turn::begin(event, loaded, elements, shared.database_id(), clock);
        let turn = DiscardOnDrop(turn);
        if let Some(handled) = turn.0.was_handled() {
            observer.skip("handled");
            return Ok(Transacted::Handled(handled));
        }
        let attempt = Attempt {
            turn: Arc::clone(&turn.0),
            conversation: conversation.handle(),
            is_last,
            waited,
        };
        let (output, keep, on_conflict) = match run(attempt).await? {
            Ran::Discard(output, reason) => {
                observer.skip(reason);
                return Ok(Transacted::Ran(output));
            }
            Ran::Keep { output, keep } => (output, keep, on_conflict),
            Ran::Sent { output } => match on_conflict {
                OnConflict::Rerun { .. } => (output, Keep::All, OnConflict::Merge),
                on_conflict => (output, Keep::All, on_conflict),
            },
        };
        let completion = Completion {
            _guard: guard.clone(),
            shared: Arc::clone(shared),
            turn,
            conversation,
            others: Arc::clone(&others),
            keep,
            on_conflict,
            observer: observer.clone(),
        };
        match ToCompletion::new(completion.complete(output), &shared.saves).await? {
            Completed::Saved(output) => return Ok(Transacted::Ran(output)),
            Completed::Handled(handled) => return Ok(Transacted::Handled(handled)),
            Completed::Conflict { current, has_stored_conversation } => {
                is_conversation_stored |= has_stored_conversation;
                loaded = Basis::Record(current);
            }
            Completed::ConversationConflict => {
                loaded = match &key {
                    Some(key) => Box::pin(load::load(shared, key, observer)).await?,
                    None => Basis::Absent(None),
                };
            }
        }
        reruns = reruns.saturating_sub(1);
    }
}

/// Ends the turn without saving it when it is dropped, because the handler failed or panicked, or
/// because the client hung up before the handler answered.
pub(crate) struct DiscardOnDrop(pub(crate) Arc<Turn>);

impl Drop for DiscardOnDrop {
    fn drop(&mut self) {
        self.0.discard();
    }
}

/// Runs `work` within `limit`. `what` names it in the error, such as "loading".
///
/// Not an `async fn`, which would hold the large work twice and copy it.
pub(crate) fn with_timeout<T, W: Future<Output = Result<T, Error>>>(
    what: &'static str,
    limit: Duration,
    work: W,
) -> impl Future<Output = Result<T, Error>> + use<T, W> {
    within(limit, work).map(move |result| result.unwrap_or_else(|_| Err(too_long(what, limit))))
}

fn too_long(what: &str, limit: Duration) -> Error {
    let message =
        format!("{what} took longer than {limit:?}: check the database, or raise the time limit");
    Error::new(Kind::Timeout, message)
}
