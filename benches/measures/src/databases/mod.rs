//! Each database beside its bare client, on the same work: one load of a user, and one conditional
//! save in which a counter and a time have changed.

pub mod dynamodb;
pub mod mongodb;
pub mod sqlite;

use tower_persistence::{Database, Expected, Loaded, Record, Saved};

use crate::samples;

/// The user of every round.
pub const USER: &str = "amzn1.ask.account.AEXAMPLE";

/// Loads the user from a database, and saves a visit more.
pub async fn round(db: &impl Database) {
    let loaded = db.load_for_update(USER).await.expect("loaded");
    let Loaded::Present(stored) = &loaded else { panic!("no record") };
    let record = samples::visited(&stored.record);
    let saved = db.save(USER, &record, loaded.expected()).await.expect("saved");
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
}

/// Loads the user from a database, and saves `record`. The copy that a handler's write makes of the
/// loaded record is not part of it: the layer makes that, and not the database.
pub async fn save_over(db: &impl Database, record: &Record) {
    let loaded = db.load_for_update(USER).await.expect("loaded");
    let saved = db.save(USER, record, loaded.expected()).await.expect("saved");
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
}

/// Stores the first record of the user.
pub async fn prepare(db: &impl Database, bytes: usize) {
    db.delete(USER).await.expect("deleted");
    let record = samples::record(bytes);
    let saved = db.save(USER, &record, Expected::Absent).await.expect("saved");
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
}
