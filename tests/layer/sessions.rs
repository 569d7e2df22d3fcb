//! Sessions in the database: when they continue, and when a new one starts.

use std::time::Duration;

use serde_json::{Value, json};
use tower_persistence::platform::{Event, NewSession, PlatformRequest};
use tower_persistence::stored_elements::SessionElement;
use tower_persistence::{PersistenceLayer, Platform, StoredElements};

use crate::common::*;

fn layer(session: impl Into<Session>) -> (PersistenceLayer<TestDb>, Clock) {
    let clock = Clock::new();
    let elements = StoredElements::new().session(session.into().0);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let layer = layer.clock(clock.reader()).platform(Bare);
    (layer, clock)
}

/// Settings of the element.
struct Session(SessionElement);

impl From<SessionElement> for Session {
    fn from(element: SessionElement) -> Self {
        Self(element)
    }
}

impl From<()> for Session {
    fn from((): ()) -> Self {
        Self(SessionElement::new())
    }
}

/// A platform whose events make exactly the statements of the test.
struct Bare;

impl Platform for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let text = |name| serde_json::from_str::<String>(request.json()?.get(name)?.get()).ok();
        let new_session = match text("bare")?.as_str() {
            "yes" => NewSession::Yes,
            "no" => NewSession::No,
            "presumed" => NewSession::Presumed,
            _ => NewSession::Unknown,
        };
        let event = Event::default().user_id(Some("user-1".into()));
        Some(vec![event.session(text("session").map(Into::into), new_session)])
    }
}

fn bare(new: &str, session: Option<&str>) -> Value {
    json!({ "bare": new, "session": session })
}

/// Increments a count in the session and returns it, so that 1 means a new session.
async fn count(layer: &PersistenceLayer<TestDb>, request: &Value) -> i64 {
    let app = serve(layer, |request| async move {
        let (_, session, _) = handles(&request).unwrap();
        let count = session.increment("count", 1)?;
        assert_eq!(session.is_new(), count == 1);
        Ok(reply(200, &count.to_string()))
    });
    let answer = send_json(&app, request).await;
    answer.assert_ok();
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_session_expires_strictly_after_its_time() {
    let (layer, clock) = layer(());
    assert_eq!(count(&layer, &alexa("user-1")).await, 1);
    clock.advance(Duration::from_secs(900));
    assert_eq!(count(&layer, &alexa("user-1")).await, 2);
    clock.advance(Duration::from_millis(900_001));
    assert_eq!(count(&layer, &alexa("user-1")).await, 1);
}

#[tokio::test]
async fn the_time_until_expiry_can_be_set_and_counts_from_the_last_use() {
    let (layer, clock) = layer(SessionElement::new().expires_after(Duration::from_secs(10)));
    for expected in 1..5 {
        assert_eq!(count(&layer, &bare("", None)).await, expected);
        clock.advance(Duration::from_secs(9));
    }
    clock.advance(Duration::from_secs(2));
    assert_eq!(count(&layer, &bare("", None)).await, 1);
}

#[tokio::test]
async fn a_session_that_the_platform_calls_new_starts_empty() {
    let (layer, _) = layer(());
    assert_eq!(count(&layer, &alexa("user-1")).await, 1);
    assert_eq!(count(&layer, &alexa("user-1")).await, 2);
    assert_eq!(count(&layer, &alexa_session("user-1", "session-2", true)).await, 1, "another id");
    assert_eq!(count(&layer, &alexa_session("user-1", "session-3", false)).await, 1, "another id");
    assert_eq!(count(&layer, &alexa_session("user-1", "session-3", false)).await, 2);
    // Without ids, only the flag decides.
    assert_eq!(count(&layer, &bare("no", None)).await, 1);
    assert_eq!(count(&layer, &bare("yes", None)).await, 1);
    assert_eq!(count(&layer, &bare("no", None)).await, 2);
}

#[tokio::test]
async fn a_platform_without_sessions_uses_the_stored_one() {
    let (layer, _) = layer(());
    assert_eq!(count(&layer, &bare("", None)).await, 1);
    assert_eq!(count(&layer, &bare("", None)).await, 2);
    let item = stored(layer.database(), "bare:user-1").await.unwrap();
    assert!(item["session"].get("id").is_none());
    // The stored session has no id, so it is taken for that of the request.
    assert_eq!(count(&layer, &bare("no", Some("s"))).await, 3);
}

#[tokio::test]
async fn a_presumed_new_session_is_outweighed_by_the_stored_one_of_the_same_id() {
    let (layer, _) = layer(());
    assert_eq!(count(&layer, &bare("presumed", Some("s"))).await, 1);
    assert_eq!(count(&layer, &bare("presumed", Some("s"))).await, 2);
    assert_eq!(count(&layer, &bare("presumed", Some("t"))).await, 1);
    assert_eq!(count(&layer, &bare("presumed", None)).await, 1);
    assert_eq!(count(&layer, &bare("presumed", None)).await, 1);
}

#[tokio::test]
async fn a_session_without_readable_time_is_expired_and_one_of_the_future_is_not() {
    let (layer, _) = layer(());
    for (updated_at, expected) in [
        (json!(null), 1),
        (json!(""), 1),
        (json!("yesterday"), 1),
        (json!(1_767_225_600_000_u64), 1),
        (json!("2025-12-31T23:45:00.000Z"), 8),
        (json!("2025-12-31T23:44:59.999Z"), 1),
        (json!("2026-01-01T00:45:00+01:00"), 8),
        (json!("2026-01-01T00:00:10.000Z"), 8),
    ] {
        let session = json!({ "id": "session-1", "data": { "count": 7 }, "updatedAt": updated_at });
        store(&layer.database().items, "user-1", &json!({ "session": session })).await;
        assert_eq!(count(&layer, &alexa("user-1")).await, expected, "{updated_at}");
    }
}

#[tokio::test]
async fn a_new_session_replaces_the_old_one_and_keeps_what_is_not_ours() {
    let (layer, clock) = layer(());
    let session = json!({
        "id": "old", "data": { "a": 1 }, "state": ["S"], "reprompts": 2,
        "createdAt": "2020-01-01T00:00:00.000Z", "updatedAt": "2020-01-01T00:00:00.000Z",
    });
    store(&layer.database().items, "user-1", &json!({ "session": session })).await;
    let app = sync_app(&layer, |_, session, _| {
        assert!(session.is_new() && session.data().is_empty() && session.state().is_none());
        assert_eq!(session.id(), Some("session-1"));
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let now = "2026-01-01T00:00:00.000Z";
    let expected = json!({ "id": "session-1", "data": {}, "reprompts": 2, "createdAt": now, "updatedAt": now });
    assert_eq!(stored(layer.database(), "user-1").await.unwrap()["session"], expected);

    clock.advance(Duration::from_secs(1));
    send_json(&sync_app(&layer, |_, _, _| Ok(())), &alexa("user-1")).await.assert_ok();
    let session = stored(layer.database(), "user-1").await.unwrap()["session"].take();
    assert_eq!(session["createdAt"], now);
    assert_eq!(session["updatedAt"], "2026-01-01T00:00:01.000Z", "every use is written");
}

#[tokio::test]
async fn touch_every_spares_the_write_of_a_mere_use() {
    let (layer, clock) = layer(
        SessionElement::new()
            .expires_after(Duration::from_secs(100))
            .touch_every(Duration::from_secs(30)),
    );
    let reads = sync_app(&layer, |_, session, _| session.get::<i64>("count").map(drop));
    assert_eq!(count(&layer, &alexa("user-1")).await, 1);
    for (seconds, saves) in [(29, 1), (1, 2), (29, 2), (31, 3)] {
        clock.advance(Duration::from_secs(seconds));
        send_json(&reads, &alexa("user-1")).await.assert_ok();
        assert_eq!(layer.database().calls().saves, saves, "{seconds}");
    }
    // A write for another reason also updates the time.
    clock.advance(Duration::from_secs(10));
    assert_eq!(count(&layer, &alexa("user-1")).await, 2);
    clock.advance(Duration::from_secs(100));
    assert_eq!(count(&layer, &alexa("user-1")).await, 3);
}

#[tokio::test]
async fn state_is_set_read_and_removed() {
    let (layer, _) = layer(());
    let app = sync_app(&layer, |_, session, _| {
        session.set_state(match session.state() {
            None => json!([{ "component": "Quiz" }]),
            Some(_) => Value::Null,
        })
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let state = stored(layer.database(), "user-1").await.unwrap()["session"]["state"].take();
    assert_eq!(state, json!([{ "component": "Quiz" }]));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert!(stored(layer.database(), "user-1").await.unwrap()["session"].get("state").is_none());
}

#[tokio::test]
async fn an_event_outside_any_session_leaves_the_stored_one_alone() {
    let (layer, clock) = layer(());
    assert_eq!(count(&layer, &alexa("user-1")).await, 1);
    let before = stored(layer.database(), "user-1").await.unwrap();
    clock.advance(Duration::from_secs(800));
    let app = sync_app(&layer, |user, session, _| {
        assert!(session.data().is_empty() && session.id().is_none());
        let error = session.set("a", 1).unwrap_err();
        assert!(error.is_element_disabled(), "{error}");
        user.set("playing", true)
    });
    send_json(&app, &alexa_audio("user-1")).await.assert_ok();
    let after = stored(layer.database(), "user-1").await.unwrap();
    assert_eq!(after["session"], before["session"]);
    assert_eq!(after["user"]["data"]["playing"], true);
    clock.advance(Duration::from_secs(101));
    assert_eq!(
        count(&layer, &alexa("user-1")).await,
        1,
        "hearing music is not a use of the session"
    );
}

#[tokio::test]
async fn without_storage_is_new_is_what_the_platform_says() {
    let layer = PersistenceLayer::new(TestDb::default()).platform(Bare);
    for (new, expected) in [("yes", true), ("no", false), ("presumed", true), ("", true)] {
        let app = sync_app(&layer, move |_, session, _| {
            assert_eq!(session.is_new(), expected);
            Ok(())
        });
        send_json(&app, &bare(new, None)).await.assert_ok();
    }
}
