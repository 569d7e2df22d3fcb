use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::raw::{filled_object, id, members, read, text};
use super::{Document, Event, Input, NewSession, Platform};

/// Amazon Lex, [V2](https://docs.aws.amazon.com/lexv2/latest/dg/lambda-input-format.html) and
/// [V1](https://docs.aws.amazon.com/lex/latest/dg/lambda-input-response-format.html).
///
/// | | V2 | V1 |
/// | --- | --- | --- |
/// | recognised by | `messageVersion`, `bot`, `sessionId` and `sessionState` | `bot`, `currentIntent` and `userId` |
/// | user id, session id | `sessionId` | `userId` |
/// | session data | `sessionState.sessionAttributes` | the JSON text `sessionAttributes.jsonData` |
/// | new session | unknown | `_JOVO_NEW_SESSION_` in the session data, presumed where it is missing |
#[derive(Clone, Copy, Debug, Default)]
pub struct Lex;

impl Platform for Lex {
    fn name(&self) -> &str {
        "lex"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        let (id, new_session, data) = if is_current(request) {
            let [attributes] = request.members("sessionState", ["sessionAttributes"]);
            let data = filled_object(attributes).map(Cow::Borrowed);
            (id(request.get("sessionId")), NewSession::Unknown, data)
        } else if is_legacy(request) {
            let [data] = request.members("sessionAttributes", ["jsonData"]);
            let data = text(data).and_then(|data| RawValue::from_string(data.into_owned()).ok());
            let [is_new] = members(data.as_deref(), ["_JOVO_NEW_SESSION_"]);
            let new_session = NewSession::from_flag(is_new, NewSession::Presumed);
            let data = data.filter(|data| filled_object(Some(data)).is_some()).map(Cow::Owned);
            (id(request.get("userId")), new_session, data)
        } else {
            return None;
        };
        let event = Event::default().user_id(id.clone()).session(id, new_session);
        Some(vec![event.session_data(data)])
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
