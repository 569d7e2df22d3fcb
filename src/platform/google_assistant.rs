//! Google Assistant with Conversational Actions.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::raw::{filled_object, id, read, text};
use super::{Event, Input, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// Google Assistant with Conversational Actions ([webhook reference]).
///
/// | | |
/// | --- | --- |
/// | recognised by | `user`, `session`, `handler` and `device` |
/// | user id | `user.params._GOOGLE_ASSISTANT_USER_ID_`, else `user.params.userId` |
/// | session id | `session.id` |
/// | session data | `session.params`, also in the reply |
/// | new session | presumed if `session.params` is empty |
///
/// Jovo 4 and Jovo 3 create these user ids; Google has none of its own. A user without an id but
/// with the `user.verificationStatus` `VERIFIED` gets a random UUID, which is returned in the
/// reply's `user.params` ([user storage]). Google stores nothing for guests, so a guest has a
/// session but not a user.
///
/// [webhook reference]: https://developers.google.com/assistant/conversational/reference/rest/v1/TopLevel/fulfill
/// [user storage]: https://developers.google.com/assistant/conversational/storage-user
#[derive(Clone, Copy, Debug, Default)]
pub struct GoogleAssistant;

impl Platform for GoogleAssistant {
    fn name(&self) -> &str {
        "googleassistant"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        if !["user", "session", "handler", "device"].iter().all(|name| request.has(name)) {
            return None;
        }
        let [user_id, legacy_user_id] =
            request.members("user", ["params/_GOOGLE_ASSISTANT_USER_ID_", "params/userId"]);
        let [session_id, params] = request.members("session", ["id", "params"]);
        let params = filled_object(params);
        let new_session = match params {
            Some(_) => NewSession::No,
            None => NewSession::Presumed,
        };
        let event = Event::default()
            .user_id(id(user_id).or_else(|| id(legacy_user_id)))
            .session(id(session_id), new_session)
            .session_data(params.map(Cow::Borrowed));
        Some(vec![event])
    }

    fn has_client_sessions(&self) -> bool {
        true
    }

    fn create_user_id(&self, request: &PlatformRequest<'_>) -> Option<String> {
        let [status] = request.json()?.members("user", ["verificationStatus"]);
        (text(status)? == "VERIFIED").then(|| Uuid::new_v4().to_string())
    }

    fn write_reply(
        &self,
        request: &PlatformRequest<'_>,
        state: &ReplyState<'_>,
        reply: &mut Reply,
    ) {
        let Some(request) = request.json() else { return };
        if let Some(session) = state.session {
            let [came] = request.members("session", ["params"]);
            reply.put_over("/session/params", came, &session.as_it_came());
        }
        if let Some(user_id) = state.created_user_id {
            // Google may remove params that the reply omits, so return the existing ones as well.
            let [params] = request.members("user", ["params"]);
            if let Some(params) = filled_object(params) {
                reply.put("/user/params", params);
            }
            reply.put("/user/params/_GOOGLE_ASSISTANT_USER_ID_", user_id);
        }
    }

    /// Returns an empty object: every member of the reply is optional.
    fn empty_reply(&self) -> &'static str {
        "{}"
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let [name, params, query] = request.members("intent", ["name", "params", "query"]);
        let [session_params] = request.members("session", ["params"]);
        let input = match text(name).as_deref() {
            Some("actions.intent.MAIN") if filled_object(session_params).is_none() => {
                Input::of_type("LAUNCH")
            }
            Some("actions.intent.CANCEL") => Input::of_type("END"),
            Some(name) => Input::intent(name, Value::Object(entities(read(params)))),
            None => Input::default(),
        };
        match text(query) {
            Some(query) => input.text(&query),
            None => input,
        }
    }
}

fn entities(params: Map<String, Value>) -> Map<String, Value> {
    let entity = |(name, param): (String, Value)| {
        let resolved = param.get("resolved")?;
        let value = param.get("original").unwrap_or(resolved);
        Some((name, json!({ "value": value, "resolved": resolved, "id": resolved })))
    };
    params.into_iter().filter_map(entity).collect()
}
