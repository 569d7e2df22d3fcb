//! What is committed: the items as they are on the disk. Everyone reads it, only the writer changes
//! it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use tokio::time::Instant;

use super::disk::Disk;
use super::fingerprint::Fingerprint;
use super::format::{self, Content, Defect};
use super::items::{Change, Changes, Item, Items, Key};
use super::remarks::{MANY_USERS, Remark};
use crate::database::tombstone::{self, Tombstones};
use crate::database::{Loaded, Version};
use crate::error::{Error, Kind};

/// Why the file could not be taken over.
#[derive(Debug)]
pub(super) enum Unreadable {
    Failed(io::Error),
    Defect(Defect),
}

/// Reads the file. An item that is the same text as in `before` keeps its version.
pub(super) fn read(disk: &Disk, before: &Items) -> Result<(Content, Fingerprint), Unreadable> {
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
    items: RwLock<Items>,
    tombstones: RwLock<Tombstones>,
    known: Mutex<Known>,
    unreported: Mutex<Option<Error>>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Known {
    /// The file that `items` is; `None` when that is not certain.
    current: Option<Fingerprint>,
    /// The file that is about to take its place: not an edit by another hand either.
    next: Option<Fingerprint>,
}

impl Shared {
    pub(super) fn new(disk: Disk, content: Content, fingerprint: Fingerprint) -> Self {
        let items = content.items;
        remark_many(&disk, &items);
        Self {
            disk,
            items: RwLock::new(items),
            tombstones: RwLock::default(),
            known: Mutex::new(Known { current: Some(fingerprint), next: None }),
            unreported: Mutex::new(None),
            closed: AtomicBool::new(false),
        }
    }

    pub(super) fn items(&self) -> RwLockReadGuard<'_, Items> {
        self.items.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, id: &str) -> Option<Item> {
        self.items().get(id).cloned()
    }

    pub(super) fn tombstone(&self, id: &str, now: Instant) -> Option<Version> {
        let tombstones = self.tombstones.read().unwrap_or_else(PoisonError::into_inner);
        tombstones.get(id, now).cloned()
    }

    pub(super) fn found(&self, id: &str, now: Instant) -> Result<Loaded, Error> {
        match self.get(id) {
            Some(item) => item.stored().map(Loaded::Present),
            None => {
                let tombstone = self.tombstone(id, now);
                Ok(Loaded::Absent(Some(tombstone.unwrap_or_else(tombstone::nothing))))
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody else has changed the file, as seen by those who load. Blocks.
    pub(super) fn is_current(&self) -> bool {
        let found = self.disk.fingerprint().ok();
        let known = self.known();
        found.is_some() && (found == known.current || found == known.next)
    }

    /// Whether the file is the one that the items are, as seen by the writer. Blocks.
    pub(super) fn is_unchanged(&self) -> bool {
        let found = self.disk.fingerprint().ok();
        found.is_some() && found == self.known().current
    }

    pub(super) fn announce(&self, next: Fingerprint) {
        self.known().next = Some(next);
    }

    /// Has the file read anew before it is relied on again.
    pub(super) fn invalidate(&self) {
        *self.known() = Known::default();
    }

    /// Takes over what was written.
    pub(super) fn commit(&self, changes: Changes, fingerprint: Fingerprint, now: Instant) {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        self.commit_tombstones(&changes, now);
        for (id, change) in changes {
            match change {
                Change::Stored(item) => drop(items.insert(Key::User(id), item)),
                Change::Deleted(_) => drop(items.shift_remove(&*id)),
            }
        }
        remark_many(&self.disk, &items);
        *self.known() = Known { current: Some(fingerprint), next: None };
    }

    /// They are in no file, so nothing has to be written first.
    pub(super) fn commit_tombstones(&self, changes: &Changes, now: Instant) {
        let mut tombstones = self.tombstones.write().unwrap_or_else(PoisonError::into_inner);
        for (id, change) in changes {
            match change {
                Change::Stored(_) => tombstones.remove(id),
                Change::Deleted(version) => tombstones.put(id.clone(), version.clone(), now),
            }
        }
    }

    /// Reads the file anew if somebody else changed it. Blocks.
    pub(super) fn refresh(&self) -> Result<(), Error> {
        if self.is_unchanged() {
            return Ok(());
        }
        let read = read(&self.disk, &self.items());
        let (mut content, fingerprint) = read.map_err(|unreadable| self.unavailable(unreadable))?;
        remark_many(&self.disk, &content.items);
        {
            // What was there before is dropped later, when nobody waits for it.
            let mut current = self.items.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *current, &mut content.items);
        }
        *self.known() = Known { current: Some(fingerprint), next: None };
        Ok(())
    }

    fn unavailable(&self, unreadable: Unreadable) -> Error {
        let name = self.disk.name();
        match unreadable {
            Unreadable::Failed(error) if error.kind() == io::ErrorKind::NotFound => Error::new(
                Kind::Database,
                format!("{name} was removed; nothing is loaded or saved until it is there again"),
            ),
            Unreadable::Failed(error) => self.disk.failed("read again", error),
            Unreadable::Defect(Defect::Damaged(why) | Defect::Foreign(why)) => Error::new(
                Kind::Database,
                format!(
                    "{name} was edited and now {why}. Nothing is loaded or saved until it is repaired"
                ),
            ),
        }
    }

    /// Keeps the error of a write whose caller has gone.
    pub(super) fn note_unheard(&self, error: Error) {
        *self.unreported.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub(super) fn take_unheard(&self) -> Option<Error> {
        self.unreported.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

fn remark_many(disk: &Disk, items: &Items) {
    if items.len() > MANY_USERS {
        disk.remark(Remark::ManyUsers);
    }
}
