//! The only thread that changes the file. Writes that wait at the same time are written together.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::NotReplaced;
use super::failure::unusable;
use super::lock::Lock;
use super::records::{Change, Changes, Key, RecordText};
use super::shared::Shared;
use crate::database::{Version, tombstone};
use crate::error::Error;

/// The number of attempts at a write while another program keeps changing the file.
const ATTEMPTS: usize = 10;

type Reply<T> = oneshot::Sender<Result<T, Failure>>;

#[derive(Debug)]
pub(super) enum Command {
    Write(Write),
    /// Reads the changes of another program.
    Refresh(oneshot::Sender<Result<(), Error>>),
    /// Answers once everything before it is done.
    Flush(Reply<()>),
    /// Answers once everything before it is done, and ends the writer.
    Close(Reply<()>),
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: Arc<str>,
    pub(super) action: Action,
    /// The time by the caller's clock.
    pub(super) now: Instant,
    pub(super) reply: Reply<Outcome>,
}

#[derive(Debug)]
pub(super) enum Action {
    Save { text: Arc<str>, expected: Option<Version> },
    Delete,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Stored(Version),
    Deleted,
    Conflict(Option<RecordText>),
}

/// A failed write on its way to its caller. If the caller has given up, the next flush reports it.
#[derive(Debug)]
pub(super) struct Failure {
    error: Error,
    shared: Option<Arc<Shared>>,
}

impl From<Failure> for Error {
    fn from(mut failure: Failure) -> Self {
        failure.shared = None;
        failure.error.clone()
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.note_unreported(self.error.clone());
        }
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    commands: Receiver<Command>,
    lock: RefCell<Lock>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, commands: Receiver<Command>, lock: Lock) -> Self {
        Self { shared, commands, lock: RefCell::new(lock) }
    }

    /// Runs until it is told to close.
    pub(super) fn run(self) {
        let mut closing = None;
        while closing.is_none()
            && let Ok(first) = self.commands.recv()
        {
            closing = self.turn(first);
        }
        self.shared.close();
        self.lock.borrow().release();
        if let Some(reply) = closing {
            let _ = reply.send(self.unreported());
        }
    }

    /// Carries out all waiting commands. Returns the reply to a command to close.
    fn turn(&self, first: Command) -> Option<Reply<()>> {
        let (mut writes, mut refreshes, mut flushes) = (Vec::new(), Vec::new(), Vec::new());
        let mut closing = None;
        for command in std::iter::once(first).chain(self.commands.try_iter()) {
            match command {
                Command::Write(write) => writes.push(write),
                Command::Refresh(reply) => refreshes.push(reply),
                Command::Flush(reply) => flushes.push(reply),
                Command::Close(reply) => {
                    closing = Some(reply);
                    break;
                }
            }
        }
        self.work(writes, refreshes);
        for reply in flushes {
            let _ = reply.send(self.unreported());
        }
        closing
    }

    fn failure(&self, error: Error) -> Failure {
        Failure { error, shared: Some(self.shared.clone()) }
    }

    fn unreported(&self) -> Result<(), Failure> {
        self.shared.take_unreported().map_or(Ok(()), |error| Err(self.failure(error)))
    }

    fn work(&self, writes: Vec<Write>, refreshes: Vec<oneshot::Sender<Result<(), Error>>>) {
        if writes.is_empty() && refreshes.is_empty() {
            return;
        }
        let refreshed = self.refresh();
        for reply in refreshes {
            // The caller may have given up, which is not an error, here or below.
            let _ = reply.send(refreshed.clone());
        }
        match refreshed.and_then(|()| self.write(&writes)) {
            Ok(outcomes) => {
                for (write, outcome) in writes.into_iter().zip(outcomes) {
                    let _ = write.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for write in writes {
                    let _ = write.reply.send(Err(self.failure(error.clone())));
                }
            }
        }
    }

    /// Reads the changes that another program made to the file, and restores a lock that it
    /// removed.
    fn refresh(&self) -> Result<(), Error> {
        let disk = &self.shared.disk;
        // Without the file there is nothing to lock.
        if !self.lock.borrow().is_in_place() && disk.fingerprint().is_ok() {
            let lock = Lock::take(disk).map_err(|error| {
                let text = format!(
                    "the lock of {} was removed or replaced, and another process has the new one. \
                     Nothing is loaded or saved here until that process ends",
                    disk.name()
                );
                unusable(text).with_source(error)
            })?;
            tracing::warn!("the lock of {} was removed or replaced; it is held anew", disk.name());
            self.lock.replace(lock);
            self.shared.invalidate();
        }
        self.shared.refresh()
    }

    /// Carries out all of `writes` or none of them.
    fn write(&self, writes: &[Write]) -> Result<Vec<Outcome>, Error> {
        let Some(now) = writes.iter().map(|write| write.now).max() else { return Ok(Vec::new()) };
        for _ in 0..ATTEMPTS {
            let (outcomes, changes) = self.plan(writes, now);
            if self.store(changes, now)? {
                return Ok(outcomes);
            }
            self.refresh()?;
        }
        let name = self.shared.disk.name();
        let text = format!(
            "{name} was not written, because another program keeps changing it; stop that program, or try \
             again"
        );
        Err(unusable(text))
    }

    /// Decides the outcome of each write, in order, and the changes to store.
    fn plan(&self, writes: &[Write], now: Instant) -> (Vec<Outcome>, Changes) {
        let records = self.shared.records();
        let mut changes = Changes::new();
        let outcomes = writes.iter().map(|Write { id, action, .. }| {
            let (current, tombstone) = match changes.get(id) {
                Some(Change::Stored(record)) => (Some(record), None),
                Some(Change::Deleted(version)) => (None, Some(version.clone())),
                None => (records.get(&**id), self.shared.tombstone(id, now)),
            };
            match action {
                Action::Save { text, expected } => {
                    let version = current.map(RecordText::version).or(tombstone);
                    if !tombstone::permits(expected.as_ref(), version.as_ref()) {
                        return Outcome::Conflict(current.cloned());
                    }
                    let record = RecordText::new(text.clone());
                    let version = record.version();
                    changes.insert(id.clone(), Change::Stored(record));
                    Outcome::Stored(version)
                }
                Action::Delete => {
                    changes.insert(id.clone(), Change::deleted());
                    Outcome::Deleted
                }
            }
        });
        (outcomes.collect(), changes)
    }

    /// Writes the file with `changes`. Returns `false`, and does nothing, if another program has
    /// changed the file meanwhile.
    fn store(&self, changes: Changes, now: Instant) -> Result<bool, Error> {
        let disk = &self.shared.disk;
        let written = {
            let records = self.shared.records();
            let is_of_file = |(id, change): (&Arc<str>, &Change)| {
                change.record().is_some() || records.contains_key(&**id)
            };
            if !changes.iter().any(is_of_file) {
                self.shared.commit_tombstones(&changes, now);
                return Ok(true);
            }
            let changed = |key: &Key| match key {
                Key::User(id) => changes.get(id),
                Key::NoUser(_) => None,
            };
            let kept = records.iter().filter_map(|(key, record)| match changed(key) {
                Some(changed) => changed.record(),
                None => Some(record),
            });
            let added = changes.iter().filter(|(id, _)| !records.contains_key(&***id));
            let added = added.filter_map(|(_, change)| change.record());
            disk.write_temporary(kept.chain(added).map(|record| &*record.text))
        };
        let temporary =
            written.map_err(|error| disk.unwritable("written; it is as it was", error))?;
        if !self.shared.is_unchanged() || !self.lock.borrow().is_in_place() {
            return Ok(false);
        }
        let fingerprint = temporary.fingerprint;
        self.shared.announce(fingerprint);
        let unknown = |error| {
            self.shared.invalidate();
            disk.failed("replaced for certain, and is read anew", error)
        };
        disk.replace(&temporary).map_err(|failed| match failed {
            NotReplaced::Refused(error) => disk.unwritable("replaced; it is as it was", error),
            NotReplaced::Unknown(error) => unknown(error),
        })?;
        disk.sync_directory().map_err(unknown)?;
        tracing::debug!(file = disk.name(), changed = changes.len(), "written");
        self.shared.commit(changes, fingerprint, now);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
