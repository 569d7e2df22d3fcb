//! Requests with several events, each of which reaches the handler in a body of its own.

use serde_json::value::RawValue;

use super::{Event, MAX_EVENTS};

/// The longest member that is copied to the body of each event, such as an account's id. Longer ones
/// would multiply the request by the number of its events.
pub(super) const LONGEST_SHARED: usize = 64;

/// A member that several events have in common: its name and its value.
pub(super) type Shared<'a> = (&'static str, Option<&'a RawValue>);

/// Collects the events of a request, each with the part `P` of the request that its body holds.
pub(super) struct Several<'a, P> {
    found: Vec<(P, Event<'a>)>,
    /// Set if the request holds more than the events that were found.
    has_skipped: bool,
}

impl<'a, P> Several<'a, P> {
    pub(super) fn new() -> Self {
        Self { found: Vec::new(), has_skipped: false }
    }

    pub(super) fn add(&mut self, part: P, event: Event<'a>) {
        self.found.push((part, event));
    }

    /// Notes that a part of the request is left out, so that it is not passed on.
    pub(super) fn skip(&mut self) {
        self.has_skipped = true;
    }

    /// Returns `Some` once there are more events than a request may have.
    pub(super) fn is_over(&self) -> Option<()> {
        (self.found.len() > MAX_EVENTS).then_some(())
    }

    /// Returns the events, each with its own body unless it is the whole request. If there are so
    /// many that they are refused, none gets a body.
    pub(super) fn into_events(self, body: impl Fn(P) -> String) -> Vec<Event<'a>> {
        let count = self.found.len();
        let needs_body = (count > 1 || self.has_skipped) && count <= MAX_EVENTS;
        let event = |(part, event): (P, Event<'a>)| match needs_body {
            true => event.body(body(part)),
            false => event,
        };
        self.found.into_iter().map(event).collect()
    }
}

/// Writes an object of the `shared` members that are not too long, and of `own`, which is the text
/// of further members.
pub(super) fn object_of(shared: &[Shared<'_>], longest: usize, own: &str) -> String {
    let mut object = String::with_capacity(own.len() + 3 * LONGEST_SHARED);
    object.push('{');
    for (name, value) in shared {
        if let Some(value) = value.filter(|value| value.get().len() <= longest) {
            object.push_str(&format!(r#""{name}":{value},"#));
        }
    }
    object.push_str(own);
    object.push('}');
    object
}
