//! Each database beside its bare client, on the same work: one load of a user, or one load and one
//! conditional save in which a counter and a time have changed.

pub mod dynamodb;
pub mod file;
pub mod memory;
pub mod mongodb;
pub mod postgres;
pub mod redis;
pub mod sqlite;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::Value;
use tower_persistence::{Database, Expected, Loaded, Record, Saved};

/// The visits of a record that was visited once, and the times of visits in turns.
const VISITS: usize = 42;
const TIMES: [&str; 2] = ["2026-01-02T00:00:00.000Z", "2026-01-03T00:00:00.000Z"];

/// Users that are stored at the same time while a database is filled.
const AT_ONCE: usize = 32;

/// Users behind a database of this crate, or behind its bare client.
pub trait Store {
    /// Loads a user.
    fn load(&self, id: &str) -> impl Future<Output = ()>;

    /// Loads a user, and saves a visit more on the condition of the version: the counter and a time
    /// change. `turn` counts the visits, so that each differs from the one before.
    fn visit(&self, id: &str, turn: usize) -> impl Future<Output = ()>;
}

/// A database of this crate.
#[derive(Clone, Debug)]
pub struct Ours<D>(pub D);

impl<D: Database> Store for Ours<D> {
    async fn load(&self, id: &str) {
        let loaded = self.0.load_for_update(id).await.expect("loaded");
        assert!(loaded.into_record().is_some());
    }

    async fn visit(&self, id: &str, turn: usize) {
        let loaded = self.0.load_for_update(id).await.expect("loaded");
        let Loaded::Present(stored) = &loaded else { panic!("no user") };
        // Does as the layer does for a handler that sets a value.
        let mut record = stored.record.clone();
        record.set(&["user", "data"], "visits", (VISITS + turn).into());
        record.set(&[], "updatedAt", TIMES[turn % 2].into());
        let saved = self.0.save(id, &record, loaded.expected()).await.expect("saved");
        assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
    }
}

/// Returns the id of a user.
#[must_use]
pub fn id(user: usize) -> String {
    format!("user-{user}")
}

/// Stores users in an empty database.
pub async fn fill(db: &impl Database, users: usize, record: &Record) {
    let stored = stream::iter(0..users).for_each_concurrent(AT_ONCE, |user| async move {
        let saved = db.save(&id(user), record, Expected::Absent).await.expect("saved");
        assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
    });
    stored.await;
}

/// Makes the change of a visit in a record that a bare client has loaded.
fn visit(record: &mut Value) {
    let visits = &mut record["user"]["data"]["visits"];
    *visits = (visits.as_i64().expect("a number") + 1).into();
    record["updatedAt"] = TIMES[0].into();
}
