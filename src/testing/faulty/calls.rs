//! Making the calls of a database with their faults.

use std::future::Future;

use tokio::time::sleep;

use super::{Fault, Faulty, Operation};
use crate::{Database, Error, Expected, Loaded, Record, Saved, VersionedRecord};

impl<D: Database> Faulty<D> {
    /// Loads the record, and remembers it for later stale reads.
    async fn load_and_note(&self, id: &str) -> Result<Loaded, Error> {
        let found = self.inner().load_for_update(id).await?;
        self.state().note(id, &found);
        Ok(found)
    }

    async fn save_and_note(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let saved = self.inner().save(id, record, expected).await?;
        let mut state = self.state();
        match &saved {
            Saved::Written(version) => {
                if expected == Expected::Absent {
                    state.note(id, &Loaded::Absent(None));
                }
                let stored = VersionedRecord { record: record.clone(), version: version.clone() };
                state.note(id, &Loaded::Present(stored));
            }
            Saved::Conflict(Some(current)) => state.note(id, &Loaded::Present(current.clone())),
            // The version of the tombstone, if there is one, is not known.
            Saved::Conflict(None) => {}
        }
        drop(state);
        Ok(saved)
    }

    /// Saves the record after another process saved it.
    async fn save_too_late(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let current = self.load_and_note(id).await?;
        let over_current = current.expected().version().cloned();
        let theirs = current.into_record().map(|stored| stored.record).unwrap_or_default();
        self.save_and_note(id, &theirs, Expected::from(over_current.as_ref())).await?;
        self.save_and_note(id, record, expected).await
    }

    /// Refuses the save as a conflict, although no other process saved the record.
    async fn save_in_vain(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        match self.load_and_note(id).await? {
            Loaded::Present(current) => Ok(Saved::Conflict(Some(current))),
            Loaded::Absent(_) => self.save_and_note(id, record, expected).await,
        }
    }
}

impl<D: Database> Database for Faulty<D> {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn collection(&self) -> Option<&str> {
        self.inner().collection()
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.load_for_update(id).await.map(Loaded::into_record)
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let fault = self.state().decide(Operation::Load, id);
        around(fault, async {
            let current = self.load_and_note(id).await?;
            if fault != Fault::StaleRead {
                return Ok(current);
            }
            Ok(self.state().older_than(id, &current).unwrap_or(current))
        })
        .await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let fault = self.state().decide(Operation::Save, id);
        around(fault, async {
            match fault {
                Fault::Conflict => self.save_too_late(id, record, expected).await,
                Fault::SpuriousConflict => self.save_in_vain(id, record, expected).await,
                _ => self.save_and_note(id, record, expected).await,
            }
        })
        .await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let fault = self.state().decide(Operation::Delete, id);
        around(fault, self.inner().delete(id)).await
    }

    async fn ensure_ready(&self) -> Result<(), Error> {
        self.inner().ensure_ready().await
    }

    async fn close(&self) -> Result<(), Error> {
        self.inner().close().await
    }
}

/// Makes the call with the faults that come before and after it.
async fn around<T>(fault: Fault, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match fault {
        Fault::ErrorBefore | Fault::Outage { .. } => return Err(injected()),
        Fault::Delay(delay) => sleep(delay).await,
        _ => {}
    }
    let result = call.await?;
    match fault {
        Fault::ErrorAfter => return Err(injected()),
        Fault::DelayAfter(delay) => sleep(delay).await,
        _ => {}
    }
    Ok(result)
}

/// Returns the same error before and after the call, because a caller cannot tell these apart.
fn injected() -> Error {
    Error::database("this failure was injected by a test")
}
