//! An event that comes twice is served once: by default where the platform repeats its events, and
//! with `deduplicate` elsewhere, where the repeat gets the stored reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{
    MemoryDb, OnConflict, OnOutage, PersistenceLayer, Session, StoredElements, User,
};

use crate::common::*;

/// A chat that reads the reply, and whose client carries the session.
fn chat() -> JsonPlatform {
    let chat = JsonPlatform::new("chat").detect("/chat").user_id("/from").event_id("/id");
    chat.session_id("/session").session_data("/state").reply_session_data("/state")
}

fn say(id: &str) -> Value {
    json!({ "chat": true, "from": "anna", "id": id, "session": "s-1" })
}

fn deduplicating() -> PersistenceLayer<TestDb> {
    PersistenceLayer::new(TestDb::default()).platform(chat()).deduplicate(true)
}

/// Counts the runs of the handler, the visits of the user and the steps of the session.
fn counter(layer: &PersistenceLayer<TestDb>) -> (App, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let app = serve(layer, move |request| {
        let run = count.fetch_add(1, Ordering::Relaxed) + 1;
        async move {
            let user = request.extensions().get::<User>().unwrap();
            let visits = user.increment("visits", 1)?;
            let session = request.extensions().get::<Session>().unwrap();
            let _ = session.increment("steps", 1);
            Ok(reply(200, &json!({ "run": run, "visits": visits }).to_string()))
        }
    });
    (app, runs)
}

async fn record(layer: &PersistenceLayer<TestDb>, key: &str) -> Value {
    stored(&layer.database().items, key).await.unwrap_or_default()
}

async fn visits(layer: &PersistenceLayer<TestDb>, key: &str) -> Value {
    record(layer, key).await["user"]["data"]["visits"].take()
}

#[tokio::test]
async fn a_platform_that_repeats_gets_an_empty_success() {
    let slack = JsonPlatform::new("slack").detect("/event_id").user_id("/user");
    let slack = slack.event_id("/event_id").repeats(Duration::from_secs(60));
    let layer = PersistenceLayer::new(TestDb::default()).platform(slack);
    let (app, runs) = counter(&layer);
    let instagram = |mid| {
        let mut body = messenger("igsid", mid);
        body["object"] = json!("instagram");
        body
    };
    let slack = |id| json!({ "event_id": id, "user": "U1" });
    for (key, first, second) in [
        ("anna", messenger("anna", "m-1"), messenger("anna", "m-2")),
        ("igsid", instagram("m-1"), instagram("m-2")),
        ("slack:U1", slack("Ev1"), slack("Ev2")),
    ] {
        runs.store(0, Ordering::Relaxed);
        assert_eq!(send_json(&app, &first).await.body, r#"{"run":1,"visits":1}"#, "{key}");
        for repeat in [&first, &first] {
            let answer = send_json(&app, repeat).await;
            answer.assert_ok();
            assert!(answer.body.is_empty() && answer.error.is_none(), "{key}: {:?}", answer.body);
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1, "{key}");
        send_json(&app, &second).await.assert_ok();
        send_json(&app, &first).await.assert_ok();
        assert_eq!((runs.load(Ordering::Relaxed), visits(&layer, key).await), (2, json!(2)));
        let record = record(&layer, key).await;
        assert!(!record.to_string().contains("reply"), "{record}");
    }
}

#[tokio::test]
async fn elsewhere_each_repeat_is_a_new_event_unless_told_otherwise() {
    let layer = PersistenceLayer::new(TestDb::default()).platform(chat());
    let (app, _) = counter(&layer);
    for expected in [1, 2] {
        send_json(&app, &say("e-1")).await.assert_ok();
        assert_eq!(visits(&layer, "chat:anna").await, expected);
    }
    assert_eq!(record(&layer, "chat:anna").await.get("handledEvents"), None);
}

#[tokio::test]
async fn a_platform_that_reads_replies_gets_the_stored_one() {
    let layer = deduplicating();
    let (app, runs) = counter(&layer);
    let first = send_json(&app, &say("e-1")).await;
    let body: Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(body["state"]["steps"], 1, "with the session in it: {body}");
    send_json(&app, &say("e-2")).await.assert_ok();
    for _ in 0..2 {
        let repeat = send_json(&app, &say("e-1")).await;
        assert_eq!((repeat.status, &repeat.body), (first.status, &first.body));
    }
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(visits(&layer, "chat:anna").await, 2);
    assert_eq!(handled(&record(&layer, "chat:anna").await), ["chat:e-2", "chat:e-1"]);
}

/// Answers a request and its repeat, and returns both answers with their content types.
async fn twice(
    layer: &PersistenceLayer<TestDb>,
    response: Response<Bytes>,
) -> [(u16, Option<String>, Bytes); 2] {
    let app = serve(layer, move |request| {
        let response = response.clone().map(Full::new);
        async move {
            request.extensions().get::<User>().unwrap().increment("visits", 1)?;
            Ok(response)
        }
    });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let response = tower::ServiceExt::oneshot(app.clone(), post(say("e-1").to_string()));
        let (head, body) = response.await.unwrap().into_parts();
        let content_type = head.headers.get("content-type");
        let content_type = content_type.map(|it| it.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        answers.push((head.status.as_u16(), content_type, body));
    }
    answers.try_into().unwrap()
}

#[tokio::test]
async fn status_content_type_and_bytes_are_kept() {
    let xml = "<?xml version=\"1.0\"?>\n<Response><Message>\u{1f600} \u{0}</Message></Response>";
    for (status, content_type, body) in [
        (200, Some("text/xml; charset=utf-8"), xml),
        (201, Some("application/json"), "{ \"a\" : 1.0, \"a\":2 }\n"),
        (202, None, ""),
        (409, Some("text/plain"), "sorry"),
    ] {
        let layer = deduplicating();
        let mut response = Response::builder().status(status);
        if let Some(content_type) = content_type {
            response = response.header("content-type", content_type);
        }
        let [first, second] = twice(&layer, response.body(Bytes::from(body)).unwrap()).await;
        assert_eq!(first, (status, content_type.map(Into::into), Bytes::from(body)));
        assert_eq!(first, second);
        assert_eq!(visits(&layer, "chat:anna").await, 1);
    }
}

#[tokio::test]
async fn a_reply_that_cannot_be_kept_leaves_the_id_and_the_repeat_is_answered_empty() {
    let long = "x".repeat(32 * 1024);
    let streamed = ("content-type", "text/event-stream; charset=utf-8");
    for (header, body) in [
        (("x-any", "1"), Bytes::from(long)),
        (("x-any", "1"), Bytes::from_static(b"\xff\xfe")),
        (("content-encoding", "gzip"), Bytes::from_static(b"not really")),
        (streamed, Bytes::from_static(b"data: 1\n\n")),
    ] {
        let layer = deduplicating();
        let response = Response::builder().header(header.0, header.1).body(body.clone()).unwrap();
        let [first, second] = twice(&layer, response).await;
        assert_eq!(first.2, body, "{header:?}");
        assert_eq!((second.0, &*second.2), (200, &b"{}"[..]), "{header:?}");
        assert_eq!(visits(&layer, "chat:anna").await, 1);
        assert_eq!(handled(&record(&layer, "chat:anna").await), ["chat:e-1"]);
    }
}

#[tokio::test]
async fn the_oldest_replies_go_first_and_their_ids_stay() {
    let layer = deduplicating();
    let app = serve(&layer, |_| async { Ok(reply(200, &format!("{:?}", "x".repeat(20_000)))) });
    for number in 0..6 {
        send_json(&app, &say(&format!("e-{number}"))).await.assert_ok();
    }
    let record = record(&layer, "chat:anna").await;
    assert_eq!(handled(&record).len(), 6);
    let events = record["handledEvents"].as_array().unwrap();
    let with_reply = events.iter().map(|event| event.get("reply").is_some());
    assert_eq!(with_reply.collect::<Vec<_>>(), [true, true, true, false, false, false]);
    assert_eq!(send_json(&app, &say("e-5")).await.body.len(), 20_002);
    assert_eq!(send_json(&app, &say("e-0")).await.body, "{}");
}

#[tokio::test]
async fn a_turn_that_changed_nothing_else_is_noted_and_a_refused_one_is_not() {
    let layer = PersistenceLayer::new(TestDb::default());
    store(&layer.database().items, "anna", &json!({ "user": { "data": {} } })).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let app = serve(&layer, move |_| {
        let run = count.fetch_add(1, Ordering::Relaxed);
        async move { Ok(reply([404, 500, 200][run], "{}")) }
    });
    for (status, saves) in [(404, 0), (500, 0), (200, 1), (200, 1)] {
        assert_eq!(send_json(&app, &messenger("anna", "m-1")).await.status, status);
        assert_eq!(layer.database().calls().saves, saves);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    assert_eq!(handled(&record(&layer, "anna").await), ["facebookmessenger:m-1"]);
}

#[tokio::test]
async fn receipts_and_failures_note_what_they_wrote() {
    let read = json!({ "sender": { "id": "anna" }, "read": { "watermark": 1 } });
    let read =
        json!({ "object": "page", "entry": [{ "id": "p", "time": 1, "messaging": [read] }] });
    for (request, status, saves_on_error) in [
        (read, 200, false),
        (messenger("anna", "m-1"), 400, false),
        (messenger("anna", "m-1"), 500, true),
    ] {
        for writes in [false, true] {
            let layer = PersistenceLayer::new(TestDb::default()).save_on_error(saves_on_error);
            let app = serve(&layer, move |request| async move {
                if writes {
                    let user = request.extensions().get::<User>().unwrap();
                    user.increment("visits", 1)?;
                }
                Ok(reply(status, "{}"))
            });
            assert_eq!(send_json(&app, &request).await.status, status);
            let again = send_json(&app, &request).await;
            let (record, expected) =
                (record(&layer, "anna").await, if writes { 200 } else { status });
            assert_eq!(again.status, expected, "{record}");
            assert_eq!(handled(&record).len(), usize::from(writes), "{record}");
            assert_eq!(
                record["user"]["data"]["visits"],
                if writes { json!(1) } else { Value::Null }
            );
        }
    }
}

#[tokio::test]
async fn ids_are_kept_as_long_as_the_platform_repeats() {
    let clock = Clock::new();
    let slack = JsonPlatform::new("slack").detect("/event_id").user_id("/user");
    let slack = slack.event_id("/event_id").repeats(Duration::from_secs(3600));
    let layer = PersistenceLayer::new(TestDb::default()).platform(slack).clock(clock.reader());
    let (app, _) = counter(&layer);
    let event = |id: &str| json!({ "event_id": id, "user": "U1" });
    send_json(&app, &event("Ev1")).await.assert_ok();
    assert_eq!(
        record(&layer, "slack:U1").await["handledEvents"],
        json!([{ "id": "slack:Ev1", "until": "2026-01-01T01:00:00.000Z" }])
    );
    clock.advance(Duration::from_secs(3600));
    send_json(&app, &event("Ev2")).await.assert_ok();
    assert_eq!(handled(&record(&layer, "slack:U1").await), ["slack:Ev2", "slack:Ev1"]);
    clock.advance(Duration::from_millis(1));
    send_json(&app, &event("Ev3")).await.assert_ok();
    assert_eq!(handled(&record(&layer, "slack:U1").await), ["slack:Ev3", "slack:Ev2"]);
}

#[tokio::test]
async fn so_many_ids_are_kept_that_a_record_stays_small() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, runs) = counter(&layer);
    let mid = |number: usize| format!("m_{number}{}", "x".repeat(120));
    for number in 0..130 {
        send_json(&app, &messenger("anna", &mid(number))).await.assert_ok();
    }
    let record = record(&layer, "anna").await;
    assert_eq!(handled(&record).len(), 128);
    assert!(record.to_string().len() < 16 * 1024, "{}", record.to_string().len());
    send_json(&app, &messenger("anna", &mid(2))).await.assert_ok();
    assert_eq!(runs.load(Ordering::Relaxed), 130, "the oldest that is kept");
    send_json(&app, &messenger("anna", &mid(1))).await.assert_ok();
    assert_eq!(runs.load(Ordering::Relaxed), 131, "one that is not");
}

#[tokio::test]
async fn two_platforms_with_one_record_have_ids_of_their_own() {
    let layer = PersistenceLayer::new(TestDb::default());
    let (app, _) = counter(&layer);
    let mut instagram = messenger("anna", "m-1");
    instagram["object"] = json!("instagram");
    for body in [messenger("anna", "m-1"), instagram.clone(), messenger("anna", "m-1"), instagram] {
        send_json(&app, &body).await.assert_ok();
    }
    assert_eq!(visits(&layer, "anna").await, 2);
    // The parts of an id are told apart.
    let named = |name: &str| {
        let platform = JsonPlatform::new(name).detect_value("/name", name).user_id("/from");
        platform.event_id("/id").repeats(Duration::from_secs(60))
    };
    let layer = PersistenceLayer::new(TestDb::default()).storage_key(|_, _, id| id.to_owned());
    let layer = layer.platform(named("a")).platform(named("a:b"));
    let (app, _) = counter(&layer);
    for (name, id) in [("a", "b:c"), ("a:b", "c")] {
        let body = json!({ "name": name, "from": "anna", "id": id });
        send_json(&app, &body).await.assert_ok();
    }
    assert_eq!(handled(&record(&layer, "anna").await), ["a%3Ab:c", "a:b:c"]);
}

#[tokio::test]
async fn a_repeat_waits_while_the_first_runs() {
    let layer = deduplicating();
    let (app, runs) = counter(&layer);
    layer.database().on_save(Behaviour::Waits);
    let first = tokio::spawn({
        let app = app.clone();
        async move { send_json(&app, &say("e-1")).await }
    });
    layer.database().until_waiting().await;
    let again = say("e-1");
    let mut repeat = tokio_test::task::spawn(send_json(&app, &again));
    assert!(repeat.poll().is_pending());
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    let (first, repeat) = (first.await.unwrap(), repeat.await);
    first.assert_ok();
    assert_eq!(first.body, repeat.body);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

/// A save fails after it took effect, as when its answer is lost: the repeat gets the reply.
#[tokio::test]
async fn a_turn_that_was_not_stored_runs_again_and_one_that_was_does_not() {
    let layer = deduplicating();
    let (app, runs) = counter(&layer);
    layer.database().on_save(Behaviour::Fails);
    assert_eq!(send_json(&app, &say("e-1")).await.status, 503);
    layer.database().on_save(Behaviour::Works);
    let second = send_json(&app, &say("e-1")).await;
    second.assert_ok();
    assert_eq!(send_json(&app, &say("e-1")).await.body, second.body);
    assert_eq!((runs.load(Ordering::Relaxed), visits(&layer, "chat:anna").await), (2, json!(1)));
}

#[tokio::test]
async fn a_repeat_at_the_same_time_in_another_process_counts_once_and_gets_the_stored_reply() {
    for policy in [OnConflict::Merge, OnConflict::Overwrite, OnConflict::Rerun { attempts: 3 }] {
        for is_new in [true, false] {
            let items = MemoryDb::new();
            let layers: [_; 2] = std::array::from_fn(|_| {
                let mut database = TestDb::default();
                database.items = items.clone();
                let elements = StoredElements::new().history(HistoryElement::new().request(true));
                let layer = PersistenceLayer::new(database).platform(chat()).deduplicate(true);
                layer.stored_elements(elements).on_conflict(policy)
            });
            if !is_new {
                store(&items, "chat:anna", &json!({ "user": { "data": { "visits": 7 } } })).await;
            }
            let [one, other] = layers
                .each_ref()
                .map(|layer| sync_replying(layer, |user| user.increment("visits", 1)));
            layers[0].database().on_save(Behaviour::Waits);
            let first = tokio::spawn(async move { send_json(&one, &say("e-1")).await });
            layers[0].database().until_waiting().await;
            let winner = send_json(&other, &say("e-1")).await;
            winner.assert_ok();
            layers[0].database().on_save(Behaviour::Works);
            layers[0].database().go();
            let loser = first.await.unwrap();
            assert_eq!((loser.status, &loser.body), (winner.status, &winner.body), "{policy:?}");
            let record = stored(&items, "chat:anna").await.unwrap();
            assert_eq!(record["user"]["data"]["visits"], if is_new { 1 } else { 8 }, "{policy:?}");
            assert_eq!(handled(&record), ["chat:e-1"]);
            assert_eq!(record["history"]["items"].as_array().unwrap().len(), 1, "{policy:?}");
        }
    }
}

/// Returns a service whose replies differ from process to process.
fn sync_replying(
    layer: &PersistenceLayer<TestDb>,
    write: fn(&User) -> Result<i64, tower_persistence::Error>,
) -> App {
    let process = std::ptr::from_ref(layer).addr();
    serve(layer, move |request| async move {
        let visits = write(request.extensions().get::<User>().unwrap())?;
        Ok(reply(200, &json!({ "process": process, "visits": visits }).to_string()))
    })
}

/// Another process serves another event of the user meanwhile: both ids are kept, with the replies.
#[tokio::test]
async fn a_merge_keeps_the_ids_of_both_sides() {
    let items = MemoryDb::new();
    let layers: [_; 2] = std::array::from_fn(|_| {
        let mut database = TestDb::default();
        database.items = items.clone();
        PersistenceLayer::new(database).platform(chat()).deduplicate(true)
    });
    let [one, other] = layers.each_ref().map(|layer| counter(layer).0);
    layers[0].database().on_save(Behaviour::Waits);
    let first = tokio::spawn({
        let one = one.clone();
        async move { send_json(&one, &say("e-1")).await }
    });
    layers[0].database().until_waiting().await;
    let second = send_json(&other, &say("e-2")).await;
    layers[0].database().on_save(Behaviour::Works);
    layers[0].database().go();
    let first = first.await.unwrap();
    let record = stored(&items, "chat:anna").await.unwrap();
    assert_eq!(handled(&record), ["chat:e-1", "chat:e-2"]);
    assert_eq!(record["user"]["data"]["visits"], 2);
    for (id, answer) in [("e-1", first), ("e-2", second)] {
        assert_eq!(send_json(&one, &say(id)).await.body, answer.body);
        assert_eq!(send_json(&other, &say(id)).await.body, answer.body);
    }
}

#[tokio::test]
async fn events_without_a_user_or_without_memory_are_not_deduplicated() {
    let layer = deduplicating().on_outage(OnOutage::Degrade);
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let app = serve(&layer, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(reply(200, "{}")) }
    });
    let nobody = json!({ "chat": true, "id": "e-1", "session": "s-1" });
    layer.database().on_load(Behaviour::Fails);
    for body in [nobody.clone(), nobody, say("e-1"), say("e-1")] {
        send_json(&app, &body).await.assert_ok();
    }
    assert_eq!(runs.load(Ordering::Relaxed), 4);
    assert!(layer.database().items.is_empty());
}

/// Once the reply is kept, a write to the session could no longer appear in it.
#[tokio::test]
async fn nothing_is_written_after_the_reply_is_kept() {
    let layer = deduplicating();
    layer.database().on_save(Behaviour::Waits);
    let (send, receive) = tokio::sync::oneshot::channel();
    let send = Arc::new(std::sync::Mutex::new(Some(send)));
    let app = serve(&layer, move |request| {
        let handles = handles(&request).unwrap();
        let _ = send.lock().unwrap().take().unwrap().send(handles);
        async { Ok(reply(200, "{}")) }
    });
    let answer = tokio::spawn(async move { send_json(&app, &say("e-1")).await });
    let (user, session, _) = receive.await.unwrap();
    layer.database().until_waiting().await;
    assert!(session.set("late", 1).unwrap_err().is_turn_ended());
    assert!(user.forget().unwrap_err().is_turn_ended());
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    answer.await.unwrap().assert_ok();
}

/// A record of Jovo v4 has none of our fields, and keeps its own.
#[tokio::test]
async fn a_record_of_jovo_loads_and_keeps_its_fields() {
    let layer = PersistenceLayer::new(TestDb::default());
    let jovo = json!({
        "user": { "data": { "visits": 4, "own": { "x": null } } },
        "session": { "id": "s", "data": {}, "state": null, "updatedAt": "2021-06-30T05:50:04.034Z" },
        "history": { "items": [{ "output": [] }] },
        "createdAt": "2021-06-30T05:50:04.034Z",
        "updatedAt": "2021-06-30T05:50:04.034Z",
    });
    // What is not ours is dropped only where it stands in the place of the ids.
    for theirs in [Value::Null, json!(3), json!(["m-1", { "id": 7 }, null])] {
        let mut record_before = jovo.clone();
        record_before["handledEvents"] = theirs;
        store(&layer.database().items, "anna", &record_before).await;
        let (app, runs) = counter(&layer);
        for _ in 0..2 {
            send_json(&app, &messenger("anna", "m-1")).await.assert_ok();
        }
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        let record = record(&layer, "anna").await;
        assert_eq!(record["user"]["data"], json!({ "visits": 5, "own": { "x": null } }));
        for field in ["session", "history", "createdAt"] {
            assert_eq!(record[field], jovo[field], "{field}");
        }
        assert_eq!(handled(&record), ["facebookmessenger:m-1"]);
    }
}

/// Those who send an event again until it is acknowledged, and those who read the reply.
#[tokio::test]
async fn each_platform_that_repeats_its_events_is_served_once() {
    macro_rules! sample {
        ($name:literal) => {
            ($name, include_str!(concat!("../samples/", $name)))
        };
    }
    let json = "application/json";
    let form = "application/x-www-form-urlencoded";
    for ((name, body), content_type, expected) in [
        (sample!("facebookmessenger/message.json"), json, 1),
        (sample!("instagram/message.json"), json, 1),
        (sample!("whatsapp/text.json"), json, 1),
        (sample!("telegram/message.json"), json, 1),
        (sample!("slack/message.json"), json, 1),
        (sample!("line/message.json"), json, 1),
        (sample!("msteams/message.json"), json, 1),
        (sample!("slack/command.form"), form, 2),
        (sample!("discord/authorized.json"), json, 1),
        (sample!("discord/command.json"), json, 2),
        (sample!("googlechat/message.json"), json, 2),
    ] {
        let layer = PersistenceLayer::new(TestDb::default());
        let (app, runs) = counter(&layer);
        for _ in 0..2 {
            let mut request = post(body);
            request.headers_mut().insert("content-type", content_type.parse().unwrap());
            send(&app, request).await.assert_ok();
        }
        assert_eq!(runs.load(Ordering::Relaxed), expected, "{name}");
    }
}
