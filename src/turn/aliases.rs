//! The fields of records that tie the ids of one user together.
//!
//! A further id has a record of its own, which holds only the key of the user's record. That one
//! lists the keys of its aliases, so that they are removed with it.

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::data;
use super::state::Turn;
use crate::record::Record;
use crate::timestamp;

/// The field of an alias, with the key of the user's record.
const ALIAS_OF: &str = "aliasOf";

/// The field of the user's record with its aliases, each `{key, writtenAt}`, or `{key, joined}` while
/// the record that was joined may not be an alias yet.
const ALIASES: &str = "aliases";

/// The age from which an alias is written anew, so that it does not expire before the user does.
const REFRESHED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Lists of entries, which are joined; other arrays are values.
const LISTS: [&[&str]; 4] =
    [&["history", "items"], &["history", "messages"], &["handledEvents"], &["otherSessions"]];

/// Returns the key of the user's record, if this is an alias of it.
pub(crate) fn target(record: &Record) -> Option<&str> {
    record.get_str(&[ALIAS_OF])
}

/// Makes the alias of the record under `key`.
pub(crate) fn alias_of(key: &str) -> Record {
    Record::new(Map::from_iter([(ALIAS_OF.to_owned(), key.into())]))
}

/// Returns the keys of the aliases of this record, each with the time when it was written, if it is
/// known to be.
fn entries(record: &Record) -> impl Iterator<Item = (&str, Option<SystemTime>)> {
    let entries = record.get(&[ALIASES]).and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(|entry| {
        let written_at = entry.get("writtenAt").and_then(Value::as_str);
        Some((entry.get("key")?.as_str()?, written_at.and_then(timestamp::parse)))
    })
}

/// Returns the keys of the aliases of this record.
pub(crate) fn keys(record: &Record) -> impl Iterator<Item = &str> {
    entries(record).map(|(key, _)| key)
}

/// Returns whether the alias under `key` is written, and needs not be written anew.
pub(crate) fn is_fresh(record: &Record, key: &str, now: SystemTime) -> bool {
    entries(record).any(|(known, written_at)| {
        let age = written_at.map(|written_at| now.duration_since(written_at).unwrap_or_default());
        known == key && age.is_some_and(|age| age < REFRESHED_AFTER)
    })
}

/// Returns the record under `key` as it was when it was joined into this one; `None` if it never
/// was. One that did not exist then was joined as an empty record.
pub(crate) fn joined(record: &Record, key: &str) -> Option<Record> {
    let entries = record.get(&[ALIASES])?.as_array()?;
    let entry = entries.iter().find(|entry| entry.get("key").is_some_and(|it| it == key))?;
    let joined = entry.get("joined").and_then(Value::as_object);
    Some(Record::new(joined.cloned().unwrap_or_default()))
}

/// Lists the aliases of this turn's user in the record.
pub(super) fn add(turn: &Turn, record: &mut Record, now: SystemTime) {
    let Some(user) = turn.user().filter(|user| !user.aliases.is_empty()) else { return };
    let mut list: Vec<_> = match record.get(&[ALIASES]).and_then(Value::as_array) {
        Some(list) => list.clone(),
        None => Vec::new(),
    };
    for alias in &user.aliases {
        let key = Value::from(&*alias.key);
        list.retain(|entry| entry.get("key") != Some(&key));
        list.push(match &alias.joined {
            _ if alias.is_written => json!({ "key": key, "writtenAt": timestamp::format(now) }),
            Some(joined) => json!({ "key": key, "joined": joined.fields() }),
            None => json!({ "key": key }),
        });
    }
    record.object_mut(&[]).insert(ALIASES.into(), list.into());
}

/// Joins the record of a further id into `mine`. Where both hold a value, that of `mine` stays.
pub(crate) fn join(mine: &mut Record, theirs: &Record) {
    let created_at = [&*mine, theirs].into_iter().filter_map(|record| {
        let text = record.get_str(&["createdAt"])?;
        timestamp::parse(text).map(|time| (time, text.to_owned()))
    });
    let created_at = created_at.min_by_key(|(time, _)| *time);
    add_absent(mine.object_mut(&[]), theirs.fields(), &mut Vec::new());
    if let Some((_, created_at)) = created_at {
        mine.object_mut(&[]).insert("createdAt".into(), created_at.into());
    }
}

fn add_absent<'a>(
    mine: &mut Map<String, Value>,
    theirs: &'a Map<String, Value>,
    path: &mut Vec<&'a str>,
) {
    for (key, theirs) in theirs {
        path.push(key);
        match (mine.get_mut(key), theirs) {
            (None, _) => drop(mine.insert(key.clone(), theirs.clone())),
            // A session is a whole: another one's data does not belong into it.
            (Some(_), _) if **path == ["session"] => {}
            (Some(Value::Object(mine)), Value::Object(theirs)) => add_absent(mine, theirs, path),
            (Some(Value::Array(mine)), Value::Array(theirs)) if is_list(path) => {
                mine.extend(theirs.iter().cloned());
            }
            (Some(_), _) => {}
        }
        path.pop();
    }
}

fn is_list(path: &[&str]) -> bool {
    path == [ALIASES] || LISTS.contains(&path)
}

/// Applies to `mine` what changed from `base` to `theirs`, after `base` was joined into it. Whole
/// numbers add up; where else both have changed a value, that of `mine` stays.
pub(crate) fn carry_over(mine: &mut Record, base: &Record, theirs: &Record) {
    apply(mine.object_mut(&[]), base.fields(), theirs.fields());
}

fn apply(mine: &mut Map<String, Value>, base: &Map<String, Value>, theirs: &Map<String, Value>) {
    let removed = base.keys().filter(|key| !theirs.contains_key(*key));
    for key in theirs.keys().chain(removed) {
        let (was, is) = (base.get(key), theirs.get(key));
        if was == is {
            continue;
        }
        match (mine.get_mut(key), is) {
            (current, None) if current.as_deref() == was => drop(mine.shift_remove(key)),
            (_, None) => {}
            (None, Some(is)) if was.is_none() => drop(mine.insert(key.clone(), is.clone())),
            (None, Some(_)) => {}
            (Some(current), Some(is)) if Some(&*current) == was => *current = is.clone(),
            (Some(Value::Object(current)), Some(Value::Object(is))) => {
                let none = Map::new();
                apply(current, was.and_then(Value::as_object).unwrap_or(&none), is);
            }
            (Some(current), Some(is)) => {
                let numbers = (data::number(Some(&*current)), data::number(Some(is)));
                if let ((Some(now), Some(is)), Some(was)) = (numbers, data::number(was)) {
                    let sum = is.checked_sub(was).and_then(|added| now.checked_add(added));
                    if let Some(sum) = sum {
                        *current = sum.into();
                    }
                }
            }
        }
    }
}
