//! Loading what a turn begins with.

use std::sync::Arc;

use super::{Shared, run_to_completion, with_timeout};
use crate::database::{Database, Loaded};
use crate::error::Error;
use crate::observe::Observer;
use crate::policy::OnOutage;
use crate::turn::Basis;

/// Loads the user's record, once the database is ready. What could not be loaded can never be saved
/// over.
///
/// # Errors
///
/// Where it cannot be read, unless the handler is to run without memory.
pub(super) async fn load<D: Database>(
    shared: &Arc<Shared<D>>,
    key: &str,
    watch: &Observer,
) -> Result<Basis, Error> {
    let Shared { database, config, .. } = &**shared;
    // Boxed: the futures of a database's client are so deep that the app around this layer would
    // need a higher `recursion_limit`.
    let load = Box::pin(async {
        ready(shared).await?;
        let load = database.load_for_update(key);
        let found = with_timeout("loading", config.load_timeout, load).await?;
        if let Loaded::Present(stored) = &found {
            stored.record.check()?;
        }
        Ok(found)
    });
    let mut step = watch.load();
    let loaded = step.run(load).await;
    step.loaded(&loaded);
    match loaded {
        Ok(Loaded::Present(stored)) => Ok(Basis::Record(stored)),
        Ok(Loaded::Absent(tombstone)) => Ok(Basis::Absent(tombstone)),
        Err(error) if config.on_outage == OnOutage::Degrade => {
            watch.degraded(&error);
            Ok(Basis::Unknown)
        }
        Err(error) => Err(error.unavailable()),
    }
}

async fn ready<D: Database>(shared: &Arc<Shared<D>>) -> Result<(), Error> {
    const WHAT: &str = "making the database ready";
    let config = &shared.config;
    match config.on_outage {
        OnOutage::Reject => {
            with_timeout(WHAT, config.ready_timeout, shared.database.ensure_ready()).await
        }
        // A turn without memory is better than a long wait. What has begun goes on for later turns.
        OnOutage::Degrade => {
            let owned = Arc::clone(shared);
            let work = async move {
                let limit = owned.config.ready_timeout;
                with_timeout(WHAT, limit, owned.database.ensure_ready()).await
            };
            let limit = config.load_timeout.min(config.ready_timeout);
            with_timeout(WHAT, limit, run_to_completion(Box::pin(work), &shared.saves)).await
        }
    }
}
