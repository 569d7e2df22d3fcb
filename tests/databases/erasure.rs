//! The layer over any database: a user who is deleted during the first turn stays deleted.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower_persistence::{Database, PersistenceLayer};

use crate::bounded::{Case, case};
use crate::common::*;
use crate::layer::{PATIENCE, user};

pub(crate) fn erasure_cases<D, M>(name: &str, make_db: M) -> Vec<Case>
where
    D: Database + Clone,
    M: AsyncFn() -> D + Clone + Send + Sync + 'static,
{
    let [deleted, forgotten] = std::array::from_fn(|_| make_db.clone());
    let name = |test: &str| format!("{name}::layer_{test}");
    vec![
        case(name("deleted_during_the_first_turn"), async move || {
            deleted_during_the_first_turn(deleted().await).await;
        }),
        case(name("forgotten_elsewhere_during_the_first_turn"), async move || {
            forgotten_elsewhere_during_the_first_turn(forgotten().await).await;
        }),
    ]
}

pub(crate) fn patient<D: Database>(database: D) -> PersistenceLayer<D> {
    PersistenceLayer::new(database).load_timeout(PATIENCE).save_timeout(PATIENCE)
}

/// A turn that has loaded its user and waits in its handler.
pub(crate) struct UnderWay {
    answer: JoinHandle<Answer>,
    go: Arc<Notify>,
}

impl UnderWay {
    pub(crate) async fn begin<D: Database>(layer: &PersistenceLayer<D>, user: &str) -> Self {
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
        let body = alexa(user);
        let answer = tokio::spawn(async move { send_json(&app, &body).await });
        began.notified().await;
        Self { answer, go }
    }

    pub(crate) async fn end(self) {
        self.answer().await.assert_ok();
    }

    pub(crate) async fn answer(self) -> Answer {
        self.go.notify_one();
        self.answer.await.unwrap()
    }
}

/// Serves a turn of a user that must be new.
async fn first_visit<D: Database>(layer: &PersistenceLayer<D>, user: &str) {
    let app = sync_app(layer, |user, _, _| {
        assert!(user.is_new());
        user.increment("visits", 1).map(drop)
    });
    send_json(&app, &alexa(user)).await.assert_ok();
}

async fn visits(database: &impl Database, user: &str) -> Option<Value> {
    stored(database, user).await.map(|mut item| item["user"]["data"]["visits"].take())
}

async fn assert_tombstone(database: &impl Database, user: &str) {
    let found = database.load_for_update(user).await.unwrap();
    let nothing = database.load_for_update("never stored").await.unwrap();
    assert!(
        found.expected().version().is_some() && found != nothing,
        "{database:?} leaves no tombstone"
    );
}

async fn deleted_during_the_first_turn<D: Database + Clone>(database: D) {
    let (layer, user) = (patient(database.clone()), user("deleted"));
    let turn = UnderWay::begin(&layer, &user).await;
    layer.database().delete(&user).await.unwrap();
    assert_tombstone(&database, &user).await;
    turn.end().await;
    assert_eq!(visits(&database, &user).await, None);
    assert_eq!(layer.export("alexa", &user).await.unwrap(), None);
    first_visit(&layer, &user).await;
    assert_eq!(visits(&database, &user).await, Some(json!(1)), "a new user, at once");
    // From then on the record is like any other.
    let turn = UnderWay::begin(&layer, &user).await;
    turn.end().await;
    assert_eq!(visits(&database, &user).await, Some(json!(2)));
    database.delete(&user).await.unwrap();
}

async fn forgotten_elsewhere_during_the_first_turn<D: Database + Clone>(database: D) {
    let (here, elsewhere, user) =
        (patient(database.clone()), patient(database.clone()), user("forgotten"));
    // In the second round, the turn has loaded the tombstone of the first.
    for _ in 0..2 {
        let turn = UnderWay::begin(&here, &user).await;
        first_visit(&elsewhere, &user).await;
        let forget = sync_app(&elsewhere, |user, _, _| user.forget());
        send_json(&forget, &alexa(&user)).await.assert_ok();
        assert_tombstone(&database, &user).await;
        turn.end().await;
        assert_eq!(visits(&database, &user).await, None);
    }
    first_visit(&here, &user).await;
    assert_eq!(visits(&database, &user).await, Some(json!(1)));
    database.delete(&user).await.unwrap();
}
