//! A database that fails on demand or at random.

mod calls;
mod decide;
mod fault;
mod random;
mod rates;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::decide::State;
pub use self::fault::{Fault, InjectedFault, Operation};
pub use self::rates::Rates;

/// A wrapper that makes any database fail, as scripted or at random from a seed.
///
/// It tests how an app behaves when the database fails, is slow, returns outdated records or is
/// written to by another process. Clones share the database, the script and the [`log`](Self::log).
///
/// ```
/// use tower_persistence::testing::{Fault, Faulty};
/// use tower_persistence::{Database, Expected, MemoryDb, Record, Saved};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let db = Faulty::new(MemoryDb::new());
/// db.script([Fault::None, Fault::ErrorAfter]);
///
/// assert!(db.load("user-1").await?.is_none());
/// // The caller sees an error, although the record is stored.
/// let record = Record::default();
/// assert!(db.save("user-1", &record, Expected::Absent).await.unwrap_err().is_database());
/// let stored = db.load("user-1").await?.expect("it took effect");
///
/// // A save over a record that was loaded from a lagging replica is a conflict.
/// db.save("user-1", &record, Expected::Version(&stored.version)).await?;
/// db.script([Fault::StaleRead]);
/// let stale = db.load("user-1").await?.expect("an older version");
/// let saved = db.save("user-1", &record, Expected::Version(&stale.version)).await?;
/// assert!(matches!(saved, Saved::Conflict(Some(_))));
///
/// assert_eq!(db.log().len(), 2);
/// # Ok(()) }
/// ```
///
/// With a seed, the fault of each call is drawn at the [`Rates`] of [`set_rates`](Self::set_rates).
/// The same seed and the same calls in the same order have the same faults, so a test that prints
/// its seed can be repeated:
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
/// # Guarantees
///
/// The promises of [`Database`](crate::Database) hold under all faults: a save that reports success
/// is stored, a save that reports a conflict has written nothing, and a save over an outdated
/// version is a conflict. Code that relies on these promises must therefore survive every fault.
///
/// [`ensure_ready`](crate::Database::ensure_ready) and [`close`](crate::Database::close) are passed
/// to the database. [`Fault::StaleRead`] knows only calls through this handle and its clones, which
/// remember two versions of each user. Delays are tokio's, so they take no time under
/// `tokio::time::pause`.
pub struct Faulty<D> {
    shared: Arc<Shared<D>>,
}

struct Shared<D> {
    database: D,
    state: Mutex<State>,
}

impl<D> Faulty<D> {
    /// Creates a database without faults, until there is a [`script`](Self::script).
    ///
    /// ```
    /// use tower_persistence::MemoryDb;
    /// use tower_persistence::testing::{Fault, Faulty};
    ///
    /// let db = Faulty::new(MemoryDb::new());
    /// db.script([Fault::ErrorBefore]);
    /// ```
    pub fn new(database: D) -> Self {
        Self::with(database, State::new(0, Rates::none()))
    }

    /// Creates a database that draws its faults from `seed`, at the [`Rates::default`].
    ///
    /// ```
    /// use tower_persistence::MemoryDb;
    /// use tower_persistence::testing::Faulty;
    ///
    /// let db = Faulty::seeded(MemoryDb::new(), 7);
    /// ```
    pub fn seeded(database: D, seed: u64) -> Self {
        Self::with(database, State::new(seed, Rates::default()))
    }

    fn with(database: D, state: State) -> Self {
        Self { shared: Arc::new(Shared { database, state: Mutex::new(state) }) }
    }

    /// Adds the faults of the next calls in their order: each load, save and delete takes one. A
    /// fault that the call cannot have, such as a conflict when loading, has no effect. After the
    /// last one, faults are drawn from the seed again, if there is one.
    ///
    /// ```
    /// use tower_persistence::testing::{Fault, Faulty};
    /// use tower_persistence::{Database, MemoryDb};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let db = Faulty::new(MemoryDb::new());
    /// db.script([Fault::None, Fault::Outage { calls: 2 }]);
    /// assert!(db.load("user-1").await.is_ok());
    /// assert!(db.load("user-1").await.is_err());
    /// assert!(db.load("user-2").await.is_err());
    /// assert!(db.load("user-1").await.is_ok());
    /// # }
    /// ```
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().script.extend(faults);
    }

    /// Sets how often each fault is drawn from now on. Default: [`Rates::none`], or
    /// [`Rates::default`] with a seed.
    ///
    /// ```
    /// use tower_persistence::MemoryDb;
    /// use tower_persistence::testing::{Faulty, Rates};
    ///
    /// let db = Faulty::seeded(MemoryDb::new(), 7);
    /// db.set_rates(Rates::none().conflict(0.2));
    /// ```
    pub fn set_rates(&self, rates: Rates) {
        self.state().rates = rates;
    }

    /// Ends all faults: the rest of the script, the rates, and an outage. Calls in progress keep
    /// theirs.
    ///
    /// ```
    /// use tower_persistence::testing::{Fault, Faulty};
    /// use tower_persistence::{Database, MemoryDb};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let db = Faulty::new(MemoryDb::new());
    /// db.script([Fault::Outage { calls: 100 }]);
    /// assert!(db.load("user-1").await.is_err());
    /// db.heal();
    /// assert!(db.load("user-1").await.is_ok());
    /// # }
    /// ```
    pub fn heal(&self) {
        self.state().heal();
    }

    /// Returns the injected faults, in the order of the calls.
    ///
    /// ```
    /// use tower_persistence::testing::{Fault, Faulty};
    /// use tower_persistence::{Database, MemoryDb};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let db = Faulty::new(MemoryDb::new());
    /// db.script([Fault::None, Fault::ErrorBefore]);
    /// db.load("user-1").await.ok();
    /// db.load("user-1").await.ok();
    /// assert_eq!((db.log().len(), db.log()[0].call), (1, 1));
    /// # }
    /// ```
    #[must_use]
    pub fn log(&self) -> Vec<InjectedFault> {
        self.state().log.clone()
    }

    /// Returns the database itself, without faults.
    ///
    /// ```
    /// use tower_persistence::testing::{Fault, Faulty};
    /// use tower_persistence::{Database, MemoryDb};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let db = Faulty::new(MemoryDb::new());
    /// db.script([Fault::ErrorBefore]);
    /// assert!(db.inner().load("user-1").await.is_ok());
    /// # }
    /// ```
    #[must_use]
    pub fn inner(&self) -> &D {
        &self.shared.database
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D> Clone for Faulty<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// Shows the number of calls and faults, not the users.
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
