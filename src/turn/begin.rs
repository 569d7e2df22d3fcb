//! The start of a turn: what was loaded, brought to the state that the handler finds.

use std::sync::{Arc, Condvar, Mutex};
use std::time::SystemTime;

use serde_json::Value;

use super::handled::EventId;
use super::merge::Writes;
use super::typed::TypedState;
use super::{Phase, State, Turn, sessions};
use crate::database::{Stored, Version};
use crate::incoming::Recognised;
use crate::platform::NewSession;
use crate::record::Record;
use crate::stored_elements::{SessionTimes, StoredElements};

/// What a turn begins with.
pub(crate) enum Loaded {
    Item(Stored),
    /// Nothing is stored: a new user. A save goes over the tombstone, if there is one.
    Nothing(Option<Version>),
    /// It is not known what is stored: the handler runs without memory, and nothing is saved.
    Unknown,
}

/// Where the session of a turn is stored.
#[derive(Clone, Copy)]
pub(super) enum SessionStorage {
    /// Nowhere: the element is off.
    Off,
    /// Nowhere: the event stands outside any session.
    Outside,
    /// By the platform, from request to request.
    Carried,
    /// In the item.
    Stored(SessionTimes),
}

impl Turn {
    /// Begins the turn of an event. What was loaded is a record that has been checked.
    pub(crate) fn begin(
        recognised: Recognised,
        loaded: Loaded,
        elements: &Arc<StoredElements>,
        database_id: usize,
        now: SystemTime,
    ) -> Self {
        let is_degraded = matches!(loaded, Loaded::Unknown);
        let (loaded, tombstone) = match loaded {
            Loaded::Item(stored) => (Some(stored), None),
            Loaded::Nothing(tombstone) => (None, tombstone),
            Loaded::Unknown => (None, None),
        };
        let mut record = match &loaded {
            Some(stored) => stored.record.clone(),
            None => new_record(elements),
        };
        let platform = &recognised.platform;
        let session_storage = match &elements.session {
            _ if recognised.outside_session => SessionStorage::Outside,
            Some(element) if recognised.user.is_some() => {
                SessionStorage::Stored(element.times(&platform.name))
            }
            _ if platform.platform.carries_session() => SessionStorage::Carried,
            _ => SessionStorage::Off,
        };
        let came = recognised.carried.is_some();
        let is_new_session = match session_storage {
            SessionStorage::Stored(times) => sessions::open(&mut record, &recognised, times, now),
            SessionStorage::Carried | SessionStorage::Off | SessionStorage::Outside => {
                match recognised.new_session {
                    NewSession::Yes => true,
                    NewSession::No => false,
                    NewSession::Presumed | NewSession::Unknown => !came,
                }
            }
        };
        if elements.meta_data && !recognised.is_receipt {
            let counts = match session_storage {
                SessionStorage::Stored(_) => is_new_session,
                SessionStorage::Outside => false,
                SessionStorage::Carried | SessionStorage::Off => {
                    let is_said_to_be_new = recognised.new_session != NewSession::Unknown;
                    loaded.is_none() || (is_said_to_be_new && is_new_session)
                }
            };
            count_session(&mut record, counts);
        }
        let Recognised { platform, user, session_id, new_session, is_receipt, .. } = recognised;
        let Recognised { withdrawn, input, batch_size, .. } = recognised;
        let event_id = recognised.id.map(|id| EventId::new(&id, batch_size));
        let mut carried = recognised.carried.unwrap_or_default();
        if is_new_session {
            carried.clear();
        }
        let state = Mutex::new(State {
            phase: Phase::Open,
            record,
            user_writes: Writes::default(),
            session_writes: Writes::default(),
            carried,
            is_written: false,
            updating: None,
            typed: TypedState::default(),
            output: None,
            item: None,
        });
        Self {
            elements: Arc::clone(elements),
            database_id,
            platform,
            user,
            session_id,
            is_new_session,
            session_storage,
            // Where nothing came back the platform does not know of a session that has begun.
            replaces_session: came || new_session == NewSession::Presumed,
            is_degraded,
            is_receipt,
            withdrawn,
            event_id,
            input,
            began: now,
            loaded,
            tombstone,
            state,
            updated: Condvar::new(),
        }
    }
}

/// The record of a new user, its fields in the order in which Jovo writes them.
fn new_record(elements: &StoredElements) -> Record {
    let mut record = Record::default();
    if elements.user {
        record.object_mut(&["user", "data"]);
    }
    record
}

fn count_session(record: &mut Record, counts: bool) {
    let count = record.get(&["metaData", "sessionsCount"]).and_then(Value::as_u64).unwrap_or(0);
    let count = count.saturating_add(u64::from(counts));
    record.object_mut(&["metaData"]).insert("sessionsCount".into(), count.into());
}
