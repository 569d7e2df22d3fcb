use std::borrow::Cow;

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::raw::{filled_object, id, members, read, text};
use super::{Carried, Document, Event, Input, NewSession, Platform, Reply};

/// Amazon Lex, [V2](https://docs.aws.amazon.com/lexv2/latest/dg/lambda-input-format.html) and
/// [V1](https://docs.aws.amazon.com/lex/latest/dg/lambda-input-response-format.html).
///
/// | | V2 | V1 |
/// | --- | --- | --- |
/// | recognised by | `messageVersion`, `bot`, `sessionId` and `sessionState` | `bot`, `currentIntent` and `userId` |
/// | user id, session id | `sessionId` | `userId` |
/// | session data | `sessionState.sessionAttributes`, and in it the JSON text `jsonData` | the JSON text `sessionAttributes.jsonData` |
/// | new session | unknown | `_JOVO_NEW_SESSION_` in the session data, presumed where it is missing |
///
/// Lex keeps texts only. In the reply, what is text is an attribute of its own in V2; the rest, and everything in V1, is
/// in `jsonData`, as Jovo has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lex;

/// The attribute with what is no text.
const JSON_DATA: &str = "jsonData";

/// The mark that Jovo puts into the session data of V1.
const NEW_SESSION: &str = "_JOVO_NEW_SESSION_";

impl Platform for Lex {
    fn name(&self) -> &str {
        "lex"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        let (id, new_session, data) = if is_current(request) {
            let [attributes] = request.members("sessionState", ["sessionAttributes"]);
            let data = filled_object(attributes).map(session_data);
            (id(request.get("sessionId")), NewSession::Unknown, data)
        } else if is_legacy(request) {
            let [data] = request.members("sessionAttributes", [JSON_DATA]);
            let data = text(data).and_then(|data| RawValue::from_string(data.into_owned()).ok());
            let [is_new] = members(data.as_deref(), [NEW_SESSION]);
            let new_session = NewSession::from_flag(is_new, NewSession::Presumed);
            let data = data.filter(|data| filled_object(Some(data)).is_some()).map(Cow::Owned);
            (id(request.get("userId")), new_session, data)
        } else {
            return None;
        };
        let event = Event::default().user_id(id.clone()).session(id, new_session);
        Some(vec![event.plain_session_data(data)])
    }

    fn carries_session(&self) -> bool {
        true
    }

    fn write_reply(&self, request: &Document<'_>, carried: &Carried<'_>, reply: &mut Reply) {
        let Some(session) = carried.session else { return };
        let Value::Object(mut data) = session.attributes() else { return };
        if is_current(request) {
            let (mut attributes, others): (Map<_, _>, Map<_, _>) =
                data.into_iter().partition(|(_, value)| value.is_string());
            if !others.is_empty() {
                attributes.insert(JSON_DATA.into(), Value::Object(others).to_string().into());
            }
            reply.put("/sessionState/sessionAttributes", &attributes.into());
        } else {
            data.insert(NEW_SESSION.into(), false.into());
            let mut attributes: Map<String, Value> = read(request.get("sessionAttributes"));
            attributes.insert(JSON_DATA.into(), Value::Object(data).to_string().into());
            reply.put("/sessionAttributes", &attributes.into());
        }
    }

    /// Only `ElicitIntent` needs no intent, and it needs a message
    /// (<https://docs.aws.amazon.com/lexv2/latest/dg/lambda-response-format.html>).
    fn empty_reply(&self) -> &'static str {
        r#"{"sessionState":{"dialogAction":{"type":"ElicitIntent"}},"messages":[{"contentType":"PlainText","content":" "}]}"#
    }

    fn input(&self, request: &Document<'_>) -> Input {
        let (intent, entities) = if is_current(request) {
            let [name, slots] = request.members("sessionState", ["intent/name", "intent/slots"]);
            (text(name), entities(read(slots)))
        } else {
            let [name, slots, details] =
                request.members("currentIntent", ["name", "slots", "slotDetails"]);
            (text(name), legacy_entities(read(slots), &read(details)))
        };
        let input = match intent.as_deref() {
            Some("LAUNCH") => Input::of_type("LAUNCH"),
            Some("END") => Input::of_type("END"),
            Some(name) => Input::intent(name, Value::Object(entities)),
            None => Input::default(),
        };
        match text(request.get("inputTranscript")) {
            Some(heard) if request.is("inputMode", "Speech") => input.speech(&heard),
            Some(said) => input.text(&said),
            None => input,
        }
    }
}

/// The attributes of V2 and what stands in their `jsonData`, which wins.
fn session_data(attributes: &RawValue) -> Cow<'_, RawValue> {
    let with_json_data = || {
        let json_data = text(members(Some(attributes), [JSON_DATA])[0])?;
        let json_data: Map<String, Value> = serde_json::from_str(&json_data).ok()?;
        let mut data: Map<String, Value> = read(Some(attributes));
        data.shift_remove(JSON_DATA);
        data.extend(json_data);
        to_raw_value(&data).ok()
    };
    with_json_data().map_or(Cow::Borrowed(attributes), Cow::Owned)
}

fn is_current(request: &Document<'_>) -> bool {
    ["messageVersion", "bot", "sessionId", "sessionState"].iter().all(|name| request.has(name))
}

fn is_legacy(request: &Document<'_>) -> bool {
    ["bot", "currentIntent", "userId"].iter().all(|name| request.has(name))
}

fn entities(slots: Map<String, Value>) -> Map<String, Value> {
    let entity = |(name, slot): (String, Value)| {
        let value = slot.get("value").filter(|value| value.is_object())?;
        let resolved = value.get("interpretedValue").unwrap_or(&value["originalValue"]);
        let said = &value["originalValue"];
        Some((name, json!({ "value": said, "resolved": resolved, "id": resolved })))
    };
    slots.into_iter().filter_map(entity).collect()
}

fn legacy_entities(slots: Map<String, Value>, details: &Map<String, Value>) -> Map<String, Value> {
    let filled = slots.into_iter().filter(|(_, slot)| !slot.is_null());
    filled
        .map(|(name, slot)| {
            let said = details.get(&name).and_then(|detail| detail.get("originalValue"));
            let entity = json!({ "value": said.unwrap_or(&slot), "resolved": &slot, "id": &slot });
            (name, entity)
        })
        .collect()
}
