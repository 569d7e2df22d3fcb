//! The database in one JSON file.

#[cfg(target_os = "linux")]
mod attributes;
mod builder;
mod calls;
mod disk;
#[cfg(feature = "sqlite")]
mod export;
mod failure;
mod fingerprint;
mod format;
mod half_pairs;
mod lock;
mod old;
mod permissions;
mod probe;
mod raw;
mod records;
mod remarks;
mod shared;
#[cfg(all(test, unix))]
mod tests;
mod text;
mod writer;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::{fmt, thread};

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

pub use self::builder::FileDbBuilder;
#[cfg(feature = "sqlite")]
pub(crate) use self::export::{Export, export};
use self::failure::unusable;
use self::shared::Shared;
use self::writer::{Action, Command, Outcome, Write};
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A database in one JSON file, compatible with the `db.json` of Jovo v4: an array with one object
/// per user.
///
/// ```
/// use tower_persistence::{Database, Expected, FileDb, Record};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("db/db.json");
/// let db = FileDb::open(&path).await?;
/// db.save("user-1", &Record::default(), Expected::Absent).await?;
/// assert_eq!(std::fs::read_to_string(&path)?, "[\n  {\n    \"id\": \"user-1\"\n  }\n]");
/// # Ok(()) }
/// ```
///
/// # For up to 10,000 users
///
/// All users are held in memory, and each save writes the whole file. That suits development and
/// small apps of up to 10,000 users. Beyond that, a warning is logged once. With hundreds of
/// thousands of users saves take longer than requests wait for them. Move to `SqliteDb` then,
/// which copies the users with `import_file`, or to a server.
///
/// # Writes
///
/// * A save returns once it is on the disk: a new file is written beside the old one and replaces
///   it in one step, and both are synced. Saves that wait at the same time are written together.
///   The file is never incomplete.
/// * A save keeps the text of everything it does not change: other users byte for byte, and each
///   unchanged member of the saved user with its spelling of numbers and its formatting.
/// * A text with half of a surrogate pair (an emoji cut in two) loads with U+FFFD in its place. A
///   user whose `id` holds one cannot be loaded, and stays in the file.
/// * A user whose data cannot be read (a number beyond `f64`, more than 127 levels) is an error for
///   that user alone, and stays in the file.
/// * Records of the first Jovo, `{userId, userData: {data, metaData}}`, load as records of today,
///   and the next save converts them.
/// * [Tombstones](Database#deleted-users-stay-deleted) of deleted users are kept in memory only.
///
/// # Editing the file
///
/// The file may be edited while the program runs. Each load and save first looks for an edit (by
/// the file's time, length and inode) and reads it. Two edits can be told apart only if the clock
/// of the file system, the length or the inode changes between them. An edit that is not valid JSON
/// fails loads and saves until it is repaired, and is not overwritten. **An edit at the very moment
/// of a save can be lost**: edit while no user is active.
///
/// # One process at a time
///
/// Opening the file a second time is an error. `db.json.lock` beside it is locked while the file is
/// open, and is never removed. If the lock file or the directory is replaced meanwhile, the next
/// save notices: it locks the new file, or fails if another process has done so.
///
/// # File systems and permissions
///
/// Each save renames a new file over the old one. Opening the file tests whether that is possible,
/// and refuses a file that is mounted (`docker -v file:file`; mount its directory instead), that is
/// immutable, or that belongs to another user in a sticky directory. An operation that a file
/// system lacks and that endangers no stored data (syncing a directory, setting permissions) is
/// logged once as a warning.
///
/// Only its owner can read a new file. An existing file keeps owner, group, permissions and, on
/// Linux, access control lists and extended attributes. On Unix, a process that may not give files
/// away becomes the owner. If it cannot keep the group, it drops the group's permissions. If it
/// cannot keep an access control list, opening fails. A link is followed when the file is opened.
///
/// # Clones
///
/// Clones share one database. Dropping the last clone first writes all pending changes, and blocks
/// its thread until that is done. [`close`](Database::close) does the same without blocking.
///
/// `Debug` shows the path.
#[derive(Clone)]
pub struct FileDb {
    handle: Arc<Handle>,
}

impl FileDb {
    /// Opens the file `path`, and creates it and its directory if they do not exist. An existing
    /// file is left unchanged.
    ///
    /// # Errors
    ///
    /// * The file is already open, in another process or in this one.
    /// * The file is damaged (see [`FileDbBuilder::recover_damaged`]). The error names line and
    ///   column.
    /// * The file is JSON of another kind: not an array, a record without `id` (except those of the
    ///   first Jovo), or one `id` twice. The error names the place.
    /// * The file cannot be read, created or, as each save does, replaced, or `path` is a
    ///   directory. The error says what to mount or change.
    ///
    /// ```
    /// use tower_persistence::FileDb;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("db/db.json");
    /// let db = FileDb::open(path).await?;
    /// # Ok(()) }
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// Opens `db/db.json` in the working directory.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    ///
    /// ```no_run
    /// use tower_persistence::FileDb;
    ///
    /// # async fn example() -> Result<(), tower_persistence::Error> {
    /// let db = FileDb::open_default().await?;
    /// # Ok(()) }
    /// ```
    pub async fn open_default() -> Result<Self, Error> {
        Self::open("db/db.json").await
    }

    /// Creates a builder for the file `path`, for settings other than the default ones.
    ///
    /// ```
    /// use tower_persistence::FileDb;
    ///
    /// let builder = FileDb::builder("db/db.json").recover_damaged(true);
    /// ```
    pub fn builder(path: impl AsRef<Path>) -> FileDbBuilder {
        FileDbBuilder::new(path.as_ref().to_owned())
    }

    /// Waits until all saves and deletions that began earlier are written, including those whose
    /// callers have given up.
    ///
    /// # Errors
    ///
    /// A save or deletion failed after its caller had given up, or the database is closed.
    ///
    /// ```
    /// use tower_persistence::FileDb;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("db.json");
    /// let db = FileDb::open(path).await?;
    /// db.flush().await?;
    /// # Ok(()) }
    /// ```
    pub async fn flush(&self) -> Result<(), Error> {
        self.ask(Command::Flush).await
    }

    async fn ask<T, E: Into<Error>>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        if self.handle.commands.send(command(reply)).is_err() {
            return Err(self.ended());
        }
        answer.await.map_err(|_| self.ended())?.map_err(Into::into)
    }

    async fn write(&self, id: &str, action: Action) -> Result<Outcome, Error> {
        let (id, now) = (Arc::from(id), Instant::now());
        self.ask(|reply| Command::Write(Write { id, action, now, reply })).await
    }

    /// Reads the file again if another program has changed it.
    async fn refresh(&self) -> Result<(), Error> {
        if self.handle.shared.is_closed() {
            return Err(self.ended());
        }
        let shared = &self.handle.shared;
        let is_current = if shared.is_slow() {
            let shared = shared.clone();
            blocking(move || shared.is_current()).await?
        } else {
            shared.is_current()
        };
        if !is_current {
            self.ask(Command::Refresh).await?;
        }
        Ok(())
    }

    fn ended(&self) -> Error {
        let name = self.handle.shared.disk.name();
        unusable(if self.handle.shared.is_closed() {
            format!("{name} is closed")
        } else {
            format!(
                "the thread that writes {name} has ended, and it is not known whether this was \
                 written; open the file again"
            )
        })
    }
}

impl Database for FileDb {
    fn name(&self) -> &str {
        "file"
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.refresh().await?;
        self.handle.shared.get(id).map(|record| record.stored()).transpose()
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.refresh().await?;
        self.handle.shared.found(id, Instant::now())
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let shared = &self.handle.shared;
        let expected = expected.version();
        let before = shared.get(id).filter(|stored| expected == Some(&stored.version()));
        let before = before.as_ref().map(|stored| &*stored.text);
        let text = Arc::from(text::write(id, record, before)?);
        match self.write(id, Action::Save { text, expected: expected.cloned() }).await? {
            Outcome::Stored(version) => Ok(Saved::Written(version)),
            Outcome::Conflict(Some(current)) => Ok(Saved::Conflict(Some(current.stored()?))),
            Outcome::Conflict(None) | Outcome::Deleted => Ok(Saved::Conflict(None)),
        }
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.write(id, Action::Delete).await.map(drop)
    }

    async fn close(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        let sent = self.handle.commands.send(Command::Close(reply)).is_ok();
        match if sent { answer.await.ok() } else { None } {
            Some(result) => result.map_err(Error::from),
            None if self.handle.shared.is_closed() => Ok(()),
            None => Err(self.ended()),
        }
    }
}

impl fmt::Debug for FileDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDb({})", self.handle.shared.disk.name())
    }
}

/// The state that all clones share. The writer does not hold it, so dropping the last clone can end
/// the writer.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // Either error means that the writer has already ended.
        let _ = self.commands.send(Command::Close(reply));
        let _ = self.thread.take().map(thread::JoinHandle::join);
        if let Some(error) = self.shared.take_unreported() {
            tracing::error!(
                "{} was closed after a write that failed: {error:?}",
                self.shared.disk.name()
            );
        }
    }
}

/// Does blocking work outside the threads that run futures.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let runtime = runtime::Handle::try_current().map_err(|error| {
        Error::configuration("a file database needs a tokio runtime; open it within one")
            .with_source(error)
    })?;
    runtime.spawn_blocking(work).await.map_err(Error::database)
}
