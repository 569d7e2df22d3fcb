//! The parts that a layer shares with its clones and their services.

use std::fmt;
use std::sync::Arc;

use super::UserLocks;
use crate::options::Config;
use crate::under_way::UnderWay;

pub(crate) struct Shared<D> {
    pub(crate) database: Arc<D>,
    pub(crate) locks: Arc<UserLocks>,
    /// The order of each user's turns after a reply.
    pub(crate) detached_order: Arc<UserLocks>,
    /// The saves that run in tasks of their own.
    pub(crate) saves: UnderWay,
    /// The turns after a reply.
    pub(crate) detached: UnderWay,
    pub(crate) config: Config,
}

impl<D> Shared<D> {
    pub(crate) fn new(database: D, config: Config) -> Self {
        Self {
            database: Arc::new(database),
            locks: Arc::default(),
            detached_order: Arc::default(),
            saves: UnderWay::default(),
            detached: UnderWay::default(),
            config,
        }
    }

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
            detached_order: Arc::clone(&self.detached_order),
            saves: self.saves.clone(),
            detached: self.detached.clone(),
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
