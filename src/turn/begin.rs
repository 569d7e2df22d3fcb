//! The start of a turn: makes of the loaded record the state that the handler finds.

use std::sync::{Arc, Condvar, Mutex};

use serde_json::Value;

use super::ending::Ending;
use super::handled::EventId;
use super::place::SessionPlace;
use super::sessions;
use super::state::{Basis, Phase, State, Turn};
use super::typed::TypedState;
use super::writes::Writes;
use crate::incoming::Recognised;
use crate::platform::NewSession;
use crate::record::Record;
use crate::stored_elements::StoredElements;
use crate::timestamp::Clock;

impl Turn {
    /// Begins the turn of an event. A loaded record has been checked by then.
    pub(crate) fn begin(
        mut event: Box<Recognised>,
        loaded: Basis,
        elements: &Arc<StoredElements>,
        database_id: usize,
        clock: Arc<Clock>,
    ) -> Arc<Self> {
        let now = clock();
        let mut record = match loaded.record() {
            Some(record) => record.clone(),
            None => new_record(elements),
        };
        let client_session = event.client_session.take();
        let Recognised { platform, new_session, is_receipt, .. } = &*event;
        let (new_session, came) = (*new_session, client_session.is_some());
        let mut session = match &elements.session {
            _ if event.sessionless => SessionPlace::Outside,
            Some(element) if event.user.is_some() => {
                let has_threads = platform.platform.has_threads();
                SessionPlace::Record(element.times(&platform.name, has_threads))
            }
            _ if platform.platform.has_client_sessions() => {
                SessionPlace::Client(client_session.unwrap_or_default())
            }
            _ => SessionPlace::Off,
        };
        let is_new_session = match session.times() {
            Some(times) => sessions::open(&mut record, &event, times, now),
            None => match new_session {
                NewSession::Yes => true,
                NewSession::No => false,
                NewSession::Presumed | NewSession::Unknown => !came,
            },
        };
        if is_new_session {
            session.clear();
        }
        if elements.meta_data && !is_receipt {
            let counts = match &session {
                SessionPlace::Record(_) => is_new_session,
                SessionPlace::Outside => false,
                SessionPlace::Client(_) | SessionPlace::Off => {
                    let is_said_to_be_new = new_session != NewSession::Unknown;
                    loaded.record().is_none() || (is_said_to_be_new && is_new_session)
                }
            };
            count_session(&mut record, counts);
        }
        let event_id = EventId::of(&event);
        let state = State {
            phase: Phase::Open,
            is_written: false,
            updating: None,
            record,
            session,
            data_writes: Writes::default(),
            session_writes: Writes::default(),
            typed: TypedState::default(),
            output: None,
            history_entry: None,
            messages: Vec::new(),
            noted: None,
            detached: Some(Vec::new()),
        };
        Arc::new(Self {
            elements: Arc::clone(elements),
            database_id,
            event,
            event_id,
            clock,
            began: now,
            loaded,
            is_new_session,
            // A session that came is replaced even by an empty one. Only the reply tells the
            // platform that a presumed session has begun.
            replaces_session: came || new_session == NewSession::Presumed,
            state: Mutex::new(state),
            updated: Condvar::new(),
            ending: Ending::default(),
        })
    }
}

/// Makes the record of a new user, with the fields in Jovo's order.
fn new_record(elements: &StoredElements) -> Record {
    let mut record = Record::default();
    if elements.user {
        record.object_mut(&["user", "data"]);
    }
    record
}

/// Adds the session to the count, if `counts`. A record that counts sessions always holds the
/// count.
fn count_session(record: &mut Record, counts: bool) {
    let count = record.get(&["metaData", "sessionsCount"]).and_then(Value::as_u64).unwrap_or(0);
    let count = count.saturating_add(u64::from(counts));
    record.set(&["metaData"], "sessionsCount", count.into());
}
