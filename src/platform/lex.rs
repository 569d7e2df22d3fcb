//! Amazon Lex, V1 and V2.

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::kept::{Pairs, object, quoted};
use super::raw::{self, filled_object, id, is_empty, members, read, text};
use super::{Document, Event, Input, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// Amazon Lex, [V2](https://docs.aws.amazon.com/lexv2/latest/dg/lambda-input-format.html) and
/// [V1](https://docs.aws.amazon.com/lex/latest/dg/lambda-input-response-format.html).
///
/// | | V2 |
/// | --- | --- |
/// | recognised by | `messageVersion`, `bot`, `sessionId` and `sessionState` |
/// | user id, session id | `sessionId` |
/// | session data | `sessionState.sessionAttributes`, and the JSON text `jsonData` in it |
/// | new session | unknown |
///
/// | | V1 |
/// | --- | --- |
/// | recognised by | `bot`, `currentIntent` and `userId` |
/// | user id, session id | `userId` |
/// | session data | the JSON text `sessionAttributes.jsonData` |
/// | new session | `_JOVO_NEW_SESSION_` in the session data, presumed if it is missing |
///
/// Lex keeps only texts. In the reply to V2, each text is an attribute of its own; all other
/// values, and everything in V1, are in `jsonData`, as in Jovo. A `jsonData` that is not the JSON
/// text of an object stays as it is; the values that belong there are then not written, which is
/// logged.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lex;

/// The attribute for values that are not texts.
const JSON_DATA: &str = "jsonData";

/// The mark that Jovo adds to the session data of V1.
const NEW_SESSION: &str = "_JOVO_NEW_SESSION_";

impl Platform for Lex {
    fn name(&self) -> &str {
        "lex"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let (id, new_session, data) = if is_current(request) {
            let [attributes] = request.members("sessionState", ["sessionAttributes"]);
            let data = filled_object(attributes).map(session_data);
            (id(request.get("sessionId")), NewSession::Unknown, data)
        } else if is_legacy(request) {
            let [data] = request.members("sessionAttributes", [JSON_DATA]);
            let data = parsed(data);
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

    fn has_client_sessions(&self) -> bool {
        true
    }

    fn write_reply(
        &self,
        request: &PlatformRequest<'_>,
        state: &ReplyState<'_>,
        reply: &mut Reply,
    ) {
        let Some(request) = request.json() else { return };
        let Some(session) = state.session else { return };
        if is_current(request) {
            let [came] = request.members("sessionState", ["sessionAttributes"]);
            let (mut attributes, others): (Vec<_>, Vec<_>) =
                session.attribute_texts().into_iter().partition(|(_, text)| text.starts_with('"'));
            if attributes.iter().any(|(name, _)| is(name, JSON_DATA)) {
                // It is not the text of an object, and overwriting it would lose it.
                if !others.is_empty() {
                    reply.block();
                }
            } else if !others.is_empty() {
                let others = quoted(object(others).get());
                attributes.push((quoted(JSON_DATA).into(), others.into()));
            }
            reply.put_over("/sessionState/sessionAttributes", came, &object(attributes));
        } else {
            let came = request.get("sessionAttributes");
            let [json_data] = members(came, [JSON_DATA]);
            if !is_empty(json_data) && parsed(json_data).is_none() {
                reply.block();
                return;
            }
            let data = put_in(session.attribute_texts(), NEW_SESSION, "false".into());
            let attributes = Pairs::of(came).0;
            let attributes =
                attributes.iter().map(|(name, value)| (name.get().into(), value.get().into()));
            let data = quoted(object(data).get());
            let attributes = put_in(attributes.collect(), JSON_DATA, data.into());
            reply.put_over("/sessionAttributes", came, &object(attributes));
        }
    }

    /// Returns a reply with an empty message: `ElicitIntent` is the only action that needs no
    /// intent, and it needs a message
    /// (<https://docs.aws.amazon.com/lexv2/latest/dg/lambda-response-format.html>).
    fn empty_reply(&self) -> &'static str {
        r#"{"sessionState":{"dialogAction":{"type":"ElicitIntent"}},"messages":[{"contentType":"PlainText","content":" "}]}"#
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
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

/// Returns the attributes of V2 merged with the members of their `jsonData`, which take precedence.
fn session_data(attributes: &RawValue) -> Cow<'_, RawValue> {
    let Some(json_data) = parsed(members(Some(attributes), [JSON_DATA])[0]) else {
        return Cow::Borrowed(attributes);
    };
    let mut data = Pairs::of(Some(attributes)).0;
    data.retain(|(name, _)| raw::name(name) != JSON_DATA);
    data.extend(Pairs::of(Some(&json_data)).0);
    Cow::Owned(object(data.iter().map(|(name, value)| (name.get(), value.get()))))
}

/// Returns the object in the JSON text `jsonData`; an empty text is an empty object.
fn parsed(json_data: Option<&RawValue>) -> Option<Box<RawValue>> {
    let json_data = text(json_data)?;
    let json = if json_data.trim_ascii().is_empty() { "{}" } else { &*json_data };
    let json = RawValue::from_string(json.to_owned()).ok()?;
    json.get().starts_with('{').then_some(json)
}

/// Names, in quotation marks, and values.
type Texts<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Replaces the members called `name`, or appends one.
fn put_in<'a>(mut members: Texts<'a>, name: &str, value: Cow<'a, str>) -> Texts<'a> {
    let position = members.iter().position(|(quoted, _)| is(quoted, name));
    let mut at = 0;
    members.retain(|(quoted, _)| {
        at += 1;
        Some(at - 1) == position || !is(quoted, name)
    });
    match position {
        Some(position) => members[position].1 = value,
        None => members.push((quoted(name).into(), value)),
    }
    members
}

fn is(quoted: &str, name: &str) -> bool {
    serde_json::from_str::<Cow<'_, str>>(quoted).is_ok_and(|text| text == name)
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
