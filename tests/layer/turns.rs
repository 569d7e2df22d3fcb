//! Order, load and save, and the failure of each of them, of the handler and of the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt;
use tower_persistence::{Error, PersistenceLayer, StoredElements};

use crate::common::*;

fn counting(layer: &PersistenceLayer<TestDb>) -> App {
    sync_app(layer, |user, _, _| user.increment("visits", 1).map(drop))
}

async fn visits(layer: &PersistenceLayer<TestDb>, user: &str) -> Option<i64> {
    stored(&layer.database().items, user).await?["user"]["data"]["visits"].as_i64()
}

#[tokio::test]
async fn a_new_users_first_request_stores_the_record_and_is_new_once() {
    let clock = Clock::new();
    let layer = PersistenceLayer::new(TestDb::default()).clock(clock.reader());
    let news = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&news);
    let app = sync_app(&layer, move |user, _, _| {
        counted.fetch_add(usize::from(user.is_new()), Ordering::Relaxed);
        Ok(())
    });
    for _ in 0..3 {
        send_json(&app, &alexa("user-1")).await.assert_ok();
    }
    assert_eq!(news.load(Ordering::Relaxed), 1);
    assert_eq!(layer.database().calls(), Calls { loads: 3, saves: 1, deletes: 0 });
    assert_eq!(
        stored(layer.database(), "user-1").await.unwrap(),
        json!({
            "user": { "data": {} },
            "createdAt": "2026-01-01T00:00:00.000Z",
            "updatedAt": "2026-01-01T00:00:00.000Z",
        })
    );
}

#[tokio::test]
async fn no_change_no_write() {
    let layer = PersistenceLayer::new(TestDb::default());
    store(&layer.database().items, "user-1", &json!({ "user": { "data": { "a": 1, "b": {} } } }))
        .await;
    let app = sync_app(&layer, |user, _, _| {
        user.set("a", 2)?;
        user.set("a", 1)?;
        user.remove("never there")?;
        user.get::<i64>("a")?;
        user.increment("a", 0)?;
        user.update(|data| data.len())?;
        user.set_data(&user.data())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(layer.database().calls(), Calls { loads: 1, saves: 0, deletes: 0 });
}

#[tokio::test]
async fn writes_without_an_effect_on_a_record_without_user_data_write_nothing() {
    let layer = PersistenceLayer::new(TestDb::default());
    store(&layer.database().items, "user-1", &json!({ "other": true })).await;
    let app = sync_app(&layer, |user, _, _| {
        user.remove("never there")?;
        user.update(|_| ())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(layer.database().calls().saves, 0);
}

#[tokio::test]
async fn updated_at_moves_with_a_write_and_created_at_never() {
    let clock = Clock::new();
    let layer = PersistenceLayer::new(TestDb::default()).clock(clock.reader());
    let app = counting(&layer);
    send_json(&app, &alexa("user-1")).await.assert_ok();
    clock.advance(Duration::from_millis(61_234));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let item = stored(layer.database(), "user-1").await.unwrap();
    assert_eq!(item["createdAt"], "2026-01-01T00:00:00.000Z");
    assert_eq!(item["updatedAt"], "2026-01-01T00:01:01.234Z");
    assert_eq!(item["user"]["data"]["visits"], 2);
}

#[tokio::test]
async fn requests_of_one_user_run_in_order() {
    let layer = PersistenceLayer::new(TestDb::default());
    let running = Arc::new(AtomicUsize::new(0));
    let app = app(&layer, move |user, _, _| {
        let running = Arc::clone(&running);
        async move {
            assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two turns at once");
            let before: i64 = user.get("visits")?.unwrap_or(0);
            tokio::task::yield_now().await;
            user.set("visits", before + 1)?;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let request = alexa("user-1");
    let all = (0..50).map(|_| {
        let (app, request) = (app.clone(), request.clone());
        tokio::spawn(async move { send_json(&app, &request).await.assert_ok() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(visits(&layer, "user-1").await, Some(50));
}

#[tokio::test]
async fn different_users_never_wait_for_each_other() {
    let layer = PersistenceLayer::new(TestDb::default());
    let gate = Arc::new(Semaphore::new(0));
    let entered = Arc::new(Notify::new());
    let app = {
        let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
        app(&layer, move |user, _, _| {
            let (gate, entered) = (Arc::clone(&gate), Arc::clone(&entered));
            async move {
                if user.id() == "slow" {
                    entered.notify_one();
                    gate.acquire().await.unwrap().forget();
                }
                Ok(())
            }
        })
    };
    let slow = tokio::spawn({
        let app = app.clone();
        async move { send_json(&app, &alexa("slow")).await.assert_ok() }
    });
    entered.notified().await;
    send_json(&app, &alexa("quick")).await.assert_ok();
    gate.add_permits(1);
    slow.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_too_long_is_503() {
    let layer = PersistenceLayer::new(TestDb::default());
    let nested = Arc::new(std::sync::OnceLock::<App>::new());
    let app = serve(&layer, {
        let nested = Arc::clone(&nested);
        move |_| {
            let itself = nested.get().unwrap().clone();
            async move {
                // The handler calls its own service for the same user.
                let answer = send_json(&itself, &alexa("user-1")).await;
                assert_eq!(answer.status, 503);
                assert!(answer.error().is_timeout());
                assert!(answer.error().to_string().contains("waits for itself"));
                Ok(reply(200, "{}"))
            }
        }
    });
    nested.set(app.clone()).ok().unwrap();
    send_json(&app, &alexa("user-1")).await.assert_ok();
}

#[tokio::test]
async fn a_failed_load_is_503_and_neither_served_nor_written() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = serve(&layer, |_| async { panic!("must not be called") });
    layer.database().on_load(Behaviour::Fails);
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().is_database());
    assert_eq!(answer.error().platform(), Some("alexa"));
    assert!(format!("{:?}", answer.error()).contains("the disk is on fire"));
    assert!(!String::from_utf8_lossy(&answer.body).contains("fire"), "that is for the log");
    assert_eq!(layer.database().calls(), Calls { loads: 1, saves: 0, deletes: 0 });
}

#[tokio::test]
async fn a_malformed_record_is_503_and_stays() {
    for item in [
        json!({ "user": [] }),
        json!({ "user": { "data": "text" } }),
        json!({ "session": 1 }),
        json!({ "history": { "items": {} } }),
        json!({ "metaData": [] }),
    ] {
        let layer = PersistenceLayer::new(TestDb::default());
        store(&layer.database().items, "user-1", &item).await;
        let app = serve(&layer, |_| async { panic!("must not be called") });
        let answer = send_json(&app, &alexa("user-1")).await;
        assert_eq!(answer.status, 503);
        assert!(answer.error().is_decode(), "{item}");
        assert_eq!(stored(layer.database(), "user-1").await.unwrap(), item);
    }
}

#[tokio::test(start_paused = true)]
async fn loading_and_saving_take_two_seconds_at_most() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = counting(&layer);
    layer.database().on_load(Behaviour::Hangs);
    let begun = tokio::time::Instant::now();
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!((answer.status.as_u16(), answer.error().is_timeout()), (503, true));
    assert!(answer.error().to_string().starts_with("loading took longer than 2s"));
    assert_eq!(begun.elapsed().as_secs(), 2);

    layer.database().on_load(Behaviour::Works);
    layer.database().on_save(Behaviour::Hangs);
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!((answer.status.as_u16(), answer.error().is_timeout()), (503, true));
    assert!(answer.error().to_string().starts_with("saving took longer than 2s"));
    assert_eq!(begun.elapsed().as_secs(), 4);

    // No lock remains.
    layer.database().on_save(Behaviour::Works);
    send_json(&app, &alexa("user-1")).await.assert_ok();
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_being_made_ready_is_waited_for() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = counting(&layer);
    layer.database().on_ready(Behaviour::Waits);
    let request = tokio::spawn({
        let app = app.clone();
        async move { send_json(&app, &alexa("user-1")).await }
    });
    layer.database().until_waiting().await;
    assert_eq!(layer.database().calls(), Calls::default(), "nothing is asked of it before");
    tokio::time::sleep(Duration::from_secs(29)).await;
    layer.database().go();
    request.await.unwrap().assert_ok();

    layer.database().on_ready(Behaviour::Hangs);
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!((answer.status.as_u16(), answer.error().is_timeout()), (503, true));
    layer.database().on_ready(Behaviour::Fails);
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!((answer.status.as_u16(), answer.error().is_database()), (503, true));
    assert_eq!(layer.database().calls().loads, 1);
}

#[tokio::test]
async fn a_failed_save_is_503_with_the_error() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = counting(&layer);
    layer.database().on_save(Behaviour::Fails);
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().is_database());
    assert!(!answer.body.starts_with(b"{"), "the handler's reply would be a lie");
    layer.database().on_save(Behaviour::Works);
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(visits(&layer, "user-1").await, Some(1));
}

#[tokio::test]
async fn on_error_replaces_the_reply() {
    let speakable =
        r#"{"version":"1.0","response":{"outputSpeech":{"type":"PlainText","text":"Sorry."}}}"#;
    let layer = PersistenceLayer::new(TestDb::default()).on_error(move |error| {
        assert!(error.is_database());
        http::Response::new(if error.platform() == Some("alexa") { speakable } else { "" })
    });
    let app = counting(&layer);
    layer.database().on_load(Behaviour::Fails);
    let answer = send_json(&app, &alexa("user-1")).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, speakable.as_bytes()));
    assert!(answer.error().is_database());
}

#[tokio::test]
async fn a_client_that_hangs_up_after_the_handler_has_answered_loses_nothing() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = counting(&layer);
    layer.database().on_save(Behaviour::Waits);
    let mut request =
        tokio_test::task::spawn(app.clone().oneshot(post(alexa("user-1").to_string())));
    while layer.database().calls().saves == 0 {
        assert!(request.poll().is_pending());
        tokio::task::yield_now().await;
    }
    drop(request);
    layer.database().until_waiting().await;
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    // The next turn runs after the save in progress.
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(visits(&layer, "user-1").await, Some(2));
}

#[tokio::test]
async fn a_client_that_hangs_up_before_leaves_nothing_behind() {
    let layer = PersistenceLayer::new(TestDb::default());
    let kept = Arc::new(std::sync::Mutex::new(None));
    let app = app(&layer, {
        let kept = Arc::clone(&kept);
        move |user, _, _| {
            let first = kept.lock().unwrap().replace(user.clone()).is_none();
            async move {
                user.increment("visits", 1)?;
                if first {
                    std::future::pending::<()>().await;
                }
                Ok(())
            }
        }
    });
    let mut request =
        tokio_test::task::spawn(app.clone().oneshot(post(alexa("user-1").to_string())));
    assert!(request.poll().is_pending());
    drop(request);
    let orphan = kept.lock().unwrap().clone().unwrap();
    assert!(orphan.set("lost", true).unwrap_err().is_turn_ended());
    assert_eq!(orphan.get::<i64>("visits").unwrap(), Some(1), "reading works");
    assert_eq!(layer.database().calls().saves, 0);
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(visits(&layer, "user-1").await, Some(1));
}

#[tokio::test]
async fn a_handler_that_panics_stores_nothing_and_leaves_no_lock() {
    let layer = PersistenceLayer::new(TestDb::default());
    let panicking = sync_app(&layer, |user, _, _| {
        user.increment("visits", 1)?;
        panic!("on purpose")
    });
    let request = tokio::spawn(async move { send_json(&panicking, &alexa("user-1")).await });
    assert!(request.await.is_err_and(|error| error.is_panic()));
    assert_eq!(layer.database().calls().saves, 0);
    send_json(&counting(&layer), &alexa("user-1")).await.assert_ok();
    assert_eq!(visits(&layer, "user-1").await, Some(1));
}

#[tokio::test]
async fn errors_of_the_handler_store_nothing() {
    let layer = PersistenceLayer::new(TestDb::default());
    for status in [500, 503, 599] {
        let app = serve(&layer, move |request| async move {
            handles(&request).unwrap().0.increment("visits", 1)?;
            Ok(reply(status, "{}"))
        });
        let answer = send_json(&app, &alexa("user-1")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.body, "{}", "the handler's own reply");
    }
    let app = serve(&layer, |request| async move {
        handles(&request).unwrap().0.increment("visits", 1)?;
        Err("the handler's own error".into())
    });
    let error = try_send(&app, post(alexa("user-1").to_string())).await.err().unwrap();
    assert_eq!(error.to_string(), "the handler's own error");
    assert_eq!(layer.database().calls().saves, 0);

    let app = serve(&layer, |request| async move {
        handles(&request).unwrap().0.increment("visits", 1)?;
        Ok(reply(404, "{}"))
    });
    send_json(&app, &alexa("user-1")).await;
    assert_eq!(visits(&layer, "user-1").await, Some(1));
}

#[tokio::test]
async fn save_on_error_stores_on_5xx_but_not_on_err() {
    let layer = PersistenceLayer::new(TestDb::default()).save_on_error(true);
    let app = serve(&layer, |request| async move {
        let (user, session, _) = handles(&request).unwrap();
        let visits = user.increment("visits", 1)?;
        if session.id() == Some("bad") {
            Err("no".into())
        } else {
            Ok(reply(500, &visits.to_string()))
        }
    });
    assert_eq!(send_json(&app, &alexa("user-1")).await.status, 500);
    let bad = post(alexa_session("user-1", "bad", false).to_string());
    assert!(try_send(&app, bad).await.is_err());
    assert_eq!(visits(&layer, "user-1").await, Some(1));
}

#[tokio::test]
async fn forget_deletes_the_whole_record_and_nothing_restores_it() {
    let elements = StoredElements::new().session(true).history(true).meta_data(true);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    send_json(&counting(&layer), &alexa("user-1")).await.assert_ok();
    let app = sync_app(&layer, |user, session, history| {
        user.increment("visits", 1)?;
        user.forget()?;
        user.forget()?;
        let sealed = |result: Result<(), Error>| assert!(result.unwrap_err().is_turn_ended());
        sealed(user.set("a", 1));
        sealed(user.remove("visits"));
        sealed(user.increment("visits", 1).map(drop));
        sealed(user.update(|_| ()));
        sealed(session.set("a", 1));
        sealed(session.set_state("a"));
        sealed(history.set_output("a"));
        assert!(user.data().is_empty() && session.data().is_empty() && history.items().is_empty());
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert!(layer.database().items.is_empty());
    assert_eq!(layer.database().calls().deletes, 1);
    let is_new = sync_app(&layer, |user, _, _| {
        assert!(user.is_new());
        Ok(())
    });
    send_json(&is_new, &alexa("user-1")).await.assert_ok();
}

#[tokio::test]
async fn a_failed_turn_does_not_forget_the_user() {
    let layer = PersistenceLayer::new(TestDb::default());
    send_json(&counting(&layer), &alexa("user-1")).await.assert_ok();
    let app = serve(&layer, |request| async move {
        handles(&request).unwrap().0.forget()?;
        Ok(reply(500, "{}"))
    });
    assert_eq!(send_json(&app, &alexa("user-1")).await.status, 500);
    assert_eq!(visits(&layer, "user-1").await, Some(1));
}

#[tokio::test]
async fn debug_and_errors_show_neither_ids_nor_data() {
    let layer = PersistenceLayer::new(TestDb::default());
    store(
        &layer.database().items,
        "secret-id",
        &json!({ "user": { "data": { "pin": "secret-pin" } } }),
    )
    .await;
    let app = sync_app(&layer, |user, session, history| {
        let error = user.get::<u8>("pin").unwrap_err();
        let shown = format!("{user:?} {session:?} {history:?} {error:?} {error}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(shown.contains("`pin` is stored, but not as `u8`"));
        Ok(())
    });
    send_json(&app, &alexa("secret-id")).await.assert_ok();
    let loaded =
        tower_persistence::Database::load(&layer.database().items, "secret-id").await.unwrap();
    assert!(!format!("{loaded:?} {layer:?}").contains("secret"));
}
