//! Google Business Messages.

use super::raw::{id, is_true, text};
use super::{Event, Input, NewSession, Platform, PlatformRequest};

/// Google Business Messages ([message reference]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | `agent`, `conversationId` and `requestId` |
/// | user id, session id | `conversationId` |
/// | event id | `requestId` |
///
/// `receipts`, and a `userStatus` that states only that the user is typing, are
/// [receipts](Event::is_receipt).
///
/// [message reference]: https://developers.google.com/business-communications/business-messages/reference/rest/v1/UserMessage
#[derive(Clone, Copy, Debug, Default)]
pub struct GoogleBusiness;

impl Platform for GoogleBusiness {
    fn name(&self) -> &str {
        "googlebusiness"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        if !["agent", "conversationId", "requestId"].iter().all(|name| request.has(name)) {
            return None;
        }
        let conversation = id(request.get("conversationId"));
        let event = Event::default()
            .user_id(conversation.clone())
            .id(id(request.get("requestId")))
            .session(conversation, NewSession::Unknown);
        let [asks_for_agent] = request.members("userStatus", ["requestedLiveAgent"]);
        let is_typing = request.has("userStatus") && !is_true(asks_for_agent);
        let is_act = ["message", "suggestionResponse"].iter().any(|name| request.has(name));
        let is_receipt = !is_act && (request.has("receipts") || is_typing);
        Some(vec![if is_receipt { event.receipt() } else { event }])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let [message] = request.members("message", ["text"]);
        let [data, suggestion] = request.members("suggestionResponse", ["postbackData", "text"]);
        match text(message).or_else(|| text(data)).or_else(|| text(suggestion)) {
            Some(text) => Input::of_type("TEXT").text(&text),
            None => Input::default(),
        }
    }
}
