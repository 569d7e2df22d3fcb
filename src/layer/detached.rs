//! Work after the reply: its limits, and its end at a shutdown.

use std::time::Duration;

use super::PersistenceLayer;
use crate::database::Database;

impl<D: Database> PersistenceLayer<D> {
    /// Sets how many turns after a reply may be under way, including those that wait for their
    /// request's turn to be stored. Over that, [`AfterReply::spawn`](crate::AfterReply::spawn) is
    /// an error, a 503. Default: 1,024, so that each event of the largest batch (1,000 events) can
    /// start one.
    ///
    /// It bounds the memory that they take. To limit how many call a service at the same time, let
    /// them wait for a semaphore.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).detached_limit(100);
    /// ```
    #[must_use]
    pub fn detached_limit(self, detached_limit: usize) -> Self {
        self.with(|config| config.detached_limit = detached_limit)
    }

    /// Sets how long the closure of a turn after a reply may run; after that it is dropped, and
    /// nothing of it is stored. Default: 5 minutes, more than an answer of a language model takes,
    /// and less than the 15 minutes for which Discord takes one
    /// ([interactions](https://discord.com/developers/docs/interactions/receiving-and-responding)).
    ///
    /// The user's later turns after a reply wait for it, and so does [`drain`](Self::drain). Do not
    /// set it to more than 15 minutes: a deletion is remembered for no longer.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let limit = Duration::from_secs(60);
    /// let layer = PersistenceLayer::new(MemoryDb::new()).detached_timeout(limit);
    /// ```
    #[must_use]
    pub fn detached_timeout(self, detached_timeout: Duration) -> Self {
        self.with(|config| config.detached_timeout = detached_timeout)
    }

    /// Waits for everything that goes on in tasks of its own: turns after a reply
    /// ([`AfterReply`](crate::AfterReply)), and saves whose client has hung up. Call it at the end
    /// of the process, after the server has stopped: what is still under way when the runtime ends
    /// is lost.
    ///
    /// Turns after a reply may take [`detached_timeout`](Self::detached_timeout) each, so put a
    /// limit around it that is shorter than your platform's before it kills the process:
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// # async fn example(layer: PersistenceLayer<MemoryDb>) {
    /// if tokio::time::timeout(Duration::from_secs(20), layer.drain()).await.is_err() {
    ///     eprintln!("work after replies is lost");
    /// }
    /// # }
    /// ```
    pub async fn drain(&self) {
        // Saves come last, since a save may begin turns after a reply. Those count from the time
        // when the handler starts them.
        self.shared.detached.ended().await;
        self.shared.saves.ended().await;
    }
}
