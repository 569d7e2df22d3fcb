//! Identities: ids that the app creates, guests, and the person who is speaking.

use std::time::Duration;

use serde_json::{Value, json};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::stored_elements::{HistoryElement, SessionElement};
use tower_persistence::{Database, PersistenceLayer, Session, StoredElements, User};

use crate::common::*;

/// Returns a request of Google Assistant in a session without data.
fn google(status: &str, params: &Value) -> Value {
    json!({
        "handler": { "name": "h" },
        "session": { "id": "google-session-1", "params": {} },
        "user": { "verificationStatus": status, "params": params },
        "device": { "capabilities": ["SPEECH"] },
    })
}

/// Counts visits of the user and steps of the session, and reports which handles exist.
fn counter<D: Database>(layer: &PersistenceLayer<D>) -> App {
    serve(layer, |request| {
        let extensions = request.extensions();
        let user = extensions.get::<User>().cloned();
        let session = extensions.get::<Session>().cloned();
        async move {
            let visits = user.map(|user| user.increment("visits", 1)).transpose()?;
            let steps = session.and_then(|session| session.increment("steps", 1).ok());
            Ok(reply(200, &json!({ "visits": visits, "steps": steps }).to_string()))
        }
    })
}

async fn replied(app: &App, request: &Value) -> Value {
    let answer = send_json(app, request).await;
    answer.assert_ok();
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn a_verified_user_of_google_gets_an_id_that_comes_back() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = counter(&layer);
    let params = json!({ "theirs": { "kept": 1 } });
    let reply = replied(&app, &google("VERIFIED", &params)).await;
    let id = reply["user"]["params"]["_GOOGLE_ASSISTANT_USER_ID_"].as_str().unwrap().to_owned();
    assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "a random UUID: {id}");
    assert_eq!(reply["user"]["params"]["theirs"], json!({ "kept": 1 }));
    assert_eq!(reply["visits"], 1);
    assert_eq!(layer.database().items.len(), 1);

    let reply = replied(&app, &google("VERIFIED", &reply["user"]["params"])).await;
    assert_eq!(reply["visits"], 2);
    assert!(reply.get("user").is_none(), "{reply}");
    assert_eq!(stored(&layer.database().items, &id).await.unwrap()["user"]["data"]["visits"], 2);

    let other = replied(&app, &google("VERIFIED", &json!({}))).await;
    assert_ne!(other["user"]["params"]["_GOOGLE_ASSISTANT_USER_ID_"], *id);
}

#[tokio::test]
async fn a_guest_has_a_session_and_no_user() {
    let elements = [StoredElements::new(), StoredElements::new().session(true).history(true)];
    for elements in elements {
        let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
        let app = counter(&layer);
        for status in ["GUEST", "", "VERIFICATION_STATUS_UNSPECIFIED"] {
            let reply = replied(&app, &google(status, &json!({}))).await;
            assert_eq!((&reply["visits"], &reply["steps"]), (&json!(null), &json!(1)));
            assert!(reply.get("user").is_none());
            let mut next = google(status, &json!({}));
            next["session"]["params"] = reply["session"]["params"].clone();
            assert_eq!(replied(&app, &next).await["steps"], 2);
        }
        assert_eq!(layer.database().calls(), Calls::default(), "a guest stores nothing");
        let app = serve(&layer.require_user(true), async |_| panic!("must not be called"));
        let answer = send_json(&app, &google("GUEST", &json!({}))).await;
        answer.assert_ok();
        assert!(answer.error.is_none());
    }
}

#[tokio::test]
async fn params_that_the_handler_sets_stay() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = serve(&layer, |_| async {
        Ok(reply(
            200,
            r#"{"user":{"params":{"mine":1}},"session":{"id":"google-session-1","params":{}}}"#,
        ))
    });
    let reply = replied(&app, &google("VERIFIED", &json!({ "theirs": 1 }))).await;
    let params = reply["user"]["params"].as_object().unwrap();
    assert_eq!(params["mine"], 1);
    assert!(params.contains_key("_GOOGLE_ASSISTANT_USER_ID_") && !params.contains_key("theirs"));
}

#[tokio::test]
async fn a_custom_platform_can_have_ids_created() {
    let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/visitor/id");
    let layer = PersistenceLayer::new(TestDb::default()).platform(kiosk.clone());
    let app = counter(&layer);
    assert_eq!(replied(&app, &json!({ "kiosk": 1 })).await["visits"], json!(null));

    let layer = layer.platform(kiosk.reply_user_id("/visitor/id"));
    let app = counter(&layer);
    let first = replied(&app, &json!({ "kiosk": 1 })).await;
    assert_eq!(first["visits"], 1);
    let again = replied(&app, &json!({ "kiosk": 1, "visitor": first["visitor"] })).await;
    assert_eq!(again["visits"], 2);
    assert!(again.get("visitor").is_none());
    assert_eq!(layer.database().items.len(), 1);
}

#[tokio::test]
async fn the_speaking_person_is_known_and_never_stored() {
    let elements = StoredElements::new().session(true).history(HistoryElement::new().request(true));
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let app = app(&layer, |user, _, _| async move {
        user.set("is_known", user.person_id().is_some())?;
        user.set("is_anna", user.person_id() == Some("amzn1.ask.person.anna"))
    });
    let mut request = alexa("user-1");
    for (person, is_anna) in [
        (Some("amzn1.ask.person.anna"), true),
        (Some("amzn1.ask.person.bert"), false),
        (None, false),
    ] {
        request["context"]["System"]["person"] = json!({ "personId": person });
        let id = person.unwrap_or("none");
        request["elsewhere"] =
            json!({ "list": [id, "beside"], "text": format!("p={id};beside"), id: 1 });
        send_json(&app, &request).await.assert_ok();
        let item = stored(&layer.database().items, "user-1").await.unwrap();
        assert_eq!(
            item["user"]["data"],
            json!({ "is_known": person.is_some(), "is_anna": is_anna })
        );
        assert!(!item.to_string().contains("amzn1.ask.person"), "{item}");
        assert!(
            person.is_none() || item.to_string().contains("beside"),
            "what stands beside it stays"
        );
        assert_eq!(item["history"]["items"][0]["request"]["session"], request["session"]);
    }
}

#[tokio::test]
async fn each_platforms_sessions_may_expire_after_a_time_of_their_own() {
    let clock = Clock::new();
    let hour = Duration::from_secs(3600);
    let element = SessionElement::new().expires_after_on("facebookmessenger", hour);
    let layer = PersistenceLayer::new(TestDb::default()).clock(clock.reader());
    let layer = layer.stored_elements(StoredElements::new().session(element));
    let app = counter(&layer);
    for (mid, steps_of_messenger, steps_of_alexa) in [("m-1", 1, 1), ("m-2", 2, 1)] {
        assert_eq!(replied(&app, &messenger("anna", mid)).await["steps"], steps_of_messenger);
        assert_eq!(replied(&app, &alexa("bert")).await["steps"], steps_of_alexa);
        clock.advance(hour);
    }
    clock.advance(Duration::from_millis(1));
    assert_eq!(replied(&app, &messenger("anna", "m-3")).await["steps"], 1);
}
