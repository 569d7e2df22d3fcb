//! Jovo Core, in versions 3 and 4.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::raw::{boolean, filled_array, filled_object, id, is_empty, members, read, text, truthy};
use super::{Document, Event, Input, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// Jovo Core, the platform of Jovo's own clients
/// ([documentation](https://www.jovo.tech/marketplace/platform-core)).
///
/// | | version 4 |
/// | --- | --- |
/// | recognised by | `version`, `timestamp`, `input.type` and `platform: "core"` |
/// | user id | `context.user.id` |
/// | session id | `context.session.id` |
/// | session data | `context.session`, if its `data` or `state` is not empty |
/// | … in the reply | `context.session.data` and `.state`, unless `context.session.end` is `true` |
/// | new session | `context.session.isNew` |
/// | event id | `id` |
///
/// | | version 3 |
/// | --- | --- |
/// | recognised by | `version`, `request.type` and `type: "jovo-platform-core"` |
/// | user id | `context.user.id` |
/// | session id | `context.session.id` |
/// | session data | `context.session.data` |
/// | … in the reply | `session.data`, unless `session.end` is `true` |
/// | new session | `context.session.new` |
/// | event id | `request.id` |
///
/// If the request does not state whether the session is new, Jovo treats it as new; this crate
/// continues a stored session with the same id: [`NewSession::Presumed`].
///
/// The client keeps the session and may send anything in it, so its contents are untrusted. Store
/// data that the app relies on in [`User`](crate::User), or in a session that is
/// [stored](crate::StoredElements::session).
#[derive(Clone, Copy, Debug, Default)]
pub struct Core;

impl Platform for Core {
    fn name(&self) -> &str {
        "core"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        recognise(request, "core", "jovo-platform-core")
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

    fn empty_reply(&self) -> &'static str {
        r#"{"version":"4.0","platform":"core","output":[],"context":{"request":{},"session":{"data":{},"end":false},"user":{}}}"#
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        input(request)
    }
}

/// Writes the session to the place in which the client looks for it, in either version.
pub(super) fn write_reply(request: &Document<'_>, state: &ReplyState<'_>, reply: &mut Reply) {
    let Some(session) = state.session else { return };
    let is_current = request.has("input");
    let at = if is_current { "/context/session" } else { "/session" };
    let here = |name| format!("{at}/{name}");
    let [came_data, came_state] = request.members("context", ["session/data", "session/state"]);
    let ends = boolean(reply.get(&here("end"))) == Some(true);
    // If the handler set one of the two, it chose the session: writing the other would mix them.
    let is_free =
        reply.is_free(&here("data"), came_data) && reply.is_free(&here("state"), came_state);
    if ends || !is_free {
        return;
    }
    if !is_current {
        reply.put_over(&here("data"), came_data, &session.attributes());
        return;
    }
    if let Some(id) = session.id() {
        reply.put(&here("id"), id);
    }
    reply.put_over(&here("data"), came_data, &session.data_text());
    match session.state_text() {
        Some(state) => drop(reply.put_over(&here("state"), came_state, &state)),
        // An empty list erases the copy of a state that was removed.
        None if !is_empty(reply.get(&here("state"))) => {
            reply.put_over(&here("state"), came_state, &[(); 0]);
        }
        None => {}
    }
}

/// Returns the event in a request of `platform`, called `legacy_type` in version 3.
pub(super) fn recognise<'a>(
    request: &Document<'a>,
    platform: &str,
    legacy_type: &str,
) -> Option<Vec<Event<'a>>> {
    let is_current = request.is("platform", platform)
        && request.has("timestamp")
        && truthy(request.members("input", ["type"])[0]);
    let is_legacy =
        || request.is("type", legacy_type) && truthy(request.members("request", ["type"])[0]);
    if !request.has("version") || !(is_current || is_legacy()) {
        return None;
    }
    let [user_id, session] = request.members("context", ["user/id", "session"]);
    let [session_id, data, state, is_new, new] =
        members(session, ["id", "data", "state", "isNew", "new"]);
    let data = filled_object(data);
    let (new, data, event_id) = if is_current {
        let has_data = data.is_some() || filled_array(state).is_some();
        (is_new, session.filter(|_| has_data), request.get("id"))
    } else {
        (new, data, request.members("request", ["id"])[0])
    };
    let event = Event::default()
        .user_id(id(user_id))
        .id(id(event_id))
        .session(id(session_id), NewSession::from_flag(new, NewSession::Presumed));
    let data = data.map(Cow::Borrowed);
    Some(vec![if is_current {
        event.enveloped_session_data(data)
    } else {
        event.plain_session_data(data)
    }])
}

/// Returns the user's input, in either version. Audio is omitted: it can be a hundred times the
/// size of the rest of the record.
pub(super) fn input(request: &Document<'_>) -> Input {
    if request.has("input") {
        let mut input: Map<String, Value> = read(request.get("input"));
        input.retain(|name, _| name != "audio");
        let understood = input.get("nlu").filter(|nlu| nlu.is_object()).cloned();
        let nlu = understood.or_else(|| {
            let intent = match input.get("intent")? {
                Value::String(name) => json!({ "name": name }),
                intent => intent.clone(),
            };
            let entities = input.get("entities").cloned().unwrap_or_else(|| json!({}));
            Some(json!({ "intent": intent, "entities": entities }))
        });
        let asr = input.get("asr").filter(|asr| asr.is_object()).cloned();
        return Input { input: Some(Value::Object(input)), nlu, asr };
    }
    let [kind, said, intent, inputs] =
        request.members("request", ["type", "body/text", "nlu/intent", "nlu/inputs"]);
    let input = match (text(kind).as_deref(), text(intent)) {
        (Some("LAUNCH"), _) => Input::of_type("LAUNCH"),
        (Some("END"), _) => Input::of_type("END"),
        (_, Some(intent)) => Input::intent(&intent, Value::Object(read(inputs))),
        (Some("TRANSCRIBED_TEXT"), None) => {
            let said = text(said).unwrap_or_default();
            return Input::of_type("TRANSCRIBED_SPEECH").speech(&said);
        }
        (Some("AUDIO"), None) => Input::of_type("SPEECH"),
        (Some(other), None) => Input::of_type(other),
        (None, None) => Input::default(),
    };
    match text(said) {
        Some(said) => input.text(&said),
        None => input,
    }
}
