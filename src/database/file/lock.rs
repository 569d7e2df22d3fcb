//! The lock that keeps a second process out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::fingerprint::Identity;
use super::permissions;
use crate::error::{Error, Kind};

/// The right to be the only one who writes the file.
///
/// The lock is on a file of its own, since db.json is another file after each save. It is never
/// deleted: a process could hold the lock of the deleted one while the next locks a new one.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of `disk`, if no other process has it.
    pub(super) fn take(disk: &Disk) -> Result<Self, Error> {
        let path = disk.beside(".lock");
        // Another process may remove it in the moment between opening and locking; not again and
        // again.
        for _ in 0..3 {
            let lock = Self { file: open(disk, &path)?, path: path.clone() };
            match lock.file.try_lock() {
                Ok(()) if lock.is_in_place() => return Ok(lock),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(disk)),
                Err(TryLockError::Error(error)) => {
                    return Err(disk.failed(
                        "locked. If its file system does not know locks, use another one",
                        error,
                    ));
                }
            }
        }
        Err(disk.failed("locked", io::Error::other("its lock file keeps being replaced")))
    }

    /// Whether the locked file is the one that the next process would lock.
    pub(super) fn is_in_place(&self) -> bool {
        let held = self.file.metadata().map(|metadata| Identity::from(&metadata));
        let found = fs::metadata(&self.path).map(|metadata| Identity::from(&metadata));
        matches!((held, found), (Ok(held), Ok(found)) if held == found)
    }

    pub(super) fn release(&self) {
        // Closing alone would not do: a child process that is just being started holds a copy of
        // the handle.
        let _ = self.file.unlock();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.release();
    }
}

fn in_use(disk: &Disk) -> Error {
    let name = disk.name();
    let text = format!(
        "{name} is in use: another process, or another `FileDb` of this one, has it open, and only \
         one at a time can. End that process; within one, clone the `FileDb` to share it"
    );
    Error::new(Kind::Database, text)
}

fn open(disk: &Disk, path: &Path) -> Result<File, Error> {
    let in_the_way = |error: io::Error| {
        let text = format!(
            "{} could not be locked: {} is in the way. It has to be a file that this process may \
             read; change its owner or its permissions",
            disk.name(),
            path.display()
        );
        Error::new(Kind::Database, text).with_source(error)
    };
    // Opening a pipe would wait for its other end.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(in_the_way(io::Error::other("it is not a regular file")));
    }
    let mut options = OpenOptions::new();
    // Over a network, only what is open for writing can be locked.
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // Another user's. Here, reading will do.
        Err(_) => return File::open(path).map_err(in_the_way),
        file => return file.map_err(in_the_way),
    }
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.create(true).truncate(false).open(path).map_err(|error| {
        let text = format!(
            "{} could not be locked: no file can be created in its directory, where each save \
             writes one. Let this process write to {}",
            disk.name(),
            disk.directory().display()
        );
        Error::new(Kind::Database, text).with_source(error)
    })?;
    if let Ok(like) = fs::metadata(disk.path()) {
        // Who may use db.json may lock it. Where that cannot be said, it stays this user's.
        let _ = permissions::give(disk, &file, &like);
    }
    Ok(file)
}
