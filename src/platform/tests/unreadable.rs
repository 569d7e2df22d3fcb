//! JSON that `serde_json` cannot read, inside of otherwise ordinary requests: it hides neither a
//! request nor an id.

use serde_json::Value;

use super::{SAMPLES, claims, parsed, sample, value};
use crate::platform::{JsonPlatform, Platform};

/// A lone surrogate as a value and as a name, and a number that no `f64` holds.
const UNREADABLE: [&str; 4] = [
    r#""unreadable":"\ud83d""#,
    r#""\ud83d":"unreadable""#,
    r#""\udc00\ud83d":{"\ud83d":["\ud83d"]}"#,
    r#""unreadable":-1e999"#,
];

/// Writes `value` with `member` first in every object that is not empty.
fn write(value: &Value, member: &str, text: &mut String) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            text.push('{');
            text.push_str(member);
            for (name, value) in members {
                text.push_str(&format!(",{}:", Value::from(name.as_str())));
                write(value, member, text);
            }
            text.push('}');
        }
        Value::Array(elements) => {
            text.push('[');
            for (at, element) in elements.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write(element, member, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Returns the platforms that claim the request, and everything that they find except the input.
fn identified(bytes: &[u8]) -> Vec<String> {
    let request = parsed(bytes).expect("JSON");
    let claims = claims(&request).into_iter();
    let events = claims.flat_map(|(platform, events)| {
        let name = platform.name().to_owned();
        events.into_iter().map(move |event| {
            let id = event.id.filter(|id| !id.starts_with("event/"));
            format!(
                "{name} {:?} {:?} {:?} {:?} {id:?} {} {} {}",
                event.user_id,
                event.session_id,
                event.new_session,
                event.person_id,
                event.sessionless,
                event.is_receipt,
                event.deletion_requested,
            )
        })
    });
    events.collect()
}

#[test]
fn unreadable_members_hide_no_request() {
    for (name, ..) in SAMPLES {
        let expected = identified(&sample(name));
        for member in UNREADABLE {
            let mut body = String::new();
            write(&value(name), member, &mut body);
            assert_eq!(identified(body.as_bytes()), expected, "{name} with {member}");
        }
    }
}

/// Replaces an object that the platform looks into with a value that cannot be read.
#[test]
fn an_unreadable_value_in_the_place_of_an_object_hides_only_itself() {
    for (name, pointer) in [
        ("alexa/intent", "/session/user"),
        ("alexa/intent", "/request/intent"),
        ("alexa/intent", "/session/attributes"),
        ("core/intent", "/context/session/data"),
        ("googleassistant/intent", "/session/params"),
        ("dialogflow/facebook", "/queryResult/parameters"),
        ("facebookmessenger/message", "/entry/0/messaging/0/recipient"),
        ("lex/v2", "/sessionState/sessionAttributes"),
    ] {
        let user = |body: &[u8]| {
            let request = parsed(body).expect("JSON");
            let mut claims = claims(&request);
            assert_eq!(claims.len(), 1, "{name}");
            claims.remove(0).1.remove(0).user_id.map(String::from)
        };
        let expected = user(&sample(name));
        assert!(expected.is_some());
        for unreadable in [r#""\ud83d""#, "1e999", r#"{"\ud83d":1}"#, r#"["\udc00"]"#] {
            let mut body = value(name);
            *body.pointer_mut(pointer).expect(pointer) = "here".into();
            let body = body.to_string().replacen(r#""here""#, unreadable, 1);
            assert_eq!(user(body.as_bytes()), expected, "{name}{pointer}: {unreadable}");
        }
    }
}

#[test]
fn an_unreadable_id_is_not_an_id() {
    let body = r#"{"a":1,"user":"\ud83d","team":"T\udc00","id":"\ud83d","thread":"\ud83d"}"#;
    let request = parsed(body.as_bytes()).expect("JSON");
    let platform = JsonPlatform::new("x").detect("/a").user_id("/user").session_id("/thread");
    let event = platform.event_id("/id").recognise(&request).expect("detected").remove(0);
    assert_eq!((event.user_id, event.session_id, event.id), (None, None, None));
    let scoped = JsonPlatform::new("x").detect("/a").user_id("/a").user_scope("/team");
    assert_eq!(scoped.recognise(&request).expect("detected")[0].scope, None);
}

/// Two names that cannot be read are not taken for names of the request.
#[test]
fn bytes_that_are_not_text_are_not_json() {
    assert!(parsed(b"{\"a\xff\":1}").is_none());
    assert!(parsed(b"{\"a\":\"\xed\xa0\xbd\"}").is_none());
    let request = parsed(br#"{"\ud83d":1,"a":2}"#).expect("JSON");
    assert_eq!(request.json().unwrap().get("a").map(|value| value.get()), Some("2"));
    assert_eq!(request.json().unwrap().pointer("/a").map(|value| value.get()), Some("2"));
}
