//! The ids of handled events: a repeated batch must not handle an event twice.

use std::sync::Arc;

use serde_json::Value;

use super::state::Turn;
use crate::fnv;
use crate::platform::MAX_EVENTS;
use crate::record::Record;

/// The record's field with the ids, newest first.
const HANDLED: &str = "handledEvents";

/// The record's field with the number of ids to keep, if it is more than [`KEPT`].
const KEPT_FIELD: &str = "handledEventsKept";

/// The number of ids to keep, unless a batch needs more.
const KEPT: usize = 128;

/// The number of other events that may come between a batch and its repeat.
const BETWEEN: usize = 64;

/// The length beyond which an id is kept as a hash: a batch may have 1,000 events, and a record
/// must fit into the 400 KB of a DynamoDB item.
const LONGEST: usize = 40;

/// The id of an event in the form that is kept.
pub(super) struct EventId {
    id: Arc<str>,
    /// The number of the user's events in the batch. The id of an event that came alone (0) is not
    /// kept, since such an event is repeated only if it was not stored.
    batch_size: usize,
}

impl EventId {
    pub(super) fn new(id: &Arc<str>, batch_size: usize) -> Self {
        let id = match id.len() > LONGEST {
            true => format!("{:032x}", fnv::hash(id.bytes())).into(),
            false => Arc::clone(id),
        };
        Self { id, batch_size }
    }
}

impl Turn {
    /// Returns whether this turn's event was handled before its record was loaded.
    pub(crate) fn was_handled(&self) -> bool {
        self.loaded.record().is_some_and(|loaded| self.is_handled(loaded))
    }

    /// Returns whether this turn's event was handled, according to the stored record.
    pub(crate) fn is_handled(&self, stored: &Record) -> bool {
        self.event.id.as_ref().is_some_and(|event| handled(stored).any(|id| *id == *event.id))
    }
}

fn handled(record: &Record) -> impl Iterator<Item = &str> {
    let ids = record.get(&[HANDLED]).and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str)
}

/// Adds the id of this turn's event. Enough ids are kept to recognise every event of a repeated
/// batch: as many as the largest batch so far had, and those of the events in between.
pub(super) fn add(turn: &Turn, record: &mut Record) {
    let Some(event) = turn.event.id.as_ref().filter(|event| event.batch_size > 0) else { return };
    let mut ids = vec![Value::from(&*event.id)];
    ids.extend(handled(record).filter(|id| **id != *event.id).map(Value::from));
    let stored = record.get(&[KEPT_FIELD]).and_then(Value::as_u64);
    let stored = stored.and_then(|kept| usize::try_from(kept).ok()).unwrap_or(KEPT);
    let kept = stored.max(event.batch_size + BETWEEN).min(MAX_EVENTS + BETWEEN);
    ids.truncate(kept);
    let fields = record.object_mut(&[]);
    fields.insert(HANDLED.into(), ids.into());
    if kept > KEPT {
        fields.insert(KEPT_FIELD.into(), kept.into());
    }
}
