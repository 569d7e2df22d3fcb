//! A database that fails when it is told to, or by chance.

mod decide;
mod fault;
mod random;
mod rates;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::sleep;

use self::decide::State;
pub use self::fault::{Fault, InjectedFault, Operation};
pub use self::rates::Rates;
use crate::database::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// Any database, with failures: those of a script, or those that a seed draws.
///
/// For tests of what your app does when the database fails, is slow, is out of date, or is written to by another process.
/// Clones share the database, what is to come, and the [`log`](Self::log).
///
/// ```
/// use tower_persistence::testing::{Fault, Faulty};
/// use tower_persistence::{Database, MemoryDb, Record, Saved};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_persistence::Error> {
/// let db = Faulty::new(MemoryDb::new());
/// db.script([Fault::None, Fault::ErrorAfter]);
///
/// assert!(db.load("user-1").await?.is_none());
/// // Whoever sees this error does not know that it is stored.
/// assert!(db.save("user-1", &Record::default(), Expected::Absent).await.unwrap_err().is_database());
/// let stored = db.load("user-1").await?.expect("it took effect");
///
/// // What is loaded from a replica that lags behind cannot be saved over.
/// db.save("user-1", &Record::default(), Expected::Version(&stored.version)).await?;
/// db.script([Fault::StaleRead]);
/// let stale = db.load("user-1").await?.expect("an older version");
/// let saved = db.save("user-1", &Record::default(), Expected::Version(&stale.version)).await?;
/// assert!(matches!(saved, Saved::Conflict(Some(_))));
///
/// assert_eq!(db.log().len(), 2);
/// # Ok(()) }
/// ```
///
/// With a seed, each call draws its fault, at the [`Rates`] of [`set_rates`](Self::set_rates). The same seed and the same calls
/// in the same order have the same faults, so that a test which prints its seed can be repeated:
///
/// ```
/// use tower_persistence::testing::{Faulty, Rates};
/// use tower_persistence::{MemoryDb, PersistenceLayer};
///
/// let seed = 7;
/// let db = Faulty::seeded(MemoryDb::new(), seed);
/// db.set_rates(Rates::none().error_before(0.05).error_after(0.05).conflict(0.1));
/// let layer = PersistenceLayer::new(db.clone());
/// // … requests …
/// println!("seed {seed}: {:?}", db.log());
/// ```
///
/// # What stays true
///
/// The promises of [`Database`] hold, whatever is injected: a save that reports to be stored is, one that reports a conflict has
/// written nothing, and a save over a version that is not stored any more is a conflict. So a test of something that relies on
/// these promises may demand that it survives every fault.
///
/// [`ensure_ready`](Database::ensure_ready) and [`close`](Database::close) go to the database as they are. Only what passes through
/// this handle and its clones is known to [`Fault::StaleRead`], and is remembered: two versions of each user. Delays are tokio's, so that
/// with `tokio::time::pause` they cost no time.
pub struct Faulty<D> {
    shared: Arc<Shared<D>>,
}

struct Shared<D> {
    database: D,
    state: Mutex<State>,
}

impl<D> Faulty<D> {
    /// A database without faults, until there is a [`script`](Self::script).
    pub fn new(database: D) -> Self {
        Self::with(database, State::new(0, Rates::none()))
    }

    /// A database whose faults `seed` draws, at the [`Rates::default`].
    pub fn seeded(database: D, seed: u64) -> Self {
        Self::with(database, State::new(seed, Rates::default()))
    }

    fn with(database: D, state: State) -> Self {
        Self { shared: Arc::new(Shared { database, state: Mutex::new(state) }) }
    }

    /// Adds what the next calls meet with, one after the other: each load, save and delete takes one. A fault that such a
    /// call cannot have, such as a conflict when loading, is none. After the last one the seed draws again, if there is one.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults);
    }

    /// How often which fault is drawn from now on.
    pub fn set_rates(&self, rates: Rates) {
        self.state().rates = rates;
    }

    /// Ends all faults: the rest of the script, the rates, and an outage. Calls that are under way keep theirs.
    pub fn heal(&self) {
        self.state().heal();
    }

    /// The faults that were injected, in the order of the calls.
    #[must_use]
    pub fn log(&self) -> Vec<InjectedFault> {
        self.state().log.clone()
    }

    /// The database itself, without faults.
    #[must_use]
    pub fn inner(&self) -> &D {
        &self.shared.database
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Database> Faulty<D> {
    /// Loads, and remembers what is stored for stale reads to come.
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
            // Which tombstone stands there is not known.
            Saved::Conflict(None) => {}
        }
        drop(state);
        Ok(saved)
    }

    /// A save that somebody else comes before.
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

    /// A save that is refused although nobody came before it.
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

/// What happens before and after a call, whichever it is.
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

/// The same before and after the call: who gets it must not be able to tell.
fn injected() -> Error {
    Error::database("this failure was injected by a test")
}

impl<D> Clone for Faulty<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Shows how many, not who.
impl<D: fmt::Debug> fmt::Debug for Faulty<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Faulty")
            .field("database", self.inner())
            .field("calls", &state.calls)
            .field("faults", &state.log.len())
            .field("rates", &state.rates)
            .finish_non_exhaustive()
    }
}
