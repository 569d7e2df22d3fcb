//! The part of a turn's state for typed data: its version, and the data that was set aside.

use serde_json::{Value, json};

use super::Schema;
use super::form::{in_present_version, is_same_version};
use crate::error::Error;
use crate::record::Record;
use crate::turn::data::Data;
use crate::turn::writes::conflict;

const DATA: [&str; 2] = ["user", "data"];

#[derive(Default)]
pub(in crate::turn) struct TypedState {
    /// Brings data to the version of the type that this turn has read it as; returns `None` for
    /// data that cannot be read as that type.
    in_present_version: Option<fn(&Data) -> Option<Data>>,
    /// The entries that this turn has added to the quarantine.
    set_aside: Vec<Value>,
}

impl TypedState {
    /// Notes the type that this turn has read the data as.
    pub(super) fn has_type<T: Schema>(&mut self) {
        self.in_present_version = Some(in_present_version::<T>);
    }

    /// Moves the data into the quarantine, and puts `instead` in its place.
    pub(super) fn set_aside(&mut self, record: &mut Record, instead: Data, at: &str) {
        let data = std::mem::replace(record.object_mut(&DATA), instead);
        let entry = json!({ "data": data, "at": at });
        put(record, entry.clone());
        self.set_aside.push(entry);
    }

    /// Adds the data that this turn has set aside to the record of another process.
    pub(in crate::turn) fn merge_quarantine(&self, merged: &mut Record) {
        self.set_aside.iter().for_each(|entry| put(merged, entry.clone()));
    }

    /// Merges the user's data by `merge`. If both sides have changed it, they are brought to one
    /// version first, and the result must be readable.
    ///
    /// # Errors
    ///
    /// [`is_conflict`](Error::is_conflict) if that is not possible, and the errors of `merge`.
    pub(in crate::turn) fn merge(
        &self,
        base: Option<&Record>,
        mine: &Record,
        theirs: &Record,
        merge: impl Fn(Option<&Record>, &Record, &Record) -> Result<Data, Error>,
    ) -> Result<Data, Error> {
        let data = |record: &Record| record.object(&DATA).cloned().unwrap_or_default();
        let (base_data, my_data, their_data) =
            (base.map(data).unwrap_or_default(), data(mine), data(theirs));
        let Some(in_present_version) =
            self.in_present_version.filter(|_| my_data != base_data && their_data != base_data)
        else {
            return merge(base, mine, theirs);
        };
        let conflict = || conflict("user.data");
        let is_one_version =
            is_same_version(&my_data, &their_data) && is_same_version(&my_data, &base_data);
        let in_one_version = |data: &Data| {
            let migrated = in_present_version(data)?;
            let mut record = Record::default();
            *record.object_mut(&DATA) = if is_one_version { data.clone() } else { migrated };
            Some(record)
        };
        // Both sides have set unreadable loaded data aside, or repaired it, so there is no base to
        // compare with.
        let base = in_one_version(&base_data);
        let mine = in_one_version(&my_data).ok_or_else(conflict)?;
        let theirs = in_one_version(&their_data).ok_or_else(conflict)?;
        let merged = merge(base.as_ref(), &mine, &theirs)?;
        in_present_version(&merged).map(|_| merged).ok_or_else(conflict)
    }
}

/// Appends an entry to the quarantine, unless the same data is in there.
fn put(record: &mut Record, entry: Value) {
    let quarantine = record.object_mut(&["user"]).entry("quarantine").or_insert(Value::Null);
    match quarantine {
        Value::Array(entries) if entries.iter().any(|other| other["data"] == entry["data"]) => {}
        Value::Array(entries) => entries.push(entry),
        // Only an absent value comes here: `Record::check` refuses records with any other.
        _ => *quarantine = Value::Array(vec![entry]),
    }
}
