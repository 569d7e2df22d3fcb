//! Google Chat: add-ons, classic Chat apps and Pub/Sub.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::raw::{id, is, is_object, is_true, members, text};
use super::{Document, Event, Input, NewSession, Platform, PlatformRequest};

/// Google Chat ([events of add-ons], [classic events], [Pub/Sub], [Workspace events]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | add-on | classic | Workspace event by Pub/Sub |
/// | --- | --- | --- | --- |
/// | recognised by | `chat.user.name` and one of the payloads below | `type`, `eventTime`, `user.name` and `space.name` | `subscription` and a `message` whose attribute `ce-type` begins with `google.workspace.chat.` |
/// | user id | `chat.user.name` | `user.name` | `message.sender.name`, `reaction.user.name` |
/// | conversation | `space.name` | `space.name` | `message.space.name` |
/// | thread | `message.thread.name` | `message.thread.name` | `message.thread.name` |
/// | event id | `message.name` | `message.name` | `message.name`, else Pub/Sub's `messageId` |
///
/// A Pub/Sub message may also hold a classic event. Its `data` is Base64 either way.
///
/// User ids, such as `users/123`, are unique in all of Google Chat. The session id is the thread,
/// whose name holds the space's; in a direct message, and without a thread, it is the space. A
/// Workspace event does not say whether its space is a direct message.
///
/// * A *turn*: `messagePayload`, `addedToSpacePayload`, `buttonClickedPayload`,
///   `widgetUpdatedPayload`, `appCommandPayload`; the classic types `MESSAGE`, `ADDED_TO_SPACE`,
///   `CARD_CLICKED`, `WIDGET_UPDATED`, `APP_COMMAND`, `APP_HOME`, `SUBMIT_FORM`; a message that was
///   created.
/// * A [receipt](Event::is_receipt): everything else, such as `removedFromSpacePayload`, a reaction
///   or an edit.
/// * An event *without a user*: what a bot did, among them the app's own messages, and Workspace
///   events about several messages or none.
///
/// Pub/Sub does not read the reply.
///
/// [events of add-ons]: https://developers.google.com/workspace/add-ons/chat/build
/// [classic events]: https://developers.google.com/workspace/chat/receive-respond-interactions
/// [Pub/Sub]: https://cloud.google.com/pubsub/docs/reference/rest/v1/PubsubMessage
/// [Workspace events]: https://developers.google.com/workspace/events/guides/events-chat
#[derive(Clone, Copy, Debug, Default)]
pub struct GoogleChat;

/// The payloads of an add-on: the last one is a receipt.
const PAYLOADS: [&str; 6] = [
    "messagePayload",
    "addedToSpacePayload",
    "buttonClickedPayload",
    "widgetUpdatedPayload",
    "appCommandPayload",
    "removedFromSpacePayload",
];

/// Types of a classic event that are steps of the conversation.
const TURNS: [&str; 7] = [
    "MESSAGE",
    "ADDED_TO_SPACE",
    "CARD_CLICKED",
    "WIDGET_UPDATED",
    "APP_COMMAND",
    "APP_HOME",
    "SUBMIT_FORM",
];

/// The other types of a classic event.
const RECEIPTS: [&str; 2] = ["REMOVED_FROM_SPACE", "UNSPECIFIED"];

/// The beginning of the types of Workspace events.
const WORKSPACE: &str = "google.workspace.chat.";

impl Platform for GoogleChat {
    fn name(&self) -> &str {
        "googlechat"
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let event = add_on(request).or_else(|| classic(request)).or_else(|| pub_sub(request))?;
        Some(vec![event])
    }

    /// Returns an empty object: the app does not answer.
    fn empty_reply(&self) -> &'static str {
        "{}"
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let decoded = data(request);
        let decoded = decoded.as_deref().and_then(Document::parse);
        let request = decoded.as_ref().unwrap_or(request);
        let [in_add_on] = request.members("chat", ["messagePayload/message"]);
        let message = in_add_on.or_else(|| request.get("message"));
        let said = members(message, ["argumentText", "text"]);
        match said.into_iter().find_map(text) {
            Some(text) => Input::of_type("TEXT").text(text.trim()),
            None => Input::default(),
        }
    }
}

fn add_on<'a>(request: &Document<'a>) -> Option<Event<'a>> {
    let [user, kind] = request.members("chat", ["user/name", "user/type"]);
    let user = user_id(user)?;
    let payloads = request.members("chat", PAYLOADS);
    let at = payloads.iter().position(|payload| is_object(*payload))?;
    let event = event(Some(user), is(kind, "BOT"), payloads[at]);
    Some(match PAYLOADS[at] {
        "messagePayload" => event,
        "removedFromSpacePayload" => event.shared_id().receipt(),
        // The message is the one on which the user acts, as others may.
        _ => event.shared_id(),
    })
}

fn classic<'a>(request: &Document<'a>) -> Option<Event<'a>> {
    let kind = text(request.get("type"))?;
    let is_turn = TURNS.contains(&&*kind);
    if !is_turn && !RECEIPTS.contains(&&*kind) {
        return None;
    }
    id(request.get("eventTime"))?;
    let [user, user_kind] = request.members("user", ["name", "type"]);
    let user = user_id(user)?;
    let [space] = request.members("space", ["name"]);
    id(space).filter(|name| name.starts_with("spaces/"))?;
    // The whole request holds `space`, `message` and `thread` as an add-on's payload does.
    let whole: Option<&RawValue> = serde_json::from_str(request.text()).ok();
    let event = event(Some(user), is(user_kind, "BOT"), whole);
    let event = if kind == "MESSAGE" { event } else { event.shared_id() };
    Some(if is_turn { event } else { event.receipt() })
}

fn pub_sub<'a>(request: &Document<'a>) -> Option<Event<'a>> {
    let decoded = data(request)?;
    let document = Document::parse(&decoded)?;
    let [message_id, kind] = request.members("message", ["messageId", "attributes/ce-type"]);
    let message_id = id(message_id);
    let Some(kind) = text(kind).filter(|kind| kind.starts_with(WORKSPACE)) else {
        return classic(&document).map(Event::into_owned);
    };
    let [sender, sender_kind] = document.members("message", ["sender/name", "sender/type"]);
    let [reacted, reacted_kind] = document.members("reaction", ["user/name", "user/type"]);
    let [reaction] = document.members("reaction", ["name"]);
    let user = user_id(sender).or_else(|| user_id(reacted));
    let is_bot = is(sender_kind, "BOT") || is(reacted_kind, "BOT");
    let whole: Option<&RawValue> = serde_json::from_str(document.text()).ok();
    let event = event(user, is_bot, whole);
    let space = id(reaction).and_then(|name| space_of(&name));
    let conversation = event.conversation.clone().or(space.map(Cow::Owned));
    let event = event.conversation(conversation);
    let is_created = &kind[WORKSPACE.len()..] == "message.v1.created" && !is_bot;
    let event_id = event.id.clone().filter(|_| is_created);
    let event = event.into_owned().id(event_id.map(|id| id.into_owned().into()).or(message_id));
    Some(if is_created { event } else { event.receipt() })
}

/// Returns the space in the name of a reaction: `spaces/…/messages/…/reactions/…`.
fn space_of(name: &str) -> Option<String> {
    let (space, _) = name.strip_prefix("spaces/")?.split_once('/')?;
    Some(format!("spaces/{space}"))
}

/// Returns the data of a message that Pub/Sub pushes, decoded.
fn data(request: &Document<'_>) -> Option<Vec<u8>> {
    id(request.get("subscription"))?;
    let [data] = request.members("message", ["data"]);
    STANDARD.decode(text(data)?.as_bytes()).ok()
}

fn event<'a>(user: Option<Cow<'a, str>>, is_bot: bool, payload: Option<&'a RawValue>) -> Event<'a> {
    let names = ["space/name", "space/type", "space/spaceType", "space/singleUserBotDm"];
    let [space, old_type, space_type, is_single] = members(payload, names);
    let names = ["message/name", "message/thread/name", "message/space/name", "thread/name"];
    let [message, thread, message_space, own_thread] = members(payload, names);
    let conversation = id(space).or_else(|| id(message_space));
    let thread = id(thread).or_else(|| id(own_thread));
    let is_direct = is(old_type, "DM") || is(space_type, "DIRECT_MESSAGE") || is_true(is_single);
    let session = thread.clone().filter(|_| !is_direct).or_else(|| conversation.clone());
    Event::default()
        .user_id(user.filter(|_| !is_bot))
        .conversation(conversation)
        .thread(thread)
        .session(session, NewSession::Unknown)
        .id(id(message))
}

/// Returns the name of a user, `users/…`; `users/app` is the app itself.
fn user_id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    id(raw).filter(|name| {
        name.strip_prefix("users/").is_some_and(|user| !user.is_empty() && user != "app")
    })
}
