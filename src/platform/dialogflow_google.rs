//! Google Assistant through Dialogflow ES.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::dialogflow::{self, Conversation};
use super::raw::{id, members, text};
use super::{Event, Input, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// Google Assistant through Dialogflow ES ([webhook reference]).
///
/// | | |
/// | --- | --- |
/// | recognised by | `queryResult`, `session`, `originalDetectIntentRequest.source: "google"` |
/// | user id | `userId` in the payload's JSON text `user.userStorage`, else `user.userId` |
/// | session id | `session` |
/// | session data | the context `_jovo_session_…`, as in [`Dialogflow`](super::Dialogflow) |
/// | … in the reply | a context in `outputContexts` |
/// | new session | `conversation.type` of the payload is not `ACTIVE`; presumed if it is missing |
/// | event id | `responseId` with `queryResult.intent.name` |
///
/// [webhook reference]: https://developers.google.com/assistant/df-asdk/reference/dialogflow/webhook-format
#[derive(Clone, Copy, Debug, Default)]
pub struct DialogflowGoogle;

impl Platform for DialogflowGoogle {
    fn name(&self) -> &str {
        "dialogflow-google"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        if !request.has("queryResult") || !request.has("session") {
            return None;
        }
        let [source, storage, google_id, kind] = request.members(
            "originalDetectIntentRequest",
            [
                "source",
                "payload/user/userStorage",
                "payload/user/userId",
                "payload/conversation/type",
            ],
        );
        text(source).filter(|source| source == "google")?;
        let new_session = match text(kind).as_deref() {
            Some("ACTIVE") => NewSession::No,
            Some(_) => NewSession::Yes,
            None => NewSession::Presumed,
        };
        let conversation = Conversation::of(request);
        let event = Event::default()
            .id(dialogflow::event_id(request))
            .user_id(stored_id(storage).or_else(|| id(google_id)))
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
        dialogflow::write_reply(request, state, reply);
    }

    /// Returns an empty object: every member of the reply is optional, and Dialogflow then answers
    /// with the intent's own response.
    fn empty_reply(&self) -> &'static str {
        "{}"
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        dialogflow::input(request)
    }
}

/// Returns the id that the app once put into the user storage: Google's own may change from request
/// to request.
fn stored_id<'a>(storage: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    let storage = text(storage)?;
    let storage: &RawValue = serde_json::from_str(&storage).ok()?;
    id(members(Some(storage), ["userId"])[0]).map(|id| Cow::Owned(id.into_owned()))
}
