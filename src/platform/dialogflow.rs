//! Dialogflow ES, and the parts that it shares with Google Assistant through Dialogflow.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::hidden_caller::is_hidden;
use super::kept::{Pairs, object as object_of, quoted};
use super::raw::{
    self, elements, filled_object, find_element, id, members, object, read, text, truthy,
};
use super::same::same;
use super::{Document, Event, Input, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// Dialogflow ES with every source except Google Assistant, which is
/// [`DialogflowGoogle`](super::DialogflowGoogle) ([webhook reference]).
///
/// | | |
/// | --- | --- |
/// | recognised by | `responseId`, `queryResult` and `originalDetectIntentRequest` or `session` |
/// | user id | see below |
/// | session id | `session` |
/// | session data | the context `_jovo_session_…`, see below |
/// | … in the reply | a context in `outputContexts` |
/// | new session | presumed if there is no context `_jovo_ask_…` |
/// | event id | `responseId` with `queryResult.intent.name` |
///
/// The session data is the context's parameters without those of `queryResult.parameters`, which
/// Dialogflow adds to every context.
///
/// Each source has its own place for the user id, in the payload of `originalDetectIntentRequest`:
///
/// | source | user id |
/// | --- | --- |
/// | `facebook` | `data.sender.id` |
/// | `slack`, `slack_testbot` | `data.user` or `data.event.user`, or the `id` of either |
/// | `GOOGLE_TELEPHONY` | `telephony.caller_id`, unless it is redacted, as on the free tier |
/// | `twilio` | `data.From` |
///
/// A caller with a hidden number has no user id, because the placeholder, such as `anonymous` or
/// `+266696687`, is the same for all of them. Slackbot has no user id either. Requests from other
/// sources, such as Dialogflow's console, have no user: the only ids in them are constants that all
/// users would share.
///
/// [webhook reference]: https://cloud.google.com/dialogflow/es/docs/reference/rpc/google.cloud.dialogflow.v2#webhookrequest
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialogflow;

impl Platform for Dialogflow {
    fn name(&self) -> &str {
        "dialogflow"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let is_dialogflow = request.has("responseId")
            && request.has("queryResult")
            && (request.has("originalDetectIntentRequest") || request.has("session"));
        if !is_dialogflow {
            return None;
        }
        let [source, payload] =
            request.members("originalDetectIntentRequest", ["source", "payload"]);
        let source = text(source);
        if source.as_deref() == Some("google") {
            return None;
        }
        let conversation = Conversation::of(request);
        let new_session = match conversation.context("_jovo_ask_") {
            Some(_) => NewSession::No,
            None => NewSession::Presumed,
        };
        let event = Event::default()
            .user_id(user_id(source.as_deref(), payload))
            .id(event_id(request))
            .plain_session_data(conversation.session_data())
            .session(conversation.session_id, new_session);
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
        let Some(request) = request.json() else { return };
        write_reply(request, state, reply);
    }

    /// Returns an empty object: every member of the reply is optional, and Dialogflow then answers
    /// with the intent's own response.
    fn empty_reply(&self) -> &'static str {
        "{}"
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        input(request)
    }
}

/// Returns the id of the detected intent and of the response: an intent that leads to another one
/// by an event calls the webhook for both.
pub(super) fn event_id<'a>(request: &Document<'a>) -> Option<Cow<'a, str>> {
    let response = id(request.get("responseId"))?;
    let [intent] = request.members("queryResult", ["intent/name"]);
    Some(format!("{response}/{}", text(intent).unwrap_or_default()).into())
}

/// Adds the session to the reply as a context that lasts for the next request, as Jovo does.
pub(super) fn write_reply(request: &Document<'_>, state: &ReplyState<'_>, reply: &mut Reply) {
    let session_id = id(request.get("session"));
    let (Some(session), Some(session_id)) = (state.session, session_id) else { return };
    let prefix = format!("{session_id}/contexts/_jovo_session_");
    let is_session = |context: &RawValue| {
        let [name] = members(Some(context), ["name"]);
        text(name).is_some_and(|name| name.starts_with(&prefix))
    };
    let [came] = request.members("queryResult", ["outputContexts"]);
    let came = elements(came);
    let is_copy = |context: &RawValue| came.iter().any(|came| is_copy(context, came));
    let contexts = elements(reply.get("/outputContexts"));
    if contexts.iter().any(|context| is_session(context) && !is_copy(context)) {
        return;
    }
    // A copy would be sent back beside the session, or instead of it.
    reply.retain("/outputContexts", |context| !is_session(context));
    // A new name each time: Dialogflow would merge the parameters into a context of the same name.
    let suffix = &Uuid::new_v4().simple().to_string()[..5];
    let name = quoted(&format!("{prefix}{suffix}"));
    let parameters = session.attributes();
    let context = [
        (r#""name""#, name.as_str()),
        (r#""lifespanCount""#, "1"),
        (r#""parameters""#, parameters.get()),
    ];
    reply.push("/outputContexts", &object_of(context));
}

/// Returns whether `context` is a copy of `came`, with any lifespan other than zero.
fn is_copy(context: &RawValue, came: &RawValue) -> bool {
    let [name, parameters, life] = members(Some(context), ["name", "parameters", "lifespanCount"]);
    let [came_name, came_parameters] = members(Some(came), ["name", "parameters"]);
    let is_same = |(a, b): (&RawValue, &RawValue)| same(a, b);
    same(context, came)
        || truthy(life)
            && name.zip(came_name).is_some_and(is_same)
            && parameters.zip(came_parameters).is_some_and(is_same)
}

/// Slackbot and Slack itself, which have the same id in every workspace.
const SLACKS_OWN: [&str; 2] = ["USLACKBOT", "USLACK"];

fn user_id<'a>(source: Option<&str>, payload: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    match source? {
        "facebook" => id(members(payload, ["data/sender/id"])[0]),
        "slack" | "slack_testbot" => {
            let user_id = |raw| id(raw).or_else(|| id(members(raw, ["id"])[0]));
            let [user, event_user] = members(payload, ["data/user", "data/event/user"]);
            let user = user_id(user).or_else(|| user_id(event_user));
            user.filter(|user| !SLACKS_OWN.contains(&&**user))
        }
        "GOOGLE_TELEPHONY" => {
            let [caller] = members(payload, ["telephony/caller_id"]);
            id(caller).filter(|caller| !is_hidden(caller))
        }
        "twilio" => id(members(payload, ["data/From"])[0]).filter(|caller| !is_hidden(caller)),
        _ => None,
    }
}

/// The part of a Dialogflow request that does not depend on its source.
pub(super) struct Conversation<'a> {
    pub(super) session_id: Option<Cow<'a, str>>,
    parameters: Option<&'a RawValue>,
    contexts: Option<&'a RawValue>,
}

impl<'a> Conversation<'a> {
    pub(super) fn of(request: &Document<'a>) -> Self {
        let [parameters, contexts] =
            request.members("queryResult", ["parameters", "outputContexts"]);
        let session_id = id(request.get("session"));
        Self { session_id, parameters, contexts }
    }

    /// Returns the parameters of the session's first context with a name that begins with `prefix`.
    fn context(&self, prefix: &str) -> Option<Option<&'a RawValue>> {
        let session_id = self.session_id.as_deref()?;
        find_element(self.contexts, |context| {
            let [name, parameters] = members(Some(context), ["name", "parameters"]);
            let name = text(name)?;
            let name = name.strip_prefix(session_id)?.strip_prefix("/contexts/")?;
            name.starts_with(prefix).then_some(parameters)
        })
    }

    /// Returns the session data that Jovo keeps in a context. Dialogflow adds the parameters of the
    /// user's input to those of every context, as `name` and `name.original`.
    pub(super) fn session_data(&self) -> Option<Cow<'a, RawValue>> {
        let data = filled_object(self.context("_jovo_session_").flatten())?;
        let said = object(self.parameters);
        if said.0.is_empty() {
            return Some(Cow::Borrowed(data));
        }
        let said: HashSet<&str> = said.0.iter().map(|(name, _)| name.as_ref()).collect();
        let mut data = Pairs::of(Some(data)).0;
        data.retain(|(name, _)| {
            let name = raw::name(name);
            !said.contains(name.strip_suffix(".original").unwrap_or(&name))
                && !said.contains(&*name)
        });
        let data = data.iter().map(|(name, value)| (name.get(), value.get()));
        let data = object_of(data);
        filled_object(Some(&data)).is_some().then_some(Cow::Owned(data))
    }
}

/// Returns the user's input, whatever the source.
pub(super) fn input(request: &Document<'_>) -> Input {
    let [intent, parameters, query] =
        request.members("queryResult", ["intent/displayName", "parameters", "queryText"]);
    let query = text(query);
    let input = match (text(intent).as_deref(), query.as_deref()) {
        (_, Some("actions_intent_CANCEL")) => return Input::of_type("END"),
        (Some("Default Welcome Intent"), _) => Input::of_type("LAUNCH"),
        (Some(intent), _) => Input::intent(intent, Value::Object(entities(read(parameters)))),
        (None, Some(_)) => Input::of_type("TEXT"),
        (None, None) => Input::default(),
    };
    match query {
        Some(query) => input.text(&query),
        None => input,
    }
}

/// Returns the parameters as Jovo's entities, without the empty texts that Dialogflow sends for
/// parameters that the user left out.
fn entities(parameters: Map<String, Value>) -> Map<String, Value> {
    let said = parameters.into_iter().filter(|(_, value)| !value.is_null() && value != "");
    said.map(|(name, value)| (name, json!({ "value": &value, "resolved": &value, "id": &value })))
        .collect()
}
