//! The events of a declared platform that sends several.

use serde_json::value::RawValue;

use super::JsonPlatform;
use super::place::Place;
use crate::platform::document::names;
use crate::platform::kept::quoted;
use crate::platform::raw::{find_element, is_object};
use crate::platform::several::{LONGEST_SHARED, Several};
use crate::platform::{Document, Event};

/// The length of all members together that are copied to the body of each event.
const LONGEST_BESIDE: usize = 1024;

/// Returns the events in the array under `list`; `None` if there is no array.
pub(super) fn events<'a>(
    platform: &JsonPlatform,
    list: &str,
    document: &Document<'a>,
) -> Option<Vec<Event<'a>>> {
    let elements = document.pointer(list).filter(|list| list.get().starts_with('['))?;
    let whole = Place::Document(document);
    let (mut events, mut is_empty) = (Several::new(), true);
    find_element(Some(elements), |element| {
        is_empty = false;
        match is_object(Some(element)) {
            true => events.add(element, platform.event(Place::Element(element), whole)),
            false => events.skip(),
        }
        events.is_over()
    });
    if is_empty {
        return Some(vec![Event::default()]);
    }
    let path: Vec<_> = names(list)?.collect();
    let beside = beside(document, path.first()?);
    let (mut before, mut behind) = (format!("{{{beside}"), String::from("}"));
    for (at, name) in path.iter().enumerate() {
        let open = if at == 0 { "" } else { "{" };
        before.push_str(&format!("{open}{}:", quoted(name)));
        behind.push_str(if at == 0 { "" } else { "}" });
    }
    Some(events.into_events(|element: &RawValue| format!("{before}[{element}]{behind}")))
}

/// Returns the short members of the request, each followed by a comma, except the one that holds
/// the list.
fn beside(document: &Document<'_>, list: &str) -> String {
    let mut beside = String::new();
    for (name, value) in document.listed() {
        let is_short = name.len() + value.get().len() <= LONGEST_SHARED;
        if is_short && name != list && beside.len() <= LONGEST_BESIDE {
            beside.push_str(&format!("{}:{value},", quoted(name)));
        }
    }
    beside
}
