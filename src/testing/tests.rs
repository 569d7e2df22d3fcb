//! The suite finds every fault that it checks for.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use serde_json::{Map, Value};

use super::conformance;
use crate::database::{Database, Expected, Loaded, MemoryDb, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// The fault of a database under test.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    LoadStores,
    LastWriteWins,
    CreationReplaces,
    ConflictShowsNothing,
    ConflictShowsTheRejected,
    VersionsOfContent,
    VersionsRestart,
    SavesOfDeletedUsersStore,
    DeleteDoesNothing,
    DeleteOfAbsentFails,
    TombstonesAreIgnored,
    TombstonesAreAllTheSame,
    TombstonesArePermanent,
    ComparesBeforeItWrites,
    IgnoresCase,
    TrimsIds,
    CutsIds,
    MergesFields,
    OnlyKnownFields,
    DropsNewMembers,
    DropsEmptyTexts,
    DropsNull,
    CutsKeysAtDots,
    NumbersAreFloats,
    RefusesUnicode,
    RefusesWithoutPath,
    RefusesAsFailure,
    WritesAndRefuses,
    ShowsIds,
    Hangs,
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    db: MemoryDb,
    hasher: RandomState,
    /// Each version of this database, with the corresponding version of `db`.
    versions: Mutex<Vec<(Version, Version)>>,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self { fault, db: MemoryDb::new(), hasher: RandomState::new(), versions: Mutex::default() }
    }

    fn id(&self, id: &str) -> String {
        match self.fault {
            Fault::IgnoresCase => id.to_lowercase(),
            Fault::TrimsIds => id.trim_end().to_owned(),
            Fault::CutsIds => id.chars().take(255).collect(),
            _ => id.to_owned(),
        }
    }

    /// Returns the record in the form in which this database keeps it.
    fn record(&self, record: &Record, before: Option<&VersionedRecord>) -> Record {
        let mut fields = record.fields().clone();
        match self.fault {
            Fault::MergesFields => {
                for (name, value) in before.iter().flat_map(|stored| stored.record.fields()) {
                    fields.entry(name).or_insert_with(|| value.clone());
                }
            }
            Fault::DropsNewMembers => {
                let data = |fields: &Map<String, Value>| fields.get("user")?.get("data").cloned();
                if let Some(Value::Object(known)) = before.and_then(|it| data(it.record.fields()))
                    && let Some(Value::Object(data)) =
                        fields.get_mut("user").and_then(|it| it.get_mut("data"))
                {
                    data.retain(|name, _| known.contains_key(name));
                }
            }
            Fault::OnlyKnownFields => fields.retain(|name, _| !name.starts_with("unknown")),
            _ => fields.values_mut().for_each(|value| self.change(value)),
        }
        Record::new(fields)
    }

    fn change(&self, value: &mut Value) {
        match value {
            Value::Array(elements) => elements.iter_mut().for_each(|value| self.change(value)),
            Value::Object(members) => {
                match self.fault {
                    Fault::DropsEmptyTexts => members.retain(|_, value| value != ""),
                    Fault::DropsNull => members.retain(|_, value| !value.is_null()),
                    Fault::CutsKeysAtDots => {
                        let cut = |key: &str| key.split('.').next().unwrap_or_default().to_owned();
                        *members = std::mem::take(members)
                            .into_iter()
                            .map(|(key, value)| (cut(&key), value))
                            .collect::<Map<_, _>>();
                    }
                    _ => {}
                }
                members.values_mut().for_each(|value| self.change(value));
            }
            Value::Number(number) if self.fault == Fault::NumbersAreFloats => {
                *value = number.as_f64().into();
            }
            _ => {}
        }
    }

    /// Returns the version that this database gives to a stored record.
    fn version(&self, stored: &VersionedRecord) -> Version {
        let fields = || serde_json::to_string(&stored.record).unwrap_or_default();
        match self.fault {
            Fault::VersionsOfContent => Version::from(self.hasher.hash_one(fields())),
            _ => {
                let versions = self.versions.lock().unwrap();
                let made = versions.iter().find(|(_, inner)| *inner == stored.version);
                made.map_or_else(|| stored.version.clone(), |(made, _)| made.clone())
            }
        }
    }

    fn refusal(&self, id: &str, record: &Record) -> Option<Error> {
        let text = serde_json::to_string(record).unwrap_or_default();
        let is_long = text.len() > 300 * 1024;
        Some(match self.fault {
            Fault::RefusesUnicode if text.contains("👩") => Error::encode("`probe`: not ASCII"),
            Fault::RefusesWithoutPath if is_long => Error::encode("longer than 300 KiB"),
            Fault::RefusesAsFailure if is_long => Error::database("`probe` is over 300 KiB"),
            Fault::WritesAndRefuses if is_long => Error::encode("`probe` is over 300 KiB"),
            Fault::ShowsIds if is_long => Error::encode(format!("`probe` of {id} is over 1 KiB")),
            _ => return None,
        })
    }
}

impl Database for Faulty {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        let stored = self.db.load(&self.id(id)).await?;
        if self.fault == Fault::LoadStores && stored.is_none() {
            self.db.save(id, &Record::default(), Expected::Absent).await?;
        }
        Ok(stored.map(|stored| VersionedRecord { version: self.version(&stored), ..stored }))
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        match self.fault {
            Fault::TombstonesAreIgnored => self.db.load_for_update(id).await,
            Fault::TombstonesAreAllTheSame => match self.db.load_for_update(id).await? {
                Loaded::Absent(Some(_)) => Ok(Loaded::Absent(Some(Version::new("deleted")))),
                found => Ok(found),
            },
            _ => self.load(id).await.map(Loaded::from),
        }
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let id = &self.id(id);
        let refusal = self.refusal(id, record);
        if let Some(error) = refusal.as_ref().filter(|_| self.fault != Fault::WritesAndRefuses) {
            return Err(error.clone());
        }
        let found = self.db.load_for_update(id).await?;
        let over = expected.version();
        let is_over = |absence: &str| over.is_none_or(|over| over.as_str().starts_with(absence));
        let wins_over_nothing = match self.fault {
            Fault::TombstonesArePermanent => {
                Some(over.is_none() && found == Loaded::Absent(Some(Version::new("absent"))))
            }
            Fault::TombstonesAreIgnored => Some(is_over("absent")),
            Fault::TombstonesAreAllTheSame => Some(is_over("deleted")),
            _ => None,
        };
        let current = found.into_record();
        let wins_over_nothing = wins_over_nothing.filter(|_| current.is_none());
        let version = current.as_ref().map(|stored| self.version(stored));
        let wins = match self.fault {
            Fault::LastWriteWins => true,
            Fault::CreationReplaces => over.is_none() || over == version.as_ref(),
            Fault::SavesOfDeletedUsersStore => current.is_none() || over == version.as_ref(),
            Fault::Hangs => std::future::pending().await,
            _ => wins_over_nothing.unwrap_or(over == version.as_ref()),
        };
        if self.fault == Fault::ComparesBeforeItWrites {
            tokio::task::yield_now().await;
        }
        if !wins {
            let stored = current
                .zip(version)
                .map(|(stored, version)| VersionedRecord { version, ..stored })
                .filter(|_| self.fault != Fault::ConflictShowsNothing)
                .map(|stored| match self.fault {
                    Fault::ConflictShowsTheRejected => {
                        VersionedRecord { record: record.clone(), ..stored }
                    }
                    _ => stored,
                });
            return Ok(Saved::Conflict(stored));
        }
        let kept = self.record(record, current.as_ref());
        let over = self.db.load(id).await?.map(|stored| stored.version);
        let Saved::Written(inner) = self.db.save(id, &kept, Expected::from(over.as_ref())).await?
        else {
            return Err(Error::database("no other task writes in between"));
        };
        if self.fault == Fault::VersionsRestart {
            let count = |version: Version| version.as_str().parse::<u64>().unwrap();
            let made = Version::from(version.map_or(0, count) + 1);
            self.versions.lock().unwrap().push((made, inner.clone()));
        }
        let stored = VersionedRecord { record: kept, version: inner };
        refusal.map_or_else(|| Ok(Saved::Written(self.version(&stored))), Err)
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        let id = &self.id(id);
        match self.fault {
            Fault::DeleteDoesNothing => Ok(()),
            Fault::DeleteOfAbsentFails if self.db.load(id).await?.is_none() => {
                Err(Error::database("no such record"))
            }
            _ => self.db.delete(id).await,
        }
    }
}

/// Returns the verdict of the suite on a database with this fault. Time is paused, and skipped
/// while all tasks wait.
fn verdict(fault: Fault) -> String {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let run = move || runtime.block_on(conformance(async || Faulty::new(fault)));
    match std::thread::spawn(run).join() {
        Ok(()) => "passed".to_owned(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn each_fault_is_found_and_named() {
    for (fault, check, found) in [
        (Fault::LoadStores, "absent user", "a record of an absent user"),
        (Fault::LastWriteWins, "conditional save", "replaces a stored one"),
        (Fault::CreationReplaces, "conditional save", "replaces a stored one"),
        (Fault::ConflictShowsNothing, "conditional save", "a conflict returns no record"),
        (Fault::ConflictShowsTheRejected, "conditional save", "does not return the stored record"),
        (Fault::VersionsOfContent, "versions", "outdated version succeeds"),
        (Fault::VersionsRestart, "deleted user", "outdated version succeeds"),
        (Fault::SavesOfDeletedUsersStore, "conditional save", "outdated version succeeds"),
        (Fault::DeleteDoesNothing, "delete", "a record of an absent user"),
        (Fault::DeleteOfAbsentFails, "absent user", "delete fails"),
        (Fault::TombstonesAreIgnored, "tombstones", "stands: a save over an outdated version"),
        (Fault::TombstonesAreAllTheSame, "tombstones", "stands: a save over an outdated version"),
        (Fault::TombstonesArePermanent, "delete", "without a stored record is a conflict"),
        (Fault::ComparesBeforeItWrites, "concurrent creation", "succeed instead of one"),
        (Fault::IgnoresCase, "odd ids", "with the user id"),
        (Fault::TrimsIds, "odd ids", "with the user id"),
        (Fault::CutsIds, "long ids", "with the user id"),
        (Fault::MergesFields, "unknown fields", "was added"),
        (Fault::OnlyKnownFields, "unknown fields", "the key \"unknown\" is gone"),
        (Fault::DropsNewMembers, "set members", "the key \"new\" is gone"),
        (Fault::DropsEmptyTexts, "JSON round trip", "is gone"),
        (Fault::DropsNull, "JSON round trip", "is gone"),
        (Fault::CutsKeysAtDots, "JSON round trip", "is gone"),
        (Fault::NumbersAreFloats, "JSON round trip", "9223372036854775807 was stored"),
        (Fault::RefusesUnicode, "JSON round trip", "save fails"),
        (Fault::RefusesWithoutPath, "limits", "does not name the field `probe`"),
        (Fault::RefusesAsFailure, "limits", "not an encoding error"),
        (Fault::WritesAndRefuses, "limits", "a record of an absent user"),
        (Fault::ShowsIds, "limits", "shows the user id"),
        (Fault::Hangs, "absent user", "longer than 90 seconds"),
    ] {
        let verdict = verdict(fault);
        assert!(verdict.contains(check) && verdict.contains(found), "{fault:?}: {verdict}");
    }
}
