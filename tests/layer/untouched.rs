//! Members of a client-side session that no handler changes are sent back byte for byte.

use serde_json::{Value, json};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{Error, PersistenceLayer, Session};

use crate::common::*;

/// Returns a handler that passes the session to `change`, and answers with `{}`.
fn app(change: impl Fn(&Session) -> Result<(), Error> + Clone + Send + Sync + 'static) -> App {
    let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/user").session_id("/id");
    let kiosk = kiosk.session_data("/data").reply_session_data("/data");
    let layer = PersistenceLayer::new(TestDb::default()).platform(kiosk);
    serve(&layer, move |request| {
        let session = request.extensions().get::<Session>().expect("a session").clone();
        let changed = change(&session);
        async move {
            changed?;
            Ok(reply(200, "{}"))
        }
    })
}

async fn replied(app: &App, request: &str) -> String {
    let answer = send(app, post(request.to_owned())).await;
    answer.assert_ok();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn alexa_with(attributes: &str) -> String {
    format!(
        r#"{{"version":"1.0","session":{{"new":false,"sessionId":"s","attributes":{attributes},"user":{{"userId":"u"}}}},"request":{{"type":"IntentRequest","requestId":"r"}}}}"#
    )
}

/// Returns a request of each platform with client-side sessions, with these members as session
/// data.
fn requests(members: &str) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| Value::from(text).to_string();
    let in_text = quoted(&format!("{{{members}}}"));
    let current = r#""version":"4.0","timestamp":"t","input":{"type":"TEXT"}"#;
    let core = format!(r#""context":{{"session":{{"id":"s","data":{{{members}}}}}}}"#);
    vec![
        ("alexa", alexa_with(&format!("{{{members}}}"))),
        (
            "alexa of Jovo",
            alexa_with(&format!(r#"{{"id":"s","data":{{{members}}},"isNew":false}}"#)),
        ),
        (
            "core",
            format!(r#"{{{current},"platform":"core",{core}}}"#)
                .replace("\"id\":\"s\",", "\"id\":\"s\",\"isNew\":false,"),
        ),
        (
            "web 3",
            format!(
                r#"{{"version":"3","type":"jovo-platform-web","request":{{"type":"END"}},{core}}}"#
            )
            .replace("\"id\":\"s\",", "\"id\":\"s\",\"new\":false,"),
        ),
        (
            "google",
            format!(
                r#"{{"handler":{{"name":"h"}},"device":{{"a":1}},"user":{{"a":1}},"session":{{"id":"s","params":{{{members}}}}}}}"#
            ),
        ),
        (
            "dialogflow",
            format!(
                r#"{{"responseId":"r","session":"p/s","queryResult":{{"parameters":{{"said":1}},"outputContexts":[{{"name":"p/s/contexts/_jovo_ask_a"}},{{"name":"p/s/contexts/_jovo_session_a","parameters":{{{members},"said":1}}}}]}}}}"#
            ),
        ),
        (
            "lex 2",
            format!(
                r#"{{"messageVersion":"1.0","bot":{{"a":1}},"sessionId":"s","sessionState":{{"sessionAttributes":{{"theirs":"\u0041","jsonData":{in_text}}}}}}}"#
            ),
        ),
        (
            "lex 1",
            format!(
                r#"{{"bot":{{"a":1}},"currentIntent":{{"a":1}},"userId":"s","sessionAttributes":{{"theirs":"\ud83d","jsonData":{}}}}}"#,
                quoted(&format!(r#"{{"_JOVO_NEW_SESSION_":false,{members}}}"#)),
            ),
        ),
        ("kiosk", format!(r#"{{"kiosk":1,"user":"u","id":"s","data":{{{members}}}}}"#)),
    ]
}

/// Returns members that serde_json rejects or would spell in another way.
fn members() -> Vec<String> {
    let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let values = [
        r#""Anna \ud83d""#,
        r#""\udc00\ud83d""#,
        r#"{"deep":["\ud83d"]}"#,
        "1e400",
        "-1e999",
        &deep,
        &objects,
        "12345678901234567890123",
        "-9223372036854775809",
        "1.0",
        "-0",
        "1.50",
        "1E2",
        r#"[ 1 , {"b" : 2} ]"#,
        r#"{"a":1,"a":2}"#,
        r#"{"\ud83d":1}"#,
    ];
    let named = values.iter().map(|value| format!(r#""member":{value}"#));
    named.chain([r#""\ud83d":1"#.to_owned(), r#""n\u0061me":1"#.to_owned()]).collect()
}

/// Returns the JSON as it stands inside a JSON text.
fn in_text(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[tokio::test]
async fn unchanged_members_are_sent_back_byte_for_byte_on_every_platform() {
    let app = app(|session| {
        assert!(!session.is_new());
        assert_eq!(session.increment("score", 1)?, 42);
        Ok(())
    });
    for member in members() {
        for (platform, request) in requests(&format!(r#""score":41,{member}"#)) {
            let reply = replied(&app, &request).await;
            let (mut score, mut expected) = (r#""score":42"#.to_owned(), member.clone());
            // In version 2 of Lex, each text is its own attribute, and not a text in a text.
            let is_text = member.contains(r#":"#) && member.ends_with('"');
            if platform.starts_with("lex") {
                score = in_text(&score);
                if platform == "lex 1" {
                    assert!(reply.contains(r#""theirs":"\ud83d""#), "{reply}");
                }
                if platform == "lex 1" || !is_text {
                    expected = in_text(&expected);
                }
            }
            assert!(reply.contains(&score), "{platform} {member}: {reply}");
            assert!(reply.contains(&expected), "{platform} {member}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_member_that_cannot_be_read_is_an_error_until_it_is_replaced() {
    let attributes = r#"{"score":41,"nick":"Anna \ud83d","big":1e400,"_JOVO_STATE_":"\ud83d"}"#;
    let untouched = app(|session| {
        assert_eq!(Value::Object(session.data()), json!({ "score": 41 }));
        assert_eq!(session.state(), None);
        assert!(session.get::<String>("nick").unwrap_err().is_decode());
        assert!(session.increment("big", 1).unwrap_err().is_decode());
        let error = session.data_as::<Value>().unwrap_err();
        assert!(error.is_decode() && !format!("{error:?}").contains("Anna"), "{error:?}");
        assert_eq!(session.get::<i64>("score")?, Some(41));
        assert_eq!(session.get::<i64>("other")?, None);
        Ok(())
    });
    let reply = replied(&untouched, &alexa_with(attributes)).await;
    assert_eq!(reply, format!(r#"{{"sessionAttributes":{attributes}}}"#));

    let all_at_once = app(|session| {
        session.update(|data| data.retain(|_, _| false))?;
        session.set_data(&json!({ "score": 42 }))
    });
    let reply = replied(&all_at_once, &alexa_with(attributes)).await;
    assert_eq!(
        reply,
        format!(r#"{{"sessionAttributes":{}}}"#, attributes.replace("41", "42")),
        "replacing everything would lose the member that cannot be read"
    );

    let replaced = app(|session| {
        session.set("nick", "Anna")?;
        assert_eq!(session.get::<String>("nick")?.as_deref(), Some("Anna"));
        session.remove("big")?;
        assert_eq!(session.get::<f64>("big")?, None);
        assert_eq!(session.increment("big", 1)?, 1);
        session.remove("big")?;
        session.set_state("Game")?;
        assert_eq!(session.data_as::<Value>()?, json!({ "score": 41, "nick": "Anna" }));
        Ok(())
    });
    let reply: Value =
        serde_json::from_str(&replied(&replaced, &alexa_with(attributes)).await).unwrap();
    let expected = json!({ "score": 41, "nick": "Anna", "_JOVO_STATE_": "Game" });
    assert_eq!(reply["sessionAttributes"], expected);
}

#[tokio::test]
async fn another_sdks_data_or_state_is_not_jovos_envelope() {
    for (attributes, data) in [
        (r#"{"state":"CONFIRM"}"#, json!({ "state": "CONFIRM" })),
        (r#"{"data":{"score":1}}"#, json!({ "data": { "score": 1 } })),
        (
            r#"{"data":{"score":1.0},"state":["CONFIRM"]}"#,
            json!({ "data": { "score": 1.0 }, "state": ["CONFIRM"] }),
        ),
        (r#"{"state":{"step":1}}"#, json!({ "state": { "step": 1 } })),
        (r#"{"data":{}}"#, json!({ "data": {} })),
    ] {
        let app = app(move |session| {
            assert_eq!(Value::Object(session.data()), data);
            Ok(())
        });
        let reply = replied(&app, &alexa_with(attributes)).await;
        assert_eq!(reply, format!(r#"{{"sessionAttributes":{attributes}}}"#));
    }
}

/// Whatever `jsonData` holds, it stays, and so do the attributes beside it.
#[tokio::test]
async fn lex_loses_nothing_where_json_data_is_not_an_object() {
    let app = app(|session| {
        session.set("name", "Anna")?;
        session.set("steps", 2)
    });
    for json_data in [r#""no JSON""#, r#""[1]""#, r#""{\"a\":\"\ud83d\"}""#, r#""7""#] {
        let attributes = format!(r#"{{"theirs":"\ud83d","lang":"en","jsonData":{json_data}}}"#);
        let current = format!(
            r#"{{"messageVersion":"1.0","bot":{{"a":1}},"sessionId":"s","sessionState":{{"sessionAttributes":{attributes}}}}}"#
        );
        let reply = replied(&app, &current).await;
        let expected = attributes.replace("}\"}", "}\"").trim_end_matches('}').to_owned();
        assert!(reply.contains(&expected) && reply.contains(r#""name":"Anna""#), "{reply}");
        let legacy = format!(
            r#"{{"bot":{{"a":1}},"currentIntent":{{"a":1}},"userId":"s","sessionAttributes":{attributes}}}"#
        );
        assert_eq!(replied(&app, &legacy).await, "{}", "nothing replaces what Lex keeps itself");
    }
}
