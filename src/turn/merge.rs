//! Three-way merge: what this turn did, done to what somebody else has stored since it was loaded.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::begin::SessionStorage;
use super::{State, Turn, data, handled, history};
use crate::error::Kind;
use crate::{Error, Record, timestamp};

type Data = Map<String, Value>;

/// How each key of some data was written: by adding to what is there, or to a value of its own.
#[derive(Debug, Default)]
pub(super) struct Writes(BTreeMap<String, Write>);

#[derive(Clone, Copy, Debug)]
enum Write {
    By(i128),
    To,
}

impl Writes {
    pub(super) fn to(&mut self, key: &str) {
        self.0.insert(key.to_owned(), Write::To);
    }

    pub(super) fn by(&mut self, key: &str, by: i64) {
        match self.0.get_mut(key) {
            Some(Write::By(sum)) => *sum += i128::from(by),
            Some(Write::To) => {}
            None => drop(self.0.insert(key.to_owned(), Write::By(by.into()))),
        }
    }

    /// Notes what is different after everything was open to change.
    pub(super) fn all(&mut self, before: &Data, after: &Data) {
        let keys = before.keys().chain(after.keys());
        for key in keys.filter(|key| before.get(*key) != after.get(*key)) {
            self.to(key);
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn added(&self, key: &str) -> Option<i128> {
        match self.0.get(key) {
            Some(Write::By(sum)) => Some(*sum),
            _ => None,
        }
    }
}

impl Turn {
    /// What is to be stored instead of `theirs`, so that nothing of either is lost.
    ///
    /// # Errors
    ///
    /// [`is_conflict`](Error::is_conflict) where both have changed the same key to different values;
    /// [`is_decode`](Error::is_decode) where `theirs` is no item.
    pub(crate) fn merge(&self, theirs: &Record) -> Result<Record, Error> {
        theirs.check().map_err(Error::unavailable)?;
        let state = self.state();
        let mine = &state.record;
        let base = self.loaded.as_ref().map(|loaded| &loaded.record);
        let mut merged = theirs.clone();
        if self.elements.user {
            let path = &["user", "data"][..];
            let data = state.typed.merge(base, mine, theirs, |base, mine, theirs| {
                merge_data(path, &state.user_writes, base, mine, theirs)
            })?;
            put_data(&mut merged, path, data);
            state.typed.merge_quarantine(&mut merged);
        }
        if let SessionStorage::Stored(_) = self.session_storage {
            self.merge_session(&state, &mut merged, theirs)?;
        }
        if let (Some(item), Some(history)) = (&state.item, &self.elements.history) {
            history::put_in_front(&mut merged, item.clone(), history.size);
        }
        handled::add(self, &mut merged);
        if self.elements.meta_data {
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

    fn merge_session(
        &self,
        state: &State,
        merged: &mut Record,
        theirs: &Record,
    ) -> Result<(), Error> {
        let path = &["session", "data"][..];
        let mine = &state.record;
        let base = self.loaded.as_ref().map(|loaded| &loaded.record);
        let field = |record: Option<&Record>, name| {
            record.and_then(|record| record.get(&["session", name])).cloned()
        };
        let started = |record| field(Some(record), "createdAt") != field(base, "createdAt");
        let same_id = field(Some(mine), "id") == field(Some(theirs), "id");
        let (data, set_state) = match (self.is_new_session, started(theirs)) {
            // Both in the session that was loaded.
            (false, false) => {
                let data = merge_data(path, &state.session_writes, base, mine, theirs)?;
                (data, field(Some(mine), "state") != field(base, "state"))
            }
            // Both started the same one.
            (true, true) if same_id => {
                let data = merge_data(path, &state.session_writes, None, mine, theirs)?;
                (data, field(Some(mine), "state").is_some())
            }
            // This turn started another one after theirs, which is over.
            (true, _) => {
                let session = mine.object(&["session"]).cloned().unwrap_or_default();
                *merged.object_mut(&["session"]) = session;
                return Ok(());
            }
            // Theirs started another one: the one of this turn is over.
            (false, true) => {
                let is_changed = ["data", "state"]
                    .iter()
                    .any(|name| field(Some(mine), name) != field(base, name));
                return if is_changed { Err(conflict(&[], "session")) } else { Ok(()) };
            }
        };
        put_data(merged, path, data);
        let id = field(Some(mine), "id");
        let session = merged.object_mut(&["session"]);
        if let Some(id) = id {
            session.insert("id".into(), id);
        }
        if set_state {
            match field(Some(mine), "state") {
                Some(state) => drop(session.insert("state".into(), state)),
                None => drop(session.shift_remove("state")),
            }
        }
        put_time(merged, &["session", "createdAt"], mine, theirs, SystemTime::min);
        put_time(merged, &["session", "updatedAt"], mine, theirs, SystemTime::max);
        Ok(())
    }
}

fn merge_data(
    path: &[&str],
    writes: &Writes,
    base: Option<&Record>,
    mine: &Record,
    theirs: &Record,
) -> Result<Data, Error> {
    let data = |record: &Record| record.object(path).cloned().unwrap_or_default();
    let base = base.map(data).unwrap_or_default();
    let (mine, theirs) = (data(mine), data(theirs));
    let mut merged =
        merge_objects(path, &base, &mine, &theirs, &|key| writes.added(key).is_some())?;
    for (key, added) in writes.0.keys().filter_map(|key| Some((key, writes.added(key)?))) {
        let number = data::number(theirs.get(key)).ok_or_else(|| conflict(path, key))?;
        let sum = i64::try_from(i128::from(number) + added).map_err(|_| conflict(path, key))?;
        merged.insert(key.clone(), sum.into());
    }
    Ok(merged)
}

/// Merges key by key; `apart` says which keys are dealt with apart.
fn merge_objects(
    path: &[&str],
    base: &Data,
    mine: &Data,
    theirs: &Data,
    apart: &dyn Fn(&str) -> bool,
) -> Result<Data, Error> {
    let mut merged = theirs.clone();
    // What is in neither was not touched here.
    let removed = base.keys().filter(|key| !mine.contains_key(*key));
    for key in mine.keys().chain(removed).filter(|key| !apart(key)) {
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
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                Some(Value::Object(merge_objects(&path, base, mine, theirs, &|_| false)?))
            }
            _ => return Err(conflict(path, key)),
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

/// Puts the one of two times that `choose` chooses; the only one, if one of them is missing.
fn put_time(
    merged: &mut Record,
    path: &[&str],
    mine: &Record,
    theirs: &Record,
    choose: fn(SystemTime, SystemTime) -> SystemTime,
) {
    let time = |record: &Record| timestamp::parse(record.get_str(path)?);
    let chosen = match (time(mine), time(theirs)) {
        (Some(mine), Some(theirs)) if choose(mine, theirs) == theirs => return,
        (Some(mine), _) => mine,
        (None, _) => return,
    };
    if let Some((name, object)) = path.split_last() {
        let object = merged.object_mut(object);
        object.insert((*name).to_owned(), timestamp::format(chosen).into());
    }
}

pub(super) fn conflict(path: &[&str], key: &str) -> Error {
    let path: Vec<&str> = path.iter().copied().chain([key]).collect();
    let path = path.join(".");
    Error::new(
        Kind::Conflict,
        format!("`{path}` was changed elsewhere, too, since it was loaded; nothing was written"),
    )
}
