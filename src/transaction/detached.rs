//! Turns after a reply: begun when their request's turn is stored, one after the other for each
//! user, beside the user's later requests.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::timeout;
use tracing::Instrument;

use super::{Failed, QueuedTurn, Shared, run_closure};
use crate::database::Database;
use crate::error::{BoxError, Error};
use crate::incoming::{Left, Recognised};
use crate::observe::{Observer, WorkLost};
use crate::turn::{Basis, DetachedWork, Handles, Turn};

/// Begins the work that the handler of `turn` started. `is_written` says whether the turn had
/// something to store.
pub(super) fn begin<D: Database>(
    shared: &Arc<Shared<D>>,
    turn: &Turn,
    is_written: bool,
    observer: &Observer,
) {
    for work in turn.take_detached() {
        let Some(event) = turn.detached_event(is_written) else { return };
        let Some(user) = &event.user else { return };
        // Taken while the request still has the user's place, so that they are in the same order.
        let place = shared.detached_order.queue(&user.storage_key);
        let span = observer.after_reply();
        let served = serve(Arc::clone(shared), event, place, observer.clone(), work);
        tokio::spawn(served.instrument(span));
    }
}

/// Runs one turn after a reply, and reports its end.
async fn serve<D: Database>(
    shared: Arc<Shared<D>>,
    event: Box<Recognised>,
    place: QueuedTurn,
    observer: Observer,
    work: DetachedWork,
) {
    let DetachedWork { run, under_way } = work;
    let limit = shared.config.detached_timeout;
    let mut run = Some(run);
    let run = |handles: Handles| {
        let work = run.take().map(|run| run(handles));
        async move {
            // It merges its conflicts, so it is called once.
            let Some(work) = work else { return Ok(()) };
            timeout(limit, work).await.unwrap_or_else(|_| {
                let message = format!(
                    "the work after the reply took longer than {limit:?}: make it faster, or raise \
                     `detached_timeout`"
                );
                Err(BoxError::from(Error::timeout(message)))
            })
        }
    };
    let ended = AssertUnwindSafe(async {
        // Each turn before this one ends by its own time limits.
        let guard = place.wait(Duration::MAX).await?;
        run_closure(&shared, event, Some(guard), &observer, run).await
    });
    match ended.catch_unwind().await {
        Ok(Ok(Some(()))) => observer.detached("done"),
        Ok(Ok(None)) => observer.detached("stays_deleted"),
        Ok(Err(Failed::Own(error))) => observer.detached_lost(WorkLost::Failed(&error)),
        Ok(Err(Failed::Closure(error))) => {
            let own = error.downcast_ref().map_or(WorkLost::ByClosure, WorkLost::Failed);
            observer.detached_lost(own);
        }
        // The message of a panic is left out, since it may hold user data.
        Err(_) => observer.detached_lost(WorkLost::Panicked),
    }
    drop(under_way);
}

/// Returns what the turn begins with; `None` if it is a turn after a reply, and the user was
/// deleted since.
pub(super) fn basis(event: &Recognised, loaded: Basis) -> Option<Basis> {
    match (&event.left, loaded) {
        (Some(Left::Stored), Basis::Absent(_)) => None,
        // If the user was deleted since, there is a newer tombstone, and the save is refused.
        (Some(Left::Absent(tombstone)), Basis::Absent(_)) => Some(Basis::Absent(tombstone.clone())),
        (_, loaded) => Some(loaded),
    }
}
