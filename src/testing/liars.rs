//! Databases that break a promise in ways that only several handles, users or threads show.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::conformance;
use crate::database::{Database, Expected, Saved, Version, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    /// A lock per user around a rewrite of the whole file.
    RewritesTheFile,
    /// Compares with what this handle has seen.
    ComparesWithItsCache,
    /// Loads from a replica that is 200 ms behind.
    LoadsFromAReplica,
    /// Compares, then writes, without waiting in between.
    ComparesThenWrites,
    /// A save that is dropped half-way locks its user.
    LocksForever,
    /// The version wraps after 256 saves.
    VersionsWrap,
    /// A creation of equal content is acknowledged twice.
    CreatesTwice,
    /// Acknowledges without a write while more than 40 saves are under way.
    DropsUnderLoad,
    /// Refuses records of 200 KiB.
    RefusesLargeRecords,
}

type Records = HashMap<String, (Record, u64)>;

/// Holds the records that all handles share.
#[derive(Default)]
struct Store {
    records: Mutex<Records>,
    locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    busy: Mutex<HashSet<String>>,
    under_way: AtomicUsize,
    saves: Mutex<u64>,
    past: Mutex<VecDeque<(Instant, Records)>>,
}

struct Liar {
    lie: Lie,
    store: Arc<Store>,
    seen: Mutex<HashMap<String, u64>>,
}

impl fmt::Debug for Liar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lie.fmt(f)
    }
}

fn versioned((record, version): (Record, u64)) -> VersionedRecord {
    VersionedRecord { record, version: Version::from(version) }
}

impl Liar {
    fn new(lie: Lie, store: &Arc<Store>) -> Self {
        Self { lie, store: Arc::clone(store), seen: Mutex::default() }
    }

    fn next_version(&self) -> u64 {
        let mut saves = self.store.saves.lock().unwrap();
        *saves += 1;
        match self.lie {
            Lie::VersionsWrap => *saves % 256,
            _ => *saves,
        }
    }

    /// The number of the expected version: 0 for absence.
    fn number(expected: Expected<'_>) -> u64 {
        expected.version().map_or(0, |version| version.as_str().parse().unwrap())
    }

    fn current(&self, id: &str) -> Option<(Record, u64)> {
        self.store.records.lock().unwrap().get(id).cloned()
    }

    /// Compares and writes in one step, unless this is what is wrong.
    async fn compare_and_write(
        &self,
        id: &str,
        record: &Record,
        expected: u64,
    ) -> Result<u64, Option<(Record, u64)>> {
        let version = self.next_version();
        let is_expected = |current: Option<&(Record, u64)>| {
            current.map_or(0, |(_, version)| *version) == expected
        };
        match self.lie {
            Lie::RewritesTheFile => {
                let lock =
                    self.store.locks.lock().unwrap().entry(id.to_owned()).or_default().clone();
                let _guard = lock.lock().await;
                let mut file = self.store.records.lock().unwrap().clone();
                tokio::task::yield_now().await;
                if !is_expected(file.get(id)) {
                    return Err(file.get(id).cloned());
                }
                file.insert(id.to_owned(), (record.clone(), version));
                tokio::task::yield_now().await;
                *self.store.records.lock().unwrap() = file;
            }
            Lie::ComparesWithItsCache => {
                let mut seen = self.seen.lock().unwrap();
                let known = seen
                    .get(id)
                    .copied()
                    .unwrap_or_else(|| self.current(id).map_or(0, |(_, version)| version));
                if known != expected {
                    return Err(self.current(id));
                }
                seen.insert(id.to_owned(), version);
                self.store.records.lock().unwrap().insert(id.to_owned(), (record.clone(), version));
            }
            Lie::ComparesThenWrites => {
                let current = self.current(id);
                if !is_expected(current.as_ref()) {
                    return Err(current);
                }
                self.store.records.lock().unwrap().insert(id.to_owned(), (record.clone(), version));
            }
            _ => {
                let mut records = self.store.records.lock().unwrap();
                let is_equal = records.get(id).is_some_and(|(current, _)| current == record);
                let is_same = self.lie == Lie::CreatesTwice && expected == 0 && is_equal;
                if !is_expected(records.get(id)) && !is_same {
                    return Err(records.get(id).cloned());
                }
                records.insert(id.to_owned(), (record.clone(), version));
            }
        }
        Ok(version)
    }

    fn remember(&self) {
        if self.lie == Lie::LoadsFromAReplica {
            let records = self.store.records.lock().unwrap().clone();
            self.store.past.lock().unwrap().push_back((Instant::now(), records));
        }
    }
}

impl Database for Liar {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        let stored = match self.lie {
            Lie::LoadsFromAReplica => {
                let behind = Instant::now().checked_sub(Duration::from_millis(200)).unwrap();
                let past = self.store.past.lock().unwrap();
                let seen = past.iter().rev().find(|(since, _)| *since <= behind);
                seen.and_then(|(_, records)| records.get(id).cloned())
            }
            _ => self.current(id),
        };
        if let Some((_, version)) = &stored {
            self.seen.lock().unwrap().insert(id.to_owned(), *version);
        }
        Ok(stored.map(versioned))
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let length = serde_json::to_string(record).unwrap().len();
        if self.lie == Lie::RefusesLargeRecords && length > 199 * 1024 {
            return Err(Error::encode("`probe` and `user` are over 199 KiB (203776 bytes)"));
        }
        if self.lie == Lie::LocksForever {
            while !self.store.busy.lock().unwrap().insert(id.to_owned()) {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
        }
        let under_way = self.store.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::yield_now().await;
        let saved = match self.lie {
            Lie::DropsUnderLoad if under_way > 40 => Ok(self.next_version()),
            _ => self.compare_and_write(id, record, Self::number(expected)).await,
        };
        self.store.under_way.fetch_sub(1, Ordering::SeqCst);
        self.store.busy.lock().unwrap().remove(id);
        self.remember();
        Ok(match saved {
            Ok(version) => Saved::Written(Version::from(version)),
            Err(current) => Saved::Conflict(current.map(versioned)),
        })
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.store.records.lock().unwrap().remove(id);
        self.seen.lock().unwrap().remove(id);
        self.remember();
        Ok(())
    }
}

/// Runs the suite over two handles on a runtime with several threads.
fn verdict(lie: Lie) -> String {
    let store = Arc::<Store>::default();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_time().build().unwrap();
    let run = move || runtime.block_on(conformance(async || Liar::new(lie, &store)));
    match std::thread::spawn(run).join() {
        Ok(()) => "passed".to_owned(),
        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn each_lie_is_found_every_time() {
    for lie in [
        Lie::RewritesTheFile,
        Lie::ComparesWithItsCache,
        Lie::LoadsFromAReplica,
        Lie::ComparesThenWrites,
        Lie::LocksForever,
        Lie::VersionsWrap,
        Lie::CreatesTwice,
        Lie::DropsUnderLoad,
        Lie::RefusesLargeRecords,
    ] {
        // Side by side: some are found only when a time limit strikes.
        let runs: Vec<_> = (0..3).map(|_| std::thread::spawn(move || verdict(lie))).collect();
        for run in runs {
            let verdict = run.join().unwrap();
            assert!(verdict.contains("FAILED"), "{lie:?} {verdict}");
        }
    }
}
