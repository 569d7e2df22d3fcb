//! The files: db.json itself, and the temporary file that replaces it. Every function blocks.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf, is_separator};

use super::calls::{self, Calls};
use super::failure::unusable;
use super::fingerprint::Fingerprint;
use super::permissions;
use super::remarks::{Remark, Remarks};
use crate::error::Error;

#[derive(Debug)]
pub(super) struct Disk {
    /// The path as the caller wrote it, for messages.
    name: String,
    /// The path without links: renaming onto a link would replace the link rather than the file.
    path: PathBuf,
    directory: PathBuf,
    pub(super) calls: Calls,
    remarks: Remarks,
}

/// A file beside db.json that is about to replace it. Dropping it removes it unless it has done so.
#[derive(Debug)]
pub(super) struct Temporary {
    path: PathBuf,
    pub(super) fingerprint: Fingerprint,
}

impl Temporary {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After it has replaced db.json, no file has this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// A failed replacement of db.json.
#[derive(Debug)]
pub(super) enum NotReplaced {
    /// The file is unchanged.
    Refused(io::Error),
    /// The file may have been replaced.
    Unknown(io::Error),
}

impl Disk {
    /// Resolves the path of the file, and creates its directory.
    pub(super) fn locate(given: &Path) -> Result<Self, Error> {
        let name = given.display().to_string();
        if given.as_os_str().is_empty() {
            return Err(Error::configuration(
                "the path of the file database is empty; name a file, such as db/db.json",
            ));
        }
        let is_directory = || {
            Error::configuration(format!("{name} is a directory; name a file, such as db/db.json"))
        };
        let file_name = given.file_name().ok_or_else(is_directory)?;
        if name.ends_with(is_separator) {
            return Err(is_directory());
        }
        let failed = |error: io::Error| {
            unusable(format!("the directory of {name} could not be used")).with_source(error)
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
                unusable(text).with_source(error)
            })?,
        };
        if path.is_dir() {
            return Err(is_directory());
        }
        let directory = path.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { name, path, directory, calls: Calls::default(), remarks: Remarks::default() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Logs a warning, once per opened file.
    pub(super) fn remark(&self, remark: Remark) {
        self.remarks.once(remark, &self.name);
    }

    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(ending);
        path.into()
    }

    pub(super) fn fingerprint(&self) -> io::Result<Fingerprint> {
        (self.calls.metadata)(&self.path).map(|metadata| Fingerprint::from(&metadata))
    }

    /// Reads the file. The fingerprint is older than the content, so that a write in between is
    /// noticed.
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

    /// Writes a file with these records beside db.json, and waits until it is on the disk.
    pub(super) fn write_temporary<'a>(
        &self,
        records: impl Iterator<Item = &'a str>,
    ) -> io::Result<Temporary> {
        // A unique name: another process may have lost the lock without having noticed yet.
        let path = self.beside(&format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // Only its owner may read it until it has the permissions of the file that it replaces.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        let fingerprint = Fingerprint::from(&file.metadata()?);
        let mut temporary = Temporary { path, fingerprint };
        if let Ok(like) = fs::metadata(&self.path) {
            permissions::give(self, &file, &like)?;
        }
        let mut writer = BufWriter::with_capacity(64 * 1024, file);
        let mut before: &[u8] = b"[\n  ";
        for record in records {
            writer.write_all(before)?;
            writer.write_all(record.as_bytes())?;
            before = b",\n  ";
        }
        writer.write_all(if before.starts_with(b"[") { b"[]" } else { b"\n]" })?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.synced(file.sync_all())?;
        temporary.fingerprint = Fingerprint::from(&file.metadata()?);
        Ok(temporary)
    }

    /// Removes the temporary files of processes that were killed while writing. Their content was
    /// not acknowledged, and may be incomplete.
    pub(super) fn remove_temporaries(&self) {
        // In a directory that cannot be listed they remain, which does no harm.
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            if self.is_temporary(&entry.file_name()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn is_temporary(&self, name: &std::ffi::OsStr) -> bool {
        let unique = || {
            let name = name.as_encoded_bytes();
            let rest = name.strip_prefix(self.path.file_name()?.as_encoded_bytes())?;
            rest.strip_prefix(b".")?.strip_suffix(b".tmp")
        };
        unique().is_some_and(|id| id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit))
    }

    /// Replaces db.json by `temporary` in one step. The change is durable after
    /// [`sync_directory`](Self::sync_directory).
    pub(super) fn replace(&self, temporary: &Temporary) -> Result<(), NotReplaced> {
        self.rename(temporary, &self.path)
    }

    /// Replaces any other file by `temporary`.
    pub(super) fn rename(&self, temporary: &Temporary, to: &Path) -> Result<(), NotReplaced> {
        let Err(error) = (self.calls.rename)(&temporary.path, to) else { return Ok(()) };
        let is_temporary = |path| {
            let metadata = fs::symlink_metadata(path);
            metadata.is_ok_and(|found| Fingerprint::from(&found) == temporary.fingerprint)
        };
        if is_temporary(temporary.path.as_path()) {
            Err(NotReplaced::Refused(error))
        } else if is_temporary(to) {
            // Over a network, a repeated call may find that the first one succeeded and its answer
            // was lost.
            Ok(())
        } else {
            Err(NotReplaced::Unknown(error))
        }
    }

    /// Waits until file names are on the disk, if the file system supports it.
    pub(super) fn sync_directory(&self) -> io::Result<()> {
        self.synced((self.calls.sync_directory)(&self.directory))
    }

    fn synced(&self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if calls::is_unsupported(&error) => {
                self.remark(Remark::NotSynced);
                Ok(())
            }
            result => result,
        }
    }

    /// Moves db.json to an unused name, and returns that name.
    pub(super) fn set_aside(&self) -> io::Result<PathBuf> {
        let ending = jiff::Timestamp::now().strftime(".damaged-%Y%m%dT%H%M%SZ").to_string();
        let mut aside = self.beside(&ending);
        let mut number = 1;
        while fs::symlink_metadata(&aside).is_ok() {
            number += 1;
            aside = self.beside(&format!("{ending}-{number}"));
        }
        (self.calls.rename)(&self.path, &aside)?;
        Ok(aside)
    }
}

/// Creates a directory and syncs its parents: a directory whose own entry is not on the disk would
/// be lost in a power cut, together with the file.
fn create_directory(directory: &Path) -> io::Result<()> {
    let is_missing = |directory: &&Path| !directory.as_os_str().is_empty() && !directory.exists();
    let missing: Vec<&Path> = directory.ancestors().take_while(is_missing).collect();
    fs::create_dir_all(directory)?;
    for made in missing {
        let above = match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        match calls::sync_directory(above) {
            Err(error) if !calls::is_unsupported(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
