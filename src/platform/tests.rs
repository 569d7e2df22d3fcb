mod decisions;
mod declared;
mod hostile;
mod memory;
mod meta;
mod overlap;
mod today;
mod unreadable;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use http::request::Parts;
use serde_json::Value;

use super::NewSession::{No, Presumed, Unknown, Yes};
use super::claim::may_claim;
use super::{
    Event, JsonPlatform, NamedPlatform, NewSession, Platform, PlatformRequest, all, built_in,
};

/// The expected event: user id, session id, whether the session is new, and the session data.
type Expected = (Option<&'static str>, Option<&'static str>, NewSession, Option<&'static str>);

/// A sample, its expected events, and the expected input: its type, intent and text.
type Sample = (&'static str, &'static [Expected], [Option<&'static str>; 3]);

const DIALOGFLOW: Option<&str> = Some("projects/tea/agent/sessions/dialogflow-session-1");

/// The directory is the name of the platform that should recognise the sample.
#[rustfmt::skip]
const SAMPLES: &[Sample] = &[
    ("alexa/launch", &[(Some("alexa-user-1"), Some("alexa-session-1"), Yes, None)], [Some("LAUNCH"), None, None]),
    ("alexa/intent", &[(Some("alexa-user-1"), Some("alexa-session-1"), No, Some(r#"{"data":{"cups":2},"state":[{"component":"OrderComponent"}]}"#))], [Some("INTENT"), Some("OrderIntent"), None]),
    ("alexa/audio_player", &[(Some("alexa-user-1"), None, Unknown, None)], [Some("AudioPlayer.PlaybackNearlyFinished"), None, None]),
    ("alexa/skill_disabled", &[(Some("alexa-user-1"), None, Unknown, None)], [Some("AlexaSkillEvent.SkillDisabled"), None, None]),
    ("alexa/session_only", &[(Some("alexa-user-1"), Some("alexa-session-1"), No, None)], [Some("END"), None, None]),
    ("alexa/no_user", &[(None, Some("alexa-session-1"), Yes, None)], [Some("LAUNCH"), None, None]),
    ("core/launch", &[(Some("core-user-1"), Some("core-session-1"), Yes, None)], [Some("LAUNCH"), None, None]),
    ("core/intent", &[(Some("core-user-1"), Some("core-session-1"), No, Some(r#"{"id":"core-session-1","data":{},"state":[{"component":"OrderComponent"}],"isNew":false,"updatedAt":"2026-01-05T09:59:00.000Z"}"#))], [Some("INTENT"), Some("OrderIntent"), None]),
    ("core/speech", &[(Some("core-user-1"), Some("core-session-1"), Presumed, Some(r#"{"id":"core-session-1","data":{"cups":2},"updatedAt":"2026-01-05T09:59:00.000Z"}"#))], [Some("TRANSCRIBED_SPEECH"), Some("OrderIntent"), Some("a tea please")]),
    ("core/legacy_speech", &[(Some("core-user-1"), Some("core-session-1"), Presumed, Some(r#"{"_JOVO_STATE_":"Order"}"#))], [Some("TRANSCRIBED_SPEECH"), None, Some("a tea please")]),
    ("core/legacy_intent", &[(Some("core-user-1"), Some("core-session-1"), No, None)], [Some("INTENT"), Some("OrderIntent"), Some("tea")]),
    ("web/text", &[(Some("web-user-1"), Some("web-session-1"), No, Some(r#"{"id":"web-session-1","data":{"cups":2},"state":[],"isNew":false,"updatedAt":"2026-01-05T09:59:00.000Z"}"#))], [Some("TEXT"), None, Some("a tea please")]),
    ("web/legacy_launch", &[(Some("web-user-1"), Some("web-session-1"), Yes, None)], [Some("LAUNCH"), None, None]),
    ("web/legacy_end", &[(Some("web-user-1"), Some("web-session-1"), Presumed, None)], [Some("END"), None, None]),
    ("googleassistant/new_user", &[(None, Some("google-session-1"), Presumed, None)], [Some("LAUNCH"), None, Some("talk to the tea house")]),
    ("googleassistant/intent", &[(Some("google-user-1"), Some("google-session-1"), No, Some(r#"{"data":{"cups":2}}"#))], [Some("INTENT"), Some("OrderIntent"), Some("a cuppa please")]),
    ("googleassistant/legacy_end", &[(Some("google-user-of-version-3"), Some("google-session-1"), No, Some(r#"{"_JOVO_SESSION_":{"new":false}}"#))], [Some("END"), None, Some("cancel")]),
    ("dialogflow-google/intent", &[(Some("stored-user-1"), DIALOGFLOW, No, Some(r#"{"cups":2}"#))], [Some("INTENT"), Some("OrderIntent"), Some("a cuppa please")]),
    ("dialogflow-google/welcome", &[(Some("rolling-user-1"), DIALOGFLOW, Yes, None)], [Some("LAUNCH"), None, Some("GOOGLE_ASSISTANT_WELCOME")]),
    ("dialogflow-google/cancel", &[(None, DIALOGFLOW, Presumed, None)], [Some("END"), None, None]),
    ("dialogflow/console", &[(None, DIALOGFLOW, Presumed, None)], [Some("LAUNCH"), None, Some("hello")]),
    ("dialogflow/facebook", &[(Some("page-scoped-1"), DIALOGFLOW, No, Some(r#"{"cups":2,"_JOVO_STATE_":"Order"}"#))], [Some("INTENT"), Some("OrderIntent"), Some("a cuppa please")]),
    ("dialogflow/slack", &[(Some("slack-user-1"), DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("dialogflow/slack_event", &[(Some("slack-user-2"), DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("dialogflow/telephony", &[(Some("+1 555 0100"), DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("dialogflow/telephony_redacted", &[(None, DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("dialogflow/twilio", &[(Some("+1 555 0101"), DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("dialogflow/twilio_hidden", &[(None, DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("dialogflow/genesys", &[(None, DIALOGFLOW, Presumed, None)], [Some("INTENT"), Some("HelpIntent"), Some("help")]),
    ("facebookmessenger/message", &[(Some("person-1"), None, Unknown, None)], [Some("TEXT"), None, Some("a tea please")]),
    ("facebookmessenger/batch", &[(Some("person-1"), None, Unknown, None), (Some("person-2"), None, Unknown, None), (Some("person-4"), None, Unknown, None), (Some("person-3"), None, Unknown, None)], [Some("LAUNCH"), None, None]),
    ("facebookmessenger/echo", &[], [Some("TEXT"), None, Some("hi")]),
    ("facebookmessenger/no_sender", &[(None, None, Unknown, None)], [None, None, None]),
    ("facebookmessenger/entry", &[(Some("person-1"), None, Unknown, None)], [Some("TEXT"), None, Some("a tea please")]),
    ("facebookmessenger/delivery", &[(Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("facebookmessenger/optins", &[(Some("person-1"), None, Unknown, None), (Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("facebookmessenger/standby", &[(Some("person-1"), None, Unknown, None), (Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("facebookmessenger/app_roles", &[(None, None, Unknown, None)], [None, None, None]),
    ("facebookmessenger/changes", &[(None, None, Unknown, None)], [None, None, None]),
    ("facebookmessenger/referral", &[(Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("instagram/reaction", &[(Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("instagram/read", &[(Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("instagram/deleted", &[(Some("person-1"), None, Unknown, None)], [None, None, None]),
    ("instagram/message_edit", &[(Some("person-1"), None, Unknown, None)], [Some("TEXT"), None, Some("a coffee please")]),
    ("instagram/edit_without_sender", &[(None, None, Unknown, None)], [None, None, None]),
    ("instagram/message", &[(Some("person-1"), None, Unknown, None)], [Some("TEXT"), None, Some("a tea please")]),
    ("instagram/echo", &[], [Some("TEXT"), None, Some("hi")]),
    ("instagram/entry", &[(Some("person-1"), None, Unknown, None)], [Some("TEXT"), None, Some("Tea")]),
    ("googlebusiness/message", &[(Some("conversation-1"), Some("conversation-1"), Unknown, None)], [Some("TEXT"), None, Some("a tea please")]),
    ("googlebusiness/suggestion", &[(Some("conversation-1"), Some("conversation-1"), Unknown, None)], [Some("TEXT"), None, Some("TEA")]),
    ("googlebusiness/typing", &[(Some("conversation-1"), Some("conversation-1"), Unknown, None)], [None, None, None]),
    ("googlebusiness/receipt", &[(Some("conversation-1"), Some("conversation-1"), Unknown, None)], [None, None, None]),
    ("lex/v1_first", &[(Some("lex-user-1"), Some("lex-user-1"), Presumed, None)], [Some("INTENT"), Some("OrderIntent"), Some("a cuppa please")]),
    ("lex/v1", &[(Some("lex-user-1"), Some("lex-user-1"), No, Some(r#"{"_JOVO_NEW_SESSION_":false,"cups":2}"#))], [Some("INTENT"), Some("OrderIntent"), Some("a cuppa please")]),
    ("lex/v1_no_attributes", &[(Some("lex-user-1"), Some("lex-user-1"), Presumed, None)], [Some("LAUNCH"), None, Some("a cuppa please")]),
    ("lex/v2", &[(Some("lex-session-1"), Some("lex-session-1"), Unknown, Some(r#"{"cups":"2"}"#))], [Some("INTENT"), Some("OrderIntent"), Some("a cuppa please")]),
    ("unrecognised/actions_sdk", &[], [None, None, None]),
    ("unrecognised/array", &[], [None, None, None]),
    ("unrecognised/core_other_platform", &[], [None, None, None]),
    ("unrecognised/dialogflow_v1", &[], [None, None, None]),
    ("unrecognised/empty", &[], [None, None, None]),
    ("unrecognised/facebook_no_entry", &[], [None, None, None]),
    ("unrecognised/github", &[], [None, None, None]),
    ("unrecognised/number", &[], [None, None, None]),
    ("unrecognised/sap", &[], [None, None, None]),
    ("unrecognised/text", &[], [None, None, None]),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples")
}

/// Returns the names of the samples that are JSON.
fn names() -> Vec<&'static str> {
    let today = today::TODAY.iter().map(|(name, _)| *name).filter(|name| !is_form(name));
    SAMPLES.iter().map(|(name, ..)| *name).chain(today).collect()
}

/// Returns the samples of Jovo's platforms, and two of each other one, for tests that take long.
fn a_few() -> Vec<&'static str> {
    let platform = |name: &'static str| name.split('/').next();
    let today: Vec<_> = names().split_off(SAMPLES.len());
    let is_early = |at: usize| at < 2 || platform(today[at]) != platform(today[at - 2]);
    let few = (0..today.len()).filter(|at| is_early(*at)).map(|at| today[at]);
    SAMPLES.iter().map(|(name, ..)| *name).chain(few).collect()
}

/// Returns whether a sample is a form.
fn is_form(name: &str) -> bool {
    directory().join(format!("{name}.form")).exists()
}

fn sample(name: &str) -> Vec<u8> {
    let extension = if is_form(name) { "form" } else { "json" };
    fs::read(directory().join(format!("{name}.{extension}"))).expect(name)
}

fn value(name: &str) -> Value {
    serde_json::from_slice(&sample(name)).expect(name)
}

/// Returns the request with this body, declared as JSON.
fn parsed(body: &[u8]) -> Option<PlatformRequest<'_>> {
    static HEAD: LazyLock<Parts> = LazyLock::new(|| http::Request::new(()).into_parts().0);
    PlatformRequest::parse(&HEAD, body)
}

/// Returns the request with this form.
fn form(body: &[u8]) -> PlatformRequest<'_> {
    static HEAD: LazyLock<Parts> = LazyLock::new(|| {
        let request = http::Request::builder().header("content-type", FORM);
        request.body(()).expect("a request").into_parts().0
    });
    PlatformRequest::parse(&HEAD, body).expect("any bytes are a form")
}

const FORM: &str = "application/x-www-form-urlencoded";

/// Returns the platforms that recognise `request`, with its events.
fn claims<'a>(request: &PlatformRequest<'a>) -> Vec<(Arc<dyn Platform>, Vec<Event<'a>>)> {
    let claim = |platform: Arc<dyn Platform>| {
        let events = platform.recognise(request)?;
        let named = NamedPlatform::from(Arc::clone(&platform));
        assert!(may_claim(&named, request), "{} would not be asked", named.name);
        Some((platform, events))
    };
    let is_asked =
        |platform: &Arc<dyn Platform>| request.form().is_none() || platform.reads_forms();
    all().into_iter().filter(is_asked).filter_map(claim).collect()
}

/// Returns the name of the only platform that recognises `body`, and the user ids of the events.
fn identities(body: &Value) -> Option<(String, Vec<Option<String>>)> {
    let bytes = body.to_string();
    let request = parsed(bytes.as_bytes()).expect("a value is JSON");
    let (platform, events) = claims(&request).into_iter().next()?;
    let ids = events.into_iter().map(|event| event.user_id.map(String::from));
    Some((platform.name().to_owned(), ids.collect()))
}

/// Returns the user id of the only event in `body`.
fn user_id(body: &Value) -> Option<String> {
    let (_, mut ids) = identities(body).expect("some platform's");
    assert_eq!(ids.len(), 1);
    ids.remove(0)
}

#[test]
fn every_sample_is_recognised_by_one_platform_with_its_user() {
    for (name, expected, input) in SAMPLES {
        let bytes = sample(name);
        let request = parsed(&bytes).expect(name);
        let claims = claims(&request);
        let names: Vec<_> = claims.iter().map(|(platform, _)| platform.name()).collect();
        let directory = name.split('/').next().expect("a directory");
        if directory == "unrecognised" {
            assert!(names.is_empty(), "{name} is claimed by {names:?}");
            continue;
        }
        assert_eq!(names, [directory], "{name}");

        let (platform, events) = &claims[0];
        let found: Vec<_> = events
            .iter()
            .map(|event| {
                let data = event.session_data.as_ref().map(|data| -> Value {
                    serde_json::from_str(data.get()).expect("session data is JSON")
                });
                (event.user_id.as_deref(), event.session_id.as_deref(), event.new_session, data)
            })
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(user_id, session_id, new_session, data)| {
                let data = data.map(|data| -> Value { serde_json::from_str(data).expect(data) });
                (*user_id, *session_id, *new_session, data)
            })
            .collect();
        assert_eq!(found, expected, "{name}");

        let said = platform.input(&request);
        let part = |name: &str| {
            said.input.as_ref().and_then(|input| input.get(name)).and_then(Value::as_str)
        };
        let intent = said.nlu.as_ref().and_then(|nlu| nlu.pointer("/intent/name")?.as_str());
        assert_eq!([part("type"), intent, part("text")], *input, "{name}");
    }
}

#[test]
fn no_sample_is_forgotten() {
    let mut files = BTreeSet::new();
    for platform in fs::read_dir(directory()).expect("the samples") {
        let platform = platform.expect("a directory").path();
        for file in fs::read_dir(&platform).expect("a directory") {
            let file = file.expect("a file").path().with_extension("");
            let name = file.strip_prefix(directory()).expect("inside");
            files.insert(name.to_string_lossy().replace('\\', "/"));
        }
    }
    let today = today::TODAY.iter().map(|(name, _)| *name);
    let names: Vec<_> = SAMPLES.iter().map(|(name, ..)| *name).chain(today).collect();
    assert_eq!(files, names.iter().map(|name| (*name).to_owned()).collect());
    for platform in all() {
        let has_sample = |name: &&str| name.split('/').next() == Some(platform.name());
        assert!(names.iter().any(has_sample), "{}", platform.name());
    }
}

#[test]
fn exactly_the_platforms_of_the_crate_are_built_in() {
    for platform in all() {
        assert!(built_in::members(&*platform).is_some(), "{}", platform.name());
    }
    assert!(built_in::members(&JsonPlatform::new("alexa")).is_none());
}

/// The members by which the platforms to ask are chosen. That each platform is asked about what it
/// recognises, `claims` asserts.
#[test]
fn a_platform_recognises_nothing_without_its_members() {
    for name in names() {
        let Ok(Value::Object(whole)) = serde_json::from_slice(&sample(name)) else { continue };
        for platform in all().iter().filter(|platform| name.starts_with(platform.name())) {
            let members = built_in::members(&**platform).unwrap();
            let mut rest = whole.clone();
            rest.retain(|name, _| !members.contains(&name.as_str()));
            let text = Value::Object(rest).to_string();
            let request = parsed(text.as_bytes()).unwrap();
            assert!(platform.recognise(&request).is_none(), "{name}");
        }
    }
}

#[test]
fn an_empty_reply_is_json_where_the_platform_reads_it() {
    for platform in all() {
        let reply = platform.empty_reply();
        let reads_nothing = [
            "facebookmessenger",
            "instagram",
            "googlebusiness",
            "whatsapp",
            "telegram",
            "slack",
            "msteams",
            "line",
            "twilio",
            "usechat",
            "mcp",
        ];
        assert_eq!(reply.is_empty(), reads_nothing.contains(&platform.name()));
        if !reply.is_empty() {
            let reply: Value = serde_json::from_str(reply).expect("JSON");
            assert!(reply.is_object(), "{}", platform.name());
        }
    }
    let own = JsonPlatform::new("kiosk");
    assert_eq!(own.empty_reply(), "");
    assert_eq!(own.clone().reply_session_data("/data").empty_reply(), "{}");
    assert_eq!(own.reply_user_id("/id").empty_reply(), "{}");
}
