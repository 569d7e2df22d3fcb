//! Discord: interactions and webhook events.

use std::time::Duration;

use super::fingerprint::fingerprint;
use super::raw::{id, integer, text};
use super::{Document, Event, Input, Platform, PlatformRequest};

/// The time for which ids are kept: Discord repeats an event that was not answered for 10 minutes
/// (<https://docs.discord.com/developers/events/webhook-events>).
const REPEATS: Duration = Duration::from_secs(60 * 60);

/// Discord ([interactions], [webhook events]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | interactions | webhook events |
/// | --- | --- | --- |
/// | recognised by | `application_id`, `token`, `version: 1` and a `type` of 1 to 5 | `application_id`, `version: 1` and an `event` with `type: 1`, or `type: 0` without `token` |
/// | user id | `member.user.id` in a guild, else `user.id` | `event.data.user.id`, else its `user_id` or `author.id` |
/// | conversation, session id | `channel_id`; a thread is a channel of its own | – |
/// | account | `guild_id` | `event.data.guild.id`, else its `guild_id` |
/// | event id | `id` | a hash of the whole event |
///
/// User ids are unique in all of Discord, so the guild is the event's [account](Event::account) and
/// not part of the user's key.
///
/// Every interaction is a *turn*, and every webhook event a [receipt](Event::is_receipt). A *ping*,
/// an interaction of type 1 or a webhook event of type 0, has no user. It is answered by the check
/// in front of the layer or by the handler: an interaction with `{"type":1}`, a webhook event with
/// an empty 204.
///
/// [interactions]: https://docs.discord.com/developers/interactions/receiving-and-responding
/// [webhook events]: https://docs.discord.com/developers/events/webhook-events
#[derive(Clone, Copy, Debug, Default)]
pub struct Discord;

impl Platform for Discord {
    fn name(&self) -> &str {
        "discord"
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        id(request.get("application_id"))?;
        integer(request.get("version")).filter(|version| version == "1")?;
        let kind = integer(request.get("type"))?;
        let is_interaction = id(request.get("token")).is_some();
        Some(vec![match &*kind {
            "0" if !is_interaction => Event::default(),
            "1" if is_interaction => Event::default(),
            "1" if request.has_object("event") => webhook_event(request),
            "2" | "3" | "4" | "5" if is_interaction => interaction(request),
            _ => return None,
        }])
    }

    /// Returns the answer to a ping, the only interaction without a user.
    fn empty_reply(&self) -> &'static str {
        r#"{"type":1}"#
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        let [command, component] = request.members("data", ["name", "custom_id"]);
        match text(command).or_else(|| text(component)) {
            Some(name) => Input::of_type("TEXT").text(&name),
            None => Input::default(),
        }
    }
}

fn interaction<'a>(request: &Document<'a>) -> Event<'a> {
    let [in_guild] = request.members("member", ["user/id"]);
    let [in_direct_message] = request.members("user", ["id"]);
    Event::default()
        .user_id(id(in_guild).or_else(|| id(in_direct_message)))
        .account(id(request.get("guild_id")))
        .conversation(id(request.get("channel_id")))
        .id(id(request.get("id")))
}

fn webhook_event<'a>(request: &Document<'a>) -> Event<'a> {
    let [user, user_id, author] =
        request.members("event", ["data/user/id", "data/user_id", "data/author/id"]);
    let [guild, guild_id] = request.members("event", ["data/guild/id", "data/guild_id"]);
    // Discord repeats an event that is not answered, and gives it no id; its time is part of it.
    let event_id = format!("event/{:032x}", fingerprint(request.text()));
    Event::default()
        .user_id([user, user_id, author].into_iter().find_map(id))
        .account(id(guild).or_else(|| id(guild_id)))
        .id(Some(event_id.into()))
        .repeats(REPEATS)
        .receipt()
}
