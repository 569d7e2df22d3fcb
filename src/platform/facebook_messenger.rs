use std::borrow::Cow;

use serde_json::value::RawValue;

use super::raw::{
    boolean, elements, filled_array, filled_object, id, members, object, text, truthy,
};
use super::{Document, Event, Input, LONGEST_ID, MAX_EVENTS, Platform};

/// Facebook Messenger ([webhook reference](https://developers.facebook.com/docs/messenger-platform/reference/webhook-events)).
///
/// | | |
/// | --- | --- |
/// | recognised by | `object: "page"` and a filled `entry`; or one entry by itself: `id`, `time` and a filled `messaging` |
/// | user id | `sender.id` |
/// | session | none: it has to be stored |
///
/// A request is a batch: every element of every entry's `messaging` is an event, receipts included. An echo of what the page
/// itself sent is none. An event's id is its `mid`, or its kind and `timestamp`. An entry without `messaging`, such as one with
/// `changes`, is an event without user.
#[derive(Clone, Copy, Debug, Default)]
pub struct FacebookMessenger;

impl Platform for FacebookMessenger {
    fn name(&self) -> &str {
        "facebookmessenger"
    }

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        // Jovo's own samples have no `$type`, which it adds to the entries that it takes out of a batch.
        let is_entry = || {
            request.get("object").is_none()
                && request.get("$type").is_none_or(|kind| kind.get() == r#""facebook""#)
        };
        batch(request, "page").or_else(|| is_entry().then(|| entry(request)).flatten())
    }

    fn input(&self, request: &Document<'_>) -> Input {
        input(request)
    }
}

/// The events in a batch of Meta's messaging platforms for `object`.
pub(super) fn batch<'a>(request: &Document<'a>, object: &str) -> Option<Vec<Event<'a>>> {
    if !request.is("object", object) || filled_array(request.get("entry")).is_none() {
        return None;
    }
    let (mut found, mut count) = (Vec::new(), 0);
    for entry in elements(request.get("entry")) {
        let [id, messaging] = members(Some(entry), ["id", "messaging"]);
        if filled_array(messaging).is_none() && filled_object(Some(entry)).is_some() {
            // What else there is, such as `changes`.
            found.push((entry, None, Event::default()));
        }
        count += elements(messaging).len();
        found.extend(events(id, messaging).map(|(message, event)| (entry, Some(message), event)));
    }
    Some(apart(found, count, |entry, message| {
        let entry = match message {
            Some(message) => {
                let [id, time] = members(Some(entry), ["id", "time"]);
                with_one(&[("id", id), ("time", time)], message)
            }
            None => entry.get().to_owned(),
        };
        format!(r#"{{"object":"{object}","entry":[{entry}]}}"#)
    }))
}

/// The events in a single entry that is the whole request.
pub(super) fn entry<'a>(request: &Document<'a>) -> Option<Vec<Event<'a>>> {
    let messaging = filled_array(request.get("messaging"))?;
    if !request.has("id") || !request.has("time") {
        return None;
    }
    let found = events(request.get("id"), Some(messaging));
    let found = found.map(|(message, event)| (message, Some(message), event)).collect();
    Some(apart(found, elements(Some(messaging)).len(), |message, _| {
        let rest = ["$type", "id", "time"].map(|name| (name, request.get(name)));
        with_one(&rest, message)
    }))
}

/// Gives each event a body of its own, unless it is all that there is. So many that they are refused get none.
fn apart<'a>(
    found: Vec<(&'a RawValue, Option<&'a RawValue>, Event<'a>)>,
    count: usize,
    body: impl Fn(&'a RawValue, Option<&'a RawValue>) -> String,
) -> Vec<Event<'a>> {
    let has_others = count.max(found.len()) > 1 && found.len() <= MAX_EVENTS;
    let event = |(entry, message, event): (_, _, Event<'a>)| match has_others {
        true => event.body(body(entry, message)),
        false => event,
    };
    found.into_iter().map(event).collect()
}

/// An entry with one message. What is longer than an id is left out, so that many messages do not multiply it.
fn with_one(rest: &[(&str, Option<&RawValue>)], message: &RawValue) -> String {
    let mut entry = String::from("{");
    for (name, value) in rest {
        if let Some(value) = value.filter(|value| value.get().len() <= LONGEST_ID) {
            entry.push_str(&format!(r#""{name}":{value},"#));
        }
    }
    entry + &format!(r#""messaging":[{message}]}}"#)
}

/// The messages of an entry, without the echoes of what the page itself sent.
fn events<'a>(
    entry_id: Option<&'a RawValue>,
    messaging: Option<&'a RawValue>,
) -> impl Iterator<Item = (&'a RawValue, Event<'a>)> {
    let page = text(entry_id);
    elements(messaging).into_iter().filter_map(move |message| {
        let [sender, is_echo] = members(Some(message), ["sender/id", "message/is_echo"]);
        let sender = id(sender);
        let is_echo = boolean(is_echo) == Some(true) || (sender.is_some() && sender == page);
        let is_event = truthy(Some(message)) && !is_echo;
        is_event.then(|| (message, Event::default().user_id(sender).id(event_id(message))))
    })
}

/// The id of a message, or of what else there is: its kind and time.
fn event_id(message: &RawValue) -> Option<Cow<'_, str>> {
    let [mid, is_deleted, postback_mid, timestamp] =
        members(Some(message), ["message/mid", "message/is_deleted", "postback/mid", "timestamp"]);
    if let Some(mid) = id(mid).or_else(|| id(postback_mid)) {
        // Instagram tells with the same id that a message was deleted.
        return Some(match boolean(is_deleted) {
            Some(true) => format!("{mid}/deleted").into(),
            _ => mid,
        });
    }
    let members = object(Some(message)).0;
    let (kind, _) = members
        .iter()
        .find(|(name, _)| !["sender", "recipient", "timestamp"].contains(&name.as_ref()))?;
    Some(format!("{kind}@{}", timestamp?.get()).into())
}

/// What the user wrote in the first message.
pub(super) fn input(request: &Document<'_>) -> Input {
    let first = |list| elements(list).into_iter().next();
    let messaging = match first(request.get("entry")) {
        Some(entry) => members(Some(entry), ["messaging"])[0],
        None => request.get("messaging"),
    };
    let [message, title, payload] =
        members(first(messaging), ["message/text", "postback/title", "postback/payload"]);
    if text(payload).is_some_and(|payload| payload == "_JOVO_LAUNCH_") {
        return Input::of_type("LAUNCH");
    }
    match text(message).or_else(|| text(title)) {
        Some(text) => Input::of_type("TEXT").text(&text),
        None => Input::default(),
    }
}
