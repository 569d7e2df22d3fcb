//! The stored sessions of a user: the one used last in Jovo's field, the others beside it.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::place::SessionPlace;
use super::state::{State, Turn};
use super::writes::conflict;
use crate::error::Error;
use crate::incoming::Recognised;
use crate::platform::NewSession;
use crate::record::Record;
use crate::stored_elements::SessionTimes;
use crate::timestamp;

type Session = Map<String, Value>;

/// The record's field with the other sessions, most recently used first. Jovo does not know it.
const OTHERS: &str = "otherSessions";

/// Puts the event's session into the field `session`: one that goes on, or a new one. Returns
/// whether it is new.
pub(super) fn open(
    record: &mut Record,
    event: &Recognised,
    times: SessionTimes,
    now: SystemTime,
) -> bool {
    let is_alive = |session: &Session| is_alive(session, times.expires_after, now);
    let id = event.session_id.as_deref();
    let mut current = record.object(&["session"]).cloned();
    let mut others = others(record);
    if id.is_some() && current.as_ref().is_some_and(|session| session_id(session) != id) {
        let known = others.iter().position(|session| session_id(session) == id);
        let known = known.map(|at| others.remove(at)).filter(is_alive);
        // A session without an id cannot be found again beside another one.
        let stays = current.as_ref().is_some_and(|it| session_id(it).is_some() && is_alive(it));
        if known.is_some() || stays {
            others.extend(current.take().filter(|_| stays));
            others.rotate_right(usize::from(stays));
            current = known.or(current);
        }
    }
    let continues = current.as_ref().is_some_and(|session| {
        let stored_id = session_id(session);
        // The same id outweighs the flag: Alexa repeats `new` while one session goes on.
        let is_same = id.is_some() && id == stored_id;
        let is_said_to_be_new = match event.new_session {
            NewSession::Yes => !is_same,
            NewSession::Presumed => stored_id.is_none() || id.is_none(),
            NewSession::No | NewSession::Unknown => false,
        };
        let is_other = id.is_some() && stored_id.is_some() && !is_same;
        is_alive(session) && !is_said_to_be_new && !is_other
    });
    match current {
        Some(session) if continues => put(record, session, others, times, now),
        _ => {
            let unknown = record.object(&["session"]).cloned().unwrap_or_default();
            put(record, started(unknown, id, now), others, times, now);
        }
    }
    !continues
}

/// Puts `session` into Jovo's field, and beside it those of the `others` that are alive and kept.
fn put(
    record: &mut Record,
    session: Session,
    mut others: Vec<Session>,
    times: SessionTimes,
    now: SystemTime,
) {
    others.retain(|session| is_alive(session, times.longest, now));
    others.truncate(times.kept.saturating_sub(1));
    // Equal values are not written, so that an unchanged record still shares the loaded fields.
    if record.object(&["session"]) != Some(&session) {
        *record.object_mut(&["session"]) = session;
    }
    if self::others(record) != others {
        let others = others.into_iter().map(Value::from).collect::<Vec<_>>();
        let fields = record.object_mut(&[]);
        match others.is_empty() {
            true => drop(fields.shift_remove(OTHERS)),
            false => drop(fields.insert(OTHERS.into(), others.into())),
        }
    }
}

/// Empties `session` for a new one. Fields that this crate does not know stay.
fn started(mut session: Session, id: Option<&str>, now: SystemTime) -> Session {
    session.shift_remove("state");
    session.shift_remove("updatedAt");
    match id {
        Some(id) => drop(session.insert("id".into(), id.into())),
        None => drop(session.shift_remove("id")),
    }
    session.insert("data".into(), Value::Object(Map::new()));
    session.insert("createdAt".into(), timestamp::format(now).into());
    session
}

/// Merges the session of this turn into `merged`, and keeps the other sessions of `theirs`. `merge`
/// merges the session as loaded, as this turn leaves it, and as stored now, in this order.
///
/// # Errors
///
/// [`is_conflict`](Error::is_conflict) if this turn wrote to a session that has ended meanwhile,
/// and the errors of `merge`.
pub(super) fn merge(
    turn: &Turn,
    state: &State,
    merged: &mut Record,
    theirs: &Record,
    merge: impl FnOnce(Option<&Session>, &Session, &Session) -> Result<Session, Error>,
) -> Result<(), Error> {
    let (Some(times), Some(mine)) = (state.session.times(), state.record.object(&["session"]))
    else {
        return Ok(());
    };
    let id = session_id(mine);
    let all = |record: &Record| {
        let latest = record.object(&["session"]).cloned();
        latest.into_iter().chain(others(record)).collect::<Vec<_>>()
    };
    let same = |sessions: Vec<Session>| sessions.into_iter().find(|it| session_id(it) == id);
    let base = turn.loaded.record().and_then(|loaded| same(all(loaded)));
    let mut sessions = all(theirs);
    let their_own = same(sessions.clone());
    let created_at = |session: Option<&Session>| session.and_then(|it| time(it, "createdAt"));
    let is_restarted = created_at(their_own.as_ref()) != created_at(base.as_ref());
    let is_changed = ["data", "state"]
        .iter()
        .any(|name| mine.get(*name) != base.as_ref().and_then(|base| base.get(*name)));
    let session = match &their_own {
        // Both sides continued the loaded session.
        Some(theirs) if !turn.is_new_session && !is_restarted => {
            merge(base.as_ref(), mine, theirs)?
        }
        // Both sides started the same session.
        Some(theirs) if turn.is_new_session && is_restarted => merge(None, mine, theirs)?,
        // Only this turn restarted it.
        Some(_) if turn.is_new_session => mine.clone(),
        None if turn.is_new_session => {
            let latest = sessions.first();
            let is_later = created_at(latest) > created_at(Some(mine));
            // If only one is kept, it is the one that was started later.
            if times.kept == 1 && is_later {
                return if is_changed { Err(conflict("session")) } else { Ok(()) };
            }
            mine.clone()
        }
        // It has ended meanwhile, since another one was started in its place.
        _ if is_changed => return Err(conflict("session")),
        _ => return Ok(()),
    };
    sessions.retain(|other| session_id(other) != id);
    sessions.insert(0, session);
    // The sort is stable: of two sessions used at the same time, this turn's stays in front.
    sessions.sort_by_key(|session| std::cmp::Reverse(time(session, "updatedAt")));
    let latest = sessions.remove(0);
    put(merged, latest, sessions, times, turn.began);
    Ok(())
}

/// Returns whether the time of the session's last use must be written although nothing changed.
pub(super) fn is_touch_due(session: &SessionPlace, record: &Record, now: SystemTime) -> bool {
    let Some(times) = session.times() else { return false };
    let last_use = record.object(&["session"]).and_then(|session| time(session, "updatedAt"));
    // A time in the future, written by a server with a fast clock, would never become due.
    last_use.is_none_or(|last_use| {
        now.duration_since(last_use).map_or(true, |age| age >= times.touch_every)
    })
}

fn others(record: &Record) -> Vec<Session> {
    let others = record.get(&[OTHERS]).and_then(Value::as_array);
    others.into_iter().flatten().filter_map(Value::as_object).cloned().collect()
}

fn session_id(session: &Session) -> Option<&str> {
    session.get("id").and_then(Value::as_str)
}

fn time(session: &Session, name: &str) -> Option<SystemTime> {
    timestamp::parse(session.get(name)?.as_str()?)
}

/// Returns whether the session has not expired. A last use in the future, written by a server with
/// a fast clock, counts as one now.
fn is_alive(session: &Session, expires_after: Duration, now: SystemTime) -> bool {
    let last_use = time(session, "updatedAt");
    last_use.is_some_and(|it| now.duration_since(it).unwrap_or_default() <= expires_after)
}
