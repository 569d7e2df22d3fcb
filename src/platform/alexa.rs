//! Amazon Alexa.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::raw::{boolean, filled_object, id, read, text, truthy};
use super::{Event, Input, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// Amazon Alexa ([request reference]).
///
/// | | |
/// | --- | --- |
/// | recognised by | `version` and `request.requestId` |
/// | user id | `context.System.user.userId`, else `session.user.userId` |
/// | session id | `session.sessionId` |
/// | session data | `session.attributes` |
/// | … in the reply | `sessionAttributes`, unless `response.shouldEndSession` is `true` |
/// | new session | `session.new` |
/// | person id | `context.System.person.personId` |
/// | event id | `request.requestId` |
///
/// AudioPlayer, PlaybackController and skill events have no `session`: they are sessionless. The
/// event `AlexaSkillEvent.SkillDisabled` with `NOT_PERSISTED` requests the deletion of the user's
/// data ([skill events]).
///
/// [request reference]: https://developer.amazon.com/en-US/docs/alexa/custom-skills/request-and-response-json-reference.html
/// [skill events]: https://developer.amazon.com/en-US/docs/alexa/smapi/skill-events-in-alexa-skills.html
#[derive(Clone, Copy, Debug, Default)]
pub struct Alexa;

impl Platform for Alexa {
    fn name(&self) -> &str {
        "alexa"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let [request_id, kind, persistence] = request
            .members("request", ["requestId", "type", "body/userInformationPersistenceStatus"]);
        if !request.has("version") || !truthy(request_id) {
            return None;
        }
        let [user_in_context, person] =
            request.members("context", ["System/user/userId", "System/person/personId"]);
        let [new, session_id, attributes, user_in_session] =
            request.members("session", ["new", "sessionId", "attributes", "user/userId"]);
        let event = Event::default()
            .user_id(id(user_in_context).or_else(|| id(user_in_session)))
            .person_id(id(person))
            .id(id(request_id));
        if !request.has_object("session") {
            let is_withdrawn = text(kind)
                .is_some_and(|kind| kind == "AlexaSkillEvent.SkillDisabled")
                && text(persistence).is_some_and(|status| status == "NOT_PERSISTED");
            let event = if is_withdrawn { event.deletion_requested() } else { event };
            return Some(vec![event.sessionless()]);
        }
        let new_session = NewSession::from_flag(new, NewSession::Unknown);
        let attributes = filled_object(attributes).map(Cow::Borrowed);
        Some(vec![event.session(id(session_id), new_session).session_data(attributes)])
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
        let ends = boolean(reply.get("/response/shouldEndSession")) == Some(true);
        if let (Some(session), false) = (state.session, ends) {
            let [came] = request.members("session", ["attributes"]);
            reply.put_over("/sessionAttributes", came, &session.as_it_came());
        }
    }

    fn empty_reply(&self) -> &'static str {
        r#"{"version":"1.0","response":{}}"#
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let [kind, intent, slots] =
            request.members("request", ["type", "intent/name", "intent/slots"]);
        match text(kind).as_deref() {
            Some("LaunchRequest") => Input::of_type("LAUNCH"),
            Some("SessionEndedRequest") => Input::of_type("END"),
            Some("IntentRequest") => {
                let name = text(intent).unwrap_or_default();
                Input::intent(&name, Value::Object(entities(read(slots))))
            }
            Some(other) => Input::of_type(other),
            None => Input::default(),
        }
    }
}

/// Returns the filled slots as Jovo's entities: the spoken value, and the skill's matching value.
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
