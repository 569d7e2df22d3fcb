//! Deleted users stay deleted: a turn that is in progress does not restore them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower_persistence::{
    AnyDatabase, Database, Expected, FileDb, MemoryDb, OnConflict, PersistenceLayer, Record, Saved,
};

use crate::common::*;

const USER: &str = "user-1";

/// Longer than a tombstone counts.
const LONG: Duration = Duration::from_secs(15 * 60 + 1);

const POLICIES: [OnConflict; 3] =
    [OnConflict::Merge, OnConflict::Rerun { attempts: 2 }, OnConflict::Overwrite];

/// A turn that has loaded and waits in its handler.
struct UnderWay {
    answer: JoinHandle<Answer>,
    go: Arc<Notify>,
}

impl UnderWay {
    async fn begin<D: Database>(layer: &PersistenceLayer<D>) -> Self {
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, goes) = (began.clone(), go.clone());
        let app = app(layer, move |user, _, _| {
            let (begins, goes) = (begins.clone(), goes.clone());
            async move {
                begins.notify_one();
                goes.notified().await;
                user.increment("visits", 1).map(drop)
            }
        });
        let answer = tokio::spawn(async move { send_json(&app, &alexa(USER)).await });
        began.notified().await;
        Self { answer, go }
    }

    async fn end(self) {
        self.go.notify_one();
        self.answer.await.unwrap().assert_ok();
    }
}

/// Serves the first turn of a user that must be new.
async fn first_visit<D: Database>(layer: &PersistenceLayer<D>) {
    let app = sync_app(layer, |user, _, _| {
        assert!(user.is_new());
        user.increment("visits", 1).map(drop)
    });
    send_json(&app, &alexa(USER)).await.assert_ok();
}

async fn forget<D: Database>(layer: &PersistenceLayer<D>) {
    let app = sync_app(layer, |user, _, _| user.forget());
    send_json(&app, &alexa(USER)).await.assert_ok();
}

async fn visits(database: &impl Database) -> Option<Value> {
    stored(database, USER).await.map(|mut item| item["user"]["data"]["visits"].take())
}

async fn databases(test: impl AsyncFn(AnyDatabase, OnConflict)) {
    for policy in POLICIES {
        let directory = tempfile::tempdir().unwrap();
        let file = FileDb::open(directory.path().join("db.json")).await.unwrap();
        test(AnyDatabase::new(MemoryDb::new()), policy).await;
        test(AnyDatabase::new(file), policy).await;
    }
}

#[tokio::test]
async fn a_user_deleted_during_the_first_turn_is_not_stored() {
    databases(async |db, policy| {
        let layer = PersistenceLayer::new(db.clone()).on_conflict(policy);
        let turn = UnderWay::begin(&layer).await;
        layer.database().delete(USER).await.unwrap();
        turn.end().await;
        assert_eq!(visits(&db).await, None, "{db:?} {policy:?}");
        assert_eq!(layer.export("alexa", USER).await.unwrap(), None);
        first_visit(&layer).await;
        assert_eq!(visits(&db).await, Some(json!(1)), "a new user, at once");
    })
    .await;
}

#[tokio::test]
async fn a_user_created_and_forgotten_elsewhere_during_the_first_turn_is_not_stored() {
    databases(async |db, policy| {
        let here = PersistenceLayer::new(db.clone()).on_conflict(policy);
        let elsewhere = PersistenceLayer::new(db.clone());
        let turn = UnderWay::begin(&here).await;
        first_visit(&elsewhere).await;
        forget(&elsewhere).await;
        turn.end().await;
        assert_eq!(visits(&db).await, None, "{db:?} {policy:?}");

        // Forgotten twice: the turn has seen the first tombstone.
        let turn = UnderWay::begin(&here).await;
        first_visit(&elsewhere).await;
        forget(&elsewhere).await;
        turn.end().await;
        assert_eq!(visits(&db).await, None, "{db:?} {policy:?}");
        first_visit(&here).await;
        assert_eq!(visits(&db).await, Some(json!(1)));
    })
    .await;
}

#[tokio::test]
async fn a_user_without_a_record_can_be_forgotten() {
    databases(async |db, policy| {
        let here = PersistenceLayer::new(db.clone()).on_conflict(policy);
        let turn = UnderWay::begin(&here).await;
        forget(&PersistenceLayer::new(db.clone())).await;
        turn.end().await;
        assert_eq!(visits(&db).await, None, "{db:?} {policy:?}");
    })
    .await;
}

#[tokio::test]
async fn a_user_deleted_between_two_attempts_to_save_stays_deleted() {
    for policy in [OnConflict::Merge, OnConflict::Overwrite] {
        let layer = PersistenceLayer::new(TestDb::default()).on_conflict(policy);
        let items = layer.database().items.clone();
        layer.database().on_save(Behaviour::Waits);
        let app = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
        let answer = tokio::spawn(async move { send_json(&app, &alexa(USER)).await });
        layer.database().until_waiting().await;
        store(&items, USER, &json!({ "user": { "data": { "visits": 7 } } })).await;
        layer.database().go();
        layer.database().until_waiting().await;
        items.delete(USER).await.unwrap();
        layer.database().go();
        answer.await.unwrap().assert_ok();
        assert!(items.is_empty(), "{policy:?}");
        assert_eq!(layer.database().calls().saves, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_ends() {
    let directory = tempfile::tempdir().unwrap();
    let file = FileDb::open(directory.path().join("db.json")).await.unwrap();
    for db in [AnyDatabase::new(MemoryDb::new()), AnyDatabase::new(file)] {
        db.delete(USER).await.unwrap();
        let nothing = db.load_for_update("never stored").await.unwrap();
        let before = db.load_for_update(USER).await.unwrap();
        assert!(before.expected().version().is_some() && before != nothing, "{db:?}");
        tokio::time::advance(LONG).await;
        assert_eq!(db.load_for_update(USER).await.unwrap(), nothing, "{db:?}");
        // A writer that saw the tombstone may save, and so may one that saw nothing.
        store_over(&db, before.expected()).await;
        db.delete(USER).await.unwrap();
        tokio::time::advance(LONG).await;
        store_over(&db, nothing.expected()).await;
    }
}

async fn store_over(db: &impl Database, expected: Expected<'_>) {
    let saved = db.save(USER, &Record::default(), expected).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)), "{db:?} {saved:?}");
}
