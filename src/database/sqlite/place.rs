//! The file: where it is, who may read it, and whether it still is the one that was opened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, Kind};

#[derive(Debug)]
pub(super) struct Place {
    /// As the caller wrote it, for texts.
    name: String,
    path: PathBuf,
    identity: Option<Identity>,
}

impl Place {
    /// Finds the file `given`; creates it, empty, and its directory, where there is none.
    pub(super) fn prepare(given: &Path) -> Result<Self, Error> {
        let name = given.display().to_string();
        if name.is_empty() {
            return Err(Error::configuration(
                "the path of the SQLite database is empty: name a file, such as db/users.sqlite",
            ));
        }
        if name == ":memory:" {
            return Err(Error::configuration(
                "`SqliteDb` does not hold users in memory only: name a file, or use `MemoryDb` \
                 (`memory:` as a URL)",
            ));
        }
        let failed = |error: io::Error| {
            let text = format!(
                "{name} could not be found or created: give this process the right to read and \
                 write it, and to create files in its directory"
            );
            Error::new(Kind::Database, text).with_source(error)
        };
        // SQLite takes a relative path that begins with `file:` for a URI, an absolute one never.
        let path = std::path::absolute(given).map_err(failed)?;
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).map_err(failed)?;
        if create(&path).map_err(failed)? {
            sync_directory(directory).map_err(failed)?;
        }
        let metadata = fs::metadata(&path).map_err(failed)?;
        if !metadata.is_file() {
            return Err(Error::configuration(format!(
                "{name} is not a file: name one, such as db/users.sqlite"
            )));
        }
        let identity = Identity::of(&metadata);
        Ok(Self { name, path, identity })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Opens a connection to the file, which is not created.
    pub(super) fn connect(&self) -> rusqlite::Result<Connection> {
        // Each connection is used by one thread at a time, so SQLite needs no mutex of its own.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Connection::open_with_flags(&self.path, flags)
    }

    /// Refuses to go on where another file, or none, has taken the place of the one that was
    /// opened: SQLite itself would go on writing to a file that no later process finds.
    pub(super) fn check(&self) -> Result<(), Error> {
        let found = fs::metadata(&self.path).ok().map(|metadata| Identity::of(&metadata));
        if found == Some(self.identity) {
            return Ok(());
        }
        let text = format!(
            "{} was removed or replaced while it was open, and nothing more is stored: put it \
             back, or restart the process to go on with the file that is there now",
            self.name
        );
        Err(Error::new(Kind::Database, text))
    }
}

/// Tells a file from another of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    #[cfg(unix)]
    fn of(metadata: &fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;

        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    /// Elsewhere a file that is open cannot be removed or replaced.
    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Option<Self> {
        None
    }
}

/// Creates an empty file, in which SQLite begins a database; returns whether there was none.
fn create(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // Users' data is its owner's to read. SQLite gives `-wal` and `-shm` the same permissions.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes the name of a new file durable.
fn sync_directory(directory: &Path) -> io::Result<()> {
    // Other systems do not open directories as files.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}
