mod batch;
mod builder;
mod failure;
#[cfg(feature = "file")]
mod import;
mod place;
mod readers;
mod row;
mod schema;
mod writer;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::sync::oneshot;

use self::batch::Outcome;
pub use self::builder::SqliteDbBuilder;
#[cfg(feature = "file")]
pub use self::import::Imported;
use self::place::Place;
use self::readers::{Readers, closed};
use self::row::{Found, Row};
use self::writer::{Action, Command, Write};
use super::text::{self, Source};
use super::{Database, Expected, Loaded, Saved, Version, VersionedRecord};
use crate::error::{Error, Kind};
use crate::record::Record;

/// SQLite's limit for a row is 1,000,000,000 bytes, and some are for the other columns.
const MAX_BYTES: usize = 999_000_000;

/// A database in one SQLite file: the step after [`FileDb`](crate::FileDb), and before a server.
///
/// ```
/// use tower_persistence::{Database, Expected, Record, SqliteDb};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("db/users.sqlite");
/// let db = SqliteDb::open(&path).await?;
/// db.save("user-1", &Record::default(), Expected::Absent).await?;
/// assert!(db.load("user-1").await?.is_some());
/// # Ok(()) }
/// ```
///
/// * A save returns when it is on the disk (WAL with `synchronous=FULL`). Saves that wait at the
///   same time are committed together.
/// * A save costs the same with one user and with a million, and so does memory: each of up to five
///   connections caches 2 MB.
/// * Several processes of one machine can use one file at a time. The file belongs on a local disk:
///   WAL does not work on network file systems.
/// * SQLite is compiled along. One that is older than 3.51.3 is refused, as it may lose commits.
/// * A row holds up to 1,000,000,000 bytes, and a record up to 127 levels of nesting. More is
///   refused ([`is_encode`](Error::is_encode)).
///
/// # Tables
///
/// `users` has one row per user:
///
/// | column | type | |
/// | --- | --- | --- |
/// | `id` | `TEXT` | the user id |
/// | `record` | `TEXT` | the record as JSON, for SQLite's JSON functions |
/// | `version` | `INTEGER` | counts up over all users, and is never reused |
/// | `created_at`, `updated_at` | `INTEGER` | milliseconds since 1970 |
/// | `expires_at` | `INTEGER` | the same, or `NULL` without [`expire_users_after`] |
///
/// `tombstones` holds deleted users' [tombstones](Database#what-is-deleted-stays-deleted) for 15
/// minutes and then until a later save removes them, and `tower_persistence` the last version.
/// Bytes of deleted records are overwritten with zeros in the file (`secure_delete`); in the
/// journal beside it until that begins anew.
///
/// ```sql
/// SELECT id, record ->> '$.user.data.visits' FROM users ORDER BY updated_at DESC LIMIT 10;
/// UPDATE users SET record = json_set(record, '$.user.data.visits', 0) WHERE id = 'user-1';
/// ```
///
/// An edit like this may be made at any time with `sqlite3` 3.51.3 or later: a trigger gives the
/// record a new version, so that a turn under way meets a conflict and does not overwrite it. The
/// app's own tables can be in the same file, under other names.
///
/// Values that a save does not change keep their spelling, also if another program wrote it, such
/// as integers beyond 64 bits, which are loaded as floats. A record that cannot be read as JSON is
/// an error for that user alone, and is not overwritten.
///
/// # Files
///
/// Beside the file are `users.sqlite-wal` and `users.sqlite-shm` while it is open, and after a
/// crash; they belong to it. Back it up with `sqlite3`'s `.backup` or `VACUUM INTO`, not by copying
/// the file alone. New files can be read by their owner only. If the file is removed or replaced
/// while it is open, loads and saves fail, as what they store would not be found again.
///
/// # Clones
///
/// Clones share one database, which can be used from several tokio runtimes. When the last is
/// dropped, what waits is written first, for which that thread waits; [`close`](Database::close)
/// does the same without blocking.
///
/// `Debug` shows the path.
///
/// [`expire_users_after`]: SqliteDbBuilder::expire_users_after
#[derive(Clone)]
pub struct SqliteDb {
    handle: Arc<Handle>,
}

impl SqliteDb {
    /// Opens the file `path`; creates it, its directory and its tables, where there are none.
    ///
    /// # Errors
    ///
    /// * The path is empty, a directory, or `:memory:`, for which there is
    ///   [`MemoryDb`](crate::MemoryDb); or the program is linked with a SQLite before 3.51.3
    ///   ([`is_configuration`](Error::is_configuration)).
    /// * It is not an SQLite database, was written by a newer version of this crate, or has tables
    ///   of the same names of another program. It is left as it is.
    /// * It or its directory cannot be written, or its file system cannot share memory between
    ///   processes.
    /// * Another process kept it locked for longer than the [`timeout`](SqliteDbBuilder::timeout)
    ///   ([`is_timeout`](Error::is_timeout)).
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::builder(path).open().await
    }

    /// Returns a builder that opens the file `path` with other settings.
    pub fn builder(path: impl AsRef<Path>) -> SqliteDbBuilder {
        SqliteDbBuilder::new(path.as_ref().to_owned())
    }

    /// Copies the users of a [`FileDb`](crate::FileDb)'s file, such as `db/db.json`, in one
    /// transaction. The file is left as it is.
    ///
    /// Users who are in the database already are skipped: their records are newer. Only one file
    /// can be imported, once, since a second time would bring back users who were deleted
    /// meanwhile. Texts keep their numbers and the order of their members, but not their
    /// indentation; half of a surrogate pair becomes U+FFFD, as `FileDb` loads it. All users are in
    /// memory meanwhile, and saves wait.
    ///
    /// ```
    /// use tower_persistence::SqliteDb;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let old = directory.path().join("db.json");
    /// # let new = directory.path().join("users.sqlite");
    /// # std::fs::write(&old, r#"[{ "id": "user-1" }]"#)?;
    /// let db = SqliteDb::open(&new).await?;
    /// let imported = db.import_file(&old).await?;
    /// assert_eq!((imported.users, imported.skipped), (1, 0));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Nothing is imported if
    ///
    /// * a file was imported before ([`is_configuration`](Error::is_configuration)),
    /// * the file is missing, cannot be read, is damaged or not a `FileDb`'s, or is open in a
    ///   `FileDb`,
    /// * the database cannot be written.
    #[cfg(feature = "file")]
    pub async fn import_file(&self, path: impl AsRef<Path>) -> Result<Imported, Error> {
        let (reply, answer) = oneshot::channel();
        let path = path.as_ref().to_owned();
        let import = blocking(move || import::Import::read(&path, reply)).await??;
        self.ask(Command::Import(import), answer).await
    }

    async fn write(&self, id: &str, action: Action) -> Result<Outcome, Error> {
        let (reply, answer) = oneshot::channel();
        let write = Write { id: id.into(), action, since: Instant::now(), reply };
        self.ask(Command::Write(write), answer).await
    }

    async fn ask<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, Error>>,
    ) -> Result<T, Error> {
        if self.handle.commands.send(command).is_err() {
            return Err(self.handle.shared.ended());
        }
        answer.await.map_err(|_| self.handle.shared.ended())?
    }
}

impl Database for SqliteDb {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn collection(&self) -> Option<&str> {
        Some("users")
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        let id = id.to_owned();
        let work = move |connection: &_| row::user(connection, &id, row::now());
        let found = self.handle.readers.run(work).await?;
        found.map(Row::stored).transpose()
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        let id = id.to_owned();
        let work = move |connection: &_| row::find(connection, &id, row::now());
        self.handle.readers.run(work).await.and_then(Found::loaded)
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let over = expected.version();
        let source = over.and_then(Version::loaded::<Source>);
        let text: Arc<str> = text::write(record, source, MAX_BYTES)?.into();
        let action = Action::Save { text: Arc::clone(&text), over: over.cloned() };
        match self.write(id, action).await? {
            Outcome::Written(version) => {
                let source = text::written(&text, record, source);
                Ok(Saved::Written(row::carry(version, source)))
            }
            Outcome::Conflict(row) => Ok(Saved::Conflict(row.map(Row::stored).transpose()?)),
            Outcome::Deleted => Ok(Saved::Conflict(None)),
        }
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.write(id, Action::Delete).await.map(drop)
    }

    async fn close(&self) -> Result<(), Error> {
        self.handle.readers.close().await;
        let (reply, answer) = oneshot::channel();
        let sent = self.handle.commands.send(Command::Close(reply)).is_ok();
        match if sent { answer.await.ok() } else { None } {
            Some(result) => result,
            None if self.handle.shared.is_closed() => Ok(()),
            None => Err(self.handle.shared.ended()),
        }
    }
}

impl fmt::Debug for SqliteDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqliteDb({})", self.handle.shared.place.name())
    }
}

/// Holds the state that the writer and all clones share.
#[derive(Debug)]
struct Shared {
    place: Arc<Place>,
    timeout: Duration,
    expire_users_after: Option<Duration>,
    closed: AtomicBool,
}

impl Shared {
    fn new(place: Arc<Place>, timeout: Duration, expire_users_after: Option<Duration>) -> Self {
        Self { place, timeout, expire_users_after, closed: AtomicBool::new(false) }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The error of a call that the writer did not answer.
    fn ended(&self) -> Error {
        if self.is_closed() {
            return closed(&self.place);
        }
        let text = format!(
            "the thread that writes {} ended, and it is not known whether this was written: \
             restart the process",
            self.place.name()
        );
        Error::new(Kind::Database, text)
    }
}

/// Holds the state that all clones share. The writer does not hold it, so the last clone can end
/// the writer.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    readers: Arc<Readers>,
    commands: mpsc::Sender<Command>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        let (reply, mut answer) = oneshot::channel();
        // The connection that is closed last removes the journal.
        self.readers.clear();
        // An error of any of them says that the writer has ended already.
        let _ = self.commands.send(Command::Close(reply));
        let _ = self.thread.take().map(thread::JoinHandle::join);
        if let Ok(Err(error)) = answer.try_recv() {
            let name = self.shared.place.name();
            tracing::error!("{name} was closed after a write that failed: {error:?}");
        }
    }
}

/// Does blocking work off the threads that run futures.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let runtime = runtime::Handle::try_current().map_err(|error| {
        Error::configuration("`SqliteDb` needs a tokio runtime: call it within one")
            .with_source(error)
    })?;
    runtime.spawn_blocking(work).await.map_err(Error::database)
}
