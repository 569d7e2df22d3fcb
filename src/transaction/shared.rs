//! The parts that a layer shares with its clones and their services.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::UserLocks;
use crate::options::Config;

pub(crate) struct Shared<D> {
    pub(crate) database: Arc<D>,
    pub(crate) locks: Arc<UserLocks>,
    pub(crate) saves: SavesUnderWay,
    pub(crate) config: Config,
}

impl<D> Shared<D> {
    /// Returns an id that tells the databases of two layers apart.
    pub(crate) fn database_id(&self) -> usize {
        Arc::as_ptr(&self.database).addr()
    }
}

impl<D> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self {
            database: Arc::clone(&self.database),
            locks: Arc::clone(&self.locks),
            saves: self.saves.clone(),
            config: self.config.clone(),
        }
    }
}

impl<D: fmt::Debug> fmt::Debug for Shared<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PersistenceLayer")
            .field("database", &self.database)
            .field("options", &self.config)
            .finish_non_exhaustive()
    }
}

/// Counts the saves that run in tasks of their own.
#[derive(Clone, Debug)]
pub(crate) struct SavesUnderWay(watch::Sender<usize>);

/// Counts as one save under way until it is dropped.
pub(crate) struct SaveUnderWay(watch::Sender<usize>);

impl Default for SavesUnderWay {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl SavesUnderWay {
    pub(crate) fn begin(&self) -> SaveUnderWay {
        self.0.send_modify(|count| *count += 1);
        SaveUnderWay(self.0.clone())
    }

    /// Waits until all saves under way have ended.
    pub(crate) async fn ended(&self) {
        // This cannot fail: `self` holds a sender, so the channel is open.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for SaveUnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
