//! The events of Messenger and Instagram, kind by kind.

use serde_json::{Value, json};

use super::{parsed, sample, value};
use crate::platform::{Event, FacebookMessenger, Instagram, MAX_EVENTS, Platform};

/// Returns the events that the platform finds in the body, without borrowing from it.
fn events(body: &Value, platform: &dyn Platform) -> Vec<Event<'static>> {
    let bytes = body.to_string();
    let request = parsed(bytes.as_bytes()).expect("JSON");
    let events = platform.recognise(&request).expect("the platform's own");
    let own = |event: Event<'_>| {
        let mut owned = Event::default()
            .user_id(event.user_id.map(|id| id.into_owned().into()))
            .id(event.id.map(|id| id.into_owned().into()));
        if event.is_receipt {
            owned = owned.receipt();
        }
        owned.sessionless = event.sessionless;
        owned.body = event.body;
        owned
    };
    events.into_iter().map(own).collect()
}

fn messenger(body: &Value) -> Vec<Event<'static>> {
    events(body, &FacebookMessenger::new())
}

fn batch(object: &str, list: &str, elements: &[Value]) -> Value {
    json!({ "object": object, "entry": [{ "id": "page-1", "time": 1, list: elements }] })
}

/// Returns an event of `user-1` for `page-1` with these members.
fn element(kind: &str, content: Value) -> Value {
    let mut element = json!({ "sender": { "id": "user-1" }, "recipient": { "id": "page-1" } });
    element["timestamp"] = json!(0);
    element[kind] = content;
    element
}

fn user_ids(events: &[Event<'_>]) -> Vec<Option<String>> {
    events.iter().map(|event| event.user_id.as_deref().map(str::to_owned)).collect()
}

#[test]
fn acts_of_the_user_are_turns_and_all_else_is_a_receipt() {
    let acts = [
        ("message", json!({ "mid": "m-1", "text": "hi" })),
        ("message", json!({ "mid": "m-1", "is_deleted": true })),
        ("message", json!({ "mid": "m-1", "is_unsupported": true })),
        ("message", json!({ "mid": "m-1", "is_echo": false })),
        ("message", json!({ "mid": "m-1", "is_echo": "false" })),
        ("message_edit", json!({ "mid": "m-1", "text": "hello", "num_edit": 1 })),
        ("postback", json!({ "title": "Tea", "payload": "TEA" })),
        ("referral", json!({ "ref": "poster", "type": "OPEN_THREAD" })),
        ("account_linking", json!({ "status": "linked" })),
        ("game_play", json!({ "game_id": "g" })),
    ];
    let receipts = [
        ("delivery", json!({ "mids": ["m-0"], "watermark": 1 })),
        ("read", json!({ "watermark": 1 })),
        ("read", json!({ "mid": "m-0" })),
        ("reaction", json!({ "mid": "m-0", "action": "react", "emoji": "x" })),
        ("reaction", json!({ "mid": "m-0", "action": "unreact" })),
        ("optin", json!({ "type": "notification_messages" })),
        ("pass_thread_control", json!({ "new_owner_app_id": "1" })),
        ("take_thread_control", json!({ "new_owner_app_id": "1" })),
        ("request_thread_control", json!({ "requested_owner_app_id": "1" })),
        ("app_roles", json!({ "1": ["primary_receiver"] })),
        ("policy_enforcement", json!({ "action": "warning" })),
        ("policy-enforcement", json!({ "action": "warning" })),
    ];
    let platforms: [(&str, &dyn Platform); 2] =
        [("page", &FacebookMessenger::new()), ("instagram", &Instagram::new())];
    for (object, platform) in platforms {
        for (is_receipt, kinds) in [(false, &acts[..]), (true, &receipts[..])] {
            for (kind, content) in kinds {
                let alone = batch(object, "messaging", &[element(kind, content.clone())]);
                let found = events(&alone, platform);
                assert_eq!(found.len(), 1, "{kind}");
                let event = &found[0];
                assert_eq!(event.user_id.as_deref(), Some("user-1"), "{kind}");
                assert_eq!((event.is_receipt, event.sessionless), (is_receipt, is_receipt));

                let message = element("message", json!({ "mid": "m-9" }));
                let both = [element(kind, content.clone()), message];
                let found = events(&batch(object, "messaging", &both), platform);
                let flags: Vec<_> = found.iter().map(|event| event.is_receipt).collect();
                assert_eq!(flags, [is_receipt, false], "{kind}");
                // An event that another app answers is not this app's turn.
                let found = events(&batch(object, "standby", &both), platform);
                assert!(found.iter().all(|event| event.is_receipt), "{kind}");
                assert_eq!(user_ids(&found), [Some("user-1".into()), Some("user-1".into())]);
            }
        }
    }
    for (name, is_receipt) in
        [("delivery", true), ("optins", true), ("standby", true), ("referral", false)]
    {
        let found = messenger(&value(&format!("facebookmessenger/{name}")));
        assert!(found.iter().all(|event| event.is_receipt == is_receipt), "{name}");
    }
}

fn echoes() -> Vec<Value> {
    let echo = |content: Value| {
        let mut echo = element("message", content);
        echo["sender"] = json!({ "id": "page-1" });
        echo["recipient"] = json!({ "id": "user-2" });
        echo
    };
    let mut without_sender = echo(json!({ "mid": "e-4", "is_echo": true }));
    without_sender.as_object_mut().expect("an object").remove("sender");
    vec![
        echo(json!({ "mid": "e-1", "is_echo": true, "app_id": 7 })),
        echo(json!({ "mid": "e-2", "is_echo": "true" })),
        echo(json!({ "mid": "e-3" })),
        without_sender,
    ]
}

#[test]
fn echoes_are_skipped_alone_and_in_batches() {
    for (object, list) in [("page", "messaging"), ("page", "standby"), ("instagram", "messaging")] {
        let skips: &dyn Platform =
            if object == "page" { &FacebookMessenger::default() } else { &Instagram::default() };
        let hands_over: &dyn Platform = if object == "page" {
            &FacebookMessenger::new().echoes(true)
        } else {
            &Instagram::new().echoes(true)
        };
        let message = element("message", json!({ "mid": "m-1" }));
        for echo in echoes() {
            let alone = batch(object, list, std::slice::from_ref(&echo));
            assert_eq!(events(&alone, skips).len(), 0, "{echo}");
            let found = events(&alone, hands_over);
            assert_eq!(user_ids(&found), [Some("user-2".into())], "{echo}");
            assert!(found[0].is_receipt && found[0].sessionless && found[0].body.is_none());

            let both = batch(object, list, &[echo.clone(), message.clone()]);
            let found = events(&both, skips);
            assert_eq!(user_ids(&found), [Some("user-1".into())], "{echo}");
            // The handler does not see the echo beside it either.
            let body = batch(object, list, std::slice::from_ref(&message));
            let own: Value =
                serde_json::from_slice(&found[0].body.clone().expect("a body of its own"))
                    .expect("JSON");
            assert_eq!(own, body);

            let found = events(&both, hands_over);
            assert_eq!(user_ids(&found), [Some("user-2".into()), Some("user-1".into())]);
            assert!(found[0].is_receipt && found[0].body.is_some());
        }
        assert_eq!(events(&batch(object, list, &echoes()), skips).len(), 0);
    }
}

#[test]
fn an_echo_to_the_page_itself_has_no_user() {
    let mut echo = echoes().remove(0);
    echo["recipient"] = json!({ "id": "page-1" });
    let found =
        events(&batch("page", "messaging", &[echo]), &FacebookMessenger::new().echoes(true));
    assert_eq!(user_ids(&found), [None]);
}

fn ids(body: &Value) -> Vec<String> {
    messenger(body).into_iter().map(|event| event.id.expect("an id").into_owned()).collect()
}

#[test]
fn each_event_has_an_id_of_its_own_and_keeps_it() {
    let all = [
        element("message", json!({ "mid": "m-1", "text": "hi" })),
        element("message", json!({ "mid": "m-1", "is_deleted": true })),
        element("message_edit", json!({ "mid": "m-1", "text": "hello", "num_edit": 1 })),
        element("message_edit", json!({ "mid": "m-1", "text": "hallo", "num_edit": 2 })),
        element("postback", json!({ "mid": "m-1", "title": "Tea" })),
        element("postback", json!({ "title": "Tea" })),
        element("postback", json!({ "title": "Coffee" })),
        element("reaction", json!({ "mid": "m-1", "action": "react", "emoji": "x" })),
        element("reaction", json!({ "mid": "m-1", "action": "unreact" })),
        element("read", json!({ "mid": "m-1" })),
        element("read", json!({ "watermark": 1 })),
        element("optin", json!({ "notification_messages_token": "token-1" })),
        element("optin", json!({ "notification_messages_token": "token-2" })),
        json!({ "sender": { "id": "user-1" }, "delivery": { "mids": ["m-0"], "watermark": 1 } }),
        json!({ "sender": { "id": "user-1" }, "delivery": { "mids": ["m-1"], "watermark": 1 } }),
        json!({ "sender": { "id": "user-1" }, "message": { "text": "no mid" } }),
    ];
    let whole = batch("page", "messaging", &all);
    let first = ids(&whole);
    let different: std::collections::HashSet<_> = first.iter().collect();
    assert_eq!(different.len(), all.len(), "{first:?}");
    assert_eq!(ids(&whole), first);
    // On its own, or in a batch that is spelled differently, it has the same id.
    for (element, id) in all.iter().zip(&first) {
        assert_eq!(&ids(&batch("page", "messaging", std::slice::from_ref(element)))[0], id);
    }
    let spaced = serde_json::to_string_pretty(&whole).expect("JSON");
    let request = parsed(spaced.as_bytes()).expect("JSON");
    let found = FacebookMessenger::new().recognise(&request).expect("Messenger's");
    assert!(found.iter().map(|event| event.id.as_deref()).eq(first.iter().map(|id| Some(&**id))));
    // As an event of another app it was not handled.
    assert!(ids(&batch("page", "standby", &all)).iter().all(|id| !first.contains(id)));
    assert_eq!(first[0], "m-1");
    let deleted = element("message", json!({ "mid": "m-1", "is_deleted": "true" }));
    assert_eq!(ids(&batch("page", "messaging", &[deleted])), [&*first[1]]);
}

#[test]
fn an_id_that_is_too_long_is_replaced_by_a_hash() {
    for length in [2_040, 2_048, 2_049, 100_000] {
        let deleted = json!({ "mid": "m".repeat(length), "is_deleted": true });
        let found = ids(&batch("page", "standby", &[element("message", deleted)]));
        assert!(found[0].len() <= 2_048, "{length}");
    }
}

#[test]
fn an_event_of_the_page_has_no_user_and_its_own_body() {
    let message = element("message", json!({ "mid": "m-1" }));
    let change = json!({ "field": "feed", "value": {} });
    let body = json!({ "object": "page", "entry": [
        { "id": "page-1", "time": 1, "changes": [change], "messaging": [message] },
        { "id": "page-1", "time": 1, "changes": [change, change] },
        { "id": "page-1", "time": 1 },
        {}, 7, null, [], "x",
    ] });
    let found = messenger(&body);
    let bodies: Vec<Value> = found
        .iter()
        .map(|event| serde_json::from_slice(event.body.as_ref().expect("a body")).expect("JSON"))
        .collect();
    assert_eq!(user_ids(&found), [None, Some("user-1".into()), None, None]);
    let entry = |entry: Value| json!({ "object": "page", "entry": [entry] });
    assert_eq!(bodies[0], entry(json!({ "id": "page-1", "time": 1, "changes": [change] })));
    assert_eq!(bodies[1], entry(json!({ "id": "page-1", "time": 1, "messaging": [message] })));
    assert_eq!(bodies[2], entry(body["entry"][1].clone()));
    assert_eq!(bodies[3], entry(body["entry"][2].clone()));
}

#[test]
fn every_event_of_a_full_batch_is_found_and_one_more_is_too_many() {
    for count in [1, MAX_EVENTS, MAX_EVENTS + 1, 2 * MAX_EVENTS] {
        let all: Vec<_> =
            (0..count).map(|n| element("message", json!({ "mid": n.to_string() }))).collect();
        let expected = count.min(MAX_EVENTS + 1);
        let in_one = messenger(&batch("page", "messaging", &all));
        let entries: Vec<_> = all
            .iter()
            .map(|one| json!({ "id": "page-1", "time": 1, "messaging": [one] }))
            .collect();
        let in_many = messenger(&json!({ "object": "page", "entry": entries }));
        let by_itself = messenger(&json!({ "id": "page-1", "time": 1, "messaging": all }));
        for found in [in_one, in_many, by_itself] {
            assert_eq!(found.len(), expected);
            let has_body = 1 < count && count <= MAX_EVENTS;
            assert!(found.iter().all(|event| event.body.is_some() == has_body));
        }
    }
}

#[test]
fn the_sample_of_a_batch_has_turns_and_receipts() {
    let bytes = sample("facebookmessenger/batch");
    let request = parsed(&bytes).expect("JSON");
    let found = FacebookMessenger::new().echoes(true).recognise(&request).expect("Messenger's");
    let flags: Vec<_> =
        found.iter().map(|event| (event.user_id.as_deref(), event.is_receipt)).collect();
    let expected = [
        (Some("person-1"), false),
        (Some("person-2"), false),
        (Some("person-1"), true),
        (Some("person-4"), true),
        (Some("person-3"), true),
    ];
    assert_eq!(flags, expected);
}
