//! Batches of Meta's messaging platforms: Messenger and Instagram send the same under two names.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

use super::fingerprint::fingerprint;
use super::raw::{filled_array, filled_object, find_element, id, is_true, members, text, truthy};
use super::several::{LONGEST_SHARED, Several, Shared, object_of};
use super::{Document, Event, Input, is_id};

/// Members of an event that is not an act of the user in the conversation: the fate of the app's
/// messages, reactions to them, the consent to be contacted, and events about the app itself.
const RECEIPTS: [&str; 10] = [
    "delivery",
    "read",
    "reaction",
    "optin",
    "pass_thread_control",
    "take_thread_control",
    "request_thread_control",
    "app_roles",
    "policy_enforcement",
    "policy-enforcement",
];

/// The time for which Meta repeats an event that was not answered with 200: at once, and with
/// decreasing frequency over the next 36 hours
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).
const REPEATS: Duration = Duration::from_secs(36 * 60 * 60);

/// The arrays of an entry that hold events.
#[derive(Clone, Copy, PartialEq)]
enum List {
    Messaging,
    /// Copies of events while another app owns the conversation.
    Standby,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Messaging => "messaging",
            Self::Standby => "standby",
        }
    }
}

/// The part of an entry that an event's body holds.
enum Part<'a> {
    Whole(&'a RawValue),
    Element(List, &'a RawValue, [Shared<'a>; 3]),
    Changes(&'a RawValue, [Shared<'a>; 3]),
}

/// Collects the events of a request.
struct Batch<'a> {
    hands_over_echoes: bool,
    events: Several<'a, Part<'a>>,
}

/// Returns the events in a batch for `object`.
pub(super) fn batch<'a>(
    request: &Document<'a>,
    object: &str,
    hands_over_echoes: bool,
) -> Option<Vec<Event<'a>>> {
    if !request.is("object", object) {
        return None;
    }
    let entries = filled_array(request.get("entry"))?;
    let mut batch = Batch::new(hands_over_echoes);
    find_element(Some(entries), |entry| batch.add_entry(entry));
    let body =
        |part: Part<'_>| format!(r#"{{"object":"{object}","entry":[{}]}}"#, part.into_entry());
    Some(batch.events.into_events(body))
}

/// Returns the events in a single entry that is the whole request.
pub(super) fn entry<'a>(request: &Document<'a>, hands_over_echoes: bool) -> Option<Vec<Event<'a>>> {
    let messaging = filled_array(request.get("messaging"))?;
    if !request.has("id") || !request.has("time") {
        return None;
    }
    let shared = ["id", "time", "$type"].map(|name| (name, request.get(name)));
    let mut batch = Batch::new(hands_over_echoes);
    batch.add_list(List::Messaging, Some(messaging), shared);
    Some(batch.events.into_events(Part::into_entry))
}

impl<'a> Batch<'a> {
    fn new(hands_over_echoes: bool) -> Self {
        Self { hands_over_echoes, events: Several::new() }
    }

    /// Adds the events of an entry. Returns `Some` once the request has too many.
    fn add_entry(&mut self, entry: &'a RawValue) -> Option<()> {
        if filled_object(Some(entry)).is_none() {
            self.events.skip();
            return None;
        }
        let [id, time, messaging, standby, changes] =
            members(Some(entry), ["id", "time", "messaging", "standby", "changes"]);
        let shared = [("id", id), ("time", time), ("", None)];
        let [messaging, standby, changes] = [messaging, standby, changes].map(filled_array);
        // Events of the page itself, such as `changes`, have no user.
        match changes {
            _ if messaging.is_none() && standby.is_none() => {
                self.events.add(Part::Whole(entry), Event::default());
            }
            Some(changes) => self.events.add(Part::Changes(changes, shared), Event::default()),
            None => {}
        }
        self.add_list(List::Messaging, messaging, shared);
        self.add_list(List::Standby, standby, shared);
        self.events.is_over()
    }

    /// Adds the events of a list, up to one more than a request may have.
    fn add_list(&mut self, list: List, events: Option<&'a RawValue>, shared: [Shared<'a>; 3]) {
        let [(_, page), ..] = shared;
        let page = text(page);
        find_element(events, |element| {
            let is_object = element.get().starts_with('{');
            match is_object.then(|| self.event(list, element, page.as_deref())).flatten() {
                Some(event) => self.events.add(Part::Element(list, element, shared), event),
                None => self.events.skip(),
            }
            self.events.is_over()
        });
    }

    /// Returns the event in `element`, unless it is an echo that the app does not want.
    fn event(&self, list: List, element: &'a RawValue, page: Option<&str>) -> Option<Event<'a>> {
        let [sender, recipient, message, postback] =
            members(Some(element), ["sender/id", "recipient/id", "message", "postback"]);
        let [mid, is_echo, is_deleted] = members(message, ["mid", "is_echo", "is_deleted"]);
        let sender = id(sender);
        // Instagram marks some of the account's own actions only by their sender.
        let is_echo = is_true(is_echo) || (sender.is_some() && sender.as_deref() == page);
        if is_echo && !self.hands_over_echoes {
            return None;
        }
        let user_id = match is_echo {
            true => id(recipient).filter(|user| Some(&**user) != page),
            false => sender,
        };
        let is_act = truthy(message) || truthy(postback);
        let is_receipt = is_echo
            || list == List::Standby
            || (!is_act && members(Some(element), RECEIPTS).into_iter().any(truthy));

        let own_id = match (id(mid), id(members(postback, ["mid"])[0])) {
            // A deletion and an echo have the `mid` of the message they refer to.
            (Some(mid), _) if is_true(is_deleted) => Some(format!("{mid}/deleted").into()),
            (Some(mid), _) if is_echo => Some(format!("{mid}/echo").into()),
            (Some(mid), _) => Some(mid),
            (None, Some(mid)) => Some(format!("{mid}/postback").into()),
            (None, None) => None,
        };
        let event_id = own_id.unwrap_or_else(|| by_content(element));
        let event_id = match list {
            List::Messaging => event_id,
            // The same event arrives in `messaging` once the app is handed the conversation.
            List::Standby => format!("{event_id}/standby").into(),
        };
        let event_id = if is_id(&event_id) { event_id } else { by_content(element) };
        let event = Event::default().user_id(user_id).id(Some(event_id)).repeats(REPEATS);
        Some(if is_receipt { event.receipt() } else { event })
    }
}

impl Part<'_> {
    /// Returns the entry with this part alone.
    fn into_entry(self) -> String {
        let (shared, part) = match self {
            Self::Whole(entry) => return entry.get().to_owned(),
            Self::Element(list, element, shared) => {
                (shared, format!(r#""{}":[{element}]"#, list.name()))
            }
            Self::Changes(changes, shared) => (shared, format!(r#""changes":{changes}"#)),
        };
        object_of(&shared, LONGEST_SHARED, &part)
    }
}

/// Returns an id made of the event's contents. It does not depend on a time, which delivery
/// receipts lack, and it distinguishes events of the same millisecond.
fn by_content<'a>(event: &RawValue) -> Cow<'a, str> {
    format!("event/{:032x}", fingerprint(event.get())).into()
}

/// Returns the user's input in the first message.
pub(super) fn input(request: &Document<'_>) -> Input {
    let messaging = match find_element(request.get("entry"), Some) {
        Some(entry) => members(Some(entry), ["messaging"])[0],
        None => request.get("messaging"),
    };
    let [message, edit, title, payload] = members(
        find_element(messaging, Some),
        ["message/text", "message_edit/text", "postback/title", "postback/payload"],
    );
    if text(payload).is_some_and(|payload| payload == "_JOVO_LAUNCH_") {
        return Input::of_type("LAUNCH");
    }
    match text(message).or_else(|| text(edit)).or_else(|| text(title)) {
        Some(text) => Input::of_type("TEXT").text(&text),
        None => Input::default(),
    }
}
