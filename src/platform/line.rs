//! LINE.

use std::time::Duration;

use serde_json::value::RawValue;

use super::raw::{find_element, id, is, is_object, members, text};
use super::several::{LONGEST_SHARED, Several, object_of};
use super::{Event, Input, Platform, PlatformRequest};

/// The time for which ids are kept: LINE repeats an event, with redelivery switched on, for a time
/// that it does not publish
/// (<https://developers.line.biz/en/docs/messaging-api/receiving-messages>).
const REPEATS: Duration = Duration::from_secs(24 * 60 * 60);

/// LINE's Messaging API ([webhook event objects]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | a `destination` of `U` and 32 hexadecimal digits, and the array `events` |
/// | user id | `source.userId`, which a group or room may lack |
/// | conversation, session id | `source.groupId` or `source.roomId`, else the user id |
/// | event id | `webhookEventId` |
///
/// A request is a batch: each element of `events` is an event. Its `type` decides its kind:
///
/// * A *turn*: `message`, `postback`, `follow`, `join`, `memberJoined`, `beacon`, `accountLink`.
/// * A [receipt](Event::is_receipt): every other type, such as `unsend` or `unfollow`, and
///   everything with `mode: "standby"`, which another module of the account answers.
///
/// An empty `events` checks the connection: it has no user.
///
/// ```
/// use tower_persistence::platform::{Line, Platform, PlatformRequest};
///
/// let body = br#"{"destination":"U0123456789abcdef0123456789abcdef","events":[
///     {"type":"message","webhookEventId":"01FZ","source":{"type":"user","userId":"U1"}}]}"#;
/// let (head, body) = http::Request::post("/").body(body)?.into_parts();
/// let request = PlatformRequest::parse(&head, body).expect("JSON");
/// let events = Line.recognise(&request).expect("from LINE");
/// assert_eq!(events[0].user_id.as_deref(), Some("U1"));
/// # Ok::<(), http::Error>(())
/// ```
///
/// [webhook event objects]: https://developers.line.biz/en/reference/messaging-api/#webhook-event-objects
#[derive(Clone, Copy, Debug, Default)]
pub struct Line;

/// Types of an event that are steps of the conversation.
const TURNS: [&str; 7] =
    ["message", "postback", "follow", "join", "memberJoined", "beacon", "accountLink"];

impl Platform for Line {
    fn name(&self) -> &str {
        "line"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let destination = request.get("destination");
        if !text(destination).is_some_and(|destination| is_account(&destination)) {
            return None;
        }
        let list = request.get("events").filter(|events| events.get().starts_with('['))?;
        let mut events = Several::new();
        let mut is_empty = true;
        find_element(Some(list), |element| {
            is_empty = false;
            match is_object(Some(element)) {
                true => events.add(element, event(element)),
                false => events.skip(),
            }
            events.is_over()
        });
        if is_empty {
            return Some(vec![Event::default()]);
        }
        let destination = [("destination", destination)];
        Some(events.into_events(|element: &RawValue| {
            object_of(&destination, LONGEST_SHARED, &format!(r#""events":[{element}]"#))
        }))
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let events = request.json().and_then(|request| request.get("events"));
        let said = members(find_element(events, Some), ["message/text", "postback/data"]);
        match said.into_iter().find_map(text) {
            Some(text) => Input::of_type("TEXT").text(&text),
            None => Input::default(),
        }
    }
}

/// Returns whether this is the id of an account of LINE: `U[0-9a-f]{32}`.
fn is_account(destination: &str) -> bool {
    destination.strip_prefix('U').is_some_and(|digits| {
        digits.len() == 32 && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn event(element: &RawValue) -> Event<'_> {
    let [kind, mode, event_id] = members(Some(element), ["type", "mode", "webhookEventId"]);
    let [user, group, room] =
        members(Some(element), ["source/userId", "source/groupId", "source/roomId"]).map(id);
    let conversation = group.or(room).or_else(|| user.clone());
    let event = Event::default().user_id(user).conversation(conversation);
    let event = event.id(id(event_id)).repeats(REPEATS);
    let is_turn = text(kind).is_some_and(|kind| TURNS.contains(&&*kind)) && !is(mode, "standby");
    if is_turn { event } else { event.receipt() }
}
