//! One process's connection to the database, which records the calls of the layer.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until};
use tower_persistence::testing::Faulty;
use tower_persistence::{
    Database, Error, Expected, Loaded, Record, Saved, Version, VersionedRecord,
};

/// The key that each request increments.
pub(crate) const COUNT: &str = "count";

/// The key to which some requests write their number.
pub(crate) const CLAIMED_BY: &str = "claimed_by";

/// At least as many as a schedule has.
const USERS: usize = 3;

/// Returns the number of the request that stored this key.
pub(crate) fn request_of(key: &str) -> Option<usize> {
    key.strip_prefix("request-")?.parse().ok()
}

/// Returns the requests that left traces in this data, once for each trace; `None` if none of them
/// can have left one of the traces.
pub(crate) fn traces(data: &Map<String, Value>) -> impl Iterator<Item = Option<usize>> {
    data.iter().filter(|(key, _)| *key != COUNT).map(|(key, value)| match key.as_str() {
        CLAIMED_BY => value.as_u64().map(|number| number as usize),
        key => request_of(key),
    })
}

/// The observations of a schedule.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) violations: Vec<String>,
    /// The requests in a save that reported success.
    pub(crate) saved: BTreeSet<usize>,
    /// The number of runs of each request's handler.
    pub(crate) runs: HashMap<usize, usize>,
    /// The number of runs of each request's handler without memory.
    pub(crate) degraded: HashMap<usize, usize>,
    /// The requests that were answered with success although the handler did not run again.
    pub(crate) answered_again: BTreeSet<usize>,
    /// The states, by process and user.
    turns: HashMap<(usize, usize), Turn>,
}

#[derive(Debug, Default)]
struct Turn {
    /// Set while a call is in progress.
    is_calling: bool,
    /// The versions over which the turn may save: none before it has loaded.
    shown: Vec<Option<Version>>,
}

#[derive(Debug)]
pub(crate) struct Process<D> {
    pub(crate) number: usize,
    pub(crate) database: Faulty<D>,
    /// The beginning of the user ids.
    pub(crate) prefix: String,
    /// The start of a schedule that is the same each time; `None` on a real clock.
    pub(crate) paced_since: Option<Instant>,
    pub(crate) notes: Arc<Mutex<Notes>>,
}

/// The pace of calls, in milliseconds. Before the layer repeats a save it waits for a random time
/// of at most 64 ms that does not depend on the seed. Calls therefore start and end at multiples of
/// more than that, with a small offset for each concurrent caller, so that a seed's schedule is
/// always the same.
const GRAIN: u128 = 128;

impl<D> Process<D> {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    fn user(&self, id: &str) -> usize {
        let user = id.strip_prefix(&self.prefix).and_then(|id| id.strip_prefix("user-"));
        let user = user.and_then(|user| user.parse().ok());
        user.unwrap_or_else(|| panic!("an unknown user: {id}"))
    }

    async fn pace(&self, user: usize, in_any_case: bool) {
        let Some(began) = self.paced_since else { return };
        let now = began.elapsed().as_millis();
        let place = (self.number * USERS + user) as u128;
        if in_any_case || now % GRAIN != place {
            let next = (now / GRAIN + 1) * GRAIN + place;
            sleep_until(began + Duration::from_millis(next as u64)).await;
        }
    }

    fn begin(&self, user: usize) -> Calling<'_, D> {
        let key = (self.number, user);
        let mut notes = self.notes();
        let turn = notes.turns.entry(key).or_default();
        if std::mem::replace(&mut turn.is_calling, true) {
            notes.violations.push(format!("two turns of user {user} at once in {}", self.number));
        }
        Calling { process: self, key }
    }

    fn show(&self, user: usize, version: Option<Version>) {
        let mut notes = self.notes();
        notes.turns.entry((self.number, user)).or_default().shown.push(version);
    }
}

/// Records the end of a call, even of one that is dropped.
struct Calling<'a, D> {
    process: &'a Process<D>,
    key: (usize, usize),
}

impl<D> Drop for Calling<'_, D> {
    fn drop(&mut self) {
        self.process.notes().turns.entry(self.key).or_default().is_calling = false;
    }
}

impl<D: Database> Database for Process<D> {
    /// Loads between two attempts to save.
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        let user = self.user(id);
        let _calling = self.begin(user);
        self.pace(user, true).await;
        let loaded = self.database.load(id).await;
        self.pace(user, false).await;
        if let Ok(Some(stored)) = &loaded {
            self.show(user, Some(stored.version.clone()));
        }
        loaded
    }

    /// Loads at the start of a turn.
    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let user = self.user(id);
        let _calling = self.begin(user);
        self.notes().turns.entry((self.number, user)).or_default().shown.clear();
        self.pace(user, true).await;
        let found = self.database.load_for_update(id).await;
        self.pace(user, false).await;
        let found = found?;
        self.show(user, found.expected().version().cloned());
        Ok(found)
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let user = self.user(id);
        let _calling = self.begin(user);
        let is_shown = {
            let mut notes = self.notes();
            let shown = &notes.turns.entry((self.number, user)).or_default().shown;
            shown.iter().any(|shown| shown.as_ref() == expected.version())
        };
        if !is_shown {
            let what =
                format!("user {user} is saved over {expected:?}, which the turn was not shown");
            self.notes().violations.push(what);
        }
        self.pace(user, true).await;
        let saved = self.database.save(id, record, expected).await;
        self.pace(user, false).await;
        match &saved {
            Ok(Saved::Written(_)) => {
                let user = record.fields().get("user").and_then(|user| user["data"].as_object());
                let keys = user.into_iter().flat_map(|data| data.keys());
                self.notes().saved.extend(keys.filter_map(|key| request_of(key)));
            }
            Ok(Saved::Conflict(current)) => {
                self.show(user, current.as_ref().map(|stored| stored.version.clone()));
            }
            Err(_) => {}
        }
        saved
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let user = self.user(id);
        self.notes().violations.push(format!("user {user} is deleted without a request"));
        self.database.delete(id).await
    }
}
