//! Each decision of a platform on its own.

use serde_json::{Value, json};

use super::{claims, identities, parsed, sample, user_id, value};
use crate::platform::{JsonPlatform, LONGEST_ID, NewSession, Platform};

/// Returns the sample with the value under `pointer` replaced.
fn with(name: &str, pointer: &str, replacement: Value) -> Value {
    let mut body = value(name);
    *body.pointer_mut(pointer).expect(pointer) = replacement;
    body
}

/// Returns the sample without the member under `pointer`.
fn without(name: &str, pointer: &str) -> Value {
    let mut body = value(name);
    let (parent, member) = pointer.rsplit_once('/').expect("a pointer");
    let parent = body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    parent.remove(member).expect("a member");
    body
}

fn new_session(body: &Value) -> NewSession {
    let bytes = body.to_string();
    let request = parsed(bytes.as_bytes()).expect("JSON");
    claims(&request)[0].1[0].new_session
}

#[test]
fn every_platform_takes_only_text_of_1_to_2048_bytes_for_an_id() {
    let places = [
        ("alexa/launch", "/context/System/user/userId"),
        ("core/launch", "/context/user/id"),
        ("core/legacy_speech", "/context/user/id"),
        ("web/text", "/context/user/id"),
        ("googleassistant/legacy_end", "/user/params/userId"),
        ("dialogflow-google/welcome", "/originalDetectIntentRequest/payload/user/userId"),
        ("dialogflow/facebook", "/originalDetectIntentRequest/payload/data/sender/id"),
        ("dialogflow/slack", "/originalDetectIntentRequest/payload/data/user"),
        ("dialogflow/telephony", "/originalDetectIntentRequest/payload/telephony/caller_id"),
        ("dialogflow/twilio", "/originalDetectIntentRequest/payload/data/From"),
        ("facebookmessenger/message", "/entry/0/messaging/0/sender/id"),
        ("instagram/message", "/entry/0/messaging/0/sender/id"),
        ("lex/v1", "/userId"),
        ("lex/v2", "/sessionId"),
        ("googlebusiness/message", "/conversationId"),
    ];
    for (name, pointer) in places {
        let longest = "é".repeat(LONGEST_ID / 2);
        for good in ["x", "a \"quoted\"\nid \u{1F375}", longest.as_str()] {
            let mut body = with(name, pointer, good.into());
            if name == "alexa/launch" {
                body["session"]["user"] = json!({});
            }
            assert_eq!(user_id(&body).as_deref(), Some(good), "{name}");
        }
        let too_long = format!("{longest}x");
        let bad = [json!(""), json!(7), json!(7.5), json!(true), json!(null), json!(too_long)];
        for bad in bad.into_iter().chain([json!(["x"]), json!({ "userId": 1 })]) {
            let mut body = with(name, pointer, bad);
            if name == "alexa/launch" {
                body["session"]["user"] = json!({});
            }
            let ids = identities(&body).map(|(_, ids)| ids).unwrap_or_default();
            assert!(ids.iter().all(Option::is_none), "{name}: {ids:?}");
        }
    }
}

#[test]
fn an_id_that_is_not_text_hides_nothing_else() {
    let bytes = String::from_utf8(sample("core/intent")).expect("text");
    let bytes = bytes.replace("core-user-1", r"\ud800");
    let request = parsed(bytes.as_bytes()).expect("JSON");
    let event = &claims(&request)[0].1[0];
    assert_eq!(event.user_id, None);
    assert_eq!(event.session_id.as_deref(), Some("core-session-1"));
}

#[test]
fn alexa_asks_the_context_first_and_the_session_second() {
    assert_eq!(user_id(&value("alexa/intent")).as_deref(), Some("alexa-user-1"));
    for missing in ["/context/System/user", "/context/System/user/userId", "/context"] {
        let body = without("alexa/intent", missing);
        assert_eq!(user_id(&body).as_deref(), Some("alexa-user-of-session"), "{missing}");
    }
    let body = with("alexa/intent", "/context/System/user", json!("no object"));
    assert_eq!(user_id(&body).as_deref(), Some("alexa-user-of-session"));
}

#[test]
fn alexa_stands_outside_any_session_without_one() {
    for (name, outside) in
        [("alexa/audio_player", true), ("alexa/skill_disabled", true), ("alexa/launch", false)]
    {
        let bytes = sample(name);
        let request = parsed(&bytes).expect("JSON");
        assert_eq!(claims(&request)[0].1[0].sessionless, outside, "{name}");
    }
}

#[test]
fn alexa_gives_the_filled_slots_as_entities() {
    let bytes = sample("alexa/intent");
    let request = parsed(&bytes).expect("JSON");
    let input = claims(&request)[0].0.input(&request);
    let entities = json!({
        "drink": { "value": "cuppa", "resolved": "tea", "id": "TEA" },
        "place": { "value": "garden", "resolved": "garden" },
    });
    assert_eq!(input.nlu.expect("an intent")["entities"], entities);
}

#[test]
fn core_keeps_no_audio_and_what_the_client_understood() {
    let input = |name| {
        let bytes = sample(name);
        let request = parsed(&bytes).expect("JSON");
        claims(&request)[0].0.input(&request)
    };
    let intent = input("core/intent");
    let entities = json!({ "drink": { "value": "tea" } });
    let expected = json!({ "type": "INTENT", "intent": "OrderIntent", "entities": &entities });
    assert_eq!(intent.input, Some(expected));
    assert_eq!(
        intent.nlu,
        Some(json!({ "intent": { "name": "OrderIntent" }, "entities": entities }))
    );
    assert_eq!(input("core/speech").asr, Some(json!({ "text": "a tea please" })));
    assert_eq!(input("core/legacy_speech").asr, Some(json!({ "text": "a tea please" })));
}

#[test]
fn core_presumes_a_new_session_where_nothing_is_said() {
    assert_eq!(new_session(&without("core/intent", "/context/session")), NewSession::Presumed);
    let flags = [
        (json!(true), NewSession::Yes),
        (json!(false), NewSession::No),
        (json!("false"), NewSession::Presumed),
        (json!(null), NewSession::Presumed),
    ];
    for (flag, expected) in flags {
        let body = with("core/intent", "/context/session/isNew", flag.clone());
        assert_eq!(new_session(&body), expected, "{flag}");
        let body = with("core/legacy_intent", "/context/session/new", flag.clone());
        assert_eq!(new_session(&body), expected, "{flag}");
    }
}

#[test]
fn core_is_not_web() {
    for (field, name) in [("/platform", "core/launch"), ("/type", "core/legacy_intent")] {
        let core = value(name);
        let platform = core.pointer(field).and_then(Value::as_str).expect("a name");
        let web = with(name, field, platform.replace("core", "web").into());
        assert_eq!(identities(&core).expect("core's").0, "core");
        assert_eq!(identities(&web).expect("web's").0, "web");
    }
    for needed in ["/version", "/timestamp", "/input/type", "/platform"] {
        assert_eq!(identities(&without("core/launch", needed)), None, "{needed}");
    }
}

#[test]
fn google_assistant_falls_back_to_the_id_of_version_3() {
    let own = "/user/params/_GOOGLE_ASSISTANT_USER_ID_";
    let fallback = Some("google-user-of-version-3".to_owned());
    assert_eq!(user_id(&without("googleassistant/intent", own)), fallback);
    assert_eq!(user_id(&with("googleassistant/intent", own, json!(""))), fallback);
    let body = without("googleassistant/intent", "/session/params");
    assert_eq!(new_session(&body), NewSession::Presumed);
    for needed in ["/user", "/session", "/handler", "/device"] {
        assert_eq!(identities(&without("googleassistant/intent", needed)), None, "{needed}");
    }
}

#[test]
fn dialogflow_never_gives_an_id_that_users_share() {
    let source = "/originalDetectIntentRequest/source";
    for (name, pointer) in [
        ("dialogflow/facebook", "/originalDetectIntentRequest/payload/data/sender"),
        ("dialogflow/slack", "/originalDetectIntentRequest/payload/data/user"),
        ("dialogflow/telephony", "/originalDetectIntentRequest/payload/telephony"),
        ("dialogflow/twilio", "/originalDetectIntentRequest/payload/data/From"),
    ] {
        assert!(user_id(&value(name)).is_some(), "{name}");
        assert_eq!(user_id(&without(name, pointer)), None, "{name}");
        assert_eq!(user_id(&with(name, source, json!("another"))), None, "{name}");
        assert_eq!(user_id(&without(name, source)), None, "{name}");
    }
    let slack = "/originalDetectIntentRequest/payload/data/user";
    for shared in ["USLACKBOT", "USLACK"] {
        assert_eq!(user_id(&with("dialogflow/slack", slack, shared.into())), None);
        assert_eq!(user_id(&with("dialogflow/slack", slack, json!({ "id": shared }))), None);
    }
}

#[test]
fn callers_with_a_hidden_number_share_no_record() {
    for (name, pointer) in [
        ("dialogflow/telephony", "/originalDetectIntentRequest/payload/telephony/caller_id"),
        ("dialogflow/twilio", "/originalDetectIntentRequest/payload/data/From"),
    ] {
        for hidden in [
            "REDACTED",
            "REDACTED_IN_STANDARD_TIER_AGENT",
            "anonymous",
            "Restricted",
            "UNAVAILABLE",
            "+266696687",
            "whatsapp:+266696687",
            "sip:anonymous@anonymous.invalid",
        ] {
            assert_eq!(user_id(&with(name, pointer, hidden.into())), None, "{name}: {hidden}");
        }
        assert!(user_id(&with(name, pointer, "sip:anna@example.org".into())).is_some());
    }
}

#[test]
fn a_passive_event_of_business_messages_is_a_receipt() {
    let is_receipt = |body: &Value| {
        let bytes = body.to_string();
        let request = parsed(bytes.as_bytes()).expect("JSON");
        claims(&request)[0].1[0].is_receipt
    };
    assert!(is_receipt(&value("googlebusiness/receipt")));
    assert!(is_receipt(&value("googlebusiness/typing")));
    assert!(!is_receipt(&value("googlebusiness/message")));
    assert!(!is_receipt(&value("googlebusiness/suggestion")));
    let mut asks = value("googlebusiness/typing");
    asks["userStatus"] = json!({ "requestedLiveAgent": true });
    assert!(!is_receipt(&asks));
}

#[test]
fn slacks_user_may_be_an_object() {
    let user = "/originalDetectIntentRequest/payload/data/user";
    let body = with("dialogflow/slack", user, json!({ "id": "slack-user-3" }));
    assert_eq!(user_id(&body).as_deref(), Some("slack-user-3"));
}

#[test]
fn dialogflow_takes_contexts_of_its_own_session_only() {
    let contexts = "/queryResult/outputContexts";
    let context = json!([
        { "name": "projects/tea/agent/sessions/another/contexts/_jovo_ask_abcde" },
        { "name": "projects/tea/agent/sessions/another/contexts/_jovo_session_a", "parameters": { "cups": 9 } },
        { "name": 7 }, null,
    ]);
    let body = with("dialogflow/facebook", contexts, context);
    assert_eq!(new_session(&body), NewSession::Presumed);
    let bytes = body.to_string();
    let request = parsed(bytes.as_bytes()).expect("JSON");
    assert!(claims(&request)[0].1[0].session_data.is_none());
}

#[test]
fn dialogflow_for_google_prefers_the_id_in_the_user_storage() {
    let storage = "/originalDetectIntentRequest/payload/user/userStorage";
    let rolling = Some("rolling-user-1".to_owned());
    for unusable in ["", "{}", "no JSON", "[]", r#"{"userId":""}"#, r#"{"userId":7}"#] {
        let body = with("dialogflow-google/intent", storage, unusable.into());
        assert_eq!(user_id(&body), rolling, "{unusable}");
    }
    let twice = r#"{"userId":"first","userId":"last"}"#;
    let body = with("dialogflow-google/intent", storage, twice.into());
    assert_eq!(user_id(&body).as_deref(), Some("last"));
    let conversation = "/originalDetectIntentRequest/payload/conversation/type";
    for (kind, expected) in [("ACTIVE", NewSession::No), ("NEW", NewSession::Yes)] {
        let body = with("dialogflow-google/intent", conversation, kind.into());
        assert_eq!(new_session(&body), expected);
    }
}

#[test]
fn a_single_entry_may_name_its_platform() {
    let entry = |kind: Value| {
        let mut body = value("facebookmessenger/entry");
        body["$type"] = kind;
        identities(&body).map(|(platform, _)| platform)
    };
    assert_eq!(entry(json!("facebook")).as_deref(), Some("facebookmessenger"));
    assert_eq!(entry(json!("instagram")).as_deref(), Some("instagram"));
    assert_eq!(entry(json!("another")), None);
    for needed in ["/id", "/time", "/messaging"] {
        assert_eq!(identities(&without("facebookmessenger/entry", needed)), None, "{needed}");
    }
}

#[test]
fn an_echo_is_not_an_event_of_a_user() {
    for echo in [json!({ "is_echo": true }), json!({ "is_echo": true, "text": "hi" })] {
        let body = with("facebookmessenger/message", "/entry/0/messaging/0/message", echo);
        assert_eq!(identities(&body), Some(("facebookmessenger".to_owned(), vec![])));
    }
    let message = json!({ "is_echo": false, "text": "hi" });
    let body = with("facebookmessenger/message", "/entry/0/messaging/0/message", message);
    assert_eq!(user_id(&body).as_deref(), Some("person-1"));
}

#[test]
fn lex_reads_the_session_from_its_json_text() {
    let data = "/sessionAttributes/jsonData";
    let flags = [
        (r#"{"_JOVO_NEW_SESSION_":true}"#, NewSession::Yes),
        (r#"{"_JOVO_NEW_SESSION_":false}"#, NewSession::No),
        (r#"{"cups":2}"#, NewSession::Presumed),
        ("no JSON", NewSession::Presumed),
        ("", NewSession::Presumed),
        ("[1]", NewSession::Presumed),
    ];
    for (text, expected) in flags {
        let body = with("lex/v1", data, text.into());
        assert_eq!(new_session(&body), expected, "{text}");
        let bytes = body.to_string();
        let request = parsed(bytes.as_bytes()).expect("JSON");
        let has_data = claims(&request)[0].1[0].session_data.is_some();
        assert_eq!(has_data, text.starts_with('{'), "{text}");
    }
}

#[test]
fn a_json_platform_finds_everything_by_pointer() {
    let platform = JsonPlatform::new("team-chat")
        .detect("/event~1id")
        .detect("/events/0")
        .detect_value("/kind", "message")
        .user_id("/events/0/user")
        .session_id("/thread/id")
        .new_session("/thread/is~0new")
        .session_data("/thread/data");
    let body = json!({
        "event/id": "e-1",
        "kind": "message",
        "events": [{ "user": "user-1" }],
        "thread": { "id": "thread-1", "is~new": true, "data": { "cups": 2 } },
    });
    let recognise = |body: &Value| {
        let bytes = body.to_string();
        let request = parsed(bytes.as_bytes()).expect("JSON");
        let events = platform.recognise(&request)?;
        assert_eq!(events.len(), 1);
        let event = &events[0];
        let data = event.session_data.as_ref().map(|data| data.get().to_owned());
        let [user_id, session_id] =
            [&event.user_id, &event.session_id].map(|id| id.clone().map(String::from));
        Some((user_id, session_id, event.new_session, data))
    };
    assert_eq!(platform.name(), "team-chat");
    let (user_id, session_id) = (Some("user-1".to_owned()), Some("thread-1".to_owned()));
    let data = Some(r#"{"cups":2}"#.to_owned());
    assert_eq!(recognise(&body), Some((user_id, session_id, NewSession::Yes, data)));

    let mut changed = body.clone();
    changed["events"][0]["user"] = json!(7);
    changed["thread"] = json!({ "is~new": "yes", "id": "", "data": [] });
    assert_eq!(recognise(&changed), Some((None, None, NewSession::Unknown, None)));

    for (member, other) in [
        ("event/id", json!("")),
        ("event/id", json!(0)),
        ("events", json!([])),
        ("events", json!({ "1": 1 })),
        ("kind", json!("reaction")),
        ("kind", json!(null)),
    ] {
        let mut changed = body.clone();
        changed[member] = other;
        assert_eq!(recognise(&changed), None, "{member}");
    }
    assert_eq!(recognise(&json!([body])), None);
}

#[test]
fn a_json_platform_has_scopes_and_ids_of_events() {
    let platform = JsonPlatform::new("team-chat")
        .detect("/event")
        .user_id("/event/user")
        .user_scope("/team_id")
        .event_id("/event_id");
    let recognise = |body: Value| {
        let bytes = body.to_string();
        let request = parsed(bytes.as_bytes()).expect("JSON");
        let event = platform.recognise(&request).expect("detected").remove(0);
        [event.user_id, event.scope, event.id].map(|id| id.map(String::from))
    };
    let some = |text: &str| Some(text.to_owned());
    let event = json!({ "user": "U1" });
    let whole = json!({ "event": event, "team_id": "T1", "event_id": "Ev1" });
    assert_eq!(recognise(whole), [some("U1"), some("T1"), some("Ev1")]);
    let counted = json!({ "event": event, "team_id": "T1", "event_id": 9_007_199_254_740_993_u64 });
    assert_eq!(recognise(counted)[2], some("9007199254740993"));
    // In another team, the same id may belong to another user.
    for team in [json!(null), json!(""), json!(7)] {
        let body = json!({ "event": event, "team_id": team, "event_id": true });
        assert_eq!(recognise(body), [None, None, None]);
    }
}

#[test]
fn a_json_platform_with_a_wrong_or_no_pointer_takes_nothing() {
    let request = parsed(br#"{"a":"x","":"y"}"#).expect("JSON");
    assert!(JsonPlatform::new("x").user_id("/a").recognise(&request).is_none());
    for wrong in ["", "a", "#/a", "/b", "/a/0"] {
        assert!(JsonPlatform::new("x").detect(wrong).recognise(&request).is_none(), "{wrong}");
        let platform = JsonPlatform::new("x").detect("/a").user_id(wrong);
        let events = platform.recognise(&request).expect("detected");
        assert_eq!(events[0].user_id, None, "{wrong}");
    }
    let platform = JsonPlatform::new("x").detect("/a").user_id("/");
    assert_eq!(platform.recognise(&request).expect("detected")[0].user_id.as_deref(), Some("y"));
}

#[test]
fn a_pointer_finds_what_serde_json_finds() {
    let bytes = br#"{"a":[{"b":1},[2]],"a/b":{"~":3,"0":4},"":{"":5},"e\u0078":6}"#;
    let request = parsed(bytes).expect("JSON");
    let body: Value = serde_json::from_slice(bytes).expect("JSON");
    for pointer in [
        "/a",
        "/a/0/b",
        "/a/1/0",
        "/a/2",
        "/a/00",
        "/a/+0",
        "/a/-",
        "/a/01",
        "/a~1b/~0",
        "/a~1b/0",
        "//",
        "/",
        "/ex",
        "/missing",
        "/a/0/b/c",
        "a",
        "/a/18446744073709551616",
    ] {
        let found = request.json().unwrap().pointer(pointer).map(|raw| raw.get().to_owned());
        assert_eq!(found, body.pointer(pointer).map(Value::to_string), "{pointer}");
    }
}
