//! A turn without a request: the transaction around a closure over the handles.

use std::future::{Future, ready};
use std::sync::Arc;

use super::{Attempt, Ran, Shared, Transacted, UserGuard, transact};
use crate::database::Database;
use crate::error::Error;
use crate::incoming::Recognised;
use crate::observe::Observer;
use crate::turn::{Exchange, Handles, Keep};

/// The reason why a turn without a request was not stored.
pub(crate) enum Failed<E> {
    /// Waiting, loading or saving failed.
    Own(Error),
    /// The closure failed.
    Closure(E),
}

impl<E> From<Error> for Failed<E> {
    fn from(error: Error) -> Self {
        Self::Own(error)
    }
}

/// Runs `run` as one turn of the event's user, who must not be the user of a turn that waits for
/// this one. Returns `None` if `run` did not run.
///
/// # Errors
///
/// As [`transact`].
pub(crate) async fn run_closure<D, T, E, F, R>(
    shared: &Arc<Shared<D>>,
    event: Box<Recognised>,
    guard: Option<UserGuard>,
    observer: &Observer,
    mut run: F,
) -> Result<Option<T>, Failed<E>>
where
    D: Database,
    T: Send + 'static,
    F: FnMut(Handles) -> R,
    R: Future<Output = Result<T, E>>,
{
    let run = |attempt: Attempt| {
        let mut step = observer.call();
        let work = step.call(|| run(Handles::new(&attempt.turn, attempt.conversation)));
        async move {
            let result = work.await;
            step.returned(result.is_ok());
            let output =
                result.map_err(Failed::Closure).inspect_err(|_| observer.skip("failed"))?;
            Ok(Ran::Keep { output: ready((output, Some(Exchange::default()))), keep: Keep::All })
        }
    };
    transact(shared, event, guard, observer, run).await.map(|transacted| match transacted {
        Transacted::Ran(output) => Some(output),
        Transacted::Handled(_) | Transacted::StaysDeleted => None,
    })
}
