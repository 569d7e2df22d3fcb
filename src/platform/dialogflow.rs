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
use super::{Document, Event, Input, NewSession, Platform, Reply, ReplyState};

/// Dialogflow ES with every source but Google Assistant, which is [`DialogflowGoogle`](super::DialogflowGoogle)
/// ([webhook reference](https://cloud.google.com/dialogflow/es/docs/reference/rpc/google.cloud.dialogflow.v2#webhookrequest)).
///
/// | | |
/// | --- | --- |
/// | recognised by | `responseId`, `queryResult` and `originalDetectIntentRequest` or `session` |
/// | user id | see below |
/// | session id | `session` |
/// | session data | the parameters of the context `_jovo_session_…`, without those of `queryResult.parameters`; in the reply one of `outputContexts` |
/// | new session | presumed where there is no context `_jovo_ask_…` |
///
/// The user id stands in a place of each source's own, in the payload of `originalDetectIntentRequest`:
///
/// | source | user id |
/// | --- | --- |
/// | `facebook` | `data.sender.id` |
/// | `slack`, `slack_testbot` | `data.user` or `data.event.user`, or the `id` of either |
/// | `GOOGLE_TELEPHONY` | `telephony.caller_id`, unless it is redacted, as it is on the free tier |
/// | `twilio` | `data.From` |
///
/// A caller who hides their number has no user id: what stands in its place, such as `anonymous` or `+266696687`, is the same for
/// all of them. Neither has Slackbot. From any other source, such as Dialogflow's console, there is no user: nothing is worse than a constant
/// that all users share.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dialogflow;

impl Platform for Dialogflow {
    fn name(&self) -> &str {
        "dialogflow"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
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
            .plain_session_data(conversation.session_data())
            .session(conversation.session_id, new_session);
        Some(vec![event])
    }

    fn has_client_sessions(&self) -> bool {
        true
    }

    fn write_reply(&self, request: &Document<'_>, carried: &ReplyState<'_>, reply: &mut Reply) {
        write_reply(request, carried, reply);
    }

    /// Every member of the reply is optional; Dialogflow then answers with what the intent itself says.
    fn empty_reply(&self) -> &'static str {
        "{}"
    }

    fn input(&self, request: &Document<'_>) -> Input {
        input(request)
    }
}

/// Adds the session to the reply as a context that lasts for the next request, as Jovo does.
pub(super) fn write_reply(request: &Document<'_>, carried: &ReplyState<'_>, reply: &mut Reply) {
    let session_id = id(request.get("session"));
    let (Some(session), Some(session_id)) = (carried.session, session_id) else { return };
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
    // A copy would come back beside the session, or instead of it.
    reply.retain("/outputContexts", |context| !is_session(context));
    // Another name each time: the parameters of a context that is there already would be merged
    // into it.
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

/// Whether `context` is the one that came, with a life of any length but none.
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

/// What Dialogflow's requests hold whatever their source is.
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

    /// The parameters of the session's first context whose own name begins with `prefix`.
    fn context(&self, prefix: &str) -> Option<Option<&'a RawValue>> {
        let session_id = self.session_id.as_deref()?;
        find_element(self.contexts, |context| {
            let [name, parameters] = members(Some(context), ["name", "parameters"]);
            let name = text(name)?;
            let name = name.strip_prefix(session_id)?.strip_prefix("/contexts/")?;
            name.starts_with(prefix).then_some(parameters)
        })
    }

    /// The session data that Jovo keeps in a context. Dialogflow adds what the user just said to every context's
    /// parameters, as `name` and `name.original`.
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

/// What the user said, whatever the source is.
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

/// The parameters as Jovo's entities. One that was not said is empty text.
fn entities(parameters: Map<String, Value>) -> Map<String, Value> {
    let said = parameters.into_iter().filter(|(_, value)| !value.is_null() && value != "");
    said.map(|(name, value)| (name, json!({ "value": &value, "resolved": &value, "id": &value })))
        .collect()
}
