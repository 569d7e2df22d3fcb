//! The database under test, with assertions for the checks.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};

use super::values::{difference, shown};
use crate::database::{Database, Expected, Loaded, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// The outcome of a check: `Err` describes the fault.
pub(super) type Outcome<T = ()> = Result<T, String>;

pub(super) struct Subject<D> {
    pub(super) database: Arc<D>,
    /// Distinguishes the user ids of this check from all others.
    run: String,
    users: Mutex<Vec<String>>,
}

impl<D: Database> Subject<D> {
    pub(super) fn new(database: D) -> Self {
        // Each `RandomState` has its own keys.
        let run = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Self { database: Arc::new(database), run, users: Mutex::default() }
    }

    /// Returns a new user id on each call.
    pub(super) fn user(&self, name: &str) -> String {
        let count = self.users.lock().unwrap_or_else(PoisonError::into_inner).len();
        self.user_around("conformance-", &format!("-{count}-{name}"))
    }

    /// Returns the id with these first and last characters, which is the same on each call.
    pub(super) fn user_around(&self, before: &str, after: &str) -> String {
        let id = format!("{before}{}{after}", self.run);
        self.users.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
        id
    }

    /// Deletes everything that may be stored under the ids that were used.
    pub(super) async fn clear_up(&self) -> Outcome {
        let users = std::mem::take(&mut *self.users.lock().unwrap_or_else(PoisonError::into_inner));
        for id in users {
            self.delete(&id).await?;
        }
        Ok(())
    }

    pub(super) async fn load(&self, id: &str) -> Outcome<Option<VersionedRecord>> {
        self.database.load(id).await.map_err(failed("load"))
    }

    /// Returns the version that a save must pass if there is no record.
    pub(super) async fn over_nothing(&self, id: &str) -> Outcome<Option<Version>> {
        match self.database.load_for_update(id).await.map_err(failed("load_for_update"))? {
            Loaded::Absent(tombstone) => Ok(tombstone),
            Loaded::Present(_) => {
                Err("load_for_update finds a record of an absent user".to_owned())
            }
        }
    }

    pub(super) async fn save(
        &self,
        id: &str,
        fields: &Value,
        over: Option<&Version>,
    ) -> Outcome<Saved> {
        self.save_record(id, &record(fields), over).await
    }

    async fn save_record(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Outcome<Saved> {
        self.database.save(id, record, Expected::from(over)).await.map_err(failed("save"))
    }

    pub(super) async fn delete(&self, id: &str) -> Outcome {
        self.database.delete(id).await.map_err(failed("delete"))
    }

    /// Saves a record, which must succeed.
    pub(super) async fn store(
        &self,
        id: &str,
        fields: &Value,
        over: Option<&Version>,
    ) -> Outcome<Version> {
        self.store_record(id, &record(fields), over).await
    }

    pub(super) async fn store_record(
        &self,
        id: &str,
        record: &Record,
        over: Option<&Version>,
    ) -> Outcome<Version> {
        match (self.save_record(id, record, over).await?, over) {
            (Saved::Written(version), _) => Ok(version),
            (Saved::Conflict(_), Some(_)) => {
                Err("a save over the stored version is a conflict".to_owned())
            }
            (Saved::Conflict(_), None) => {
                Err("a save without a stored record is a conflict".to_owned())
            }
        }
    }

    /// Checks that `fields` are stored under `version`.
    pub(super) async fn holds(&self, id: &str, fields: &Value, version: &Version) -> Outcome {
        let stored = self.load(id).await?.ok_or("load does not find a stored user")?;
        is(&stored, fields, version)
            .map_err(|why| format!("load returns a different record: {why}"))?;
        match self.database.load_for_update(id).await.map_err(failed("load_for_update"))? {
            Loaded::Present(stored) => is(&stored, fields, version)
                .map_err(|why| format!("load_for_update returns a different record: {why}")),
            Loaded::Absent(_) => Err("load_for_update does not find a stored user".to_owned()),
        }
    }

    pub(super) async fn holds_nothing(&self, id: &str) -> Outcome {
        match self.load(id).await? {
            None => self.over_nothing(id).await.map(drop),
            Some(_) => Err("load finds a record of an absent user".to_owned()),
        }
    }

    /// Checks that a save over `over` is a conflict with `current`, and writes nothing.
    pub(super) async fn conflicts(
        &self,
        id: &str,
        over: Option<&Version>,
        current: Option<(&Value, &Version)>,
    ) -> Outcome {
        let rejected = serde_json::json!({ "user": { "data": { "rejected": true } } });
        match (self.save(id, &rejected, over).await?, current) {
            (Saved::Conflict(None), None) => self.holds_nothing(id).await,
            (Saved::Conflict(Some(stored)), Some((fields, version))) => {
                is(&stored, fields, version).map_err(|why| {
                    format!("a conflict does not return the stored record: {why}")
                })?;
                self.holds(id, fields, version).await
            }
            (Saved::Conflict(Some(_)), None) => {
                Err("a conflict returns a record although none is stored".to_owned())
            }
            (Saved::Conflict(None), Some(_)) => {
                Err("a conflict returns no record although one is stored".to_owned())
            }
            (Saved::Written(_), _) => Err(match over {
                None => "a save that expects no record replaces a stored one".to_owned(),
                Some(_) => "a save over an outdated version succeeds".to_owned(),
            }),
        }
    }
}

pub(super) fn record(fields: &Value) -> Record {
    Record::new(fields.as_object().cloned().unwrap_or_else(Map::new))
}

fn is(stored: &VersionedRecord, fields: &Value, version: &Version) -> Outcome {
    if let Some(difference) = difference(fields, &Value::Object(stored.record.fields().clone())) {
        return Err(difference);
    }
    if stored.version != *version {
        return Err(format!(
            "its version is {}, but it was saved as {}",
            shown(&stored.version),
            shown(version)
        ));
    }
    Ok(())
}

pub(super) fn failed(call: &str) -> impl FnOnce(Error) -> String {
    move |error| format!("{call} fails: {}", shown(format!("{error:?}")))
}
