//! Which events of a batch are done: whoever gets the batch again must not do them twice.

use std::sync::Arc;

use serde_json::Value;

use super::Turn;
use crate::Record;

/// Where the item has the ids, newest first.
const HANDLED: &str = "handledEvents";

/// How many ids are kept. A batch with more events of one user than that may be served in part twice.
const KEPT: usize = 64;

/// The id of an event, as the platform gives it.
pub(super) struct EventId {
    pub(super) id: Arc<str>,
    /// Of events that come alone nothing is kept: they are repeated only if they were not stored.
    pub(super) is_batch: bool,
}

impl Turn {
    /// Whether somebody has served this turn's event before it was loaded.
    pub(crate) fn was_handled(&self) -> bool {
        self.loaded.as_ref().is_some_and(|loaded| self.is_handled(&loaded.record))
    }

    /// Whether somebody has served this turn's event before, according to what is stored.
    pub(crate) fn is_handled(&self, stored: &Record) -> bool {
        self.event_id.as_ref().is_some_and(|event| handled(stored).any(|id| *id == *event.id))
    }
}

fn handled(record: &Record) -> impl Iterator<Item = &str> {
    let ids = record.get(&[HANDLED]).and_then(Value::as_array);
    ids.into_iter().flatten().filter_map(Value::as_str)
}

/// Notes that this turn's event is done.
pub(super) fn add(turn: &Turn, record: &mut Record) {
    let Some(event) = turn.event_id.as_ref().filter(|event| event.is_batch) else { return };
    let mut ids = vec![Value::from(&*event.id)];
    ids.extend(handled(record).map(Value::from));
    ids.truncate(KEPT);
    record.object_mut(&[]).insert(HANDLED.into(), ids.into());
}
