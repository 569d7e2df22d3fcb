//! The one thread that changes the file. What waits when it is free is written together.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::disk::NotReplaced;
use super::items::{Change, Changes, Item, Key};
use super::lock::Lock;
use super::shared::Shared;
use crate::database::{Version, tombstone};
use crate::error::{Error, Kind};

/// How often a write is begun anew because somebody else changed the file meanwhile.
const ATTEMPTS: usize = 10;

type Reply<T> = oneshot::Sender<Result<T, Failure>>;

#[derive(Debug)]
pub(super) enum Command {
    Write(Write),
    /// Take over what somebody else did to the file.
    Refresh(oneshot::Sender<Result<(), Error>>),
    /// Answer when everything before is done.
    Flush(Reply<()>),
    /// The same, and end.
    Close(Reply<()>),
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: Arc<str>,
    pub(super) action: Action,
    /// By the clock of who asked.
    pub(super) now: Instant,
    pub(super) reply: Reply<Outcome>,
}

#[derive(Debug)]
pub(super) enum Action {
    Save { text: Arc<str>, over: Option<Version> },
    Delete,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Stored(Version),
    Deleted,
    Conflict(Option<Item>),
}

/// A failed write on its way to its caller. If that has gone, whoever flushes next gets to know it.
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
            shared.note_unheard(self.error.clone());
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

    /// Does all that waits; returns who waits for the end, if it is told to close.
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
        self.shared.take_unheard().map_or(Ok(()), |error| Err(self.failure(error)))
    }

    fn work(&self, writes: Vec<Write>, refreshes: Vec<oneshot::Sender<Result<(), Error>>>) {
        if writes.is_empty() && refreshes.is_empty() {
            return;
        }
        let refreshed = self.refresh();
        for reply in refreshes {
            // Whoever asked may have gone; here and below that is their right.
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

    /// Takes over what another program did to the file, or to its lock.
    fn refresh(&self) -> Result<(), Error> {
        let disk = &self.shared.disk;
        // Where the file is gone as well, nothing is to be locked.
        if !self.lock.borrow().is_in_place() && disk.fingerprint().is_ok() {
            let lock = Lock::take(disk).map_err(|error| {
                let text = format!(
                    "the lock of {} was removed or replaced, and another process has the new one. \
                     Nothing is loaded or saved here until that process ends",
                    disk.name()
                );
                Error::new(Kind::Database, text).with_source(error)
            })?;
            tracing::warn!("the lock of {} was removed or replaced; it is held anew", disk.name());
            self.lock.replace(lock);
            self.shared.invalidate();
        }
        self.shared.refresh()
    }

    /// All of `writes`, or none of them.
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
        let text = format!("{name} was not written, because another program keeps changing it");
        Err(Error::new(Kind::Database, text))
    }

    /// What becomes of each write, one after the other, and what has to be stored for that.
    fn plan(&self, writes: &[Write], now: Instant) -> (Vec<Outcome>, Changes) {
        let items = self.shared.items();
        let mut changes = Changes::new();
        let outcomes = writes.iter().map(|Write { id, action, .. }| {
            let (current, tombstone) = match changes.get(id) {
                Some(Change::Stored(item)) => (Some(item), None),
                Some(Change::Deleted(version)) => (None, Some(version.clone())),
                None => (items.get(&**id), self.shared.tombstone(id, now)),
            };
            match action {
                Action::Save { text, over } => {
                    let version = current.map(Item::version).or(tombstone);
                    if !tombstone::permits(over.as_ref(), version.as_ref()) {
                        return Outcome::Conflict(current.cloned());
                    }
                    let item = Item::new(text.clone());
                    let version = item.version();
                    changes.insert(id.clone(), Change::Stored(item));
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

    /// Writes the file with `changes`; `false` if somebody else has changed it meanwhile, and
    /// nothing was done.
    fn store(&self, changes: Changes, now: Instant) -> Result<bool, Error> {
        let disk = &self.shared.disk;
        let written = {
            let items = self.shared.items();
            let is_of_file = |(id, change): (&Arc<str>, &Change)| {
                change.item().is_some() || items.contains_key(&**id)
            };
            if !changes.iter().any(is_of_file) {
                self.shared.commit_tombstones(&changes, now);
                return Ok(true);
            }
            let changed = |key: &Key| match key {
                Key::User(id) => changes.get(id),
                Key::NoUser(_) => None,
            };
            let kept = items.iter().filter_map(|(key, item)| match changed(key) {
                Some(changed) => changed.item(),
                None => Some(item),
            });
            let added = changes.iter().filter(|(id, _)| !items.contains_key(&***id));
            let added = added.filter_map(|(_, change)| change.item());
            disk.write_temporary(kept.chain(added).map(|item| &*item.text))
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
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::mpsc;

    use super::super::disk::Disk;
    use super::super::items::Items;
    use super::super::shared;
    use super::*;

    struct Bench {
        writer: Writer,
        commands: mpsc::Sender<Command>,
        path: PathBuf,
        _directory: tempfile::TempDir,
    }

    fn bench(file: &str) -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db.json");
        fs::write(&path, file).unwrap();
        let disk = Disk::locate(&path).unwrap();
        let lock = Lock::take(&disk).unwrap();
        let (content, fingerprint) = shared::read(&disk, &Items::new()).unwrap();
        let (commands, receiver) = mpsc::channel();
        let shared = Arc::new(Shared::new(disk, content, fingerprint));
        let writer = Writer::new(shared, receiver, lock);
        Bench { writer, commands, path, _directory: directory }
    }

    type Answer = oneshot::Receiver<Result<Outcome, Failure>>;

    fn save(id: &str, over: Option<Version>) -> (Write, Answer) {
        let (reply, answer) = oneshot::channel();
        let text = Arc::from(format!("{{ \"id\": \"{id}\", \"new\": 1 }}"));
        (
            Write {
                id: Arc::from(id),
                action: Action::Save { text, over },
                now: Instant::now(),
                reply,
            },
            answer,
        )
    }

    #[test]
    fn saves_that_wait_are_written_together() {
        let Bench { writer, commands, path, _directory } = bench("[]");
        let mut answers = Vec::new();
        for number in 0..64 {
            let (write, answer) = save(&format!("user-{number}"), None);
            commands.send(Command::Write(write)).unwrap();
            answers.push(answer);
        }
        let first = writer.commands.recv().unwrap();
        assert!(writer.turn(first).is_none());
        for mut answer in answers {
            assert!(matches!(answer.try_recv(), Ok(Ok(Outcome::Stored(_)))));
        }
        let file: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(file.as_array().unwrap().len(), 64);
    }

    #[test]
    fn an_edit_while_the_file_is_being_written_is_kept() {
        let Bench { writer, path, _directory, .. } = bench(r#"[{"id":"a"},{"id":"b"}]"#);
        let version = |id| writer.shared.get(id).map(|item| item.version());
        let (writes, _answers): (Vec<_>, Vec<_>) =
            [save("a", version("a")), save("b", version("b"))].into_iter().unzip();
        // The writer has looked at the file before, and sees this only when its own file is ready.
        fs::write(&path, r#"[{"id":"a"},{"id":"b","edited":true},{"id":"c"}]"#).unwrap();
        let outcomes = writer.write(&writes).unwrap();
        assert!(matches!(&outcomes[0], Outcome::Stored(_)), "{outcomes:?}");
        let Outcome::Conflict(Some(item)) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!(&*item.text, r#"{"id":"b","edited":true}"#);
        let file = "[\n  { \"id\": \"a\", \"new\": 1 },\n  {\"id\":\"b\",\"edited\":true},\n  {\"id\":\"c\"}\n]";
        assert_eq!(fs::read_to_string(&path).unwrap(), file);
        assert_eq!(fs::read_dir(_directory.path()).unwrap().count(), 2, "db.json and its lock");
    }

    #[test]
    fn one_user_several_times_in_one_write() {
        let Bench { writer, path, _directory, .. } = bench(r#"[{"id":"a"}]"#);
        let first = writer.shared.get("a").map(|item| item.version());
        let (reply, _answer) = oneshot::channel();
        let delete =
            Write { id: Arc::from("a"), action: Action::Delete, now: Instant::now(), reply };
        let (under_way, _answer) = save("a", Some(tombstone::nothing()));
        let outcomes = writer.write(&[delete, under_way]).unwrap();
        assert!(matches!(&outcomes[0], Outcome::Deleted));
        assert!(matches!(&outcomes[1], Outcome::Conflict(None)), "{outcomes:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "[]");

        let tombstone = writer.shared.tombstone("a", Instant::now());
        let (recreate, _answer) = save("a", tombstone);
        let (late, _answer) = save("a", first.clone());
        let outcomes = writer.write(&[recreate, late]).unwrap();
        let Outcome::Stored(version) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_ne!(Some(version), first.as_ref());
        let Outcome::Conflict(Some(item)) = &outcomes[1] else { panic!("{outcomes:?}") };
        assert_eq!(item.version(), *version);
        let file = fs::read_to_string(&path).unwrap();
        assert_eq!(file.matches("\"a\"").count(), 1, "{file}");
        assert_eq!(writer.shared.tombstone("a", Instant::now()), None);
    }

    #[test]
    fn a_tombstone_of_somebody_who_is_not_in_the_file_leaves_the_file_alone() {
        let Bench { writer, path, _directory, .. } = bench("[ ]");
        let (reply, _answer) = oneshot::channel();
        let (id, now) = (Arc::from("a"), Instant::now());
        writer.write(&[Write { id, action: Action::Delete, now, reply }]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "[ ]");
        let (under_way, _answer) = save("a", Some(tombstone::nothing()));
        assert!(matches!(&writer.write(&[under_way]).unwrap()[0], Outcome::Conflict(None)));
        let (mut after, _answer) = save("a", Some(tombstone::nothing()));
        after.now = now + crate::database::tombstone::LIFETIME;
        assert!(matches!(&writer.write(&[after]).unwrap()[0], Outcome::Stored(_)));
    }

    #[test]
    fn after_an_uncertain_outcome_the_file_is_read_anew() {
        let Bench { writer, path, _directory, .. } = bench(r#"[{"id":"a"},{"id":"b"}]"#);
        let shared = &writer.shared;
        let version = |id| shared.get(id).map(|item| item.version());
        let before = (version("a"), version("b"));
        fs::write(&path, r#"[{"id":"a"},{"id":"b","new":1}]"#).unwrap();
        shared.announce(shared.disk.fingerprint().unwrap());
        assert!(shared.is_current());
        shared.invalidate();
        assert!(!shared.is_current());
        shared.refresh().unwrap();
        assert!(shared.is_current());
        assert_eq!(version("a"), before.0);
        assert_ne!(version("b"), before.1);
    }
}
