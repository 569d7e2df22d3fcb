//! The start of a turn: what was loaded, brought to the state that the handler finds.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::handled::EventId;
use super::merge::Writes;
use super::typed::TypedState;
use super::{Phase, State, Turn};
use crate::database::{Stored, Version};
use crate::platform::{CarriedSession, Input, NamedPlatform, NewSession};
use crate::stored_elements::{SessionTimes, StoredElements};
use crate::{Error, Record, timestamp};

/// An event with a user, or with a session at least, out of the request.
#[derive(Clone)]
pub(crate) struct Recognised {
    pub(crate) platform: NamedPlatform,
    pub(crate) user: Option<Identity>,
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) new_session: NewSession,
    pub(crate) outside_session: bool,
    /// What came of the session, where the platform carries it.
    pub(crate) carried: Option<CarriedSession>,
    pub(crate) withdrawn: bool,
    pub(crate) id: Option<Arc<str>>,
    /// Whether the request has other events, too.
    pub(crate) is_batch: bool,
    pub(crate) input: Input,
}

/// Who a user is.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    pub(crate) id: Arc<str>,
    pub(crate) storage_key: Arc<str>,
    pub(crate) person_id: Option<Arc<str>>,
    /// Whether the id was made for this turn.
    pub(crate) is_created: bool,
}

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
    /// # Errors
    ///
    /// [`is_decode`](Error::is_decode) where something else stands in the place of an element: it would have to be overwritten.
    pub(crate) fn begin(
        recognised: Recognised,
        loaded: Loaded,
        elements: &Arc<StoredElements>,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let is_degraded = matches!(loaded, Loaded::Unknown);
        let (loaded, tombstone) = match loaded {
            Loaded::Item(stored) => (Some(stored), None),
            Loaded::Nothing(tombstone) => (None, tombstone),
            Loaded::Unknown => (None, None),
        };
        let mut record = match &loaded {
            Some(stored) => {
                stored.record.check()?;
                stored.record.clone()
            }
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
            SessionStorage::Stored(times) => {
                let continues = continues_session(&record, &recognised, times, now);
                if !continues {
                    start_session(&mut record, recognised.session_id.as_deref(), now);
                }
                !continues
            }
            SessionStorage::Carried | SessionStorage::Off | SessionStorage::Outside => {
                match recognised.new_session {
                    NewSession::Yes => true,
                    NewSession::No => false,
                    NewSession::Presumed | NewSession::Unknown => !came,
                }
            }
        };
        if elements.meta_data {
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
        let Recognised { platform, user, session_id, new_session, withdrawn, input, .. } =
            recognised;
        let event_id = recognised.id.map(|id| EventId { id, is_batch: recognised.is_batch });
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
            typed: TypedState::default(),
            output: None,
            item: None,
        });
        Ok(Self {
            elements: Arc::clone(elements),
            platform,
            user,
            session_id,
            is_new_session,
            session_storage,
            // Where nothing came back the platform does not know of a session that has begun.
            replaces_session: came || new_session == NewSession::Presumed,
            is_degraded,
            withdrawn,
            event_id,
            input,
            began: now,
            loaded,
            tombstone,
            state,
        })
    }
}

/// The item of a new user, its fields in the order in which Jovo writes them.
fn new_record(elements: &StoredElements) -> Record {
    let mut record = Record::default();
    if elements.user {
        record.object_mut(&["user", "data"]);
    }
    record
}

/// Whether the stored session is the one that the event belongs to.
fn continues_session(
    record: &Record,
    event: &Recognised,
    times: SessionTimes,
    now: SystemTime,
) -> bool {
    let Some(last_use) = last_use(record) else { return false };
    let stored_id = record.get_str(&["session", "id"]);
    let same_id = match (event.session_id.as_deref(), stored_id) {
        (Some(id), Some(stored)) => id == stored,
        _ => true,
    };
    let said_to_be_new = match event.new_session {
        NewSession::Yes => true,
        NewSession::Presumed => stored_id.is_none() || event.session_id.is_none(),
        NewSession::No | NewSession::Unknown => false,
    };
    same_id && !said_to_be_new && age(last_use, now) <= times.expires_after
}

/// When the stored session was used last.
fn last_use(record: &Record) -> Option<SystemTime> {
    timestamp::parse(record.get_str(&["session", "updatedAt"])?)
}

/// How long `time` is ago: nothing, where the clocks of two servers put it into the future.
fn age(time: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(time).unwrap_or_default()
}

/// Whether the use of a session has to be written although nothing changed.
pub(super) fn is_touch_due(turn: &Turn, record: &Record, now: SystemTime) -> bool {
    let SessionStorage::Stored(times) = turn.session_storage else { return false };
    last_use(record).is_none_or(|last_use| age(last_use, now) >= times.touch_every)
}

/// Puts an empty session in the place of the stored one. Fields that are not ours stay.
fn start_session(record: &mut Record, id: Option<&str>, now: SystemTime) {
    let session = record.object_mut(&["session"]);
    session.shift_remove("state");
    session.shift_remove("updatedAt");
    match id {
        Some(id) => drop(session.insert("id".into(), id.into())),
        None => drop(session.shift_remove("id")),
    }
    session.insert("data".into(), Value::Object(Map::new()));
    session.insert("createdAt".into(), timestamp::format(now).into());
}

fn count_session(record: &mut Record, counts: bool) {
    let count = record.get(&["metaData", "sessionsCount"]).and_then(Value::as_u64).unwrap_or(0);
    let count = count.saturating_add(u64::from(counts));
    record.object_mut(&["metaData"]).insert("sessionsCount".into(), count.into());
}
