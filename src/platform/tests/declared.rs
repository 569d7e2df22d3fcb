//! `JsonPlatform`: platforms that need no code, among them two that are built in.

use super::{claims, form, is_form, names, parsed, sample};
use crate::platform::{Event, JsonPlatform, MAX_EVENTS, Platform};

fn viber() -> JsonPlatform {
    let viber = JsonPlatform::new("viber").detect("/event").detect("/timestamp");
    let viber = viber.detect("/message_token").event_id("/message_token");
    viber.user_id(["/sender/id", "/user/id", "/user_id"]).receipt_value("/event", "seen")
}

fn connect() -> JsonPlatform {
    let connect = JsonPlatform::new("connect").detect("/Name");
    let connect = connect.detect("/Details/ContactData/ContactId");
    let connect = connect.user_id("/Details/ContactData/CustomerEndpoint/Address");
    connect.shared_ids(["anonymous"]).conversation_id("/Details/ContactData/ContactId")
}

fn openai() -> JsonPlatform {
    let openai = JsonPlatform::new("openai").detect("/model");
    let openai = openai.detect(["/messages/0/content", "/input"]);
    openai.conversation_id(["/conversation/id", "/conversation"])
}

fn ag_ui() -> JsonPlatform {
    let ag_ui = JsonPlatform::new("ag-ui").detect("/threadId").detect("/runId").detect("/messages");
    ag_ui.conversation_id("/threadId").event_id("/runId")
}

fn a2a() -> JsonPlatform {
    let a2a = JsonPlatform::new("a2a").detect_value("/jsonrpc", "2.0");
    let a2a = a2a.detect("/params/message/messageId").event_id("/params/message/messageId");
    a2a.conversation_id("/params/message/contextId")
}

/// Telegram without its topics, for which `is_topic_message` decides.
fn telegram() -> JsonPlatform {
    const FROM: [&str; 12] = [
        "message",
        "edited_message",
        "channel_post",
        "business_message",
        "callback_query",
        "inline_query",
        "chosen_inline_result",
        "pre_checkout_query",
        "my_chat_member",
        "chat_join_request",
        "message_reaction",
        "poll_answer",
    ];
    let of = |path: &str| FROM.map(|kind| format!("/{kind}/{path}")).to_vec();
    let users = [of("from/id"), of("user/id")].concat();
    let chats = [of("chat/id"), of("message/chat/id")].concat();
    let kinds = [FROM.map(|kind| format!("/{kind}")).to_vec(), vec!["/poll".to_owned()]].concat();
    JsonPlatform::new("telegram")
        .detect("/update_id")
        .detect(kinds)
        .numeric_ids(true)
        .user_id(users)
        .shared_ids(["1087968824", "136817688", "777000"])
        .conversation_id(chats)
        .event_id("/update_id")
        .receipt(["/message_reaction", "/my_chat_member", "/chosen_inline_result"])
}

fn line() -> JsonPlatform {
    JsonPlatform::new("line")
        .detect("/destination")
        .events("/events")
        .user_id("/source/userId")
        .conversation_id(["/source/groupId", "/source/roomId", "/source/userId"])
        .event_id("/webhookEventId")
        .receipt_value("/type", "unsend")
        .receipt_value("/mode", "standby")
}

/// Describes everything but the event's id, of which Telegram's has a hash.
fn shown(mut event: Event<'_>) -> String {
    let session = event.take_session_id();
    let id = event.id.map(|id| id.split('/').next().map(str::to_owned));
    format!(
        "{:?} {:?} {session:?} {id:?} {} {:?}",
        event.user_id, event.conversation, event.is_receipt, event.body
    )
}

#[test]
fn telegram_and_line_need_no_code() {
    for (declared, count) in [(telegram(), 17), (line(), 6)] {
        let own = |name: &&str| name.split('/').next() == Some(declared.name());
        let own: Vec<_> =
            names().into_iter().filter(own).filter(|it| *it != "telegram/topic").collect();
        assert_eq!(own.len(), count, "{own:?}");
        for name in own {
            let body = sample(name);
            let request = parsed(&body).unwrap();
            let (_, built_in) = claims(&request).remove(0);
            let built_in: Vec<_> = built_in.into_iter().map(shown).collect();
            let declared = declared.recognise(&request).expect(name);
            assert_eq!(declared.into_iter().map(shown).collect::<Vec<_>>(), built_in, "{name}");
        }
    }
}

#[test]
fn the_declarations_of_the_guide_leave_other_requests_alone() {
    let declared = [viber(), connect(), openai(), ag_ui(), a2a()];
    let own = ["viber", "connect", "openai", "ag_ui", "a2a"].map(|it| format!("unrecognised/{it}"));
    for name in names().into_iter().filter(|name| !is_form(name)) {
        let body = sample(name);
        let request = parsed(&body).unwrap();
        let claims = declared.iter().filter(|platform| platform.recognise(&request).is_some());
        let claims: Vec<_> = claims.map(Platform::name).collect();
        let expected: Vec<_> = own
            .iter()
            .zip(&declared)
            .filter(|(own, _)| *own == name)
            .map(|(_, platform)| platform.name())
            .collect();
        assert_eq!(claims, expected, "{name}");
    }
}

#[test]
fn the_declarations_of_the_guide_find_user_conversation_and_event() {
    for (name, platform, user, conversation, id) in [
        ("viber", viber(), Some("viber-user-1"), None, Some("4912661846655238145")),
        ("connect", connect(), Some("+15550100"), Some("c1"), None),
        ("openai", openai(), None, None, None),
        ("ag_ui", ag_ui(), None, Some("t1"), Some("r1")),
        ("a2a", a2a(), None, Some("c1"), Some("m1")),
    ] {
        let body = sample(&format!("unrecognised/{name}"));
        let event = platform.recognise(&parsed(&body).unwrap()).unwrap().remove(0);
        let found = (event.user_id.as_deref(), event.conversation.as_deref(), event.id.as_deref());
        assert_eq!(found, (user, conversation, id), "{name}");
    }
}

#[test]
fn a_form_is_declared_by_its_fields() {
    let sms = JsonPlatform::new("sms").form(true).detect("/MessageSid").user_id("/From");
    let sms = sms.account("/AccountSid").event_id("/MessageSid").conversation_id("/To");
    let body = sample("twilio/sms");
    let event = sms.recognise(&form(&body)).unwrap().remove(0);
    assert_eq!(event.user_id.as_deref(), Some("+15550100"));
    assert_eq!(event.account.as_deref(), Some("AC1"));
    assert_eq!(event.conversation.as_deref(), Some("+15550001"));
    assert_eq!(event.id.as_deref(), Some("SM1"));
    assert!(sms.recognise(&form(b"MessageSid=&From=a")).is_none());
    assert!(sms.recognise(&parsed(br#"{"MessageSid":"SM1","From":"a"}"#).unwrap()).is_none());
    let twice = sms.recognise(&form(b"MessageSid=1&From=a&From=b")).unwrap().remove(0);
    assert_eq!(twice.user_id, None);
    let json = JsonPlatform::new("json").detect("/MessageSid");
    assert!(json.recognise(&form(&body)).is_none());
}

#[test]
fn numbers_are_ids_only_if_they_are_declared_so_and_integers() {
    let text = JsonPlatform::new("x").detect("/a").user_id("/u");
    let number = text.clone().numeric_ids(true);
    for (value, as_text, as_number) in [
        ("42", None, Some("42")),
        ("-42", None, Some("-42")),
        ("18446744073709551615", None, Some("18446744073709551615")),
        (r#""42""#, Some("42"), Some("42")),
        ("-0", None, None),
        ("4.0", None, None),
        ("42e1", None, None),
        ("123456789012345678901", None, None),
        ("true", None, None),
        ("null", None, None),
        (r#""""#, None, None),
    ] {
        let body = format!(r#"{{"a":1,"u":{value}}}"#);
        let request = parsed(body.as_bytes()).unwrap();
        let user = |platform: &JsonPlatform| {
            platform.recognise(&request).unwrap().remove(0).user_id.map(String::from)
        };
        let found = (user(&text), user(&number));
        assert_eq!((found.0.as_deref(), found.1.as_deref()), (as_text, as_number), "{value}");
    }
}

#[test]
fn scope_and_account_may_stand_beside_the_list_but_users_may_not() {
    let chat = JsonPlatform::new("chat").detect("/team").events("/data/events").user_id("/from");
    let chat = chat.user_scope("/team").account("/bot");
    let body =
        br#"{"team":"T1","bot":"B1","from":"mallory","data":{"events":[{"from":"anna"},{}]}}"#;
    let events = chat.recognise(&parsed(body).unwrap()).unwrap();
    let found: Vec<_> = events
        .iter()
        .map(|event| (event.user_id.as_deref(), event.scope.as_deref(), event.account.as_deref()))
        .collect();
    assert_eq!(found, [(Some("anna"), Some("T1"), Some("B1")), (None, Some("T1"), Some("B1"))]);
    let own = r#"{"team":"T1","bot":"B1","from":"mallory","data":{"events":[{"from":"anna"}]}}"#;
    assert_eq!(events[0].body.as_deref(), Some(own.as_bytes()));
}

#[test]
fn a_list_is_read_up_to_the_limit_and_its_bodies_stay_small() {
    let chat = JsonPlatform::new("chat").detect("/bot").events("/events").user_id("/from");
    let long = "x".repeat(500_000);
    let of = |count: usize| {
        let events = vec![r#"{"from":"u"}"#; count].join(",");
        format!(r#"{{"bot":"b","long":"{long}","events":[{events},1]}}"#)
    };
    let body = of(MAX_EVENTS);
    let events = chat.recognise(&parsed(body.as_bytes()).unwrap()).unwrap();
    assert_eq!(events.len(), MAX_EVENTS);
    let size: usize = events.iter().map(|event| event.body.as_ref().unwrap().len()).sum();
    assert!(size < MAX_EVENTS * 64);
    let body = of(MAX_EVENTS * 2);
    assert_eq!(chat.recognise(&parsed(body.as_bytes()).unwrap()).unwrap().len(), MAX_EVENTS + 1);
    for (body, expected) in [(r#"{"bot":1,"events":[]}"#, Some(1)), (r#"{"bot":1}"#, None)] {
        let request = parsed(body.as_bytes()).unwrap();
        assert_eq!(chat.recognise(&request).map(|events| events.len()), expected);
    }
}
