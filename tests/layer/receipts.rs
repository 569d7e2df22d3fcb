//! Receipts: delivered, read, a reaction. They are not turns of the user.

use std::time::Duration;

use serde_json::{Value, json};
use tower_persistence::platform::{
    Event, FacebookMessenger, NewSession, Platform, PlatformRequest,
};
use tower_persistence::stored_elements::{HistoryElement, StoredElements};
use tower_persistence::{OnConflict, PersistenceLayer, User};

use crate::common::*;

/// A chat whose requests are lists of events: `{"chat": [["message", "m-1"], ["receipt", "r-1"]]}`.
struct Chat;

impl Platform for Chat {
    fn name(&self) -> &str {
        "chat"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let events: Vec<(String, String)> =
            serde_json::from_str(request.json()?.get("chat")?.get()).unwrap();
        let event = |(kind, id): (String, String)| {
            let body = json!({ "chat": [[&kind, &id]] }).to_string();
            let event =
                Event::default().user_id(Some("anna".into())).id(Some(id.into())).body(body);
            match kind.as_str() {
                "receipt" => event.receipt(),
                _ => event.session(None, NewSession::Unknown),
            }
        };
        Some(events.into_iter().map(event).collect())
    }
}

fn chat(events: &[(&str, &str)]) -> Value {
    json!({ "chat": events })
}

const MESSAGE: (&str, &str) = ("message", "m-1");
const RECEIPT: (&str, &str) = ("receipt", "r-1");

fn layer() -> (PersistenceLayer<TestDb>, Clock) {
    let clock = Clock::new();
    let history = HistoryElement::new().request(true);
    let elements = StoredElements::new().session(true).history(history).meta_data(true);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    (layer.clock(clock.reader()).platform(Chat), clock)
}

async fn record(layer: &PersistenceLayer<TestDb>) -> Option<Value> {
    stored(&layer.database().items, "chat:anna").await
}

#[tokio::test]
async fn a_receipt_creates_starts_extends_and_remembers_nothing() {
    let (layer, clock) = layer();
    let app = sync_app(&layer, |user, session, _| {
        assert!(session.set("a", 1).unwrap_err().is_element_disabled(), "{}", user.is_new());
        Ok(())
    });
    send_json(&app, &chat(&[RECEIPT])).await.assert_ok();
    assert_eq!(record(&layer).await, None);

    let message = sync_app(&layer, |_, session, _| session.increment("steps", 1).map(drop));
    send_json(&message, &chat(&[MESSAGE])).await.assert_ok();
    let before = record(&layer).await;
    clock.advance(Duration::from_secs(900));
    send_json(&app, &chat(&[RECEIPT])).await.assert_ok();
    assert_eq!(record(&layer).await, before, "not even a time has changed");

    clock.advance(Duration::from_millis(1));
    send_json(&message, &chat(&[MESSAGE])).await.assert_ok();
    let record = record(&layer).await.unwrap();
    assert_eq!(record["session"]["data"], json!({ "steps": 1 }), "the session had expired");
    assert_eq!(record["metaData"]["sessionsCount"], 2);
    assert_eq!(record["history"]["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn writes_on_a_receipt_are_stored_and_the_user_begins_with_the_first_message() {
    let (layer, clock) = layer();
    let app = sync_app(&layer, |user, _, _| {
        assert_eq!(user.created_at(), None);
        assert!(user.is_new());
        user.increment("events", 1).map(drop)
    });
    send_json(&app, &chat(&[RECEIPT])).await.assert_ok();
    let marked = record(&layer).await.unwrap();
    assert_eq!(marked["user"]["data"], json!({ "events": 1 }));
    for absent in ["createdAt", "session", "history", "metaData"] {
        assert_eq!(marked.get(absent), None, "{absent}");
    }
    clock.advance(Duration::from_secs(60));
    send_json(&app, &chat(&[RECEIPT])).await.assert_ok();

    send_json(&app, &chat(&[MESSAGE])).await.assert_ok();
    let record = record(&layer).await.unwrap();
    assert_eq!(record["user"]["data"], json!({ "events": 3 }));
    assert_eq!(record["createdAt"], "2026-01-01T00:01:00.000Z");
    assert_eq!(record["metaData"]["createdAt"], record["createdAt"]);
    assert_eq!(record.get("receiptsOnly"), None);
    let known = sync_app(&layer, |user, _, _| {
        assert!(!user.is_new());
        Ok(())
    });
    send_json(&known, &chat(&[MESSAGE])).await.assert_ok();
}

#[tokio::test]
async fn a_receipt_and_the_first_message_at_once_make_one_user() {
    for (first, second) in [(RECEIPT, MESSAGE), (MESSAGE, RECEIPT)] {
        for policy in [OnConflict::Merge, OnConflict::Rerun { attempts: 2 }] {
            let (layer, _) = layer();
            let layer = layer.on_conflict(policy);
            // Another process with the same records.
            let other = PersistenceLayer::new(TestDb::clone(layer.database())).platform(Chat);
            let count = |user: &User| user.increment("events", 1).map(drop);
            let [app, other] =
                [&layer, &other].map(|layer| sync_app(layer, move |user, _, _| count(user)));
            layer.database().on_save(Behaviour::Waits);
            let waiting =
                tokio::spawn(async move { send_json(&app, &chat(&[first])).await.status });
            layer.database().until_waiting().await;
            layer.database().on_save(Behaviour::Works);
            send_json(&other, &chat(&[second])).await.assert_ok();
            layer.database().go();
            assert_eq!(waiting.await.unwrap(), 200);
            let record = record(&layer).await.unwrap();
            assert_eq!(record["user"]["data"]["events"], 2, "{policy:?}");
            assert!(record["createdAt"].is_string(), "{record}");
            assert_eq!(record.get("receiptsOnly"), None, "{record}");
        }
    }
}

#[tokio::test]
async fn a_receipt_that_fails_does_not_hold_up_the_messages_beside_it() {
    let (layer, _) = layer();
    let app = serve(&layer, |request| async move {
        let user = request.extensions().get::<User>().unwrap().clone();
        let body = http_body_util::BodyExt::collect(request.into_body()).await?.to_bytes();
        user.increment("events", 1)?;
        let is_receipt = body.windows(7).any(|window| window == b"receipt");
        Ok(reply(if is_receipt { 500 } else { 200 }, "{}"))
    });
    let batch = chat(&[RECEIPT, ("message", "m-1"), ("message", "m-2")]);
    for _ in 0..2 {
        assert_eq!(send_json(&app, &batch).await.status, 500, "it has to come again");
        assert_eq!(record(&layer).await.unwrap()["user"]["data"]["events"], 2);
    }
}

/// A copy of what the page sent, by which a bot sees that a person took over.
fn page_echo(mid: &str, flag: Value) -> Value {
    let message = json!({ "mid": mid, "is_echo": flag, "text": "a person answers" });
    let parties = json!({ "sender": { "id": "page-1" }, "recipient": { "id": "anna" } });
    let mut event = json!({ "timestamp": 1_767_607_200_000_u64, "message": message });
    event.as_object_mut().unwrap().extend(parties.as_object().unwrap().clone());
    json!({ "id": "page-1", "time": 1_767_607_200_000_u64, "messaging": [event] })
}

#[tokio::test]
async fn echoes_are_skipped_alone_and_in_a_batch_unless_they_are_asked_for() {
    let alone = json!({ "object": "page", "entry": [page_echo("e-1", json!(true))] });
    let mut batch = messenger("anna", "m-1");
    batch["entry"].as_array_mut().unwrap().push(page_echo("e-2", json!("true")));
    for (echoes, after_echo, after_batch) in [(false, None, 1), (true, Some(1), 3)] {
        let layer = PersistenceLayer::new(TestDb::default())
            .platform(FacebookMessenger::new().echoes(echoes));
        let app = sync_app(&layer, |user, _, _| user.increment("events", 1).map(drop));
        let events = async || {
            let record = stored(&layer.database().items, "anna").await?;
            record["user"]["data"]["events"].as_i64()
        };
        let answer = send_json(&app, &alone).await;
        answer.assert_ok();
        assert_eq!(answer.body.is_empty(), !echoes, "skipped with an empty 200");
        assert_eq!(events().await, after_echo);
        send_json(&app, &batch).await.assert_ok();
        assert_eq!(events().await, Some(after_batch));
    }
}
