//! Limits of size and time.

use std::time::Duration;

use super::PersistenceLayer;
use crate::database::Database;

impl<D: Database> PersistenceLayer<D> {
    /// Sets the longest request body that is read, in bytes. Default: 1 MiB (1,048,576).
    ///
    /// A longer one is answered with 413 if it is declared as JSON; without a content type it
    /// passes through unread.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).body_limit(64 * 1024);
    /// ```
    #[must_use]
    pub fn body_limit(self, body_limit: usize) -> Self {
        self.with(|config| config.body_limit = body_limit)
    }

    /// Sets how long reading the request's body may take. After that the request is answered with
    /// 408. Default: 10 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).body_timeout(Duration::from_secs(3));
    /// ```
    #[must_use]
    pub fn body_timeout(self, body_timeout: Duration) -> Self {
        self.with(|config| config.body_timeout = body_timeout)
    }

    /// Sets the longest reply, in bytes, into which a session or a created user id is written, and
    /// that the history stores. A longer one goes out as it is. Default: 1 MiB (1,048,576).
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).reply_limit(64 * 1024);
    /// ```
    #[must_use]
    pub fn reply_limit(self, reply_limit: usize) -> Self {
        self.with(|config| config.reply_limit = reply_limit)
    }

    /// Sets how long reading such a reply may take. One that is slower goes out as it is. Default:
    /// 2 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).reply_timeout(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn reply_timeout(self, reply_timeout: Duration) -> Self {
        self.with(|config| config.reply_timeout = reply_timeout)
    }

    /// Sets how long a request waits until the database has created what is missing, such as a
    /// table. After that it is answered with 503, and the next one waits again. Default: 30
    /// seconds.
    ///
    /// [`Database::ensure_ready`], called at start, takes this out of the request.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).ready_timeout(Duration::from_secs(10));
    /// ```
    #[must_use]
    pub fn ready_timeout(self, ready_timeout: Duration) -> Self {
        self.with(|config| config.ready_timeout = ready_timeout)
    }

    /// Sets how long a request waits for the same user's earlier requests, and for a place in the
    /// inner service where that limits its requests. After that it is answered with 503 and
    /// `Retry-After: 1`. Default: 2 seconds (Alexa waits 8 seconds for its reply), and 30 where
    /// turns [end with the body](Self::turn_end).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).queue_timeout(Duration::from_secs(4));
    /// ```
    #[must_use]
    pub fn queue_timeout(self, queue_timeout: Duration) -> Self {
        self.with(|config| {
            config.queue_timeout = queue_timeout;
            config.has_queue_timeout = true;
        })
    }

    /// Sets how long loading may take. After that the request is answered with 503 and nothing is
    /// stored. Default: 2 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).load_timeout(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn load_timeout(self, load_timeout: Duration) -> Self {
        self.with(|config| config.load_timeout = load_timeout)
    }

    /// Sets how long saving may take, including what a conflict costs. After that the request is
    /// answered with 503, although the write may have taken effect. Default: 2 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).save_timeout(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn save_timeout(self, save_timeout: Duration) -> Self {
        self.with(|config| config.save_timeout = save_timeout)
    }
}
