//! The data that the participants of a conversation share.

mod beyond;
mod kill;
mod polls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower_persistence::platform::{Event, Platform, PlatformRequest};
use tower_persistence::{
    Conversation, Database, Error, MemoryDb, OnConflict, PersistenceLayer, User,
};

use crate::common::*;

/// A chat whose messages name their channel.
pub(crate) struct Chat;

#[derive(Deserialize)]
struct Message<'a> {
    channel: &'a str,
    user: Option<&'a str>,
    id: Option<&'a str>,
}

impl Platform for Chat {
    fn name(&self) -> &str {
        "chat"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let message: Message<'a> =
            serde_json::from_str(request.json()?.get("message")?.get()).ok()?;
        let event = Event::default()
            .user_id(message.user.map(Into::into))
            .id(message.id.map(Into::into))
            .conversation(Some(message.channel.into()));
        Some(vec![event])
    }
}

pub(crate) fn message(user: Option<&str>, id: Option<&str>) -> Value {
    json!({ "message": { "channel": "lunch", "user": user, "id": id } })
}

pub(crate) const LUNCH: &str = "conversation:chat:lunch";

pub(crate) fn layer<D: Database>(database: D) -> PersistenceLayer<D> {
    PersistenceLayer::new(database).platform(Chat)
}

/// Returns a service around a handler that counts in the conversation, and then runs `then`.
pub(crate) fn counting<D, F>(
    layer: &PersistenceLayer<D>,
    then: impl Fn(Option<User>) -> F + Clone + Send + Sync + 'static,
) -> App
where
    D: Database,
    F: Future<Output = Result<u16, Error>> + Send + 'static,
{
    serve(layer, move |request| {
        let conversation = request.extensions().get::<Conversation>().cloned().unwrap();
        let then = then(request.extensions().get::<User>().cloned());
        async move {
            let served = async {
                conversation.load().await?.increment("count", 1)?;
                then.await
            };
            let status = served.await.unwrap_or_else(|error: Error| error.status().as_u16());
            Ok(reply(status, "{}"))
        }
    })
}

fn visits<D: Database>(layer: &PersistenceLayer<D>) -> App {
    counting(layer, |user| async move {
        user.map(|user| user.increment("visits", 1)).transpose()?;
        Ok(200)
    })
}

async fn count(database: &impl Database) -> Value {
    stored(database, LUNCH).await.map_or(Value::Null, |it| it["conversation"]["data"].clone())
}

#[tokio::test]
async fn participants_share_the_data_in_a_record_of_its_own() {
    let layer = layer(MemoryDb::new());
    let app = visits(&layer);
    for (user, id) in [("anna", "1"), ("bert", "2"), ("anna", "3")] {
        send_json(&app, &message(Some(user), Some(id))).await.assert_ok();
    }
    assert_eq!(count(layer.database()).await, json!({ "count": 3 }));
    let anna = stored(layer.database(), "chat:anna").await.unwrap();
    assert_eq!(anna["user"]["data"], json!({ "visits": 2 }));
    let lunch = stored(layer.database(), LUNCH).await.unwrap();
    let fields: Vec<_> = lunch.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["conversation", "handledEvents", "createdAt", "updatedAt"]);
}

#[tokio::test]
async fn a_post_without_a_user_has_its_conversation() {
    let layer = layer(MemoryDb::new());
    send_json(&visits(&layer), &message(None, None)).await.assert_ok();
    assert_eq!(count(layer.database()).await, json!({ "count": 1 }));
    assert_eq!(layer.database().len(), 1);
}

#[tokio::test]
async fn the_record_is_loaded_only_when_asked_for_and_stored_only_when_written() {
    let layer = layer(TestDb::default());
    let ignoring = app(&layer, |user, _, _| async move { user.increment("visits", 1).map(drop) });
    send_json(&ignoring, &message(Some("anna"), None)).await.assert_ok();
    assert_eq!(layer.database().calls(), Calls { loads: 1, saves: 1, deletes: 0 });
    let reading = serve(&layer, |request| async move {
        let conversation = request.extensions().get::<Conversation>().unwrap().clone();
        let state = conversation.load().await?;
        assert!(state.is_new() && conversation.load().await?.data().is_empty());
        Ok(reply(200, "{}"))
    });
    send_json(&reading, &message(Some("anna"), None)).await.assert_ok();
    assert_eq!(layer.database().calls(), Calls { loads: 3, saves: 1, deletes: 0 });
}

#[tokio::test]
async fn turns_of_one_conversation_wait_for_each_other_once_they_have_loaded_it() {
    let layer = layer(MemoryDb::new());
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (Arc::clone(&began), Arc::clone(&go));
    let slow = counting(&layer, move |_| {
        let (begins, goes) = (Arc::clone(&begins), Arc::clone(&goes));
        async move {
            begins.notify_one();
            goes.notified().await;
            Ok(200)
        }
    });
    let quick = visits(&layer);
    let first = tokio::spawn(async move { send_json(&slow, &message(Some("anna"), None)).await });
    began.notified().await;
    let second = tokio::spawn(async move { send_json(&quick, &message(Some("bert"), None)).await });
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished());
    // Who does not ask for the conversation does not wait for it.
    let ignoring = app(&layer, |user, _, _| async move { user.increment("visits", 1).map(drop) });
    send_json(&ignoring, &message(Some("carl"), None)).await.assert_ok();
    go.notify_one();
    first.await.unwrap().assert_ok();
    second.await.unwrap().assert_ok();
    assert_eq!(count(layer.database()).await, json!({ "count": 2 }));
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_is_not_given_back_is_a_503_in_time() {
    let layer = layer(MemoryDb::new());
    let stuck = counting(&layer, |_| std::future::pending());
    let stuck = tokio::spawn(async move { send_json(&stuck, &message(Some("anna"), None)).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let app = visits(&layer);
    assert_eq!(send_json(&app, &message(Some("bert"), None)).await.status, 503);
    stuck.abort();
    let _ = stuck.await;
    send_json(&app, &message(Some("bert"), None)).await.assert_ok();
    assert_eq!(count(layer.database()).await, json!({ "count": 1 }));
}

#[tokio::test]
async fn two_processes_merge_their_changes() {
    let database = TestDb::default();
    let app = visits(&layer(database.clone()));
    database.on_save(Behaviour::Waits);
    let request = tokio::spawn(async move { send_json(&app, &message(Some("anna"), None)).await });
    database.until_waiting().await;
    database.on_save(Behaviour::Works);
    let theirs = json!({ "conversation": { "data": { "count": 41, "topic": "soup" } } });
    store(&database.items, LUNCH, &theirs).await;
    database.go();
    request.await.unwrap().assert_ok();
    assert_eq!(count(&database.items).await, json!({ "count": 42, "topic": "soup" }));
}

#[tokio::test]
async fn the_policies_hold_for_conversations() {
    for (policy, runs) in [(OnConflict::Rerun { attempts: 2 }, 2), (OnConflict::Overwrite, 1)] {
        let database = TestDb::default();
        let counter = Arc::new(AtomicUsize::new(0));
        let runs_of = Arc::clone(&counter);
        let app = counting(&layer(database.clone()).on_conflict(policy), move |_| {
            runs_of.fetch_add(1, Ordering::Relaxed);
            async { Ok(200) }
        });
        database.on_save(Behaviour::Waits);
        let request =
            tokio::spawn(async move { send_json(&app, &message(Some("anna"), None)).await });
        database.until_waiting().await;
        database.on_save(Behaviour::Works);
        let theirs = json!({ "conversation": { "data": { "count": 41 } } });
        store(&database.items, LUNCH, &theirs).await;
        database.go();
        request.await.unwrap().assert_ok();
        assert_eq!(counter.load(Ordering::Relaxed), runs);
        let expected = if runs == 2 { 42 } else { 1 };
        assert_eq!(count(&database.items).await, json!({ "count": expected }));
    }
}

#[tokio::test]
async fn a_rerun_for_the_user_does_not_apply_to_the_conversation_again() {
    for id in [None, Some("event-1")] {
        let database = kill::AfterConversation::new(TestDb::default(), kill::Then::Conflicts);
        let layer = layer(database.clone()).on_conflict(OnConflict::Rerun { attempts: 2 });
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        let sees = Arc::clone(&seen);
        let app = serve(&layer, move |request| {
            let sees = Arc::clone(&sees);
            async move {
                let conversation = request.extensions().get::<Conversation>().unwrap().clone();
                let count = conversation.load().await?.increment("count", 1)?;
                sees.lock().unwrap().push(count);
                request.extensions().get::<User>().unwrap().increment("visits", 1)?;
                Ok(reply(200, "{}"))
            }
        });
        send_json(&app, &message(Some("anna"), id)).await.assert_ok();
        assert_eq!(*seen.lock().unwrap(), [1, 2]);
        assert_eq!(count(&database).await, json!({ "count": 1 }));
        let anna = stored(&database, "chat:anna").await.unwrap();
        assert_eq!(anna["user"]["data"], json!({ "visits": 1, "theirs": true }));
    }
}

#[tokio::test]
async fn a_failed_save_of_the_user_is_completed_by_the_repeat() {
    let database = kill::AfterConversation::new(TestDb::default(), kill::Then::Fails);
    let app = visits(&layer(database.clone()));
    let event = message(Some("anna"), Some("event-1"));
    assert_eq!(send_json(&app, &event).await.status, 503);
    assert_eq!(count(&database).await, json!({ "count": 1 }));
    assert_eq!(stored(&database, "chat:anna").await, None);
    send_json(&app, &event).await.assert_ok();
    assert_eq!(count(&database).await, json!({ "count": 1 }));
    let anna = stored(&database, "chat:anna").await.unwrap();
    assert_eq!(anna["user"]["data"], json!({ "visits": 1 }));
}

#[tokio::test]
async fn a_failed_turn_changes_no_conversation_and_a_4xx_stores_what_was_written() {
    let layer = layer(MemoryDb::new());
    let status = |status| counting(&layer, move |_| async move { Ok(status) });
    assert_eq!(send_json(&status(500), &message(Some("anna"), None)).await.status, 500);
    assert_eq!(count(layer.database()).await, Value::Null);
    assert_eq!(send_json(&status(404), &message(Some("anna"), None)).await.status, 404);
    assert_eq!(count(layer.database()).await, json!({ "count": 1 }));
}

#[tokio::test]
async fn after_the_turn_a_conversation_is_neither_loaded_nor_written() {
    let layer = layer(MemoryDb::new());
    let (send_out, mut out) = tokio::sync::mpsc::unbounded_channel();
    let app = serve(&layer, move |request| {
        let conversation = request.extensions().get::<Conversation>().unwrap().clone();
        send_out.send(conversation).unwrap();
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &message(Some("anna"), None)).await.assert_ok();
    let unloaded = out.recv().await.unwrap();
    assert!(unloaded.load().await.unwrap_err().is_turn_ended());
    let (send_out, mut out) = tokio::sync::mpsc::unbounded_channel();
    let app = serve(&layer, move |request| {
        let conversation = request.extensions().get::<Conversation>().unwrap().clone();
        let send_out = send_out.clone();
        async move {
            send_out.send(conversation.load().await?).unwrap();
            Ok(reply(200, "{}"))
        }
    });
    send_json(&app, &message(Some("anna"), None)).await.assert_ok();
    let loaded = out.recv().await.unwrap();
    assert!(loaded.set("topic", "soup").unwrap_err().is_turn_ended());
    assert_eq!(layer.database().len(), 1);
}

#[tokio::test]
async fn a_conversation_is_exported_and_forgotten() {
    let layer = layer(MemoryDb::new());
    let app = visits(&layer);
    send_json(&app, &message(Some("anna"), Some("1"))).await.assert_ok();
    let exported = layer.export_conversation("chat", "lunch").await.unwrap().unwrap();
    assert_eq!(exported["id"], "lunch");
    assert_eq!(exported["conversation"]["data"], json!({ "count": 1 }));
    assert_eq!(layer.export_conversation("chat", "other").await.unwrap(), None);
    let unknown = layer.export_conversation("telex", "lunch").await.unwrap_err();
    assert!(unknown.is_configuration());
    layer.forget_conversation("chat", "lunch").await.unwrap();
    assert_eq!(stored(layer.database(), LUNCH).await, None);
    assert!(stored(layer.database(), "chat:anna").await.is_some());

    send_json(&app, &message(Some("anna"), Some("2"))).await.assert_ok();
    let forgetting = serve(&layer, |request| async move {
        let conversation = request.extensions().get::<Conversation>().unwrap().clone();
        let state = conversation.load().await?;
        state.forget()?;
        assert!(state.data().is_empty() && state.set("topic", "soup").is_err());
        Ok(reply(200, "{}"))
    });
    send_json(&forgetting, &message(Some("anna"), Some("3"))).await.assert_ok();
    assert_eq!(stored(layer.database(), LUNCH).await, None);
}

#[tokio::test]
async fn a_record_of_another_shape_is_refused_and_stays() {
    let layer = layer(MemoryDb::new());
    let odd = json!({ "conversation": ["soup"] });
    store(layer.database(), LUNCH, &odd).await;
    let answer = send_json(&visits(&layer), &message(Some("anna"), None)).await;
    assert_eq!(answer.status, 500);
    assert_eq!(stored(layer.database(), LUNCH).await, Some(odd));
}

#[tokio::test]
async fn the_extractor_tells_what_is_missing() {
    use axum::Router;
    use axum::routing::post;
    use tower::ServiceExt;

    async fn strict(conversation: Conversation) -> String {
        conversation.id().to_owned()
    }
    async fn lenient(conversation: Option<Conversation>) -> String {
        conversation.map_or("none".to_owned(), |it| it.platform().to_owned())
    }
    let routes = Router::new().route("/strict", post(strict)).route("/lenient", post(lenient));
    let bare = routes.clone();
    let app = routes.layer(layer(MemoryDb::new()));
    let send = |app: &Router, path: &str, body: Value| {
        let request = http::Request::post(path).header("content-type", "application/json");
        let sent = app.clone().oneshot(request.body(body.to_string()).unwrap());
        async move {
            let response = sent.await.unwrap();
            let status = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
            (status, String::from_utf8(body.to_vec()).unwrap())
        }
    };
    let in_lunch = message(Some("anna"), None);
    assert_eq!(send(&app, "/strict", in_lunch.clone()).await, (200, "lunch".to_owned()));
    assert_eq!(send(&app, "/lenient", in_lunch).await, (200, "chat".to_owned()));
    assert_eq!(send(&app, "/strict", alexa("anna")).await.0, 400);
    assert_eq!(send(&app, "/lenient", alexa("anna")).await, (200, "none".to_owned()));
    assert_eq!(send(&bare, "/lenient", alexa("anna")).await.0, 500);
}
