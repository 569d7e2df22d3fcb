//! Stored elements in Jovo's JSON form, and v1's meta data.

use std::time::Duration;

use serde_json::{Value, json};
use tower_persistence::stored_elements::{HistoryElement, SessionElement};
use tower_persistence::{PersistenceLayer, StoredElements};

use crate::common::*;

fn shown(elements: impl std::fmt::Debug) -> String {
    format!("{elements:?}")
}

fn from_json(json: Value) -> String {
    shown(serde_json::from_value::<StoredElements>(json).unwrap())
}

#[test]
fn jovos_json_says_what_the_builder_says() {
    let seconds = |seconds| SessionElement::new().expires_after(Duration::from_secs(seconds));
    let new = StoredElements::new;
    for (json, elements) in [
        (json!({}), new()),
        (
            json!({ "user": true, "session": false, "history": false, "createdAt": true, "updatedAt": true }),
            new(),
        ),
        (
            json!({ "user": false, "createdAt": false, "updatedAt": false }),
            new().user(false).created_at(false).updated_at(false),
        ),
        (
            json!({ "user": { "enabled": false }, "metaData": {} }),
            new().user(false).meta_data(true),
        ),
        (json!({ "session": true }), new().session(seconds(900))),
        (json!({ "session": {} }), new().session(true)),
        (json!({ "session": { "expiresAfterSeconds": 60 } }), new().session(seconds(60))),
        (
            json!({ "session": { "enabled": true, "expiresAfterSeconds": 60 } }),
            new().session(seconds(60)),
        ),
        (json!({ "session": { "enabled": false, "expiresAfterSeconds": 60 } }), new()),
        (
            json!({ "history": true }),
            new().history(HistoryElement::new().size(3).output(true).nlu(true)),
        ),
        (json!({ "history": { "size": 5 } }), new().history(HistoryElement::new().size(5))),
        (json!({ "history": { "enabled": false, "size": 5 } }), new()),
        (
            json!({ "history": { "output": false, "nlu": false, "asr": true, "state": true, "input": true, "request": true, "response": true } }),
            new().history(
                HistoryElement::new()
                    .output(false)
                    .nlu(false)
                    .asr(true)
                    .state(true)
                    .input(true)
                    .request(true)
                    .response(true),
            ),
        ),
    ] {
        assert_eq!(from_json(json.clone()), shown(elements), "{json}");
    }
}

#[test]
fn an_invalid_setting_is_an_error_that_names_it() {
    for (json, name) in [
        (json!({ "sessions": true }), "sessions"),
        (json!({ "session": { "expiresAfter": 1 } }), "expiresAfter"),
        (json!({ "history": { "entities": true } }), "entities"),
        (json!({ "user": { "data": true } }), "data"),
        (json!({ "session": { "expiresAfterSeconds": 0 } }), "expiresAfterSeconds"),
        (json!({ "session": { "expiresAfterSeconds": -1 } }), "expiresAfterSeconds"),
        (json!({ "session": { "expiresAfterSeconds": "60" } }), "expiresAfterSeconds"),
        (
            json!({ "session": { "enabled": false, "expiresAfterSeconds": 0 } }),
            "expiresAfterSeconds",
        ),
        (json!({ "history": { "size": 0 } }), "size"),
        (json!({ "history": { "size": -3 } }), "size"),
        (json!({ "history": { "size": 1.5 } }), "size"),
        (json!({ "session": "yes" }), "a boolean or an object"),
    ] {
        let error = serde_json::from_value::<StoredElements>(json.clone()).unwrap_err().to_string();
        assert!(error.contains(name), "{json}: {error}");
    }
}

#[tokio::test]
async fn meta_data_counts_sessions_and_is_written_on_each_request() {
    let clock = Clock::new();
    let elements = StoredElements::new().meta_data(true);
    let layer =
        PersistenceLayer::new(TestDb::default()).stored_elements(elements).clock(clock.reader());
    let app = serve(&layer, |request| async move {
        let meta_data = handles(&request).unwrap().0.meta_data().unwrap();
        Ok(reply(200, &meta_data.sessions_count.to_string()))
    });
    for (request, count) in [
        (alexa_session("user-1", "a", true), "1"),
        (alexa_session("user-1", "a", false), "1"),
        (alexa_audio("user-1"), "1"),
        (alexa_session("user-1", "b", true), "2"),
        (alexa_session("user-2", "c", false), "1"),
    ] {
        clock.advance(Duration::from_secs(60));
        assert_eq!(send_json(&app, &request).await.body, count, "{request}");
    }
    assert_eq!(layer.database().calls().saves, 5);
    let expected = json!({
        "sessionsCount": 2,
        "createdAt": "2026-01-01T00:01:00.000Z",
        "lastUsedAt": "2026-01-01T00:04:00.000Z",
    });
    assert_eq!(stored(layer.database(), "user-1").await.unwrap()["metaData"], expected);
}

#[tokio::test]
async fn meta_data_counts_the_sessions_that_the_database_starts() {
    let clock = Clock::new();
    let elements = StoredElements::new().meta_data(true).session(true);
    let layer =
        PersistenceLayer::new(TestDb::default()).stored_elements(elements).clock(clock.reader());
    let app = sync_app(&layer, |_, _, _| Ok(()));
    for (seconds, count) in [(0, 1), (900, 1), (901, 2)] {
        clock.advance(Duration::from_secs(seconds));
        send_json(&app, &alexa("user-1")).await.assert_ok();
        let item = stored(layer.database(), "user-1").await.unwrap();
        assert_eq!(item["metaData"]["sessionsCount"], count);
    }
}

#[tokio::test]
async fn meta_data_of_jovo_v1_is_continued() {
    let layer = PersistenceLayer::new(TestDb::default())
        .stored_elements(StoredElements::new().meta_data(true));
    let old = json!({
        "metaData": {
            "createdAt": "2017-01-01T00:00:00.000Z", "lastUsedAt": "2018-01-01T00:00:00.000Z",
            "sessionsCount": 41, "devices": { "d.1": {} },
        },
    });
    store(&layer.database().items, "user-1", &old).await;
    let app = sync_app(&layer, |user, _, _| {
        let meta_data = user.meta_data().unwrap();
        assert_eq!(meta_data.sessions_count, 42);
        let years = meta_data.last_used_at.unwrap().duration_since(meta_data.created_at.unwrap());
        assert_eq!(years.unwrap(), Duration::from_secs(365 * 24 * 3600));
        Ok(())
    });
    send_json(&app, &alexa_session("user-1", "s", true)).await.assert_ok();
    let meta_data = stored(layer.database(), "user-1").await.unwrap()["metaData"].take();
    assert_eq!(meta_data["createdAt"], "2017-01-01T00:00:00.000Z");
    assert_eq!(meta_data["devices"], json!({ "d.1": {} }));
}
