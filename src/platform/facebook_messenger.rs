use serde_json::value::RawValue;

use super::raw::{boolean, elements, filled_array, id, members, text, truthy};
use super::{Document, Event, Input, Platform};

/// Facebook Messenger ([webhook reference](https://developers.facebook.com/docs/messenger-platform/reference/webhook-events)).
///
/// | | |
/// | --- | --- |
/// | recognised by | `object: "page"` and a filled `entry`; or one entry by itself: `id`, `time` and a filled `messaging` |
/// | user id | `sender.id` |
/// | session | none: it has to be stored |
///
/// A request is a batch: every element of every entry's `messaging` is an event, receipts included. An echo of what the page
/// itself sent is none, nor is what an entry holds besides `messaging`.
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
    let mut events = Vec::new();
    for entry in elements(request.get("entry")) {
        let [entry_id, messaging] = members(Some(entry), ["id", "messaging"]);
        add_events(&mut events, entry_id, messaging);
    }
    Some(events)
}

/// The events in a single entry that is the whole request.
pub(super) fn entry<'a>(request: &Document<'a>) -> Option<Vec<Event<'a>>> {
    let messaging = filled_array(request.get("messaging"))?;
    if !request.has("id") || !request.has("time") {
        return None;
    }
    let mut events = Vec::new();
    add_events(&mut events, request.get("id"), Some(messaging));
    Some(events)
}

fn add_events<'a>(
    events: &mut Vec<Event<'a>>,
    entry_id: Option<&'a RawValue>,
    messaging: Option<&'a RawValue>,
) {
    let page = text(entry_id);
    for message in elements(messaging) {
        let [sender, is_echo] = members(Some(message), ["sender/id", "message/is_echo"]);
        let sender = id(sender);
        let is_echo = boolean(is_echo) == Some(true) || (sender.is_some() && sender == page);
        if truthy(Some(message)) && !is_echo {
            events.push(Event::default().user_id(sender));
        }
    }
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
