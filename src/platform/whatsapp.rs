//! WhatsApp Cloud API.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

use super::raw::{filled_array, find_element, id, is, is_object, members, text};
use super::several::{LONGEST_SHARED, Several, Shared, object_of};
use super::{Document, Event, Input, MAX_EVENTS, Platform, PlatformRequest};

/// The time for which Meta repeats a message that was not answered with 200
/// (<https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview>).
const REPEATS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// WhatsApp's Cloud API of Meta ([webhook reference], [ids]).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | `object: "whatsapp_business_account"` and an `entry` that is not empty |
/// | user id | the business-scoped `from_user_id`, else the phone number `from`, else `from_parent_user_id` |
/// | further ids | the others of these three |
/// | conversation, session id | `group_id`, else the user id |
/// | account | `metadata.phone_number_id` |
/// | event id | the message's `id` |
///
/// A request is a batch: each element of `messages` in each of `changes` of each `entry` is an
/// event. Its kind:
///
/// * A *turn*: every message that is not listed below.
/// * A [receipt](Event::is_receipt): a message of type `reaction` or `system`, and an element of a
///   change `user_id_update`; the last two announce another id of the same user.
/// * A receipt *without a user*: each element of `statuses`, the fate of the app's own messages.
/// * An event *without a user*: every other change, such as that of a template.
///
/// **Ids change.** A message holds the business-scoped id, the phone number, or both; a contact of
/// the request completes them. A user who adopts a username may come without a number, and a new
/// number makes a new business-scoped id. So the ids of one message are
/// [further ids](Event::also_known_as) of one user. A number that its owner gave up may come back
/// with another person.
///
/// ```
/// use tower_persistence::platform::{Platform, PlatformRequest, WhatsApp};
///
/// let body = br#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[
///     {"field":"messages","value":{"metadata":{"phone_number_id":"number-1"},"messages":[
///     {"from":"15550100","from_user_id":"US.1349120","id":"wamid.1","type":"text"}]}}]}]}"#;
/// let (head, body) = http::Request::post("/").body(body)?.into_parts();
/// let request = PlatformRequest::parse(&head, body).expect("JSON");
/// let events = WhatsApp.recognise(&request).expect("from WhatsApp");
/// assert_eq!(events[0].user_id.as_deref(), Some("US.1349120"));
/// assert_eq!(events[0].also_known_as, ["15550100"]);
/// # Ok::<(), http::Error>(())
/// ```
///
/// [webhook reference]: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
/// [ids]: https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
#[derive(Clone, Copy, Debug, Default)]
pub struct WhatsApp;

/// The value of `object`.
const OBJECT: &str = "whatsapp_business_account";

/// The longest `metadata` or contact that is copied to the body of each event: a name has up to
/// 25 characters, an id up to 130.
const LONGEST_OBJECT: usize = 512;

/// The part of a change that an event's body holds.
struct Part<'a> {
    entry_id: Shared<'a>,
    content: Content<'a>,
}

enum Content<'a> {
    Change(&'a RawValue),
    /// An element of this list, with the members that the list's elements have in common.
    Element(&'static str, &'a RawValue, [Shared<'a>; 3]),
}

impl Platform for WhatsApp {
    fn name(&self) -> &str {
        "whatsapp"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        if !request.is("object", OBJECT) {
            return None;
        }
        let entries = filled_array(request.get("entry"))?;
        let mut events = Several::new();
        find_element(Some(entries), |entry| {
            let [entry_id, changes] = members(Some(entry), ["id", "changes"]);
            if filled_array(changes).is_none() {
                events.skip();
            }
            find_element(changes, |change| {
                add_change(&mut events, ("id", entry_id), change);
                events.is_over()
            })
        });
        Some(events.into_events(Part::into_body))
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        input(request)
    }
}

fn add_change<'a>(events: &mut Several<'a, Part<'a>>, entry_id: Shared<'a>, change: &'a RawValue) {
    let [field, value] = members(Some(change), ["field", "value"]);
    let names = ["metadata", "contacts", "messages", "statuses", "user_id_update"];
    let [metadata, contacts, messages, statuses, updates] = members(value, names);
    let lists = [("messages", messages), ("statuses", statuses), ("user_id_update", updates)];
    if lists.iter().all(|(_, list)| filled_array(*list).is_none()) {
        events.add(Part { entry_id, content: Content::Change(change) }, Event::default());
        return;
    }
    let account = id(members(metadata, ["phone_number_id"])[0]);
    let contacts = Contact::all(contacts);
    let field = ("field", field);
    for (list, elements) in lists {
        find_element(filled_array(elements), |element| {
            if !is_object(Some(element)) {
                events.skip();
                return None;
            }
            let (event, contact) = match list {
                "messages" => message(element, &contacts),
                "statuses" => (Event::default().receipt(), None),
                _ => (update(element), None),
            };
            let shared = [field, ("metadata", metadata), ("contacts", contact)];
            let content = Content::Element(list, element, shared);
            let event = event.account(account.clone()).repeats(REPEATS);
            events.add(Part { entry_id, content }, event);
            events.is_over()
        });
    }
}

/// Returns the event of a message, and the contact that belongs to it.
fn message<'a>(
    message: &'a RawValue,
    contacts: &[Contact<'a>],
) -> (Event<'a>, Option<&'a RawValue>) {
    let names = [
        "id",
        "type",
        "group_id",
        "from_user_id",
        "from",
        "from_parent_user_id",
        "system/user_id",
        "system/wa_id",
    ];
    let [message_id, kind, group, business, phone, parent, new_business, new_phone] =
        members(Some(message), names);
    let [mut business, mut phone, mut parent] = [business, phone, parent].map(id);
    let contact = contacts.iter().find(|contact| contact.has(&business, &phone));
    let [of_contact, wa_id, parent_of_contact] =
        contact.map(|contact| contact.ids.clone()).unwrap_or_default();
    business = business.or(of_contact);
    phone = phone.or(wa_id);
    parent = parent.or(parent_of_contact);
    let is_system = is(kind, "system");
    // The ids that a user has from now on come before those that the message still has.
    let [new_business, new_phone] =
        [new_business, new_phone].map(|raw| id(raw).filter(|_| is_system));
    let event = known_as([new_business, business, new_phone, phone, parent]).id(id(message_id));
    let conversation = id(group).or_else(|| event.user_id.clone());
    let event = event.conversation(conversation);
    let is_receipt = is_system || is(kind, "reaction");
    (if is_receipt { event.receipt() } else { event }, contact.map(|contact| contact.raw))
}

/// Returns the event of an element of `user_id_update`.
fn update(update: &RawValue) -> Event<'_> {
    let names = [
        "user_id/current",
        "user_id/previous",
        "wa_id",
        "parent_user_id/current",
        "parent_user_id/previous",
    ];
    known_as(members(Some(update), names).map(id)).receipt()
}

/// Returns the event of a user with these ids, the first of which is the user id.
fn known_as<const N: usize>(ids: [Option<Cow<'_, str>>; N]) -> Event<'_> {
    let mut ids = ids.into_iter().flatten();
    let mut event = Event::default().user_id(ids.next());
    for id in ids {
        if event.user_id.as_ref() != Some(&id) && !event.also_known_as.contains(&id) {
            event = event.also_known_as(id);
        }
    }
    event
}

/// A contact of the request: its business-scoped id, phone number and parent id.
struct Contact<'a> {
    raw: &'a RawValue,
    ids: [Option<Cow<'a, str>>; 3],
}

impl<'a> Contact<'a> {
    /// Returns the contacts, as many as there may be messages.
    fn all(contacts: Option<&'a RawValue>) -> Vec<Self> {
        let mut all = Vec::new();
        find_element(contacts, |raw| {
            let ids = members(Some(raw), ["user_id", "wa_id", "parent_user_id"]).map(id);
            all.push(Self { raw, ids });
            (all.len() == MAX_EVENTS).then_some(())
        });
        all
    }

    fn has(&self, business: &Option<Cow<'_, str>>, phone: &Option<Cow<'_, str>>) -> bool {
        let [user_id, wa_id, _] = &self.ids;
        (business.is_some() && business == user_id) || (phone.is_some() && phone == wa_id)
    }
}

impl Part<'_> {
    /// Returns the request with this part alone.
    fn into_body(self) -> String {
        let change = match self.content {
            Content::Change(change) => change.get().to_owned(),
            Content::Element(list, element, [field, metadata, (_, contact)]) => {
                let contact = contact.filter(|contact| contact.get().len() <= LONGEST_OBJECT);
                let contacts = contact.map(|it| format!(r#""contacts":[{it}],"#));
                let own = format!(r#"{}"{list}":[{element}]"#, contacts.unwrap_or_default());
                let value = format!(r#""messaging_product":"whatsapp",{own}"#);
                let value = object_of(&[metadata], LONGEST_OBJECT, &value);
                object_of(&[field], LONGEST_SHARED, &format!(r#""value":{value}"#))
            }
        };
        let entry =
            object_of(&[self.entry_id], LONGEST_SHARED, &format!(r#""changes":[{change}]"#));
        format!(r#"{{"object":"{OBJECT}","entry":[{entry}]}}"#)
    }
}

/// Returns the user's input in the first message.
fn input(request: &Document<'_>) -> Input {
    let first = |list| find_element(list, Some);
    let [changes] = members(first(request.get("entry")), ["changes"]);
    let [messages] = members(first(changes), ["value/messages"]);
    let texts = members(
        first(messages),
        [
            "text/body",
            "button/text",
            "interactive/button_reply/title",
            "interactive/list_reply/title",
            "image/caption",
            "video/caption",
            "document/caption",
        ],
    );
    match texts.into_iter().find_map(text) {
        Some(text) => Input::of_type("TEXT").text(&text),
        None => Input::default(),
    }
}
