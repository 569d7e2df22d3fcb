//! Turns without a request: the same transaction, begun by the app.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;
use tower_persistence::platform::JsonPlatform;
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{Error, Handles, OnConflict, OnOutage, PersistenceLayer, StoredElements};

use crate::common::*;

/// Returns a layer that stores every element.
fn layer() -> PersistenceLayer<TestDb> {
    let elements = StoredElements::new().session(true).history(true).meta_data(true);
    PersistenceLayer::new(TestDb::default()).stored_elements(elements)
}

async fn visit(handles: Handles) -> Result<i64, Error> {
    handles.user.increment("visits", 1)
}

async fn record(layer: &PersistenceLayer<TestDb>, key: &str) -> Option<Value> {
    stored(&layer.database().items, key).await
}

#[tokio::test]
async fn it_sees_and_leaves_what_requests_see_and_leave() {
    let layer = layer();
    let app = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(layer.turn("alexa", "user-1", visit).await.unwrap(), 2);
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(record(&layer, "user-1").await.unwrap()["user"]["data"]["visits"], 3);
    let id = layer.turn("alexa", "user-1", |turn| async move {
        assert_eq!(turn.user.platform(), "alexa");
        Ok::<_, Error>(turn.user.id().to_owned())
    });
    assert_eq!(id.await.unwrap(), "user-1");
}

#[tokio::test]
async fn it_is_outside_any_session_and_only_writes_are_stored() {
    let clock = Clock::new();
    let layer = layer().clock(clock.reader());
    let reads = |turn: Handles| async move {
        assert!(turn.user.is_new());
        assert!(turn.session.set("a", 1).unwrap_err().is_element_disabled());
        assert!(turn.session.id().is_none() && !turn.session.is_new());
        Ok::<_, Error>(())
    };
    layer.turn("alexa", "user-1", reads).await.unwrap();
    assert_eq!(record(&layer, "user-1").await, None, "a user who is only looked for is not made");

    layer.turn("alexa", "user-1", visit).await.unwrap();
    layer.turn("alexa", "user-1", reads).await.unwrap();
    let created = record(&layer, "user-1").await.unwrap();
    for field in ["createdAt", "session", "history"] {
        assert_eq!(created.get(field), None, "{created}");
    }
    let app = sync_app(&layer, |user, session, _| {
        assert!(user.is_new(), "the user's own first turn");
        session.set("steps", 1)
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let before = record(&layer, "user-1").await.unwrap();
    assert_eq!(before["metaData"]["sessionsCount"], 1);

    clock.advance(Duration::from_secs(600));
    layer.turn("alexa", "user-1", visit).await.unwrap();
    let mut after = record(&layer, "user-1").await.unwrap();
    assert_eq!(after["updatedAt"], "2026-01-01T00:10:00.000Z");
    assert_eq!(after["user"]["data"]["visits"], 2);
    for field in ["user", "updatedAt"] {
        after[field] = before[field].clone();
    }
    assert_eq!(after, before, "session, history and counts are as they were");
    let saves = layer.database().calls().saves;
    layer.turn("alexa", "user-1", |_| async { Ok::<_, Error>(()) }).await.unwrap();
    assert_eq!(layer.database().calls().saves, saves, "no change, no write");
}

#[tokio::test]
async fn an_output_makes_an_item_of_the_history() {
    let history = HistoryElement::new().request(true).custom("by", |_, _| Some("job".into()));
    let elements = StoredElements::new().history(history);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    layer.turn("alexa", "user-1", visit).await.unwrap();
    assert_eq!(record(&layer, "user-1").await.unwrap().get("history"), None);
    layer
        .turn("alexa", "user-1", |turn| async move { turn.history.set_output("Your tea is ready") })
        .await
        .unwrap();
    let items = &record(&layer, "user-1").await.unwrap()["history"]["items"];
    assert_eq!(items, &json!([{ "output": "Your tea is ready", "by": "job" }]));
}

#[tokio::test]
async fn an_error_or_a_panic_stores_nothing_and_leaves_no_lock() {
    #[derive(Debug, PartialEq)]
    enum Own {
        Layer,
        Mine,
    }
    impl From<Error> for Own {
        fn from(_: Error) -> Self {
            Self::Layer
        }
    }
    let layer = layer();
    let fails = layer.turn("alexa", "user-1", |turn| async move {
        turn.user.set("a", 1)?;
        Err::<(), _>(Own::Mine)
    });
    assert_eq!(fails.await, Err(Own::Mine));
    let clone = layer.clone();
    let panics = tokio::spawn(async move {
        let panics = clone.turn("alexa", "user-1", |turn| async move {
            turn.user.set("a", 1)?;
            panic!("as it must");
            #[allow(unreachable_code)]
            Ok::<_, Error>(())
        });
        panics.await
    });
    assert!(panics.await.unwrap_err().is_panic());
    assert_eq!(record(&layer, "user-1").await, None);
    layer.database().on_load(Behaviour::Fails);
    let unloaded = layer.turn("alexa", "user-1", |_| async { Ok::<_, Own>(()) });
    assert_eq!(unloaded.await, Err(Own::Layer));
    layer.database().on_load(Behaviour::Works);
    assert_eq!(layer.turn("alexa", "user-1", visit).await.unwrap(), 1);
}

#[tokio::test]
async fn a_handle_that_is_kept_is_of_no_use_after_the_turn() {
    let layer = layer();
    let kept = layer.turn("alexa", "user-1", |turn| async move { Ok::<_, Error>(turn.user) });
    assert!(kept.await.unwrap().set("a", 1).unwrap_err().is_turn_ended());
}

#[tokio::test]
async fn turns_and_requests_of_a_user_run_in_their_order() {
    let layer = layer();
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, waits) = (Arc::clone(&begun), Arc::clone(&go));
    let app = app(&layer, move |user, _, _| {
        let (begins, waits) = (Arc::clone(&begins), Arc::clone(&waits));
        async move {
            let visits: i64 = user.get("visits")?.unwrap_or(0);
            begins.notify_one();
            waits.notified().await;
            user.set("visits", visits + 1)
        }
    });
    let request = tokio::spawn(async move { send_json(&app, &alexa("user-1")).await });
    begun.notified().await;
    let mut turn = tokio_test::task::spawn(layer.turn("alexa", "user-1", visit));
    assert!(turn.poll().is_pending());
    layer.turn("alexa", "user-2", visit).await.unwrap();
    go.notify_one();
    request.await.unwrap().assert_ok();
    assert_eq!(turn.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_turn_of_the_handlers_own_user_ends_at_the_time_limit() {
    let layer = layer();
    let own = layer.clone();
    let app = app(&layer, move |user, _, _| {
        let own = own.clone();
        async move {
            let error = own.turn("alexa", "user-1", visit).await.unwrap_err();
            assert!(error.is_timeout() && error.to_string().contains("waits for itself"));
            assert_eq!(error.platform(), Some("alexa"));
            user.set("a", 1)
        }
    });
    let began = Instant::now();
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(began.elapsed(), Duration::from_secs(2), "`queue_timeout`");
    assert_eq!(record(&layer, "user-1").await.unwrap()["user"]["data"], json!({ "a": 1 }));
}

#[tokio::test(start_paused = true)]
async fn handlers_that_begin_turns_of_each_other_wait_until_the_time_limit() {
    let layer = layer();
    let others = layer.clone();
    let app = app(&layer, move |user, _, _| {
        let others = others.clone();
        async move {
            let other = if user.id() == "user-1" { "user-2" } else { "user-1" };
            // Both have begun by now.
            tokio::time::sleep(Duration::from_millis(1)).await;
            others.turn("alexa", other, visit).await.map(drop)
        }
    });
    let began = Instant::now();
    let (one, two) = (alexa("user-1"), alexa("user-2"));
    let (one, two) = tokio::join!(send_json(&app, &one), send_json(&app, &two));
    assert_eq!(began.elapsed(), Duration::from_millis(2001), "`queue_timeout`");
    // The first to give up makes room for the other.
    let refused = [&one, &two].into_iter().filter(|answer| answer.status == 503).count();
    assert!(refused >= 1, "{} {}", one.status, two.status);
    layer.turn("alexa", "user-1", visit).await.unwrap();
    layer.turn("alexa", "user-2", visit).await.unwrap();
}

/// Runs a turn that doubles `n`, in each run of which another process adds 10 to it.
async fn with_conflict(
    on_conflict: OnConflict,
    conflicts: usize,
) -> (Result<(), Error>, usize, Value) {
    let layer = layer().on_conflict(on_conflict);
    let items = layer.database().items.clone();
    store(&items, "user-1", &json!({ "user": { "data": { "n": 1 } } })).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let result = layer.turn("alexa", "user-1", |turn| {
        let (items, runs) = (items.clone(), Arc::clone(&runs));
        async move {
            if runs.fetch_add(1, Ordering::Relaxed) < conflicts {
                let mut theirs = stored(&items, "user-1").await.unwrap();
                let n = theirs["user"]["data"]["n"].as_i64().unwrap();
                theirs["user"]["data"]["n"] = (n + 10).into();
                store(&items, "user-1", &theirs).await;
            }
            let n: i64 = turn.user.get("n")?.unwrap_or(0);
            turn.user.set("n", n * 2)
        }
    });
    let result = result.await;
    let n = record(&layer, "user-1").await.unwrap()["user"]["data"]["n"].clone();
    (result, runs.load(Ordering::Relaxed), n)
}

#[tokio::test]
async fn conflicts_are_resolved_as_the_layer_is_told() {
    let (result, runs, n) = with_conflict(OnConflict::Merge, 1).await;
    assert!(result.unwrap_err().is_conflict() && runs == 1 && n == 11);
    let (result, runs, n) = with_conflict(OnConflict::Overwrite, 1).await;
    assert!(result.is_ok() && runs == 1 && n == 2);
    let (result, runs, n) = with_conflict(OnConflict::Rerun { attempts: 2 }, 2).await;
    assert!(result.is_ok() && runs == 3 && n == 42, "{runs} {n}");
    let (result, runs, n) = with_conflict(OnConflict::Rerun { attempts: 1 }, 2).await;
    assert!(result.unwrap_err().is_conflict() && runs == 2 && n == 21);
}

#[tokio::test]
async fn a_conflict_that_can_be_merged_is_merged() {
    let layer = layer();
    let items = layer.database().items.clone();
    let visits = layer.turn("alexa", "user-1", |turn| {
        let items = items.clone();
        async move {
            store(&items, "user-1", &json!({ "user": { "data": { "visits": 5 } } })).await;
            turn.user.increment("visits", 1)
        }
    });
    assert_eq!(visits.await.unwrap(), 1);
    assert_eq!(record(&layer, "user-1").await.unwrap()["user"]["data"]["visits"], 6);
}

#[tokio::test(start_paused = true)]
async fn outages_and_time_limits_are_those_of_requests() {
    let layer = layer();
    let db = layer.database().clone();
    let turn = || layer.turn("alexa", "user-1", visit);
    type Case = (fn(&TestDb, Behaviour), Behaviour, fn(&Error) -> bool);
    let cases: [Case; 5] = [
        (TestDb::on_load, Behaviour::Fails, Error::is_database),
        (TestDb::on_load, Behaviour::Hangs, Error::is_timeout),
        (TestDb::on_ready, Behaviour::Fails, Error::is_database),
        (TestDb::on_save, Behaviour::Fails, Error::is_database),
        (TestDb::on_save, Behaviour::Hangs, Error::is_timeout),
    ];
    for (set, behaviour, is_expected) in cases {
        set(&db, behaviour);
        let error = turn().await.unwrap_err();
        assert!(is_expected(&error) && error.status() == 503, "{error:?}");
        assert_eq!(error.platform(), Some("alexa"));
        set(&db, Behaviour::Works);
        assert!(db.items.is_empty());
    }
    let degrading = layer.clone().on_outage(OnOutage::Degrade);
    db.on_load(Behaviour::Fails);
    let degraded = degrading.turn("alexa", "user-1", |turn| async move {
        turn.user.set("a", 1)?;
        Ok::<_, Error>(turn.user.is_degraded())
    });
    assert!(degraded.await.unwrap());
    assert!(db.items.is_empty());
}

#[tokio::test]
async fn a_turn_that_is_given_up_is_stored_only_if_its_closure_had_ended() {
    let layer = layer();
    let mut given_up = tokio_test::task::spawn(layer.turn("alexa", "user-1", |turn| async move {
        turn.user.set("a", 1)?;
        std::future::pending::<Result<(), Error>>().await
    }));
    assert!(given_up.poll().is_pending());
    drop(given_up);
    assert_eq!(layer.turn("alexa", "user-1", visit).await.unwrap(), 1);
    assert_eq!(record(&layer, "user-1").await.unwrap()["user"]["data"], json!({ "visits": 1 }));

    layer.database().on_save(Behaviour::Waits);
    let mut given_up = tokio_test::task::spawn(layer.turn("alexa", "user-1", visit));
    assert!(given_up.poll().is_pending());
    layer.database().until_waiting().await;
    drop(given_up);
    layer.database().go();
    layer.close().await.unwrap();
    assert_eq!(record(&layer, "user-1").await.unwrap()["user"]["data"]["visits"], 2);
}

#[tokio::test]
async fn a_user_can_be_forgotten() {
    let layer = layer();
    layer.turn("alexa", "user-1", visit).await.unwrap();
    layer.turn("alexa", "user-1", |turn| async move { turn.user.forget() }).await.unwrap();
    assert!(layer.database().items.is_empty());
}

#[tokio::test]
async fn users_are_found_by_platform_and_id_or_by_key() {
    let layer = layer().platform(JsonPlatform::new("slack").user_id("/user"));
    layer.turn("slack", ("T1", "U1"), visit).await.unwrap();
    layer.turn("web", "slack:U1", visit).await.unwrap();
    for key in ["slack:T1:U1", "web:slack%3AU1"] {
        let visits = layer.turn_by_key(key, |turn| async move {
            assert_eq!(turn.user.platform(), "none");
            assert!(!turn.user.id().is_empty());
            turn.user.increment("visits", 1)
        });
        assert_eq!(visits.await.unwrap(), 2, "{key}");
    }
    let missing = layer.turn("telegram", "1", visit).await.unwrap_err();
    assert!(missing.is_configuration() && missing.to_string().contains("`telegram`"));
    let long = "x".repeat(2049);
    for id in ["", &*long] {
        assert!(layer.turn("alexa", id, visit).await.unwrap_err().is_configuration());
        assert!(layer.turn_by_key(id, visit).await.unwrap_err().is_configuration());
    }
    assert_eq!(layer.database().items.len(), 2);
}

/// The future of a turn can be spawned if that of the closure can.
#[tokio::test(flavor = "multi_thread")]
async fn turns_count_exactly_beside_each_other() {
    let layer = layer();
    let other_process = layer_on(layer.database().clone());
    let turns = (0..40).map(|number| {
        let layer = if number % 2 == 0 { layer.clone() } else { other_process.clone() };
        tokio::spawn(async move { layer.turn("alexa", "user-1", visit).await })
    });
    for turn in turns.collect::<Vec<_>>() {
        turn.await.unwrap().unwrap();
    }
    assert_eq!(record(&layer, "user-1").await.unwrap()["user"]["data"]["visits"], 40);
}

fn layer_on(database: TestDb) -> PersistenceLayer<TestDb> {
    PersistenceLayer::new(database)
}
