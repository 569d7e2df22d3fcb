use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::document::{Lenient, boolean, filled_object, id, text, truthy};
use super::{Document, Event, Input, NewSession, Platform};

/// Amazon Alexa
/// ([request reference](https://developer.amazon.com/en-US/docs/alexa/custom-skills/request-and-response-json-reference.html)).
///
/// | | |
/// | --- | --- |
/// | recognised by | `version` and `request.requestId` |
/// | user id | `context.System.user.userId`, else `session.user.userId` |
/// | session id | `session.sessionId` |
/// | session data | `session.attributes` |
/// | new session | `session.new` |
///
/// AudioPlayer, PlaybackController and skill events come without `session`: they stand outside any session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alexa;

impl Platform for Alexa {
    fn name(&self) -> &str {
        "alexa"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        let Lenient(head) = request.read::<Lenient<Head<'a>>>("request");
        if !request.has("version") || !truthy(head.request_id) {
            return None;
        }
        let Lenient(context) = request.read::<Lenient<Context<'a>>>("context");
        let session = request.get("session").filter(|session| session.get().starts_with('{'));
        let Lenient(Session { new, session_id, attributes, user: Lenient(user) }) =
            request.read("session");
        let event = Event::default()
            .user_id(id(context.system.0.user.0.user_id).or_else(|| id(user.user_id)));
        if session.is_none() {
            return Some(vec![event.outside_session()]);
        }
        let new_session = match boolean(new) {
            Some(true) => NewSession::Yes,
            Some(false) => NewSession::No,
            None => NewSession::Unknown,
        };
        let attributes = filled_object(attributes).map(Cow::Borrowed);
        Some(vec![event.session(id(session_id), new_session).session_data(attributes)])
    }

    fn input(&self, request: &Document<'_>) -> Input {
        let Lenient(Request { kind, intent: Lenient(intent) }) = request.read("request");
        match text(kind).as_deref() {
            Some("LaunchRequest") => Input::of_type("LAUNCH"),
            Some("SessionEndedRequest") => Input::of_type("END"),
            Some("IntentRequest") => {
                let name = text(intent.name).unwrap_or_default();
                Input::intent(&name, Value::Object(entities(intent.slots.0)))
            }
            Some(other) => Input::of_type(other),
            None => Input::default(),
        }
    }
}

/// The filled slots as Jovo's entities: what was said, and what the skill's own list of values made of it.
fn entities(slots: Map<String, Value>) -> Map<String, Value> {
    let entity = |(name, slot): (String, Value)| {
        let value = slot.get("value")?.as_str()?;
        let authorities = slot.pointer("/resolutions/resolutionsPerAuthority");
        let matched = authorities.and_then(Value::as_array).into_iter().flatten().find_map(|one| {
            let code = one.pointer("/status/code")?;
            (code == "ER_SUCCESS_MATCH").then(|| one.pointer("/values/0/value"))?
        });
        let mut entity = json!({ "value": value, "resolved": value });
        if let Some(matched) = matched {
            entity["resolved"] = matched["name"].clone();
            let id = matched.get("id").filter(|id| !id.is_null());
            entity["id"] = id.unwrap_or(&matched["name"]).clone();
        }
        Some((name, entity))
    };
    slots.into_iter().filter_map(entity).collect()
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    request_id: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    intent: Lenient<Intent<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Intent<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    slots: Lenient<Map<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Context<'a> {
    #[serde(borrow, rename = "System")]
    system: Lenient<System<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct System<'a> {
    #[serde(borrow)]
    user: Lenient<User<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct User<'a> {
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Session<'a> {
    #[serde(borrow)]
    new: Option<&'a RawValue>,
    #[serde(borrow)]
    session_id: Option<&'a RawValue>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Lenient<User<'a>>,
}
