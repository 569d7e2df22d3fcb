//! Several events in one request: the handler gets one request for each, and none of them twice.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use http::header::CONTENT_LENGTH;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tower_persistence::{MemoryDb, OnConflict, PersistenceLayer, StoredElements};

use crate::common::*;

/// The events that the handler received, in order: the user, the message and the body.
type Seen = Arc<Mutex<Vec<(String, String, Value)>>>;

/// Returns a handler that counts each message for its user, and fails on those in `failing`.
fn counter(layer: &PersistenceLayer<TestDb>, failing: &Failing) -> (App, Seen) {
    let seen = Seen::default();
    let (notes, failing) = (seen.clone(), failing.clone());
    let app = serve(layer, move |request| {
        let (notes, failing) = (notes.clone(), failing.clone());
        async move {
            let user = request.extensions().get::<tower_persistence::User>().cloned();
            let length = request.headers().get(CONTENT_LENGTH).cloned();
            let body = collect(request).await;
            if let Some(length) = length {
                assert_eq!(length.to_str().unwrap(), body.len().to_string());
            }
            let body: Value = serde_json::from_slice(&body).unwrap();
            let mid = body.pointer("/entry/0/messaging/0/message/mid").and_then(Value::as_str);
            let (mid, id) = (mid.unwrap_or_default().to_owned(), user.as_ref().map(|u| u.id()));
            notes.lock().unwrap().push((id.unwrap_or("none").to_owned(), mid.clone(), body));
            if let Some(user) = user {
                user.increment("messages", 1)?;
            }
            let status = if failing.lock().unwrap().contains(mid.as_str()) { 500 } else { 200 };
            Ok(reply(status, r#"{"text":"from the handler"}"#))
        }
    });
    (app, seen)
}

type Failing = Arc<Mutex<HashSet<&'static str>>>;

fn failing(mids: &[&'static str]) -> Failing {
    Arc::new(Mutex::new(mids.iter().copied().collect()))
}

async fn collect(request: HttpRequest) -> bytes::Bytes {
    http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes()
}

async fn messages(layer: &PersistenceLayer<TestDb>, user: &str) -> Option<u64> {
    stored(&layer.database().items, user).await?["user"]["data"]["messages"].as_u64()
}

fn mids(seen: &Seen) -> Vec<String> {
    seen.lock().unwrap().drain(..).map(|(_, mid, _)| mid).collect()
}

const THREE: [(&str, &str); 4] =
    [("anna", "m-1"), ("bert", "m-2"), ("anna", "m-3"), ("cleo", "m-4")];

#[tokio::test]
async fn each_event_reaches_the_handler_alone_with_its_users_handles() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, seen) = counter(&layer, &failing(&[]));
    let mut batch = messenger_batch(&THREE);
    // Two messages of one entry, an echo of the page, and a message without a sender.
    let entries = batch["entry"].as_array_mut().unwrap();
    let bert_again = messenger("bert", "m-5")["entry"][0]["messaging"][0].take();
    entries[1]["messaging"].as_array_mut().unwrap().push(bert_again);
    let mut echo = messenger("page-1", "m-6")["entry"][0].take();
    echo["messaging"][0]["message"]["is_echo"] = json!(true);
    entries.push(echo);
    entries.push(json!({ "id": "page-1", "time": 7, "changes": [{ "field": "feed" }] }));

    let body = batch.to_string();
    let mut request = post(body.clone());
    request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
    let answer = send(&app, request).await;
    answer.assert_ok();
    assert!(answer.body.is_empty());
    assert!(answer.error.is_none());
    for (user, expected) in [("anna", 2), ("bert", 2), ("cleo", 1)] {
        assert_eq!(messages(&layer, user).await, Some(expected), "{user}");
    }
    let seen = seen.lock().unwrap();
    for user in ["anna", "bert", "cleo", "none"] {
        let of_user =
            seen.iter().filter(|(owner, ..)| owner == user).map(|(_, mid, _)| mid.as_str());
        let expected: &[&str] = match user {
            "anna" => &["m-1", "m-3"],
            "bert" => &["m-2", "m-5"],
            "cleo" => &["m-4"],
            _ => &[""],
        };
        assert_eq!(of_user.collect::<Vec<_>>(), expected, "{user}");
    }
    let body_of = |mid| &seen.iter().find(|(_, other, _)| other == mid).unwrap().2;
    assert_eq!(*body_of("m-3"), messenger("anna", "m-3"));
    assert_eq!(
        *body_of(""),
        json!({ "object": "page", "entry": [{ "id": "page-1", "time": 7, "changes": [{ "field": "feed" }] }] })
    );
}

#[tokio::test]
async fn a_repeat_serves_only_what_failed() {
    let layer = PersistenceLayer::new(TestDb::default());
    let failing = failing(&["m-2"]);
    let (app, seen) = counter(&layer, &failing);
    let answer = send_json(&app, &messenger_batch(&THREE)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.body, r#"{"text":"from the handler"}"#);
    assert_eq!(messages(&layer, "anna").await, Some(2));
    assert_eq!(messages(&layer, "bert").await, None);
    seen.lock().unwrap().clear();

    failing.lock().unwrap().clear();
    send_json(&app, &messenger_batch(&THREE)).await.assert_ok();
    assert_eq!(mids(&seen), ["m-2"]);
    for (user, expected) in [("anna", 2), ("bert", 1), ("cleo", 1)] {
        assert_eq!(messages(&layer, user).await, Some(expected), "{user}");
    }
    // The same events in other batches.
    send_json(&app, &messenger("anna", "m-3")).await.assert_ok();
    send_json(&app, &messenger_batch(&[("cleo", "m-4"), ("anna", "m-7")])).await.assert_ok();
    assert_eq!(mids(&seen), ["m-7"]);
}

#[tokio::test]
async fn after_a_failure_the_users_later_events_wait_for_the_repeat() {
    let layer = PersistenceLayer::new(TestDb::default());
    let failing = failing(&["m-1"]);
    let (app, seen) = counter(&layer, &failing);
    assert_eq!(send_json(&app, &messenger_batch(&THREE)).await.status, 500);
    let first = mids(&seen);
    assert!(first.contains(&"m-2".to_owned()) && !first.contains(&"m-3".to_owned()), "{first:?}");
    failing.lock().unwrap().clear();
    send_json(&app, &messenger_batch(&THREE)).await.assert_ok();
    assert_eq!(mids(&seen), ["m-1", "m-3"]);
    assert_eq!(messages(&layer, "anna").await, Some(2));
}

#[tokio::test]
async fn unstored_events_are_served_again_and_the_layers_own_failure_is_the_answer() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, seen) = counter(&layer, &failing(&[]));
    layer.database().on_save(Behaviour::Fails);
    let answer = send_json(&app, &messenger_batch(&THREE[..2])).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().is_database());
    layer.database().on_save(Behaviour::Works);
    seen.lock().unwrap().clear();
    send_json(&app, &messenger_batch(&THREE[..2])).await.assert_ok();
    assert_eq!(mids(&seen).len(), 2);
    assert_eq!(messages(&layer, "anna").await, Some(1));
}

/// A blanket 200 is for platforms that read out a reply; Meta would treat the batch as delivered.
#[tokio::test]
async fn a_failure_is_one_whatever_its_reply_says() {
    let layer = PersistenceLayer::new(TestDb::default()).on_error(|_| http::Response::new("sorry"));
    let (app, seen) = counter(&layer, &failing(&[]));
    layer.database().on_save(Behaviour::Fails);
    let answer = send_json(&app, &messenger_batch(&[("anna", "m-1"), ("anna", "m-2")])).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (503, &b"sorry"[..]));
    assert!(answer.error().is_database());
    assert_eq!(mids(&seen), ["m-1"]);
}

#[tokio::test]
async fn an_event_of_a_batch_that_comes_again_alone_is_recognised_and_the_other_way_round() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, seen) = counter(&layer, &failing(&[]));
    send_json(&app, &messenger_batch(&[("anna", "m-1"), ("anna", "m-2")])).await.assert_ok();
    send_json(&app, &messenger("anna", "m-2")).await.assert_ok();
    send_json(&app, &messenger("anna", "m-3")).await.assert_ok();
    send_json(&app, &messenger_batch(&[("anna", "m-3"), ("anna", "m-4")])).await.assert_ok();
    assert_eq!(mids(&seen), ["m-1", "m-2", "m-3", "m-4"]);
    assert_eq!(messages(&layer, "anna").await, Some(4));
}

#[tokio::test]
async fn every_event_in_a_repeat_is_recognised() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, seen) = counter(&layer, &failing(&[]));
    let mids_of_anna: Vec<String> = (0..150).map(|number| format!("m-{number}")).collect();
    let events: Vec<_> = mids_of_anna.iter().map(|mid| ("anna", mid.as_str())).collect();
    send_json(&app, &messenger_batch(&events)).await.assert_ok();
    assert_eq!(messages(&layer, "anna").await, Some(150));
    seen.lock().unwrap().clear();
    // Events in between must not displace them either.
    let others: Vec<String> = (0..64).map(|number| format!("n-{number}")).collect();
    for two in others.chunks(2) {
        let two: Vec<_> = two.iter().map(|mid| ("anna", mid.as_str())).collect();
        send_json(&app, &messenger_batch(&two)).await.assert_ok();
    }
    seen.lock().unwrap().clear();
    send_json(&app, &messenger_batch(&events)).await.assert_ok();
    assert_eq!(mids(&seen), [""; 0]);
    let record = stored(&layer.database().items, "anna").await.unwrap();
    assert_eq!(record["handledEvents"].as_array().unwrap().len(), 214);
}

#[tokio::test]
async fn postbacks_receipts_and_deletions_have_ids_as_well() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, _) = counter(&layer, &failing(&[]));
    let of_anna = |mut event: Value| {
        event["sender"] = json!({ "id": "anna" });
        event
    };
    let events = [
        json!({ "timestamp": 1, "postback": { "payload": "p", "mid": "m-1" } }),
        json!({ "timestamp": 2, "postback": { "payload": "p" } }),
        json!({ "timestamp": 2, "read": { "watermark": 1 } }),
        json!({ "timestamp": 3, "read": { "watermark": 2 } }),
        json!({ "timestamp": 4, "message": { "mid": "m-2" } }),
        json!({ "timestamp": 5, "message": { "mid": "m-2", "is_deleted": true } }),
    ];
    let entry = json!({ "id": "page-1", "time": 1, "messaging": events.map(of_anna) });
    // Both have one record for the user, and ids of their own.
    for (object, expected) in [("page", 6), ("instagram", 12)] {
        let batch = json!({ "object": object, "entry": [entry] });
        for _ in 0..2 {
            send_json(&app, &batch).await.assert_ok();
        }
        assert_eq!(messages(&layer, "anna").await, Some(expected));
    }
}

/// Checks that both are in the handler before either continues.
#[tokio::test]
async fn users_are_served_at_the_same_time_up_to_the_limit() {
    for (limit, at_a_time) in [(8, 4), (2, 2), (0, 1)] {
        let layer = PersistenceLayer::new(TestDb::default()).batch_concurrency(limit);
        let (barrier, now) = (Arc::new(Barrier::new(at_a_time)), Arc::new(Mutex::new((0, 0))));
        let most = now.clone();
        let app = app(&layer, move |_, _, _| {
            let (barrier, now) = (barrier.clone(), now.clone());
            async move {
                let enter = |by: i32| {
                    let mut now = now.lock().unwrap();
                    now.0 += by;
                    now.1 = now.1.max(now.0);
                };
                enter(1);
                barrier.wait().await;
                enter(-1);
                Ok(())
            }
        });
        let users = [("anna", "m"), ("bert", "m"), ("cleo", "m"), ("dora", "m")];
        send_json(&app, &messenger_batch(&users)).await.assert_ok();
        assert_eq!(most.lock().unwrap().1, at_a_time as i32);
    }
}

/// Meta sends a batch again while the first one is still in progress, to another process.
#[tokio::test]
async fn a_repeat_in_another_process_at_the_same_time_counts_once() {
    for on_conflict in [OnConflict::Merge, OnConflict::Overwrite, OnConflict::Rerun { attempts: 3 }]
    {
        let items = MemoryDb::new();
        let layers: [_; 2] = std::array::from_fn(|_| {
            let mut database = TestDb::default();
            database.items = items.clone();
            PersistenceLayer::new(database).on_conflict(on_conflict)
        });
        let [one, other] = layers.each_ref().map(|layer| counter(layer, &failing(&[])).0);
        layers[0].database().on_save(Behaviour::Waits);
        let batch = messenger_batch(&[("anna", "m-1"), ("anna", "m-2")]);
        let first = tokio::spawn({
            let batch = batch.clone();
            async move { send_json(&one, &batch).await.status }
        });
        layers[0].database().until_waiting().await;
        layers[0].database().on_save(Behaviour::Works);
        send_json(&other, &batch).await.assert_ok();
        layers[0].database().go();
        assert_eq!(first.await.unwrap(), 200);
        let item = stored(&items, "anna").await.unwrap();
        assert_eq!(item["user"]["data"]["messages"], 2, "{on_conflict:?}");
        assert_eq!(handled(&item), ["facebookmessenger:m-2", "facebookmessenger:m-1"]);
    }
}

#[tokio::test]
async fn each_event_has_its_own_history() {
    let elements = StoredElements::new().history(
        tower_persistence::stored_elements::HistoryElement::new().input(true).request(true),
    );
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let (app, _) = counter(&layer, &failing(&[]));
    let mut batch = messenger_batch(&[("anna", "m-1"), ("bert", "m-2")]);
    batch["entry"][1]["messaging"][0]["message"]["text"] = json!("what is bert's");
    send_json(&app, &batch).await.assert_ok();
    for (user, text) in [("anna", "hello"), ("bert", "what is bert's")] {
        let item = stored(&layer.database().items, user).await.unwrap();
        let [last] = &item["history"]["items"].as_array().unwrap()[..] else { panic!("one item") };
        assert_eq!(last["input"]["text"], text);
        assert_eq!(last["request"]["entry"].as_array().unwrap().len(), 1);
        assert!(user == "bert" || !item.to_string().contains("bert"));
    }
}

/// Meta uses it to check that the address belongs to the app.
#[tokio::test]
async fn the_verification_passes_through() {
    let layer = PersistenceLayer::new(TestDb::default()).require_user(true);
    let app = serve(&layer, async |request: HttpRequest| {
        assert!(handles(&request).is_none());
        Ok(reply(200, request.uri().query().unwrap_or_default()))
    });
    let query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=token";
    let request = http::Request::get(format!("/?{query}")).body(Default::default()).unwrap();
    let answer = send(&app, request).await;
    answer.assert_ok();
    assert_eq!(answer.body, query);
    assert_eq!(layer.database().calls(), Calls::default());
}

/// A request that arrives during a batch waits for all of the user's events in it.
#[tokio::test]
async fn no_later_request_comes_between_two_events_of_a_batch() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, seen) = counter(&layer, &failing(&[]));
    layer.database().on_load(Behaviour::Waits);
    let batch = messenger_batch(&[("anna", "m-1"), ("anna", "m-2"), ("anna", "m-3")]);
    let sender = app.clone();
    let batch = tokio::spawn(async move { send_json(&sender, &batch).await.status });
    layer.database().until_waiting().await;
    layer.database().on_load(Behaviour::Works);
    let mut later = tokio_test::task::spawn(async {
        send_json(&app, &messenger("anna", "m-4")).await.assert_ok();
    });
    assert!(later.poll().is_pending());
    layer.database().go();
    assert_eq!(batch.await.unwrap(), 200);
    later.await;
    assert_eq!(mids(&seen), ["m-1", "m-2", "m-3", "m-4"]);
}

/// Two batches list the same users in a different order; each takes all its places at once.
#[tokio::test]
async fn two_batches_do_not_wait_for_each_other() {
    let layer = PersistenceLayer::new(TestDb::default()).batch_concurrency(1);
    let (app, _) = counter(&layer, &failing(&[]));
    let batches = [[("anna", "m-1"), ("bert", "m-2")], [("bert", "m-3"), ("anna", "m-4")]];
    let served = batches.map(|batch| {
        let app = app.clone();
        async move { send_json(&app, &messenger_batch(&batch)).await.assert_ok() }
    });
    futures_util::future::join_all(served).await;
    for user in ["anna", "bert"] {
        assert_eq!(messages(&layer, user).await, Some(2));
    }
}

#[tokio::test]
async fn a_panic_on_one_event_does_not_stop_the_other_users() {
    let layer = PersistenceLayer::new(TestDb::default()).batch_concurrency(1);
    let app = app(&layer, |user, _, _| async move {
        assert_ne!(user.id(), "anna", "this handler panics");
        user.increment("messages", 1).map(drop)
    });
    let batch = messenger_batch(&THREE);
    let panicked = tokio::spawn(async move { send_json(&app, &batch).await.status });
    assert!(panicked.await.unwrap_err().is_panic(), "it is not acknowledged");
    for (user, expected) in [("anna", None), ("bert", Some(1)), ("cleo", Some(1))] {
        assert_eq!(messages(&layer, user).await, expected, "{user}");
    }
}
