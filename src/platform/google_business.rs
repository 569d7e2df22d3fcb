use super::raw::{id, text};
use super::{Document, Event, Input, NewSession, Platform};

/// Google Business Messages
/// ([message reference](https://developers.google.com/business-communications/business-messages/reference/rest/v1/UserMessage)).
///
/// | | |
/// | --- | --- |
/// | recognised by | `agent`, `conversationId` and `requestId` |
/// | user id, session id | `conversationId` |
/// | session | has to be stored |
#[derive(Clone, Copy, Debug, Default)]
pub struct GoogleBusiness;

impl Platform for GoogleBusiness {
    fn name(&self) -> &str {
        "googlebusiness"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        if !["agent", "conversationId", "requestId"].iter().all(|name| request.has(name)) {
            return None;
        }
        let conversation = id(request.get("conversationId"));
        let event = Event::default()
            .user_id(conversation.clone())
            .session(conversation, NewSession::Unknown);
        Some(vec![event])
    }

    fn input(&self, request: &Document<'_>) -> Input {
        let [message] = request.members("message", ["text"]);
        let [data, suggestion] = request.members("suggestionResponse", ["postbackData", "text"]);
        match text(message).or_else(|| text(data)).or_else(|| text(suggestion)) {
            Some(text) => Input::of_type("TEXT").text(&text),
            None => Input::default(),
        }
    }
}
