//! Three-way merge: applies this turn's changes to the record that another process has stored since
//! the turn loaded it.

use std::time::SystemTime;

use serde_json::Value;

use super::data::Data;
use super::state::{CONVERSATION_DATA, Turn, USER_DATA};
use super::writes::{Writes, conflict};
use super::{aliases, data, handled, history, messages, receipts, sessions};
use crate::error::Error;
use crate::record::Record;
use crate::timestamp;

impl Turn {
    /// Merges the changes of this turn into `theirs`, so that those of neither side are lost.
    ///
    /// # Errors
    ///
    /// [`is_conflict`](Error::is_conflict) if both sides have changed the same key to different
    /// values; [`is_decode`](Error::is_decode) if `theirs` is not a valid record.
    pub(crate) fn merge(&self, theirs: &Record) -> Result<Record, Error> {
        theirs.check().map_err(Error::unavailable)?;
        let state = self.state();
        let mine = &state.record;
        let base = self.loaded.record();
        let mut merged = theirs.clone();
        let data = |record: &Record, path| record.object(path).cloned().unwrap_or_default();
        if self.event.is_conversation {
            let path = &CONVERSATION_DATA;
            let (base, mine) = (base.map(|base| data(base, path)), data(mine, path));
            let (base, theirs) = (base.unwrap_or_default(), data(theirs, path));
            let merged_data =
                merge_data("conversation.data", &state.data_writes, &base, &mine, &theirs)?;
            put_data(&mut merged, path, merged_data);
        }
        if self.elements.user {
            let path = &USER_DATA;
            let data = state.typed.merge(base, mine, theirs, |base, mine, theirs| {
                let base = base.map(|base| data(base, path)).unwrap_or_default();
                let (mine, theirs) = (data(mine, path), data(theirs, path));
                merge_data("user.data", &state.data_writes, &base, &mine, &theirs)
            })?;
            put_data(&mut merged, path, data);
            state.typed.merge_quarantine(&mut merged);
        }
        sessions::merge(self, &state, &mut merged, theirs, |base, mine, theirs| {
            merge_session(&state.session_writes, base, mine, theirs)
        })?;
        if let (Some(entry), Some(history)) = (&state.history_entry, &self.elements.history) {
            history::put_in_front(&mut merged, entry.clone(), history.size);
        }
        messages::merge(self, &state, &mut merged);
        if state.adds_to_history() {
            messages::trim(&mut merged, self.elements.history_budget);
        }
        handled::merge(self, &state, &mut merged);
        aliases::add(self, &mut merged, self.began);
        if !self.event.is_receipt {
            receipts::unmark(&mut merged);
        }
        if self.elements.meta_data && !self.event.is_receipt {
            merge_meta_data(&mut merged, base, mine, theirs);
        }
        if self.elements.created_at {
            put_time(&mut merged, &["createdAt"], mine, theirs, SystemTime::min);
        }
        if self.elements.updated_at {
            put_time(&mut merged, &["updatedAt"], mine, theirs, SystemTime::max);
        }
        Ok(merged)
    }
}

/// Merges one session: data and state by this turn's changes, `createdAt` as the earlier time and
/// `updatedAt` as the later one. Other members, which this crate does not write, stay as in
/// `theirs`.
fn merge_session(
    writes: &Writes,
    base: Option<&Data>,
    mine: &Data,
    theirs: &Data,
) -> Result<Data, Error> {
    let data = |session: &Data| {
        let data = session.get("data").and_then(Value::as_object);
        data.cloned().unwrap_or_default()
    };
    let base_data = base.map(data).unwrap_or_default();
    let data = merge_data("session.data", writes, &base_data, &data(mine), &data(theirs))?;
    let mut merged = theirs.clone();
    if merged.contains_key("data") || !data.is_empty() {
        merged.insert("data".into(), data.into());
    }
    if let Some(id) = mine.get("id") {
        merged.insert("id".into(), id.clone());
    }
    // The state never conflicts: if this turn set it, the handler decided on the next step.
    let state = mine.get("state");
    if state != base.and_then(|base| base.get("state")) {
        match state {
            Some(state) => drop(merged.insert("state".into(), state.clone())),
            None => drop(merged.shift_remove("state")),
        }
    }
    choose_time(&mut merged, "createdAt", mine, SystemTime::min);
    choose_time(&mut merged, "updatedAt", mine, SystemTime::max);
    Ok(merged)
}

/// Merges data key by key. `path` names it in the error of a conflict.
fn merge_data(
    path: &str,
    writes: &Writes,
    base: &Data,
    mine: &Data,
    theirs: &Data,
) -> Result<Data, Error> {
    // Only keys of the top level are named: deeper ones may be data, such as names and addresses.
    let conflict = |key: &str| conflict(&format!("{path}.{key}"));
    let is_added = |key: &str| writes.is_added(key);
    let mut merged = merge_objects(&conflict, base, mine, theirs, &is_added)?;
    for (key, added) in writes.additions() {
        // A number that was removed meanwhile does not count as 0: the handler saw another sum.
        if base.contains_key(key) && !theirs.contains_key(key) {
            return Err(conflict(key));
        }
        let number = data::number(theirs.get(key)).ok_or_else(|| conflict(key))?;
        let sum = i64::try_from(i128::from(number) + added).map_err(|_| conflict(key))?;
        merged.insert(key.to_owned(), sum.into());
    }
    Ok(merged)
}

/// Merges key by key, except the keys that `skips` selects. `conflict` makes the error of a key.
fn merge_objects(
    conflict: &dyn Fn(&str) -> Error,
    base: &Data,
    mine: &Data,
    theirs: &Data,
    skips: &dyn Fn(&str) -> bool,
) -> Result<Data, Error> {
    let mut merged = theirs.clone();
    // Keys in neither `mine` nor `base` were not touched by this turn, and stay as in `theirs`.
    let removed = base.keys().filter(|key| !mine.contains_key(*key));
    for key in mine.keys().chain(removed).filter(|key| !skips(key)) {
        let (base, mine, theirs) = (base.get(key), mine.get(key), theirs.get(key));
        if mine == base || mine == theirs {
            continue;
        }
        let value = match (base, mine, theirs) {
            _ if theirs == base => mine.cloned(),
            (
                None | Some(Value::Object(_)),
                Some(Value::Object(mine)),
                Some(Value::Object(theirs)),
            ) => {
                let none = Data::new();
                let base = base.and_then(Value::as_object).unwrap_or(&none);
                let conflict = |_: &str| conflict(key);
                Some(Value::Object(merge_objects(&conflict, base, mine, theirs, &|_| false)?))
            }
            _ => return Err(conflict(key)),
        };
        match value {
            Some(value) => drop(merged.insert(key.clone(), value)),
            None => drop(merged.shift_remove(key)),
        }
    }
    Ok(merged)
}

fn put_data(record: &mut Record, path: &[&str], data: Data) {
    if record.object(path).is_some() || !data.is_empty() {
        *record.object_mut(path) = data;
    }
}

fn merge_meta_data(merged: &mut Record, base: Option<&Record>, mine: &Record, theirs: &Record) {
    let count = |record: &Record| {
        record.get(&["metaData", "sessionsCount"]).and_then(Value::as_u64).unwrap_or(0)
    };
    let added = count(mine).saturating_sub(base.map_or(0, count));
    let sum = count(theirs).saturating_add(added);
    merged.object_mut(&["metaData"]).insert("sessionsCount".into(), sum.into());
    put_time(merged, &["metaData", "createdAt"], mine, theirs, SystemTime::min);
    put_time(merged, &["metaData", "lastUsedAt"], mine, theirs, SystemTime::max);
}

/// Writes the time under `path` that `choose` selects of both, or the only one.
fn put_time(
    merged: &mut Record,
    path: &[&str],
    mine: &Record,
    theirs: &Record,
    choose: fn(SystemTime, SystemTime) -> SystemTime,
) {
    let time = |record: &Record| timestamp::parse(record.get_str(path)?);
    if let (Some(time), Some((name, object))) =
        (chosen(time(mine), time(theirs), choose), path.split_last())
    {
        let object = merged.object_mut(object);
        object.insert((*name).to_owned(), timestamp::format(time).into());
    }
}

/// Writes the time `name` into session `theirs` that `choose` selects of both, or the only one.
fn choose_time(
    theirs: &mut Data,
    name: &str,
    mine: &Data,
    choose: fn(SystemTime, SystemTime) -> SystemTime,
) {
    let time = |session: &Data| timestamp::parse(session.get(name)?.as_str()?);
    if let Some(time) = chosen(time(mine), time(theirs), choose) {
        theirs.insert(name.to_owned(), timestamp::format(time).into());
    }
}

/// Returns the time to write instead of `theirs`, or `None` if that stays.
fn chosen(
    mine: Option<SystemTime>,
    theirs: Option<SystemTime>,
    choose: fn(SystemTime, SystemTime) -> SystemTime,
) -> Option<SystemTime> {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) if choose(mine, theirs) == theirs => None,
        (mine, _) => mine,
    }
}
