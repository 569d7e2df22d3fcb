//! A copy of the request's session in the reply is not the handler's own choice.

use serde_json::{Value, json};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{PersistenceLayer, Session};

use crate::common::*;

/// A platform: the place of the session in the request and in the reply, and a request around it.
struct Carrier {
    name: &'static str,
    request: Value,
    /// Makes a reply from the session of the request.
    copy: fn(&Value) -> Value,
    /// Returns the steps in the session of the reply.
    steps: fn(&Value) -> Value,
}

fn in_text(text: &Value) -> Value {
    serde_json::from_str(text.as_str().unwrap_or("null")).unwrap()
}

fn jovo(steps: u64) -> Value {
    json!({ "id": "s", "isNew": false, "updatedAt": "t", "data": { "steps": steps, "lang": "en" }, "state": [{ "component": "Game" }] })
}

fn context(steps: u64) -> Value {
    json!({ "name": "p/s/contexts/_jovo_session_abcde", "lifespanCount": 1, "parameters": { "steps": steps, "lang": "en" } })
}

fn carriers() -> Vec<Carrier> {
    let plain = json!({ "steps": 1, "lang": "en" });
    let alexa = |attributes: &Value| {
        let mut request = alexa("user-1");
        request["session"]["attributes"] = attributes.clone();
        request
    };
    let core = |platform: &str| json!({ "version": "4", "platform": platform, "timestamp": "t", "input": { "type": "TEXT" }, "context": { "session": jovo(1), "user": { "id": "user-1" } } });
    let dialogflow = |source: &str| {
        json!({
            "responseId": "r", "session": "p/s",
            "queryResult": { "parameters": {}, "outputContexts": [{ "name": "p/s/contexts/_jovo_ask_a" }, context(1)] },
            "originalDetectIntentRequest": { "source": source, "payload": { "conversation": { "type": "ACTIVE" } } },
        })
    };
    let copy_contexts = |request: &Value| json!({ "fulfillmentText": "hi", "outputContexts": request["queryResult"]["outputContexts"] });
    let context_steps = |reply: &Value| {
        let contexts = reply["outputContexts"].as_array().unwrap();
        let is_session =
            |context: &&Value| context["name"].as_str().unwrap().contains("_jovo_session_");
        let sessions: Vec<_> = contexts.iter().filter(is_session).collect();
        assert_eq!((sessions.len(), contexts.len()), (1, 2), "{reply}");
        sessions[0]["parameters"]["steps"].clone()
    };
    vec![
        Carrier {
            name: "alexa",
            request: alexa(&plain),
            copy: |request| json!({ "sessionAttributes": request["session"]["attributes"], "response": {} }),
            steps: |reply| reply["sessionAttributes"]["steps"].clone(),
        },
        Carrier {
            name: "alexa of Jovo",
            request: alexa(&jovo(1)),
            copy: |request| json!({ "sessionAttributes": request["session"]["attributes"], "response": {} }),
            steps: |reply| reply["sessionAttributes"]["data"]["steps"].clone(),
        },
        Carrier {
            name: "core",
            request: core("core"),
            copy: |request| json!({ "context": { "session": request["context"]["session"] } }),
            steps: |reply| reply["context"]["session"]["data"]["steps"].clone(),
        },
        Carrier {
            name: "web",
            request: core("web"),
            copy: |request| json!({ "context": { "session": { "data": request["context"]["session"]["data"] } } }),
            steps: |reply| reply["context"]["session"]["data"]["steps"].clone(),
        },
        Carrier {
            name: "web 3",
            request: json!({ "version": "3", "type": "jovo-platform-web", "request": { "type": "END" }, "context": { "session": { "new": false, "id": "s", "data": plain } } }),
            copy: |request| json!({ "session": { "data": request["context"]["session"]["data"] } }),
            steps: |reply| reply["session"]["data"]["steps"].clone(),
        },
        Carrier {
            name: "google",
            request: json!({ "handler": { "name": "h" }, "device": { "a": 1 }, "user": { "a": 1 }, "session": { "id": "s", "params": plain } }),
            copy: |request| json!({ "session": request["session"], "prompt": {} }),
            steps: |reply| reply["session"]["params"]["steps"].clone(),
        },
        Carrier {
            name: "dialogflow",
            request: dialogflow("x"),
            copy: copy_contexts,
            steps: context_steps,
        },
        Carrier {
            name: "dialogflow of Google",
            request: dialogflow("google"),
            copy: copy_contexts,
            steps: context_steps,
        },
        Carrier {
            name: "lex 2",
            request: json!({ "messageVersion": "1.0", "bot": { "name": "b" }, "sessionId": "s", "sessionState": { "sessionAttributes": { "jsonData": "{\"steps\":1}", "lang": "en" }, "intent": {} } }),
            copy: |request| json!({ "sessionState": { "sessionAttributes": request["sessionState"]["sessionAttributes"], "dialogAction": { "type": "Close" } } }),
            steps: |reply| {
                in_text(&reply["sessionState"]["sessionAttributes"]["jsonData"])["steps"].clone()
            },
        },
        Carrier {
            name: "lex 1",
            request: json!({ "bot": { "name": "b" }, "userId": "s", "currentIntent": { "name": "i" }, "sessionAttributes": { "jsonData": "{\"_JOVO_NEW_SESSION_\":false,\"steps\":1}", "lang": "en" } }),
            copy: |request| json!({ "sessionAttributes": request["sessionAttributes"], "dialogAction": { "type": "Close" } }),
            steps: |reply| in_text(&reply["sessionAttributes"]["jsonData"])["steps"].clone(),
        },
        Carrier {
            name: "kiosk",
            request: json!({ "kiosk": 1, "user": "user-1", "came": plain }),
            copy: |request| json!({ "goes": request["came"], "text": "hi" }),
            steps: |reply| reply["goes"]["steps"].clone(),
        },
    ]
}

async fn replied(request: &Value, answer: String) -> String {
    let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/user");
    let kiosk = kiosk.session_data("/came").reply_session_data("/goes");
    let layer = PersistenceLayer::new(TestDb::default()).platform(kiosk);
    let app = serve(&layer, move |request| {
        let session = request.extensions().get::<Session>().expect("a session").clone();
        let answer = answer.clone();
        async move {
            assert_eq!(session.increment("steps", 1)?, 2);
            Ok(reply(200, &answer))
        }
    });
    let answer = send_json(&app, request).await;
    answer.assert_ok();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_copy_of_the_requests_session_gives_way_to_the_session() {
    for Carrier { name, request, copy, steps } in carriers() {
        let copied = copy(&request);
        let spaced = serde_json::to_string_pretty(&copied).unwrap();
        for answer in
            [copied.to_string(), spaced, copied.to_string().replace("\"steps\":1", "\"steps\":1.0")]
        {
            let reply = replied(&request, answer).await;
            let reply: Value = serde_json::from_str(&reply).unwrap();
            assert_eq!(steps(&reply), 2, "{name}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_session_that_the_handler_changed_stays() {
    for Carrier { name, request, copy, .. } in carriers() {
        let copied = copy(&request).to_string();
        for (from, to) in [("\"en\"", "\"de\""), ("\"lang\"", "\"other\"")] {
            let own = copied.replace(from, to);
            assert_ne!(own, copied, "{name}");
            assert_eq!(replied(&request, own.clone()).await, own, "{name}");
        }
    }
    // A context with a lifespan of zero is the handler's choice, too.
    let carrier = carriers().into_iter().find(|carrier| carrier.name == "dialogflow").unwrap();
    let own = (carrier.copy)(&carrier.request).to_string();
    let own = own.replace("\"lifespanCount\":1", "\"lifespanCount\":0");
    assert_eq!(replied(&carrier.request, own.clone()).await, own);
}

/// A removed state is not restored by the copy.
#[tokio::test]
async fn a_copied_state_that_was_removed_goes() {
    let core = carriers().into_iter().find(|carrier| carrier.name == "core").unwrap();
    let answer = (core.copy)(&core.request).to_string();
    let layer = PersistenceLayer::new(TestDb::default());
    let app = serve(&layer, move |request| {
        let session = request.extensions().get::<Session>().expect("a session").clone();
        let answer = answer.clone();
        async move {
            session.set_state(())?;
            Ok(reply(200, &answer))
        }
    });
    let reply: Value = serde_json::from_slice(&send_json(&app, &core.request).await.body).unwrap();
    assert_eq!(reply["context"]["session"]["state"], json!([]));
}
