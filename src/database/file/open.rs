use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;

use super::disk::{Disk, NotReplaced};
use super::fingerprint::Fingerprint;
use super::format::{Content, Defect};
use super::items::Items;
use super::lock::Lock;
use super::shared::{self, Shared, Unreadable};
use super::writer::Writer;
use super::{FileDb, Handle, blocking, probe};
use crate::error::{Error, Kind};

/// How a [`FileDb`] is opened: made by [`FileDb::builder`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is opened"]
pub struct FileDbBuilder {
    path: PathBuf,
    recover_damaged: bool,
}

impl FileDbBuilder {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, recover_damaged: false }
    }

    /// Whether a file that is no valid JSON, or empty, is set aside as `db.json.damaged-<time>` and
    /// a new one begun. It is never deleted or overwritten, and a warning with its new name is
    /// logged. The default is `false`: opening fails.
    ///
    /// A file that is valid JSON but not a list of users (no array, an item without `id`, one `id`
    /// twice) is not damaged but of another make, and opening it fails either way.
    pub fn recover_damaged(mut self, recover: bool) -> Self {
        self.recover_damaged = recover;
        self
    }

    /// Opens the file; creates it, and its directory, where there is none.
    ///
    /// # Errors
    ///
    /// As [`FileDb::open`].
    pub async fn open(self) -> Result<FileDb, Error> {
        blocking(move || self.open_blocking()).await?
    }

    fn open_blocking(self) -> Result<FileDb, Error> {
        let disk = Disk::locate(&self.path)?;
        self.open_on(disk)
    }

    pub(super) fn open_on(self, disk: Disk) -> Result<FileDb, Error> {
        let lock = Lock::take(&disk)?;
        disk.remove_temporaries();
        let (content, fingerprint) = self.read(&disk)?;
        let shared = Arc::new(Shared::new(disk, content, fingerprint));
        let (commands, receiver) = mpsc::channel();
        let writer = Writer::new(shared.clone(), receiver, lock);
        let thread = thread::Builder::new()
            .name("file-db-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| shared.disk.failed("opened: its thread did not start", error))?;
        Ok(FileDb { handle: Arc::new(Handle { shared, commands, thread: Some(thread) }) })
    }

    fn read(&self, disk: &Disk) -> Result<(Content, Fingerprint), Error> {
        let refused = |why: &str, advice: &str| {
            Error::new(Kind::Database, format!("{} {why}. {advice}", disk.name()))
        };
        match shared::read(disk, &Items::new()) {
            Ok(read) => {
                probe::check(disk)?;
                Ok(read)
            }
            Err(Unreadable::Failed(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                begin(disk, false).map_err(|error| disk.unwritable("created", error))
            }
            Err(Unreadable::Failed(error)) => Err(disk.failed("read", error)),
            Err(Unreadable::Defect(Defect::Damaged(why))) if self.recover_damaged => {
                tracing::warn!("{} {why}", disk.name());
                begin(disk, true).map_err(|error| disk.unwritable("set aside", error))
            }
            Err(Unreadable::Defect(Defect::Damaged(why))) => Err(refused(
                &why,
                "It was left as it is: repair it, or have it set aside with `recover_damaged(true)`",
            )),
            Err(Unreadable::Defect(Defect::Foreign(why))) => {
                Err(refused(&why, "It was left as it is"))
            }
        }
    }
}

/// Puts a file without users in the place of what is there, if anything.
fn begin(disk: &Disk, set_aside: bool) -> std::io::Result<(Content, Fingerprint)> {
    // Before the damaged one is moved, so that the new one gets the same permissions.
    let temporary = disk.write_temporary(std::iter::empty())?;
    if set_aside {
        let aside = disk.set_aside()?;
        tracing::warn!("{} was set aside as {}", disk.name(), aside.display());
    }
    match disk.replace(&temporary) {
        Ok(()) => disk.sync_directory()?,
        Err(NotReplaced::Refused(error) | NotReplaced::Unknown(error)) => return Err(error),
    }
    Ok((Content::default(), temporary.fingerprint))
}
