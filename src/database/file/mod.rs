#[cfg(target_os = "linux")]
mod attributes;
mod calls;
mod disk;
#[cfg(feature = "sqlite")]
mod export;
mod fingerprint;
mod format;
mod half_pairs;
mod items;
mod lock;
mod old;
mod open;
mod permissions;
mod probe;
mod raw;
mod record;
mod remarks;
mod shared;
#[cfg(all(test, unix))]
mod tests;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::Instant;

#[cfg(feature = "sqlite")]
pub(crate) use self::export::{Export, export};
pub use self::open::FileDbBuilder;
use self::shared::Shared;
use self::writer::{Action, Command, Outcome, Write};
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::{Error, Kind};
use crate::record::Record;

/// A database in one JSON file: the `db.json` of Jovo v4, an array with one object a user.
///
/// ```
/// use tower_persistence::{Database, FileDb, Record};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
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
/// small apps, up to 10,000 users; with more, a warning is logged once, and with hundreds of
/// thousands saves take longer than requests wait for them. Move to `SqliteDb` then, which copies
/// the users in with `import_file`, or to a server.
///
/// # What is written
///
/// * A save returns when it is on the disk: the file is written beside the old one, takes its place
///   in one step, and both are synced. Saves that wait at the same time are written together. There
///   is never half a file.
/// * What a save does not change keeps its text: other users byte for byte, and of the saved user
///   each member that equals what was loaded, with its spelling of numbers and its formatting.
/// * A text with half of a surrogate pair (an emoji that was cut in two) loads with U+FFFD in its
///   place. A user whose `id` holds one cannot be loaded, and stays in the file.
/// * A user whose data cannot be read (a number beyond `f64`, more than 127 levels) is an error for
///   that user alone, and stays in the file.
/// * Records of the first Jovo, `{userId, userData: {data, metaData}}`, are served as records of
///   today and written as such when they are next saved.
/// * Deleted users' [tombstones](Database#what-is-deleted-stays-deleted) are in memory only.
///
/// # Editing the file
///
/// The file may be edited while the program runs. Every load and save first looks whether that was
/// done (time, length and inode of the file), and reads what differs. Two edits are told apart only
/// if the clock of the file system moved, or the length, or the inode. An edit that is not valid
/// JSON fails loads and saves until it is repaired, and is not overwritten. **An edit within the
/// moment in which a save replaces the file can be lost**: edit while no user is active.
///
/// # One process at a time
///
/// Opening the file a second time is an error. `db.json.lock` beside it is locked while it is open,
/// and stays. If it, or the directory, is replaced meanwhile, the next save notices: it locks the
/// new one, or fails if another process has done so.
///
/// # File systems and permissions
///
/// Each save renames a new file over the old one. Whether that is possible is tried when the file
/// is opened: a file that is mounted (`docker -v file:file`; mount its directory), immutable, or
/// another user's in a sticky directory is refused. What a file system cannot do without harm to
/// what is stored (to sync a directory, to set permissions) is logged once as a warning.
///
/// New files can be read by their owner only. A file that is there keeps owner, group, permissions
/// and, on Linux, access control lists and extended attributes. On Unix, a process that may not
/// give files away becomes the owner; if it cannot keep the group, the group's permissions are
/// dropped; and if it cannot keep an access control list, opening fails. A link is followed when
/// the file is opened.
///
/// # Clones
///
/// Clones share one database. When the last is dropped, what waits is written first, for which that
/// thread waits; [`close`](Database::close) does the same without blocking.
///
/// `Debug` shows the path.
#[derive(Clone)]
pub struct FileDb {
    handle: Arc<Handle>,
}

impl FileDb {
    /// Opens the file `path`; creates it, and its directory, where there is none.
    ///
    /// # Errors
    ///
    /// * It is open already, in another process or in this one.
    /// * It is damaged (see [`FileDbBuilder::recover_damaged`]): the error says at which line and
    ///   column.
    /// * It is JSON of another kind: not an array, a record without `id` (but for the first
    ///   Jovo's), one `id` twice. The error says where.
    /// * It could not be read, created or, as each save does, replaced; or `path` is a directory.
    ///   The error says what to mount or change.
    ///
    /// A file that is there is left as it is.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// Opens `db/db.json` in the working directory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub async fn open_default() -> Result<Self, Error> {
        Self::open("db/db.json").await
    }

    /// To open the file `path` with settings of your own.
    pub fn builder(path: impl AsRef<Path>) -> FileDbBuilder {
        FileDbBuilder::new(path.as_ref().to_owned())
    }

    /// Waits until everything that was begun before is written, also if nobody waits for it any
    /// more.
    ///
    /// # Errors
    ///
    /// When a save or deletion failed and nobody was there to be told, or the database is closed.
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

    /// Takes over what somebody else did to the file.
    async fn refresh(&self) -> Result<(), Error> {
        if self.handle.shared.is_closed() {
            return Err(self.ended());
        }
        let shared = self.handle.shared.clone();
        if !blocking(move || shared.is_current()).await? {
            self.ask(Command::Refresh).await?;
        }
        Ok(())
    }

    fn ended(&self) -> Error {
        let name = self.handle.shared.disk.name();
        Error::new(
            Kind::Database,
            if self.handle.shared.is_closed() {
                format!("{name} is closed")
            } else {
                format!(
                    "the thread that writes {name} ended; whether this was written is not known"
                )
            },
        )
    }
}

impl Database for FileDb {
    fn name(&self) -> &str {
        "file"
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.refresh().await?;
        self.handle.shared.get(id).map(|item| item.stored()).transpose()
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
        let over = expected.version();
        let before = shared.get(id).filter(|item| over == Some(&item.version()));
        let before = before.as_ref().map(|item| &*item.text);
        let text = Arc::from(record::write(id, record, before)?);
        match self.write(id, Action::Save { text, over: over.cloned() }).await? {
            Outcome::Stored(version) => Ok(Saved::Written(version)),
            Outcome::Conflict(Some(item)) => Ok(Saved::Conflict(Some(item.stored()?))),
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

/// What all clones share. The writer does not hold it, so the last clone can end the writer.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let (reply, _) = oneshot::channel();
        // An error of either says that the writer has ended already.
        let _ = self.commands.send(Command::Close(reply));
        let _ = self.thread.take().map(thread::JoinHandle::join);
        if let Some(error) = self.shared.take_unheard() {
            tracing::error!(
                "{} was closed after a write that failed: {error:?}",
                self.shared.disk.name()
            );
        }
    }
}

/// Does blocking work off the threads that run futures.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let runtime = runtime::Handle::try_current().map_err(|error| {
        Error::new(Kind::Configuration, "a file database needs a tokio runtime").with_source(error)
    })?;
    runtime.spawn_blocking(work).await.map_err(Error::database)
}
