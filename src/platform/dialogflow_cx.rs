//! Dialogflow CX, now Conversational Agents.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::hidden_caller::is_hidden;
use super::kept::{Pairs, object};
use super::raw::{self, filled_object, id, read, text};
use super::{Event, Input, Platform, PlatformRequest, Reply, ReplyState};

/// Dialogflow CX, now Conversational Agents ([webhook request]).
///
/// | | |
/// | --- | --- |
/// | recognised by | `detectIntentResponseId`, `fulfillmentInfo` and `sessionInfo.session` |
/// | user id | `payload.telephony.caller_id`, of the phone gateway |
/// | conversation, session id | `sessionInfo.session` |
/// | session data | `sessionInfo.parameters` |
/// | … in the reply | `sessionInfo.parameters`, with `null` for a removed one |
/// | event id | `detectIntentResponseId` and `fulfillmentInfo.tag` |
///
/// Other integrations name no user in a place of their own; without one, `Session` works all the
/// same. An app that puts an id into the payload of its requests can add a platform of this name
/// that wraps this one.
///
/// A caller with a hidden number has no user id, because the placeholder is the same for all of
/// them. One turn of the user may call several webhooks, each with a tag.
///
/// Parameters that the agent itself fills are among the session data, as they are the agent's
/// variables. A handler may change them.
///
/// [webhook request]: https://cloud.google.com/dialogflow/cx/docs/reference/rest/v3/WebhookRequest
#[derive(Clone, Copy, Debug, Default)]
pub struct DialogflowCx;

impl Platform for DialogflowCx {
    fn name(&self) -> &str {
        "dialogflow-cx"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let response = id(request.get("detectIntentResponseId"))?;
        if !request.has_object("fulfillmentInfo") {
            return None;
        }
        let [session, parameters] = request.members("sessionInfo", ["session", "parameters"]);
        let session = id(session)?;
        let [tag] = request.members("fulfillmentInfo", ["tag"]);
        let [caller] = request.members("payload", ["telephony/caller_id"]);
        let event_id = match text(tag).filter(|tag| !tag.is_empty()) {
            Some(tag) => format!("{response}/{tag}").into(),
            None => response,
        };
        let event = Event::default()
            .user_id(id(caller).filter(|caller| !is_hidden(caller)))
            .conversation(Some(session))
            .plain_session_data(filled_object(parameters).map(Cow::Borrowed))
            .id(Some(event_id));
        Some(vec![event])
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
        let (Some(request), Some(session)) = (request.json(), state.session) else { return };
        let [came] = request.members("sessionInfo", ["parameters"]);
        let mut parameters = session.attribute_texts();
        let kept: HashSet<String> =
            parameters.iter().filter_map(|(name, _)| serde_json::from_str(name).ok()).collect();
        // The agent merges the reply's parameters into its own, so one that is left out would stay.
        let removed = Pairs::of(came).0.into_iter().map(|(name, _)| name);
        let removed = removed.filter(|name| !kept.contains(&*raw::name(name)));
        parameters.extend(removed.map(|name| (name.get().into(), "null".into())));
        reply.put_over("/sessionInfo/parameters", came, &object(parameters));
    }

    /// Returns an empty object: every member of the reply is optional.
    fn empty_reply(&self) -> &'static str {
        "{}"
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let [intent, parameters] = request.members("intentInfo", ["displayName", "parameters"]);
        let input = match text(intent).as_deref() {
            Some("Default Welcome Intent") => Input::of_type("LAUNCH"),
            Some(intent) => Input::intent(intent, Value::Object(entities(read(parameters)))),
            None => Input::default(),
        };
        match (text(request.get("transcript")), text(request.get("text"))) {
            (Some(heard), _) => input.speech(&heard),
            (None, Some(written)) => input.text(&written),
            (None, None) => input,
        }
    }
}

/// Returns the parameters of the intent as Jovo's entities.
fn entities(parameters: Map<String, Value>) -> Map<String, Value> {
    let entity = |(name, parameter): (String, Value)| {
        let resolved = parameter.get("resolvedValue")?;
        let said = parameter.get("originalValue").unwrap_or(resolved);
        Some((name, json!({ "value": said, "resolved": resolved, "id": resolved })))
    };
    parameters.into_iter().filter_map(entity).collect()
}
