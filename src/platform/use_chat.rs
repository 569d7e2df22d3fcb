//! Web chats built with the AI SDK.

use serde_json::value::RawValue;

use super::raw::{find_element, id, is_object, members, text};
use super::{Event, Input, Platform, PlatformRequest};

/// The AI SDK's `useChat` ([transport]): web chats that post their messages.
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | `id`, `messages` of which the first has `parts`, and a `trigger` of `submit-message` or `regenerate-message` |
/// | … a request with the last message alone | `id` and a `message` with `id` and `parts` |
/// | user id | – |
/// | conversation, session id | `id` |
/// | event id | the `id` of the last message, unless it is to be answered anew |
///
/// **The body names no user**: a browser could name any. The user is the one that an authentication
/// layer in front has found; without one, the request has no user.
///
/// [transport]: https://ai-sdk.dev/docs/ai-sdk-ui/transport
#[derive(Clone, Copy, Debug, Default)]
pub struct UseChat;

impl Platform for UseChat {
    fn name(&self) -> &str {
        "usechat"
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let chat = id(request.get("id"))?;
        let message_id = match text(request.get("trigger")).as_deref() {
            Some("submit-message") => {
                id(members(last_message(request.get("messages"))?, ["id"])[0])
            }
            Some("regenerate-message") => {
                last_message(request.get("messages"))?;
                None
            }
            Some(_) => return None,
            None => {
                let [message, parts] = request.members("message", ["id", "parts"]);
                parts.filter(|parts| parts.get().starts_with('['))?;
                Some(id(message)?)
            }
        };
        Some(vec![Event::default().conversation(Some(chat)).id(message_id)])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let last = last_message(request.get("messages")).unwrap_or_else(|| request.get("message"));
        let [parts] = members(last, ["parts"]);
        match find_element(parts, |part| text(members(Some(part), ["text"])[0])) {
            Some(text) => Input::of_type("TEXT").text(&text),
            None => Input::default(),
        }
    }
}

/// Returns the last of `messages`, if the first one has parts.
fn last_message(messages: Option<&RawValue>) -> Option<Option<&RawValue>> {
    let mut last = None;
    find_element(messages, |message| -> Option<()> {
        let is_first = last.replace(message).is_none();
        let has_parts =
            || members(Some(message), ["parts"])[0].is_some_and(|it| it.get().starts_with('['));
        if is_first && !(is_object(Some(message)) && has_parts()) {
            last = None;
            return Some(());
        }
        None
    });
    last.map(Some)
}
