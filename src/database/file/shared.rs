//! The committed state: the records as they are on the disk. Every clone reads it, only the writer
//! changes it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::disk::Disk;
use super::failure::unusable;
use super::fingerprint::Fingerprint;
use super::format::{self, Content, Defect};
use super::records::{Change, Changes, Key, RecordText, Records};
use super::remarks::{MANY_USERS, Remark};
use crate::database::tombstone::{self, Tombstones};
use crate::database::{Loaded, Version};
use crate::error::Error;

/// The reason why a file could not be read.
#[derive(Debug)]
pub(super) enum Unreadable {
    Failed(io::Error),
    Defect(Defect),
}

/// Reads the file. A record with the same text as in `before` keeps its version.
pub(super) fn read(disk: &Disk, before: &Records) -> Result<(Content, Fingerprint), Unreadable> {
    let (text, fingerprint) = disk.read().map_err(Unreadable::Failed)?;
    let content = format::read(&text, before).map_err(Unreadable::Defect)?;
    if content.has_half_pairs {
        disk.remark(Remark::HalfPairs);
    }
    Ok((content, fingerprint))
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Disk,
    records: RwLock<Records>,
    tombstones: RwLock<Tombstones>,
    known: Mutex<Known>,
    unreported: Mutex<Option<Error>>,
    closed: AtomicBool,
    /// Set if the last look at the file took long, as on a network file system.
    is_slow: AtomicBool,
}

/// The time that a look at the file may take on a thread that runs futures. On a local disk it
/// takes some microseconds, less than handing it to another thread.
const QUICK: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
struct Known {
    /// The file that holds `records`; `None` when that is uncertain.
    current: Option<Fingerprint>,
    /// The file that is about to replace it, which is not an edit by another program either.
    next: Option<Fingerprint>,
}

impl Shared {
    pub(super) fn new(disk: Disk, content: Content, fingerprint: Fingerprint) -> Self {
        let records = content.records;
        remark_many(&disk, &records);
        Self {
            disk,
            records: RwLock::new(records),
            tombstones: RwLock::default(),
            known: Mutex::new(Known { current: Some(fingerprint), next: None }),
            unreported: Mutex::new(None),
            closed: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
        }
    }

    pub(super) fn records(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: &str) -> Option<RecordText> {
        self.records().get(id).cloned()
    }

    pub(super) fn tombstone(&self, id: &str, now: Instant) -> Option<Version> {
        let tombstones = self.tombstones.read().unwrap_or_else(PoisonError::into_inner);
        tombstones.get(id, now).cloned()
    }

    pub(super) fn found(&self, id: &str, now: Instant) -> Result<Loaded, Error> {
        match self.get(id) {
            Some(record) => record.stored().map(Loaded::Present),
            None => {
                let tombstone = self.tombstone(id, now);
                Ok(Loaded::Absent(Some(tombstone.unwrap_or_else(tombstone::nothing))))
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the last look at the file took long enough to be done on a thread that may
    /// block. The first one follows the reading of the file, so its metadata is cached.
    pub(super) fn is_slow(&self) -> bool {
        self.is_slow.load(Ordering::Relaxed)
    }

    /// Returns whether the file is unchanged by other programs, as loads see it. Blocks.
    pub(super) fn is_current(&self) -> bool {
        let began = std::time::Instant::now();
        let found = self.disk.fingerprint().ok();
        self.is_slow.store(began.elapsed() > QUICK, Ordering::Relaxed);
        let known = self.known();
        found.is_some() && (found == known.current || found == known.next)
    }

    /// Returns whether the file is the one that holds the records, as the writer sees it. Blocks.
    pub(super) fn is_unchanged(&self) -> bool {
        let found = self.disk.fingerprint().ok();
        found.is_some() && found == self.known().current
    }

    pub(super) fn announce(&self, next: Fingerprint) {
        self.known().next = Some(next);
    }

    /// Makes the next access read the file again.
    pub(super) fn invalidate(&self) {
        *self.known() = Known::default();
    }

    /// Applies changes that were written.
    pub(super) fn commit(&self, changes: Changes, fingerprint: Fingerprint, now: Instant) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        self.commit_tombstones(&changes, now);
        for (id, change) in changes {
            match change {
                Change::Stored(record) => drop(records.insert(Key::User(id), record)),
                Change::Deleted(_) => drop(records.shift_remove(&*id)),
            }
        }
        remark_many(&self.disk, &records);
        *self.known() = Known { current: Some(fingerprint), next: None };
    }

    /// Applies tombstones, which are in no file, so that nothing has to be written first.
    pub(super) fn commit_tombstones(&self, changes: &Changes, now: Instant) {
        let mut tombstones = self.tombstones.write().unwrap_or_else(PoisonError::into_inner);
        for (id, change) in changes {
            match change {
                Change::Stored(_) => tombstones.remove(id),
                Change::Deleted(version) => tombstones.put(id.clone(), version.clone(), now),
            }
        }
    }

    /// Reads the file again if another program has changed it. Blocks.
    pub(super) fn refresh(&self) -> Result<(), Error> {
        if self.is_unchanged() {
            return Ok(());
        }
        let read = read(&self.disk, &self.records());
        let (mut content, fingerprint) = read.map_err(|unreadable| self.unavailable(unreadable))?;
        remark_many(&self.disk, &content.records);
        {
            // The old records are dropped later, outside the lock.
            let mut current = self.records.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *current, &mut content.records);
        }
        *self.known() = Known { current: Some(fingerprint), next: None };
        Ok(())
    }

    fn unavailable(&self, unreadable: Unreadable) -> Error {
        let name = self.disk.name();
        match unreadable {
            Unreadable::Failed(error) if error.kind() == io::ErrorKind::NotFound => unusable(
                format!("{name} was removed; nothing is loaded or saved until it is there again"),
            ),
            Unreadable::Failed(error) => self.disk.failed("read again", error),
            Unreadable::Defect(Defect::Damaged(why) | Defect::Foreign(why)) => unusable(format!(
                "{name} was edited and now {why}. Nothing is loaded or saved until it is repaired"
            )),
        }
    }

    /// Keeps the error of a write whose caller has given up.
    pub(super) fn note_unreported(&self, error: Error) {
        *self.unreported.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn take_unreported(&self) -> Option<Error> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn remark_many(disk: &Disk, records: &Records) {
    if records.len() > MANY_USERS {
        disk.remark(Remark::ManyUsers);
    }
}
