//! Users with several ids: finds the one record behind them, and ties the others to it.

use std::mem;
use std::sync::Arc;

use tokio::time::{Duration, Instant, sleep};

use super::backoff::{ATTEMPTS, pause};
use super::{Shared, UserGuard, load, with_timeout};
use crate::database::{Database, Expected, Saved, Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::incoming::Identity;
use crate::observe::Observer;
use crate::record::Record;
use crate::turn::{Basis, aliases};

/// The number of aliases that may lead to a record, each made when the user's first id changed.
const MOST_HOPS: usize = 8;

/// A user's place and record.
pub(super) struct Opened {
    pub(super) guard: Option<UserGuard>,
    /// The time spent waiting for the user's earlier turns.
    pub(super) waited: Duration,
    pub(super) basis: Basis,
    /// The records under the user's further ids that are to be aliases.
    pub(super) others: Vec<Other>,
}

/// A record under a further id.
pub(super) struct Other {
    key: Arc<str>,
    found: Found,
}

enum Found {
    /// None, or a tombstone of this version.
    Absent(Option<Version>),
    /// An alias of the user's record or, if the platform gave the id to another user since, of
    /// theirs.
    Alias(Version),
    /// A record of its own, which was joined into the user's.
    Joined(VersionedRecord),
}

/// Takes the user's place, unless `given`, and loads the record, which may be stored under another
/// of the user's ids: `user` is changed to that key.
pub(super) async fn open<D: Database>(
    shared: &Arc<Shared<D>>,
    user: Option<&mut Identity>,
    given: Option<UserGuard>,
    observer: &Observer,
) -> Result<Opened, Error> {
    let Some(user) = user else {
        let basis = Basis::Absent(None);
        return Ok(Opened { guard: given, waited: Duration::ZERO, basis, others: Vec::new() });
    };
    let config = &shared.config;
    let (is_given, mut guard) = (given.is_some(), given);
    let mut waited = Duration::ZERO;
    for _ in 0..=MOST_HOPS {
        if !is_given {
            // Given back first: the places of several ids are only ever taken together.
            drop(guard.take());
            let began = Instant::now();
            let further: Vec<_> = user.aliases.iter().map(|alias| Arc::clone(&alias.key)).collect();
            let queued = shared.locks.queue_all(&user.storage_key, &further);
            guard = Some(queued.wait(config.queue_timeout).await?);
            waited += began.elapsed();
        }
        let basis = load::load(shared, &user.storage_key, observer).await?;
        let Some(target) = basis.record().and_then(aliases::target) else {
            let (basis, others) = match user.aliases.is_empty() {
                true => (basis, Vec::new()),
                false => Box::pin(with_others(shared, user, basis, observer)).await?,
            };
            return Ok(Opened { guard, waited, basis, others });
        };
        // A given place is the batch's, which cannot wait for another: there the record's own
        // users are not waited for, and changes of both are merged.
        let from = mem::replace(&mut user.storage_key, target.into());
        user.aliases.retain(|alias| alias.key != user.storage_key);
        user.aliases.push(from.into());
    }
    Err(circle())
}

/// Loads the records under the user's further ids, except those that are known to be aliases, and
/// joins what they hold into the user's.
async fn with_others<D: Database>(
    shared: &Arc<Shared<D>>,
    user: &mut Identity,
    basis: Basis,
    observer: &Observer,
) -> Result<(Basis, Vec<Other>), Error> {
    let now = (shared.config.clock)();
    let key = &user.storage_key;
    let is_fresh =
        |other: &str| basis.record().is_some_and(|record| aliases::is_fresh(record, other, now));
    user.aliases.retain(|alias| alias.key != *key && !is_fresh(&alias.key));
    if user.aliases.is_empty() || matches!(basis, Basis::Unknown) {
        user.aliases.clear();
        return Ok((basis, Vec::new()));
    }
    let mut others = Vec::with_capacity(user.aliases.len());
    for alias in &mut user.aliases {
        let found = match load::load(shared, &alias.key, observer).await? {
            Basis::Absent(tombstone) => Found::Absent(tombstone),
            Basis::Record(stored) => match aliases::target(&stored.record) {
                Some(target) => {
                    alias.is_written = *target == **key;
                    Found::Alias(stored.version)
                }
                None => {
                    alias.joined = Some(stored.record.clone());
                    Found::Joined(stored)
                }
            },
            Basis::Joined { .. } | Basis::Unknown => return Ok((Basis::Unknown, Vec::new())),
        };
        others.push(Other { key: Arc::clone(&alias.key), found });
    }
    let basis = join_all(basis, user);
    Ok((basis, others))
}

/// Joins the records under the user's further ids into the user's own.
fn join_all(basis: Basis, user: &Identity) -> Basis {
    let mut record = basis.record().cloned().unwrap_or_default();
    let mut has_joined = false;
    for alias in &user.aliases {
        let Some(theirs) = &alias.joined else { continue };
        // A join that was interrupted is not made anew: only what was stored since is carried over.
        match aliases::joined(&record, &alias.key) {
            Some(base) => aliases::carry_over(&mut record, &base, theirs),
            None => aliases::join(&mut record, theirs),
        }
        has_joined = true;
    }
    match has_joined {
        true => Basis::Joined { record, expected: basis.version().cloned() },
        false => basis,
    }
}

impl Other {
    /// Turns the record under this id into an alias of the one under `key`, which has been saved.
    /// Changes that another process has made to it since it was joined are carried over first.
    ///
    /// Whatever goes wrong, both records stay readable, and the user's next turn finishes.
    pub(super) async fn link(&self, database: &impl Database, key: &str) -> Result<(), Error> {
        let alias = aliases::alias_of(key);
        let (mut base, mut version) = match &self.found {
            Found::Absent(tombstone) => (Record::default(), tombstone.clone()),
            Found::Alias(version) => (Record::default(), Some(version.clone())),
            Found::Joined(stored) => (stored.record.clone(), Some(stored.version.clone())),
        };
        for attempt in 0..ATTEMPTS {
            let expected = Expected::from(version.as_ref());
            // Deleted meanwhile, or made an alias by another turn: that stands.
            let Saved::Conflict(Some(current)) = database.save(&self.key, &alias, expected).await?
            else {
                return Ok(());
            };
            if aliases::target(&current.record).is_some() {
                return Ok(());
            }
            carry_over(database, key, &base, &current.record).await?;
            (base, version) = (current.record, Some(current.version));
            if let Some(pause) = pause(attempt) {
                sleep(pause).await;
            }
        }
        Err(Error::new(Kind::Conflict, "gave up after repeated conflicting writes of an alias"))
    }
}

/// Applies to the record under `key` what changed from `base` to `theirs`.
async fn carry_over(
    database: &impl Database,
    key: &str,
    base: &Record,
    theirs: &Record,
) -> Result<(), Error> {
    for attempt in 0..ATTEMPTS {
        let Some(stored) = database.load(key).await? else { return Ok(()) };
        let mut record = stored.record;
        aliases::carry_over(&mut record, base, theirs);
        let expected = Expected::Version(&stored.version);
        if let Saved::Written(_) = database.save(key, &record, expected).await? {
            return Ok(());
        }
        if let Some(pause) = pause(attempt) {
            sleep(pause).await;
        }
    }
    Err(Error::new(Kind::Conflict, "gave up after repeated conflicting writes of an alias"))
}

/// Takes the place of the user behind `key`, which may be an alias, and returns the key of the
/// user's record, once the database is ready.
pub(crate) async fn place<D: Database>(
    shared: &Shared<D>,
    key: Arc<str>,
) -> Result<(Arc<str>, UserGuard), Error> {
    let Shared { database, config, locks, .. } = shared;
    let ready = database.ensure_ready();
    with_timeout("preparing the database", config.ready_timeout, ready).await?;
    let (mut key, mut further) = (key, Vec::new());
    for _ in 0..=MOST_HOPS {
        let guard = locks.queue_all(&key, &further).wait(config.queue_timeout).await?;
        let loaded = with_timeout("loading", config.load_timeout, database.load(&key)).await;
        match loaded {
            Ok(Some(stored)) => match aliases::target(&stored.record) {
                Some(target) => further.push(mem::replace(&mut key, target.into())),
                None => return Ok((key, guard)),
            },
            Ok(None) => return Ok((key, guard)),
            // A record that cannot be read counts as no alias.
            Err(error) if error.is_decode() => return Ok((key, guard)),
            Err(error) => return Err(error),
        }
    }
    Err(circle())
}

fn circle() -> Error {
    Error::decode("the record is an alias of an alias, and so on: repair `aliasOf`")
}

/// Deletes the record under `key` and its aliases. These come first: if the process dies in
/// between, the record still tells them.
pub(crate) async fn delete(
    database: &impl Database,
    key: &str,
    further: &[Arc<str>],
) -> Result<(), Error> {
    let stored = match database.load(key).await {
        // What cannot be read lists no aliases.
        Err(error) if error.is_decode() => None,
        stored => stored?,
    };
    let listed = stored.iter().flat_map(|stored| aliases::keys(&stored.record));
    let mut keys: Vec<_> = listed.chain(further.iter().map(|key| &**key)).collect();
    keys.sort_unstable();
    keys.dedup();
    for other in keys.into_iter().filter(|other| *other != key) {
        let Some(alias) = database.load(other).await? else { continue };
        // The platform may have given the id to another user since.
        if aliases::target(&alias.record).is_none_or(|target| target == key) {
            database.delete(other).await?;
        }
    }
    database.delete(key).await
}
