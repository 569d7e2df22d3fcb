//! The order of one user's turns: a lock for each user who has one under way.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// Who has a turn under way. It holds only those: it does not grow with the users seen.
#[derive(Default)]
pub(crate) struct Order {
    places: Mutex<HashMap<Arc<str>, Place>>,
}

/// One user's lock, and how many hold it or wait for it.
struct Place {
    lock: Arc<tokio::sync::Mutex<()>>,
    count: usize,
}

/// The right to the user's turn. Dropping it lets the next one in.
pub(crate) struct InTurn {
    /// Declared first, so that it is given back before the place is.
    _guard: OwnedMutexGuard<()>,
    _place: HeldPlace,
}

struct HeldPlace {
    order: Arc<Order>,
    user_id: Arc<str>,
}

impl Order {
    /// Waits until all turns of this user that came before are over.
    pub(crate) async fn wait(self: &Arc<Self>, user_id: &Arc<str>) -> InTurn {
        let lock = {
            let mut places = self.places();
            let place = places
                .entry(Arc::clone(user_id))
                .or_insert_with(|| Place { lock: Arc::default(), count: 0 });
            place.count += 1;
            Arc::clone(&place.lock)
        };
        // Held while waiting, too: a waiter that gives up is counted out.
        let _place = HeldPlace { order: Arc::clone(self), user_id: Arc::clone(user_id) };
        InTurn { _guard: lock.lock_owned().await, _place }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Arc<str>, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        let mut places = self.order.places();
        if let Some(place) = places.get_mut(&self.user_id) {
            place.count -= 1;
            if place.count == 0 {
                places.remove(&self.user_id);
            }
        }
    }
}

/// Shows how many, not who.
impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("users", &self.places().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_user_waits_and_another_does_not_and_nobody_is_left() {
        let order = Arc::new(Order::default());
        let (anna, bert): (Arc<str>, Arc<str>) = ("anna".into(), "bert".into());
        let first = order.wait(&anna).await;
        let mut second = tokio_test::task::spawn(order.wait(&anna));
        assert!(second.poll().is_pending());
        let mut gives_up = tokio_test::task::spawn(order.wait(&anna));
        assert!(gives_up.poll().is_pending());
        drop(order.wait(&bert).await);
        assert_eq!(order.places().len(), 1);

        drop(gives_up);
        drop(first);
        assert!(second.is_woken());
        let second_in = tokio_test::assert_ready!(second.poll());
        assert_eq!(order.places().len(), 1);
        drop(second_in);
        assert!(order.places().is_empty());
    }
}
