//! The order of each user's turns: a lock for each user with a turn under way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OwnedMutexGuard;

use crate::error::{Error, Kind};
use crate::within::within;

/// The locks of the users with a turn under way. Other users have none, so the map does not grow
/// with the number of users seen.
#[derive(Default)]
pub(crate) struct UserLocks {
    places: Mutex<HashMap<Hashed, Place>>,
    hasher: RandomState,
}

/// A key with its hash, which is made once for the place to be taken and given back: keys are long.
#[derive(Clone, PartialEq, Eq)]
struct Hashed {
    hash: u64,
    key: Arc<str>,
}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// One user's lock, and the number of turns that hold it or wait for it.
struct Place {
    lock: Arc<tokio::sync::Mutex<()>>,
    count: usize,
}

/// The user's turn. The next turn begins when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct UserGuard {
    _held: Arc<(Held, Vec<Held>)>,
}

/// A lock, and its place. The lock comes first, so that it is free before the place is counted out.
type Held = (OwnedMutexGuard<()>, HeldPlace);

/// A place in the queue for a user's turn, which is taken when this is made, not when it is waited
/// for.
pub(crate) struct QueuedTurn {
    lock: Acquiring,
    place: HeldPlace,
    /// Those of the user's further ids.
    further: Vec<(Acquiring, HeldPlace)>,
}

enum Acquiring {
    Held(OwnedMutexGuard<()>),
    Waiting(BoxFuture<'static, OwnedMutexGuard<()>>),
}

struct HeldPlace {
    locks: Arc<UserLocks>,
    key: Hashed,
}

impl UserLocks {
    /// Takes the place behind all queued turns of this user.
    pub(crate) fn queue(self: &Arc<Self>, key: &Arc<str>) -> QueuedTurn {
        self.queue_all(key, &[])
    }

    /// Takes the places behind all queued turns of a user with several ids. All are taken at once,
    /// so that two turns never wait for each other: whichever comes first, does so everywhere.
    pub(crate) fn queue_all(self: &Arc<Self>, key: &Arc<str>, further: &[Arc<str>]) -> QueuedTurn {
        let mut places = self.places();
        let mut take = |key: &Arc<str>| {
            // The place counts while the turn waits as well, and no longer once it gives up.
            let key = Hashed { hash: self.hasher.hash_one(key), key: Arc::clone(key) };
            (acquire(&mut places, &key), HeldPlace { locks: Arc::clone(self), key })
        };
        let (lock, place) = take(key);
        let mut further: Vec<_> = further.iter().filter(|other| *other != key).collect();
        further.sort_unstable();
        further.dedup();
        let further = further.into_iter().map(take).collect();
        drop(places);
        QueuedTurn { lock, place, further }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Hashed, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuedTurn {
    /// Waits until all turns before this one have ended.
    ///
    /// # Errors
    ///
    /// Returns [`is_timeout`](Error::is_timeout) after `limit`, which counts for each of the user's
    /// ids.
    pub(crate) async fn wait(self, limit: Duration) -> Result<UserGuard, Error> {
        let Self { lock, place, further } = self;
        let guard = lock.wait(limit).await?;
        let mut held = Vec::with_capacity(further.len());
        for (lock, place) in further {
            held.push((lock.wait(limit).await?, place));
        }
        Ok(UserGuard { _held: Arc::new(((guard, place), held)) })
    }
}

impl Acquiring {
    async fn wait(self, limit: Duration) -> Result<OwnedMutexGuard<()>, Error> {
        match self {
            Self::Held(guard) => Ok(guard),
            Self::Waiting(waiting) => within(limit, waiting).await.map_err(|_| {
                let message = format!(
                    "the user's earlier requests did not end within {limit:?}: make the handler \
                     faster, or raise `queue_timeout` (a handler that calls its own service, or \
                     begins a turn, for the same user waits for itself)"
                );
                Error::new(Kind::QueueTimeout, message)
            }),
        }
    }
}

fn acquire(places: &mut HashMap<Hashed, Place>, key: &Hashed) -> Acquiring {
    let new = || Place { lock: Arc::default(), count: 0 };
    let place = places.entry(key.clone()).or_insert_with(new);
    place.count += 1;
    if let Ok(guard) = Arc::clone(&place.lock).try_lock_owned() {
        return Acquiring::Held(guard);
    }
    let mut waiting: BoxFuture<'static, _> = Box::pin(Arc::clone(&place.lock).lock_owned());
    // The lock serves its waiters in the order of their first polls: this is ours.
    match waiting.as_mut().now_or_never() {
        Some(guard) => Acquiring::Held(guard),
        None => Acquiring::Waiting(waiting),
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        if let Entry::Occupied(mut place) = self.locks.places().entry(self.key.clone()) {
            place.get_mut().count -= 1;
            if place.get().count == 0 {
                place.remove();
            }
        }
    }
}

/// Shows the number of users, but not their keys.
impl fmt::Debug for UserLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserLocks").field("users", &self.places().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn turns_of_one_user_queue_and_leave_nothing_behind() {
        let locks = Arc::new(UserLocks::default());
        let (anna, bert): (Arc<str>, Arc<str>) = ("anna".into(), "bert".into());
        let first = locks.queue(&anna).wait(LIMIT).await.unwrap();
        let mut second = tokio_test::task::spawn(locks.queue(&anna).wait(LIMIT));
        assert!(second.poll().is_pending());
        let mut gives_up = tokio_test::task::spawn(locks.queue(&anna).wait(LIMIT));
        assert!(gives_up.poll().is_pending());
        drop(locks.queue(&bert).wait(LIMIT).await.unwrap());
        assert_eq!(locks.places().len(), 1);

        drop(gives_up);
        let still_first = first.clone();
        drop(first);
        assert!(!second.is_woken(), "the clone still holds the place");
        drop(still_first);
        assert!(second.is_woken());
        let second_in = tokio_test::assert_ready!(second.poll()).unwrap();
        assert_eq!(locks.places().len(), 1);
        drop(second_in);
        assert!(locks.places().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_taken_in_the_order_of_queueing_not_of_waiting() {
        let locks = Arc::new(UserLocks::default());
        let anna: Arc<str> = "anna".into();
        let first = locks.queue(&anna).wait(LIMIT).await.unwrap();
        let (second, third) = (locks.queue(&anna), locks.queue(&anna));
        let mut third = tokio_test::task::spawn(third.wait(LIMIT));
        assert!(third.poll().is_pending());
        drop(first);
        assert!(!third.is_woken());
        drop(second.wait(LIMIT).await.unwrap());
        assert!(third.is_woken());
        assert!(tokio_test::assert_ready!(third.poll()).is_ok());

        let _held = locks.queue(&anna).wait(LIMIT).await.unwrap();
        let error = locks.queue(&anna).wait(LIMIT).await.err().unwrap();
        assert!(error.is_timeout(), "{error}");
    }
}
