//! The one thread of a process that writes. What waits when it is free is committed together, so
//! that many saves share the time that the disk takes for one.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::Shared;
use super::batch::{Batch, Outcome};
use super::failure::{failed, is_busy};
#[cfg(feature = "file")]
use super::import::Import;
use crate::database::Version;
use crate::error::Error;

/// Writes that are committed together at most, so that the first does not wait for long.
const TOGETHER: usize = 512;

/// The time that SQLite itself waits for another process's transaction to end. It sleeps longer
/// each time and then misses the moments between two, so it is begun anew instead.
const PATIENCE: Duration = Duration::from_millis(8);

#[derive(Debug)]
pub(super) enum Command {
    Write(Write),
    #[cfg(feature = "file")]
    Import(Import),
    /// Answer when everything before is done, and end.
    Close(oneshot::Sender<Result<(), Error>>),
}

#[derive(Debug)]
pub(super) struct Write {
    pub(super) id: Box<str>,
    pub(super) action: Action,
    pub(super) since: Instant,
    pub(super) reply: oneshot::Sender<Result<Outcome, Error>>,
}

#[derive(Debug)]
pub(super) enum Action {
    Save { text: Arc<str>, over: Option<Version> },
    Delete,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    connection: Connection,
    commands: Receiver<Command>,
    /// Of a write whose caller has gone.
    unreported: Option<Error>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: Connection,
        commands: Receiver<Command>,
    ) -> rusqlite::Result<Self> {
        connection.busy_timeout(PATIENCE)?;
        Ok(Self { shared, connection, commands, unreported: None })
    }

    /// Runs until it is told to close.
    pub(super) fn run(mut self) {
        let mut closing = None;
        while closing.is_none()
            && let Ok(first) = self.commands.recv()
        {
            closing = self.turn(first);
        }
        self.shared.close();
        let closed = self.close();
        if let Some(reply) = closing {
            let _ = reply.send(closed);
        }
    }

    /// Does what waits; returns who waits for the end, if it is told to close.
    fn turn(&mut self, first: Command) -> Option<oneshot::Sender<Result<(), Error>>> {
        let mut writes = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            match command {
                Command::Write(write) => writes.push(write),
                #[cfg(feature = "file")]
                Command::Import(import) => {
                    self.write(std::mem::take(&mut writes));
                    self.import(import);
                }
                Command::Close(reply) => {
                    self.write(writes);
                    return Some(reply);
                }
            }
            next = if writes.len() < TOGETHER { self.commands.try_recv().ok() } else { None };
        }
        self.write(writes);
        None
    }

    /// Writes all of them, or none.
    fn write(&mut self, mut writes: Vec<Write>) {
        while !writes.is_empty() {
            let result = match self.transact(&writes) {
                Err(error) if is_busy(&error) => {
                    let timeout = self.shared.timeout;
                    let is_overdue = |write: &mut Write| write.since.elapsed() >= timeout;
                    let overdue = writes.extract_if(.., is_overdue).collect();
                    self.refuse(overdue, &failed(&self.shared.place, error));
                    continue;
                }
                result => result.map_err(|error| failed(&self.shared.place, error)),
            };
            match result.flatten() {
                Ok(outcomes) => {
                    for (write, outcome) in writes.into_iter().zip(outcomes) {
                        // A caller may have gone; what was asked for is done all the same.
                        let _ = write.reply.send(Ok(outcome));
                    }
                }
                Err(error) => self.refuse(writes, &error),
            }
            return;
        }
    }

    fn refuse(&mut self, writes: Vec<Write>, error: &Error) {
        for write in writes {
            if write.reply.send(Err(error.clone())).is_err() {
                self.unreported = Some(error.clone());
            }
        }
    }

    /// Returns what became of each write, once that is on the disk.
    fn transact(&self, writes: &[Write]) -> rusqlite::Result<Result<Vec<Outcome>, Error>> {
        self.within(|batch| {
            let write = |write: &Write| match &write.action {
                Action::Save { text, over } => batch.save(&write.id, text, over.as_ref()),
                Action::Delete => batch.delete(&write.id),
            };
            writes.iter().map(write).collect()
        })
    }

    /// Does `work` in one transaction. The inner error says that the file is gone.
    fn within<T>(
        &self,
        work: impl FnOnce(&mut Batch<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Result<T, Error>> {
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let mut batch = Batch::begin(&transaction, self.shared.expire_users_after)?;
        let result = work(&mut batch)?;
        // Where nothing is to be written, dropping the transaction ends it without syncing.
        if batch.finish()? {
            if let Err(error) = self.shared.place.check() {
                return Ok(Err(error));
            }
            transaction.commit()?;
        }
        Ok(Ok(result))
    }

    #[cfg(feature = "file")]
    fn import(&self, import: Import) {
        let since = Instant::now();
        let result = loop {
            match self.within(|batch| import.run(batch)) {
                Err(error) if is_busy(&error) && since.elapsed() < self.shared.timeout => {}
                result => break result,
            }
        };
        // So much at once makes a long journal, which would stay as long.
        self.checkpoint();
        let result = result.map_err(|error| failed(&self.shared.place, error));
        import.reply(&self.shared.place, result.flatten());
    }

    /// Copies the journal into the file and shortens it, unless another process reads it.
    fn checkpoint(&self) {
        let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::debug!("the journal stays, which does no harm: {error}");
        }
    }

    fn close(self) -> Result<(), Error> {
        self.checkpoint();
        // All is committed, so that it could not be closed harms nothing.
        let _ = self.connection.close();
        self.unreported.map_or(Ok(()), Err)
    }
}
