//! Work that is done once for all callers that wait for it.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::error::{Error, Kind};

type Outcome<T> = Option<Result<T, Error>>;

/// Runs one piece of work at a time, in a task of its own: the work outlives a caller that gives
/// up, and concurrent callers wait for the same work.
#[derive(Debug)]
pub(crate) struct Flight<T>(Mutex<Option<watch::Receiver<Outcome<T>>>>);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + Sync + 'static> Flight<T> {
    /// Waits for the work in progress, or starts it.
    pub(crate) async fn join<W>(&self, work: W) -> Result<T, Error>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut flight = self.begin(work);
        match flight.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(Error::new(
                Kind::Database,
                "the runtime in which the database was being made ready has ended; try again",
            )),
        }
    }

    /// Starts the work unless it is in progress.
    pub(crate) fn begin<W>(&self, work: W) -> watch::Receiver<Outcome<T>>
    where
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let mut flight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A flight with an outcome is over. A flight without a sender went down with its runtime.
        let goes_on = |flight: &&watch::Receiver<Outcome<T>>| {
            flight.borrow().is_none() && flight.has_changed().is_ok()
        };
        if let Some(flight) = flight.as_ref().filter(goes_on) {
            return flight.clone();
        }
        let (sender, receiver) = watch::channel(None);
        *flight = Some(receiver.clone());
        tokio::spawn(async move {
            sender.send_replace(Some(work.await));
        });
        receiver
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_is_shared_and_outlives_a_caller_that_gives_up() {
        let (flight, begun) = (Flight::default(), Arc::new(AtomicUsize::new(0)));
        let work = || {
            let begun = begun.clone();
            async move {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_secs(10)).await;
                Ok(number)
            }
        };
        assert!(timeout(Duration::from_secs(6), flight.join(work())).await.is_err());
        let in_the_rest = timeout(Duration::from_secs(6), flight.join(work())).await;
        assert_eq!(in_the_rest.unwrap().unwrap(), 0);
        assert_eq!(flight.join(work()).await.unwrap(), 1, "what is over is not waited for");
    }

    #[test]
    fn work_begins_again_after_its_runtime_has_ended() {
        let flight = Flight::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime().block_on(async { drop(flight.begin(std::future::pending())) });
        assert_eq!(runtime().block_on(flight.join(async { Ok(7) })).unwrap(), 7);
    }
}
