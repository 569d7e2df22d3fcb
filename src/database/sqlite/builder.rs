use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::failure::{check_version, failed, is_busy};
use super::place::Place;
use super::readers::Readers;
use super::schema;
use super::writer::Writer;
use super::{Handle, Shared, SqliteDb, blocking};
use crate::error::Error;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets how often a lock of another process is tried while the file is opened.
const POLL: Duration = Duration::from_millis(2);

/// Sets how a [`SqliteDb`] is opened: made by [`SqliteDb::builder`].
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::SqliteDb;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("db/users.sqlite");
/// let db = SqliteDb::builder(&path)
///     .timeout(Duration::from_secs(2))
///     .expire_users_after(Duration::from_secs(90 * 24 * 60 * 60))
///     .open()
///     .await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is opened"]
pub struct SqliteDbBuilder {
    path: PathBuf,
    timeout: Duration,
    expire_users_after: Option<Duration>,
}

impl SqliteDbBuilder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, timeout: DEFAULT_TIMEOUT, expire_users_after: None }
    }

    /// Limits how long opening, a load, a save or a deletion waits for a transaction of another
    /// process or program, such as a `BEGIN` in `sqlite3`, to end. After that it fails with
    /// [`is_timeout`](Error::is_timeout), and nothing was written. By default 5 s; within a request
    /// the time limits of the layer end it earlier.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Forgets users for whom nothing was saved for so long. Each save writes the time into
    /// `expires_at`; a request that only reads does not put it off. Rows past their time are not
    /// served, and saves remove up to 16 of them at a time. By default users are kept.
    ///
    /// Users who were stored without it expire from their next save on. Those who were stored with
    /// it keep their time if it is taken away again, until they are saved.
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expire_users_after = Some(duration);
        self
    }

    /// Opens the file; creates it, its directory and its tables, where there are none.
    ///
    /// # Errors
    ///
    /// As [`SqliteDb::open`], and for a setting of zero
    /// ([`is_configuration`](Error::is_configuration)).
    pub async fn open(self) -> Result<SqliteDb, Error> {
        if self.timeout.is_zero() {
            return Err(Error::configuration("`timeout` of `SqliteDb` is zero: set it to more"));
        }
        if self.expire_users_after.is_some_and(|duration| duration.is_zero()) {
            return Err(Error::configuration(
                "`expire_users_after` of `SqliteDb` is zero: set it to more",
            ));
        }
        blocking(move || self.open_blocking()).await?
    }

    fn open_blocking(self) -> Result<SqliteDb, Error> {
        check_version(rusqlite::version_number(), rusqlite::version())?;
        let place = Arc::new(Place::prepare(&self.path)?);
        let sqlite = |error| failed(&place, error);
        let connection = place.connect().map_err(sqlite)?;
        // Two processes that switch a new file to WAL get in each other's way without waiting.
        let since = Instant::now();
        let (mode, tables) = loop {
            let prepared = schema::configure(&connection)
                .and_then(|mode| Ok((mode, schema::create(&connection)?)));
            match prepared {
                Err(error) if is_busy(&error) && since.elapsed() < self.timeout => {
                    thread::sleep(POLL);
                }
                result => break result.map_err(sqlite)?,
            }
        };
        schema::check(&place, &connection, &mode, &tables)?;
        // The file may have been replaced between being found and being opened.
        place.check()?;
        let readers = Arc::new(Readers::new(Arc::clone(&place), self.timeout));
        let expire_users_after = self.expire_users_after;
        let shared = Arc::new(Shared::new(place, self.timeout, expire_users_after));
        let sqlite = |error| failed(&shared.place, error);
        let (commands, receiver) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), connection, receiver).map_err(sqlite)?;
        let thread = thread::Builder::new()
            .name("sqlite-db-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(Error::database)?;
        let handle = Handle { shared, readers, commands, thread: Some(thread) };
        Ok(SqliteDb { handle: Arc::new(handle) })
    }
}
