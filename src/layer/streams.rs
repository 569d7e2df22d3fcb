//! Options on replies that are streamed.

use std::time::Duration;

use super::PersistenceLayer;
use crate::database::Database;
use crate::options::default_queue_timeout;
use crate::policy::{OnHangUp, TurnEnd};

impl<D: Database> PersistenceLayer<D> {
    /// Sets when a turn ends: with the head of its reply, or with the body, until which handles can
    /// be written. Default: [`TurnEnd::Head`]. A handler overrides it for one reply by a `TurnEnd`
    /// in the response's extensions.
    ///
    /// [`TurnEnd::Body`] raises [`queue_timeout`](Self::queue_timeout) to 30 seconds unless that is
    /// set, since a second message waits until the reply to the first has ended.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer, TurnEnd};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    /// ```
    #[must_use]
    pub fn turn_end(self, turn_end: TurnEnd) -> Self {
        self.with(|config| {
            config.turn_end = turn_end;
            if !config.has_queue_timeout {
                config.queue_timeout = default_queue_timeout(turn_end);
            }
        })
    }

    /// Sets what happens when the client hangs up while a reply is streamed whose turn
    /// [ends with the body](TurnEnd::Body). Default: [`OnHangUp::Save`].
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, OnHangUp, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).on_hang_up(OnHangUp::Discard);
    /// ```
    #[must_use]
    pub fn on_hang_up(self, on_hang_up: OnHangUp) -> Self {
        self.with(|config| config.on_hang_up = on_hang_up)
    }

    /// Sets how long a stream whose turn [ends with the body](TurnEnd::Body) may yield nothing, or
    /// not be read. After that the client counts as hung up, and the stream ends with an error.
    /// Default: 30 seconds.
    ///
    /// Comments that keep a connection alive, as axum's `KeepAlive` sends them, are frames as well:
    /// with them only a client that does not read is noticed, and the model needs a time limit of
    /// its own.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer =
    ///     PersistenceLayer::new(MemoryDb::new()).stream_idle_timeout(Duration::from_secs(60));
    /// ```
    #[must_use]
    pub fn stream_idle_timeout(self, stream_idle_timeout: Duration) -> Self {
        self.with(|config| config.stream_idle_timeout = stream_idle_timeout)
    }
}
