//! The beginning of a turn: loads the user's record.

use std::sync::Arc;

use super::to_completion::ToCompletion;
use super::{Shared, with_timeout};
use crate::database::{Database, Loaded};
use crate::error::Error;
use crate::observe::Observer;
use crate::policy::OnOutage;
use crate::turn::Basis;

/// Loads the user's record, once the database is ready. A record that could not be loaded is never
/// overwritten.
///
/// # Errors
///
/// Fails if the record cannot be read, unless the handler is to run without memory.
pub(super) async fn load<D: Database>(
    shared: &Arc<Shared<D>>,
    key: &str,
    observer: &Observer,
) -> Result<Basis, Error> {
    let Shared { database, config, .. } = &**shared;
    // Boxed, because the futures of a database's client nest so deeply that the app around this
    // layer would have to raise its `recursion_limit`.
    let load = Box::pin(async {
        ready(shared).await?;
        let load = database.load_for_update(key);
        let found = with_timeout("loading", config.load_timeout, load).await?;
        if let Loaded::Present(stored) = &found {
            stored.record.check()?;
        }
        Ok(found)
    });
    let mut step = observer.load();
    let loaded = step.run(load).await;
    step.loaded(&loaded);
    match loaded {
        Ok(Loaded::Present(stored)) => Ok(Basis::Record(stored)),
        Ok(Loaded::Absent(tombstone)) => Ok(Basis::Absent(tombstone)),
        Err(error) if config.on_outage == OnOutage::Degrade => {
            observer.degraded(&error);
            Ok(Basis::Unknown)
        }
        Err(error) => Err(error.unavailable()),
    }
}

/// Waits until the database is ready.
async fn ready<D: Database>(shared: &Arc<Shared<D>>) -> Result<(), Error> {
    const WHAT: &str = "preparing the database";
    let config = &shared.config;
    match config.on_outage {
        OnOutage::Reject => {
            with_timeout(WHAT, config.ready_timeout, shared.database.ensure_ready()).await
        }
        // A turn without memory is better than a long wait. The preparation goes on meanwhile, for
        // the benefit of later turns.
        OnOutage::Degrade => {
            let owned = Arc::clone(shared);
            let work = async move {
                let limit = owned.config.ready_timeout;
                with_timeout(WHAT, limit, owned.database.ensure_ready()).await
            };
            let limit = config.load_timeout.min(config.ready_timeout);
            with_timeout(WHAT, limit, ToCompletion::new(work, &shared.saves)).await
        }
    }
}
