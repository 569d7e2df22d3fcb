//! The ids of handled events: an event that comes twice is handled once.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::state::{State, Turn};
use crate::incoming::Recognised;
use crate::platform::MAX_EVENTS;
use crate::record::Record;
use crate::user_key::encoded;
use crate::{fnv, length, timestamp};

/// The record's field with the handled events, newest first. Jovo does not know it.
const HANDLED: &str = "handledEvents";

/// The record's field with the number of events to keep, if it is more than [`KEPT`].
const KEPT_FIELD: &str = "handledEventsKept";

/// The number of events to keep, unless a batch needs more.
const KEPT: usize = 128;

/// The number of other events that may come between a batch and its repeat.
const BETWEEN: usize = 64;

/// The length beyond which an id is kept as a hash: a batch may have 1,000 events, and a record
/// must fit into the 400 KB of a DynamoDB item.
const LONGEST: usize = 40;

/// The longest reply that is kept, in bytes of its JSON form.
const LONGEST_REPLY: usize = 32 * 1024;

/// The length of all replies of a record, in bytes of their JSON form. The oldest go first.
const REPLIES: usize = 64 * 1024;

/// The id of an event in the form that is kept.
pub(super) struct EventId {
    /// The platform and its id: two platforms may share a record.
    id: String,
    /// The number of the user's events in the batch; 0 for an event that came alone.
    batch_size: usize,
    /// The time for which the id is kept once the event is handled.
    kept_for: Duration,
    keeps_reply: bool,
}

impl EventId {
    /// Returns the id of the event, if repeats of it are to be recognised.
    pub(super) fn of(event: &Recognised) -> Option<Self> {
        let (id, kept_for) = (event.id.as_deref()?, event.id_kept_for?);
        let platform = encoded(&event.platform.name);
        let id = match id.len() > LONGEST {
            true => format!("{platform}:{:032x}", fnv::hash(id.bytes())),
            false => format!("{platform}:{id}"),
        };
        let Recognised { batch_size, keeps_reply, .. } = *event;
        Some(Self { id, batch_size, kept_for, keeps_reply })
    }
}

/// The reply to an event, kept for its repeats.
#[derive(Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredReply {
    pub(crate) status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
}

/// An event that was handled, as a record holds it.
pub(crate) struct Handled {
    /// The reply to it, if that is kept.
    pub(crate) reply: Option<StoredReply>,
}

/// The event of this turn, as it is noted in the record.
pub(super) struct Noted {
    entry: Value,
    at: SystemTime,
}

impl Turn {
    /// Returns what was stored of this turn's event before its record was loaded.
    pub(crate) fn was_handled(&self) -> Option<Handled> {
        self.handled(self.loaded.record()?)
    }

    /// Returns what the stored record holds of this turn's event, if it was handled.
    pub(crate) fn handled(&self, stored: &Record) -> Option<Handled> {
        let event = self.event_id.as_ref()?;
        let entry = entries(stored).find(|entry| id(entry) == Some(&event.id))?;
        Some(Handled { reply: entry.get("reply").and_then(|it| StoredReply::deserialize(it).ok()) })
    }

    /// Returns whether the reply is kept for repeats of this turn's event.
    pub(crate) fn keeps_reply(&self) -> bool {
        let keeps = self.event_id.as_ref().is_some_and(|event| event.keeps_reply);
        keeps && self.user().is_some() && !self.is_degraded()
    }
}

type Entry = Map<String, Value>;

fn entries(record: &Record) -> impl Iterator<Item = &Entry> {
    let entries = record.get(&[HANDLED]).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Value::as_object)
}

fn id(entry: &Entry) -> Option<&str> {
    entry.get("id")?.as_str()
}

/// Notes the event of this turn in its record, if repeats of it are to be recognised.
pub(super) fn note(turn: &Turn, state: &mut State, reply: Option<StoredReply>, now: SystemTime) {
    let Some(event) = &turn.event_id else { return };
    let until = now.checked_add(event.kept_for).unwrap_or(now);
    let mut entry = Map::new();
    entry.insert("id".into(), event.id.as_str().into());
    entry.insert("until".into(), timestamp::format(until).into());
    let reply = reply.and_then(|reply| serde_json::to_value(reply).ok());
    if let Some(reply) = reply.filter(|it| length(it) <= LONGEST_REPLY) {
        entry.insert("reply".into(), reply);
    }
    let noted = Noted { entry: entry.into(), at: now };
    put(event, &noted, &mut state.record);
    state.noted = Some(noted);
}

/// Notes the event of this turn in `merged`, too.
pub(super) fn merge(turn: &Turn, state: &State, merged: &mut Record) {
    if let (Some(event), Some(noted)) = (&turn.event_id, &state.noted) {
        put(event, noted, merged);
    }
}

/// Puts the event in front of the others. Enough are kept to recognise every event of a repeated
/// batch: as many as the largest batch so far had, and those in between.
fn put(event: &EventId, noted: &Noted, record: &mut Record) {
    let is_kept = |entry: &Entry| {
        let until = entry.get("until").and_then(Value::as_str).and_then(timestamp::parse);
        id(entry) != Some(&event.id) && until.is_some_and(|until| until >= noted.at)
    };
    let mut kept = vec![noted.entry.clone()];
    kept.extend(entries(record).filter(|entry| is_kept(entry)).cloned().map(Value::from));
    let stored = record.get(&[KEPT_FIELD]).and_then(Value::as_u64);
    let stored = stored.and_then(|kept| usize::try_from(kept).ok()).unwrap_or(KEPT);
    let most = match event.batch_size {
        0 => stored,
        size => stored.max(size + BETWEEN),
    };
    let most = most.min(MAX_EVENTS + BETWEEN);
    kept.truncate(most);
    drop_replies(&mut kept);
    record.set(&[], HANDLED, kept.into());
    if most > KEPT {
        record.set(&[], KEPT_FIELD, most.into());
    }
}

/// Drops the oldest replies beyond [`REPLIES`]. The ids stay.
fn drop_replies(entries: &mut [Value]) {
    let mut total = 0;
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        let Some(reply) = entry.get("reply") else { continue };
        total += length(reply);
        if total > REPLIES {
            entry.shift_remove("reply");
        }
    }
}

fn length(value: &Value) -> usize {
    // Every value has a JSON form.
    length::of_json(value).unwrap_or(usize::MAX)
}
