//! Telegram bots.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

use super::fingerprint::fingerprint;
use super::raw::{integer, is, is_true, text};
use super::{Document, Event, Input, NewSession, Platform, PlatformRequest};

/// The time for which Telegram keeps an update that was not answered with success
/// (<https://core.telegram.org/bots/api#getting-updates>).
const REPEATS: Duration = Duration::from_secs(24 * 60 * 60);

/// Telegram's Bot API ([`Update`](https://core.telegram.org/bots/api#update)).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | an integer `update_id`, and one of the kinds of update below |
/// | user id | `from.id`, in some kinds `user.id`: an integer |
/// | conversation | `chat.id`, in a `callback_query` its message's: an integer, negative for groups |
/// | thread | `message_thread_id` in a topic |
/// | session id | the conversation, and in a topic also the thread; in a private chat the conversation alone |
/// | event id | `update_id`, and a hash of the whole update |
///
/// * A *turn*: `message`, `edited_message`, `business_message`, `edited_business_message`,
///   `guest_message`, `callback_query`, `inline_query`, `shipping_query`, `pre_checkout_query`,
///   `purchased_paid_media`, `poll_answer`, `chat_join_request`, and posts in channels:
///   `channel_post` and `edited_channel_post`, most of which name no user.
/// * A [receipt](Event::is_receipt): `chosen_inline_result`, `message_reaction`, `my_chat_member`,
///   `chat_member`, `business_connection`, `managed_bot`, `subscription`.
/// * An event *without a user*: `poll`, `message_reaction_count`, `chat_boost`,
///   `removed_chat_boost`, `deleted_business_messages`.
///
/// Telegram puts an account of its own in the place of a sender who is hidden: 1087968824
/// (`GroupAnonymousBot`), 136817688 (`Channel_Bot`), 777000 (Telegram, also for forwarded posts).
/// All such senders would share it, so it is not a user id.
///
/// `update_id` alone does not identify an event for ever: after a week without updates it starts
/// anew at random.
///
/// The reply may be one call of a method: `{"method":"sendMessage","chat_id":…,"text":…}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Telegram;

/// The meaning of an update of a kind.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// An act of the user `from`.
    Turn,
    /// An act of the user `from`, whose chat is that of its `message`.
    Callback,
    /// An act of `user`.
    Answer,
    /// A receipt about `from`, or about `user`.
    Receipt,
    /// No act of a user.
    Other,
}

/// The kinds of update: one of them is a member of each update.
const KINDS: [(&str, Kind); 26] = [
    ("message", Kind::Turn),
    ("edited_message", Kind::Turn),
    ("channel_post", Kind::Turn),
    ("edited_channel_post", Kind::Turn),
    ("business_message", Kind::Turn),
    ("edited_business_message", Kind::Turn),
    ("guest_message", Kind::Turn),
    ("callback_query", Kind::Callback),
    ("inline_query", Kind::Turn),
    ("shipping_query", Kind::Turn),
    ("pre_checkout_query", Kind::Turn),
    ("purchased_paid_media", Kind::Turn),
    ("poll_answer", Kind::Answer),
    ("chat_join_request", Kind::Turn),
    ("chosen_inline_result", Kind::Receipt),
    ("message_reaction", Kind::Receipt),
    ("my_chat_member", Kind::Receipt),
    ("chat_member", Kind::Receipt),
    ("business_connection", Kind::Receipt),
    ("managed_bot", Kind::Receipt),
    ("subscription", Kind::Receipt),
    ("poll", Kind::Other),
    ("message_reaction_count", Kind::Other),
    ("chat_boost", Kind::Other),
    ("removed_chat_boost", Kind::Other),
    ("deleted_business_messages", Kind::Other),
];

/// Telegram's own accounts, each of which stands for many senders
/// (<https://core.telegram.org/bots/api#message>: "a fake sender user in non-channel chats").
const SHARED: [&str; 3] = ["1087968824", "136817688", "777000"];

impl Platform for Telegram {
    fn name(&self) -> &str {
        "telegram"
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let update_id = integer(request.get("update_id"))?;
        let (update, kind) = update(request)?;
        let names = ["from/id", "user/id", "chat/id", "chat/type", "message_thread_id"];
        let [from, user, chat, chat_type, thread] = request.members(update, names);
        let [is_topic] = request.members(update, ["is_topic_message"]);
        let user_id = match kind {
            Kind::Turn | Kind::Callback => user_id(from),
            Kind::Answer => user_id(user),
            Kind::Receipt => user_id(from).or_else(|| user_id(user)),
            Kind::Other => None,
        };
        let (chat, chat_type, thread, is_topic) = match kind {
            Kind::Callback => {
                let names = ["message/chat/id", "message/chat/type"];
                let [chat, chat_type] = request.members(update, names);
                let names = ["message/message_thread_id", "message/is_topic_message"];
                let [thread, is_topic] = request.members(update, names);
                (chat, chat_type, thread, is_topic)
            }
            _ => (chat, chat_type, thread, is_topic),
        };
        let conversation = integer(chat);
        // Outside topics, the number names a chain of replies.
        let thread = integer(thread).filter(|_| is_true(is_topic));
        let event = Event::default()
            .user_id(user_id)
            .conversation(conversation.clone())
            .thread(thread)
            .id(Some(format!("{update_id}/{:032x}", fingerprint(request.text())).into()))
            .repeats(REPEATS);
        let event = match is(chat_type, "private") {
            true => event.session(conversation, NewSession::Unknown),
            false => event,
        };
        Some(vec![if kind == Kind::Receipt { event.receipt() } else { event }])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let update = request.json().and_then(|request| Some((request, update(request)?)));
        let texts = update.map(|(request, (update, _))| {
            request.members(update, ["text", "caption", "data", "query"])
        });
        match texts.into_iter().flatten().find_map(text) {
            Some(text) => Input::of_type("TEXT").text(&text),
            None => Input::default(),
        }
    }
}

/// Returns the name of the update, and its kind.
fn update(request: &Document<'_>) -> Option<(&'static str, Kind)> {
    KINDS.iter().copied().find(|(name, _)| request.has_object(name))
}

fn user_id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    integer(raw).filter(|id| !SHARED.contains(&&**id))
}
