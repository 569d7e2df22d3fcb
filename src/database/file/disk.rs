//! The files: db.json itself, the temporary file that replaces it, and its lock. Everything here blocks.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf, is_separator};
use std::time::SystemTime;

use crate::Error;
use crate::error::Kind;

#[derive(Debug)]
pub(super) struct Disk {
    /// As the caller wrote it, for texts.
    name: String,
    /// Without links: a rename onto a link would replace the link, not the file.
    path: PathBuf,
    directory: PathBuf,
}

/// The right to be the only one who writes the file.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn release(&self) {
        // Closing alone would not do: a child process that is just being started holds a copy of the handle.
        let _ = self.0.unlock();
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.release();
    }
}

/// By what a change of the file is noticed without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode }
    }
}

impl Disk {
    /// Finds out where the file is, and creates its directory.
    pub(super) fn locate(given: &Path) -> Result<Self, Error> {
        let name = given.display().to_string();
        let configuration = |why: &str| Error::new(Kind::Configuration, why.to_owned());
        if given.as_os_str().is_empty() {
            return Err(configuration("the path of the file database is empty"));
        }
        let is_directory =
            || configuration(&format!("{name} is a directory; name a file, such as db/db.json"));
        let file_name = given.file_name().ok_or_else(is_directory)?;
        if name.ends_with(is_separator) {
            return Err(is_directory());
        }
        let failed = |error: io::Error| {
            Error::new(Kind::Database, format!("the directory of {name} could not be used"))
                .with_source(error)
        };
        let parent = match given.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        create_directory(parent).map_err(failed)?;
        let path = match fs::symlink_metadata(given) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                parent.canonicalize().map_err(failed)?.join(file_name)
            }
            _ => given.canonicalize().map_err(|error| {
                let text = format!("{name} could not be found; if it is a link, it leads nowhere");
                Error::new(Kind::Database, text).with_source(error)
            })?,
        };
        if path.is_dir() {
            return Err(is_directory());
        }
        let directory = path.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { name, path, directory })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn failed(&self, to: &str, error: io::Error) -> Error {
        Error::new(Kind::Database, format!("{} could not be {to}", self.name)).with_source(error)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(ending);
        path.into()
    }

    fn temporary(&self) -> PathBuf {
        self.beside(".tmp")
    }

    /// The lock is on a file of its own, since db.json is another file after each rename. It is never deleted: a
    /// process could hold the lock of the deleted one while the next locks a new one.
    pub(super) fn lock(&self) -> Result<Lock, Error> {
        let path = self.beside(".lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = file.map_err(|error| self.failed("locked", error))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                Kind::Database,
                format!(
                    "{0} is in use: another process, or another `FileDb` of this one, has it open \
                     and holds {0}.lock; only one at a time can. To share it, clone the `FileDb`",
                    self.name
                ),
            )),
            Err(TryLockError::Error(error)) => Err(self.failed("locked", error)),
        }
    }

    pub(super) fn fingerprint(&self) -> io::Result<Fingerprint> {
        fs::metadata(&self.path).map(|metadata| Fingerprint::from(&metadata))
    }

    /// What the file holds. The fingerprint is from before the reading, so that what is written meanwhile is noticed.
    pub(super) fn read(&self) -> io::Result<(Vec<u8>, Fingerprint)> {
        // Opening a pipe would wait for its other end.
        if !fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        let mut file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        let mut text = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
        file.read_to_end(&mut text)?;
        Ok((text, Fingerprint::from(&metadata)))
    }

    /// Writes a file of these items next to db.json, and waits until it is on the disk.
    pub(super) fn write_temporary<'a>(
        &self,
        items: impl Iterator<Item = &'a str>,
    ) -> io::Result<Fingerprint> {
        let path = self.temporary();
        remove(&path)?;
        let existing = fs::metadata(&self.path).ok();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // Until it has the permissions of the file that it replaces, nobody else reads it.
        #[cfg(unix)]
        if existing.is_some() {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        let file = options.open(path)?;
        if let Some(existing) = existing {
            give_permissions(&file, &existing)?;
        }
        let mut writer = BufWriter::with_capacity(64 * 1024, file);
        let mut before: &[u8] = b"[\n  ";
        for item in items {
            writer.write_all(before)?;
            writer.write_all(item.as_bytes())?;
            before = b",\n  ";
        }
        writer.write_all(if before.starts_with(b"[") { b"[]" } else { b"\n]" })?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(Fingerprint::from(&file.metadata()?))
    }

    pub(super) fn remove_temporary(&self) {
        // What stays behind is replaced by the next write, which says so if it cannot.
        let _ = remove(&self.temporary());
    }

    /// Puts the temporary file in the place of db.json, at once. It is durable after
    /// [`sync_directory`](Self::sync_directory).
    pub(super) fn replace(&self) -> io::Result<()> {
        fs::rename(self.temporary(), &self.path)
    }

    pub(super) fn sync_directory(&self) -> io::Result<()> {
        sync_directory(&self.directory)
    }

    /// Moves db.json to a name that nothing has yet, and returns that.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let ending = jiff::Timestamp::now().strftime(".damaged-%Y%m%dT%H%M%SZ").to_string();
        let mut aside = self.beside(&ending);
        let mut number = 1;
        while fs::symlink_metadata(&aside).is_ok() {
            number += 1;
            aside = self.beside(&format!("{ending}-{number}"));
        }
        fs::rename(&self.path, &aside)?;
        Ok(aside)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A directory whose entry in the one above is not on the disk would take the file with it in a power cut.
fn create_directory(directory: &Path) -> io::Result<()> {
    let is_missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => sync_directory(above)?,
            _ => sync_directory(Path::new("."))?,
        }
    }
    Ok(())
}

#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file.
#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn give_permissions(file: &File, like: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            // Only root may give a file away; for everybody else it stays theirs.
            let _ = fchown(file, Some(like.uid()), Some(like.gid()));
        }
    }
    file.set_permissions(like.permissions())
}
