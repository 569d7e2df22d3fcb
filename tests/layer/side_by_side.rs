//! Several sessions of one user at a time: two devices, two tabs, two channels.

use std::time::Duration;

use serde_json::{Value, json};
use tower_persistence::stored_elements::{SessionElement, StoredElements};
use tower_persistence::{MemoryDb, OnConflict, PersistenceLayer};

use crate::common::*;

fn layer(element: SessionElement) -> (PersistenceLayer<TestDb>, Clock) {
    let clock = Clock::new();
    let elements = StoredElements::new().session(element).meta_data(true);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    (layer.clock(clock.reader()), clock)
}

/// Increments a count in the session of this id and returns it; 1 means a new session.
async fn count(layer: &PersistenceLayer<TestDb>, session: &str, new: bool) -> i64 {
    let app = serve(layer, |request| async move {
        let (_, session, _) = handles(&request).unwrap();
        let count = session.increment("count", 1)?;
        assert_eq!(session.is_new(), count == 1);
        Ok(reply(200, &count.to_string()))
    });
    let answer = send_json(&app, &alexa_session("user-1", session, new)).await;
    answer.assert_ok();
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn each_session_continues_with_its_own_data() {
    let (layer, _) = layer(SessionElement::new());
    for (session, new, expected) in [
        ("kitchen", true, 1),
        ("bedroom", true, 1),
        ("kitchen", false, 2),
        ("bedroom", false, 2),
        ("kitchen", true, 3),
        ("bedroom", false, 3),
    ] {
        assert_eq!(count(&layer, session, new).await, expected, "{session}");
    }
    let record = stored(layer.database(), "user-1").await.unwrap();
    assert_eq!(record["session"]["id"], "bedroom", "the one used last, where Jovo has it");
    assert_eq!(record["otherSessions"][0]["id"], "kitchen");
    assert_eq!(record["otherSessions"][0]["data"], json!({ "count": 3 }));
    assert_eq!(record["metaData"]["sessionsCount"], 2);
}

#[tokio::test]
async fn the_least_recently_used_session_is_dropped() {
    let (layer, _) = layer(SessionElement::new().sessions_kept(3));
    for session in ["a", "b", "c"] {
        assert_eq!(count(&layer, session, true).await, 1);
    }
    assert_eq!(count(&layer, "a", false).await, 2);
    assert_eq!(count(&layer, "d", true).await, 1);
    assert_eq!(count(&layer, "b", false).await, 1, "gone");
    for (session, expected) in [("a", 3), ("d", 2)] {
        assert_eq!(count(&layer, session, false).await, expected, "{session}");
    }
    let (layer, _) = self::layer(SessionElement::new().sessions_kept(1));
    for (session, expected) in [("a", 1), ("b", 1), ("b", 2), ("a", 1)] {
        assert_eq!(count(&layer, session, false).await, expected, "{session}");
    }
    assert_eq!(stored(layer.database(), "user-1").await.unwrap().get("otherSessions"), None);
}

#[tokio::test]
async fn each_session_expires_by_its_own_last_use() {
    let (layer, clock) = layer(SessionElement::new());
    assert_eq!(count(&layer, "kitchen", true).await, 1);
    clock.advance(Duration::from_secs(600));
    assert_eq!(count(&layer, "bedroom", true).await, 1);
    clock.advance(Duration::from_secs(301));
    assert_eq!(count(&layer, "kitchen", false).await, 1, "expired");
    assert_eq!(count(&layer, "bedroom", false).await, 2);
    clock.advance(Duration::from_secs(901));
    assert_eq!(count(&layer, "bedroom", true).await, 1, "expiry ends it, whatever the id");
    assert_eq!(stored(layer.database(), "user-1").await.unwrap().get("otherSessions"), None);
}

/// Serves a request in session `mine` while another process serves one in `theirs`.
async fn at_once(kept: usize, first: &[&str], mine: &str, theirs: &str) -> (u16, Value) {
    let (layer, clock) = layer(SessionElement::new().sessions_kept(kept));
    for session in first {
        count(&layer, session, false).await;
    }
    let items: MemoryDb = layer.database().items.clone();
    let mut other = TestDb::default();
    other.items = items.clone();
    let elements = StoredElements::new().session(SessionElement::new().sessions_kept(kept));
    let other = PersistenceLayer::new(other).stored_elements(elements).clock(clock.reader());
    layer.database().on_save(Behaviour::Waits);
    let app = sync_app(&layer, |_, session, _| session.increment("count", 1).map(drop));
    let request = alexa_session("user-1", mine, false);
    let waiting = tokio::spawn(async move { send_json(&app, &request).await.status });
    layer.database().until_waiting().await;
    layer.database().on_save(Behaviour::Works);
    clock.advance(Duration::from_secs(1));
    count(&other, theirs, false).await;
    layer.database().go();
    let status = waiting.await.unwrap();
    (status.as_u16(), stored(&items, "user-1").await.unwrap())
}

fn session<'a>(record: &'a Value, id: &str) -> &'a Value {
    let others = record["otherSessions"].as_array().into_iter().flatten();
    let mut all = std::iter::once(&record["session"]).chain(others);
    all.find(|session| session["id"] == id).unwrap_or(&Value::Null)
}

#[tokio::test]
async fn two_processes_merge_session_by_session() {
    // Two sessions that start at once are both kept, and so are two that continue.
    for first in [&[][..], &["a", "b"]] {
        let (status, record) = at_once(4, first, "a", "b").await;
        assert_eq!(status, 200);
        let count = i64::from(!first.is_empty()) + 1;
        for id in ["a", "b"] {
            assert_eq!(session(&record, id)["data"]["count"], count, "{id} {record}");
        }
        assert_eq!(record["session"]["id"], "b", "used last");
    }
    // One session starts while another continues.
    let (status, record) = at_once(4, &["a"], "b", "a").await;
    assert_eq!(status, 200);
    assert_eq!(session(&record, "a")["data"]["count"], 2);
    assert_eq!(session(&record, "b")["data"]["count"], 1);
    // Both turns are in the same session.
    let (status, record) = at_once(4, &["a"], "a", "a").await;
    assert_eq!((status, &record["session"]["data"]["count"]), (200, &json!(3)));
    assert_eq!(record.get("otherSessions"), None);
}

#[tokio::test]
async fn if_one_session_is_kept_it_is_the_one_that_started_later() {
    let (status, record) = at_once(1, &[], "a", "b").await;
    assert_eq!((status, &record["session"]["id"]), (409, &json!("b")));
    let (status, record) = at_once(1, &["a"], "a", "b").await;
    assert_eq!((status, &record["session"]["id"]), (409, &json!("b")), "a has ended");
}

#[tokio::test]
async fn overwriting_still_replaces_the_record() {
    let (layer, _) = layer(SessionElement::new());
    let layer = layer.on_conflict(OnConflict::Overwrite);
    assert_eq!(count(&layer, "a", true).await, 1);
    assert_eq!(count(&layer, "a", false).await, 2);
}

/// A server whose clock is ahead wrote it.
#[tokio::test]
async fn a_last_use_in_the_future_is_written_anew_and_then_expires() {
    let element = SessionElement::new().touch_every(Duration::from_secs(60));
    let (layer, clock) = layer(element);
    let session =
        json!({ "id": "a", "data": { "count": 1 }, "updatedAt": "2100-01-01T00:00:00.000Z" });
    store(layer.database(), "user-1", &json!({ "session": session })).await;
    let app = sync_app(&layer, |_, session, _| {
        assert!(!session.is_new());
        Ok(())
    });
    send_json(&app, &alexa_session("user-1", "a", false)).await.assert_ok();
    let record = stored(layer.database(), "user-1").await.unwrap();
    assert_eq!(record["session"]["updatedAt"], "2026-01-01T00:00:00.000Z");
    clock.advance(Duration::from_secs(901));
    assert_eq!(count(&layer, "a", false).await, 1);
}

#[tokio::test]
async fn settings_that_store_nothing_are_an_error() {
    let second = Duration::from_secs(1);
    for element in [
        SessionElement::new().sessions_kept(0),
        SessionElement::new().expires_after(Duration::ZERO),
        SessionElement::new().expires_after(second).expires_after_on("alexa", Duration::ZERO),
    ] {
        let (layer, _) = layer(element);
        let app = sync_app(&layer, |_, _, _| Ok(()));
        let answer = send_json(&app, &alexa("user-1")).await;
        assert_eq!(answer.status, 500);
        assert!(answer.error().is_configuration(), "{}", answer.error());
    }
    let history = tower_persistence::stored_elements::HistoryElement::new().size(0);
    let layer = PersistenceLayer::new(TestDb::default());
    let layer = layer.stored_elements(StoredElements::new().history(history));
    let answer = send_json(&sync_app(&layer, |_, _, _| Ok(())), &alexa("user-1")).await;
    assert!(answer.error().to_string().contains("HistoryElement::size"), "{}", answer.error());
}
