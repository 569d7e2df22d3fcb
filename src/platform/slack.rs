//! Slack: the Events API, interactivity and slash commands.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

use super::raw::{id, is, is_true, member, members, text};
use super::{Document, Event, Form, Input, NewSession, Platform, PlatformRequest};

/// The time for which Slack repeats an event that was not acknowledged, with delayed events
/// switched on (<https://docs.slack.dev/apis/events-api>).
const REPEATS: Duration = Duration::from_secs(24 * 60 * 60);

/// Slack ([Events API], [interactivity], [slash commands]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | Events API | interactivity | slash commands |
/// | --- | --- | --- | --- |
/// | recognised by | `type: "event_callback"` and an `event` | a form with the JSON text `payload`, whose `type` is one of those below | a form with `command`, `team_id` and `user_id` |
/// | user id | `event.user` or its `id`, in an edit `event.message.user` | `user.id` | `user_id` |
/// | scope | `team_id` | `team.id`, else `user.team_id` | `team_id` |
/// | … of an app that an enterprise installed | `enterprise_id` | `enterprise.id` | `enterprise_id` |
/// | conversation | `event.channel` | `channel.id`, else `container.channel_id` | `channel_id` |
/// | thread | `event.thread_ts`, else `event.ts` | the message's `thread_ts`, else its `ts` | – |
/// | event id | `event_id` | – | – |
///
/// The session id is the conversation and the thread, in direct messages (`channel_type: "im"`, or
/// a channel id that begins with `D`) the conversation alone.
///
/// User ids are unique within a team, so the [scope](Event::scope) is part of the user's key. An
/// app that was installed for a whole enterprise (`is_enterprise_install`) is one app in all its
/// teams, and there the enterprise is the scope.
///
/// * A *turn*: the events `message` without a subtype or with `file_share`, `me_message` or
///   `thread_broadcast`, and `app_mention`; the interactions `block_actions`, `view_submission`,
///   `shortcut`, `message_action`, `block_suggestion`; every slash command.
/// * A [receipt](Event::is_receipt): every other event, such as `reaction_added`,
///   `member_joined_channel` or an edit, and `view_closed`.
/// * An event *without a user*: messages of apps (`bot_id`), among them the bot's own, of Slackbot
///   and of Slack; and the handshakes `url_verification`, `app_rate_limited` and `ssl_check`.
///
/// [Events API]: https://docs.slack.dev/apis/events-api/
/// [interactivity]: https://docs.slack.dev/interactivity/handling-user-interaction
/// [slash commands]: https://docs.slack.dev/interactivity/implementing-slash-commands
#[derive(Clone, Copy, Debug, Default)]
pub struct Slack;

/// Slackbot and Slack itself, which have the same id in every workspace.
const SLACKS_OWN: [&str; 2] = ["USLACKBOT", "USLACK"];

/// Subtypes of a message that are the user's own words.
const OWN_WORDS: [&str; 3] = ["file_share", "me_message", "thread_broadcast"];

const INTERACTIONS: [&str; 6] = [
    "block_actions",
    "view_submission",
    "view_closed",
    "shortcut",
    "message_action",
    "block_suggestion",
];

impl Platform for Slack {
    fn name(&self) -> &str {
        "slack"
    }

    fn reads_forms(&self) -> bool {
        true
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let event = match (request.json(), request.form()) {
            (Some(document), _) => envelope(document)?,
            (None, Some(form)) => match form.get("payload") {
                Some(payload) => interaction(&Document::parse(payload.as_bytes())?)?.into_owned(),
                None => command(form)?,
            },
            (None, None) => return None,
        };
        Some(vec![event])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let of_text = |text: &str| Input::of_type("TEXT").text(text);
        let (Some(form), None) = (request.form(), request.json()) else {
            let document = request.json();
            let [said] = document.map_or([None], |it| it.members("event", ["text"]));
            return text(said).map_or_else(Input::default, |text| of_text(&text));
        };
        match (form.get("command"), form.get("text")) {
            (Some(command), Some(said)) => of_text(format!("{command} {said}").trim_end()),
            (Some(command), None) => of_text(&command),
            _ => Input::default(),
        }
    }
}

/// Returns the event in an envelope of the Events API.
fn envelope<'a>(request: &Document<'a>) -> Option<Event<'a>> {
    match text(request.get("type"))?.as_ref() {
        "event_callback" => {}
        "url_verification" if request.has("challenge") => return Some(Event::default()),
        "app_rate_limited" if request.has("team_id") => return Some(Event::default()),
        _ => return None,
    }
    if !request.has_object("event") {
        return None;
    }
    let [kind, subtype, user, bot_id] =
        request.members("event", ["type", "subtype", "user", "bot_id"]);
    let [edited_user, edited_bot] = request.members("event", ["message/user", "message/bot_id"]);
    let [previous_user] = request.members("event", ["previous_message/user"]);
    let [channel, channel_type, item, thread, ts] =
        request.members("event", ["channel", "channel_type", "item/channel", "thread_ts", "ts"]);
    let [edited_thread, edited_ts] = request.members("event", ["message/thread_ts", "message/ts"]);
    let is_message = is(kind, "message") || is(kind, "app_mention");
    let own_words = subtype.is_none_or(|subtype| {
        text(Some(subtype)).is_some_and(|subtype| OWN_WORDS.contains(&&*subtype))
    });
    let user = id_or_its_id(user).or_else(|| id(edited_user)).or_else(|| id(previous_user));
    let is_app = id(bot_id).is_some() || id(edited_bot).is_some();
    let conversation = id_or_its_id(channel).or_else(|| id(item));
    let thread = [edited_thread, thread, edited_ts, ts].into_iter().find_map(id);
    let is_direct = is(channel_type, "im") || conversation.as_deref().is_some_and(is_direct);
    let [by_enterprise] = members(
        super::raw::find_element(request.get("authorizations"), Some),
        ["is_enterprise_install"],
    );
    let by_enterprise = is_true(by_enterprise) || is_true(request.get("is_enterprise_install"));
    let scope = scope(by_enterprise, id(request.get("enterprise_id")), id(request.get("team_id")));
    let found = event_of(user.filter(|_| !is_app), scope)
        .id(id(request.get("event_id")))
        .repeats(REPEATS)
        .conversation(conversation)
        .thread(thread.filter(|_| is_message));
    let found = in_session(found, is_direct);
    Some(if is_message && own_words && !is_app { found } else { found.receipt() })
}

/// Returns the event in the payload of an interaction.
fn interaction<'a>(payload: &Document<'a>) -> Option<Event<'a>> {
    let kind = text(payload.get("type")).filter(|kind| INTERACTIONS.contains(&&**kind))?;
    let [user, of_user] = payload.members("user", ["id", "team_id"]);
    let [team] = payload.members("team", ["id"]);
    let [enterprise] = payload.members("enterprise", ["id"]);
    let [channel] = payload.members("channel", ["id"]);
    let names = ["channel_id", "thread_ts", "message_ts"];
    let [in_container, container_thread, container_ts] = payload.members("container", names);
    let [thread, ts] = payload.members("message", ["thread_ts", "ts"]);
    let thread = [thread, container_thread, ts, container_ts].into_iter().find_map(id);
    let by_enterprise = is_true(payload.get("is_enterprise_install"));
    let scope = scope(by_enterprise, id(enterprise), id(team).or_else(|| id(of_user)));
    let conversation = id(channel).or_else(|| id(in_container));
    let is_direct = conversation.as_deref().is_some_and(is_direct);
    let event = event_of(id(user), scope);
    let event = in_session(event.conversation(conversation).thread(thread), is_direct);
    Some(if kind == "view_closed" { event.receipt() } else { event })
}

/// Returns the event of a slash command, or of the check that precedes them.
fn command<'a>(form: &Form<'a>) -> Option<Event<'a>> {
    if form.get("command").is_none() {
        let is_check = form.get("ssl_check").as_deref() == Some("1") && form.get("token").is_some();
        return is_check.then(Event::default);
    }
    let (user, team) = (form.id("user_id")?, form.id("team_id"));
    let enterprise = form.id("enterprise_id");
    if team.is_none() && enterprise.is_none() {
        return None;
    }
    let by_enterprise = form.get("is_enterprise_install").as_deref() == Some("true");
    let event = event_of(Some(user), scope(by_enterprise, enterprise, team));
    Some(event.conversation(form.id("channel_id")))
}

/// Returns the event of a user, who has none without a scope: the id may be another team's user's.
fn event_of<'a>(user: Option<Cow<'a, str>>, scope: Option<Cow<'a, str>>) -> Event<'a> {
    let user = user.filter(|user| scope.is_some() && !SLACKS_OWN.contains(&&**user));
    Event::default().user_id(user).scope(scope)
}

/// Returns the part of Slack within which user ids are unique.
fn scope<'a>(
    by_enterprise: bool,
    enterprise: Option<Cow<'a, str>>,
    team: Option<Cow<'a, str>>,
) -> Option<Cow<'a, str>> {
    if by_enterprise { enterprise.or(team) } else { team.or(enterprise) }
}

/// Sets the session of a direct message, in which threads do not part the conversation.
fn in_session(event: Event<'_>, is_direct: bool) -> Event<'_> {
    match event.conversation.clone().filter(|_| is_direct) {
        Some(conversation) => event.session(Some(conversation), NewSession::Unknown),
        None => event,
    }
}

fn is_direct(channel: &str) -> bool {
    channel.starts_with('D')
}

/// Returns an id, or that of the object in its place, as in `team_join`.
fn id_or_its_id(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    id(raw).or_else(|| id(member(raw?, "id")))
}
