//! Turns without a database, and the rights of users: exporting and deleting their data.

use serde_json::json;
use tower_persistence::{OnOutage, PersistenceLayer, StoredElements};

use crate::common::*;

fn degrading() -> PersistenceLayer<TestDb> {
    let elements = StoredElements::new().session(true).history(true).meta_data(true);
    PersistenceLayer::new(TestDb::default()).stored_elements(elements).on_outage(OnOutage::Degrade)
}

#[tokio::test(start_paused = true)]
async fn a_degraded_turn_runs_without_memory_and_never_writes() {
    let layer = degrading();
    let item = json!({ "user": { "data": { "visits": 41 } } });
    store(&layer.database().items, "user-1", &item).await;
    let app = sync_app(&layer, |user, session, history| {
        assert!(user.is_degraded() && !user.is_new());
        assert!(user.data().is_empty() && session.data().is_empty() && history.items().is_empty());
        assert_eq!(user.increment("visits", 1)?, 1);
        assert_eq!(user.get::<i64>("visits")?, Some(1), "within the turn it reads what it wrote");
        session.set("a", 1)?;
        history.set_output("o")
    });
    let forgets = sync_app(&layer, |user, _, _| user.forget());
    for behaviour in [Behaviour::Fails, Behaviour::Hangs] {
        layer.database().on_load(behaviour);
        // The database is back by the time of the save.
        send_json(&app, &alexa("user-1")).await.assert_ok();
        send_json(&forgets, &alexa("user-1")).await.assert_ok();
        layer.database().on_load(Behaviour::Works);
        layer.database().on_ready(behaviour);
        send_json(&app, &alexa("user-1")).await.assert_ok();
        layer.database().on_ready(Behaviour::Works);
    }
    assert_eq!(stored(&layer.database().items, "user-1").await.unwrap(), item);
    assert_eq!((layer.database().calls().saves, layer.database().calls().deletes), (0, 0));

    let app = sync_app(&layer, |user, _, _| {
        assert!(!user.is_degraded());
        assert_eq!(user.increment("visits", 1)?, 42);
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
}

/// `ready_timeout` is for turns that need the database.
#[tokio::test(start_paused = true)]
async fn a_degraded_turn_does_not_wait_for_a_database_that_does_not_get_ready() {
    let layer = degrading();
    layer.database().on_ready(Behaviour::Hangs);
    let app = sync_app(&layer, |user, _, _| {
        assert!(user.is_degraded());
        Ok(())
    });
    let began = tokio::time::Instant::now();
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(began.elapsed(), std::time::Duration::from_secs(2), "`load_timeout`");
}

/// A call that outlasts a degraded turn continues for the turns that follow.
#[tokio::test(start_paused = true)]
async fn a_database_gets_ready_beside_degraded_turns() {
    let layer = degrading();
    layer.database().on_ready(Behaviour::Waits);
    let app = sync_app(&layer, |user, _, _| {
        assert!(user.is_degraded());
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let mut close = tokio_test::task::spawn(layer.close());
    assert!(close.poll().is_pending(), "it was not given up");
    layer.database().go();
    close.await.unwrap();
}

#[tokio::test]
async fn a_record_that_is_refused_degrades_the_turn_as_well() {
    for record in [json!({ "user": [] }), json!({ "otherSessions": {} })] {
        let layer = degrading();
        store(&layer.database().items, "user-1", &record).await;
        let app = sync_app(&layer, |user, _, _| {
            assert!(user.is_degraded());
            user.set("a", 1)
        });
        send_json(&app, &alexa("user-1")).await.assert_ok();
        assert_eq!(stored(&layer.database().items, "user-1").await, Some(record));
    }
}

#[tokio::test]
async fn a_failed_save_is_not_a_degraded_turn() {
    let layer = degrading();
    layer.database().on_save(Behaviour::Fails);
    let app = sync_app(&layer, |user, _, _| user.set("a", 1));
    assert_eq!(send_json(&app, &alexa("user-1")).await.status, 503);
}

fn skill_disabled(status: &str) -> serde_json::Value {
    let mut event = alexa_audio("user-1");
    event["request"]["type"] = "AlexaSkillEvent.SkillDisabled".into();
    event["request"]["body"] = json!({ "userInformationPersistenceStatus": status });
    event
}

#[tokio::test]
async fn disabling_the_skill_forgets_the_user_if_the_layer_is_told_to() {
    for (forget, status, is_kept) in
        [(true, "NOT_PERSISTED", false), (true, "PERSISTED", true), (false, "NOT_PERSISTED", true)]
    {
        let layer = PersistenceLayer::new(TestDb::default()).forget_on_skill_disabled(forget);
        store(&layer.database().items, "user-1", &json!({ "user": { "data": { "a": 1 } } })).await;
        let app = sync_app(&layer, move |user, _, _| {
            assert_eq!(user.get::<i64>("a")?, Some(1), "the handler runs before");
            let written = user.set("b", 1);
            assert_eq!(
                written.is_err_and(|error| error.is_turn_ended()),
                !is_kept,
                "not kept, not `Ok`"
            );
            Ok(())
        });
        send_json(&app, &skill_disabled(status)).await.assert_ok();
        assert_eq!(
            stored(layer.database(), "user-1").await.is_some(),
            is_kept,
            "{forget} {status}"
        );
    }
}

#[tokio::test]
async fn everything_stored_for_a_user_can_be_exported() {
    let layer = PersistenceLayer::new(TestDb::default());
    assert_eq!(layer.export("alexa", "user-1").await.unwrap(), None);
    store(&layer.database().items, "user-1", &json!({ "user": { "data": {} }, "own": [1] })).await;
    let export = layer.export("alexa", "user-1").await.unwrap().unwrap();
    assert_eq!(export.to_string(), r#"{"id":"user-1","user":{"data":{}},"own":[1]}"#);
    layer.database().on_load(Behaviour::Fails);
    assert!(layer.export("alexa", "user-1").await.unwrap_err().is_database());
}
