//! The files: db.json itself, and the temporary file that replaces it. Everything here blocks.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf, is_separator};

use super::calls::{self, Calls};
use super::fingerprint::Fingerprint;
use super::permissions;
use super::remarks::{Remark, Remarks};
use crate::error::{Error, Kind};

#[derive(Debug)]
pub(super) struct Disk {
    /// As the caller wrote it, for texts.
    name: String,
    /// Without links: a rename onto a link would replace the link, not the file.
    path: PathBuf,
    directory: PathBuf,
    pub(super) calls: Calls,
    remarks: Remarks,
}

/// A file next to db.json, to take its place. It is removed unless it does.
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
        // Once it has taken the place of db.json, nothing has this name.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why db.json was not replaced.
#[derive(Debug)]
pub(super) enum NotReplaced {
    /// It is as it was.
    Refused(io::Error),
    /// Whether it was replaced is not known.
    Unknown(io::Error),
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

    pub(super) fn failed(&self, to: &str, error: io::Error) -> Error {
        Error::new(Kind::Database, format!("{} could not be {to}", self.name)).with_source(error)
    }

    /// The same where the file, or what is to replace it, cannot be written.
    pub(super) fn unwritable(&self, to: &str, error: io::Error) -> Error {
        let text = format!("{} could not be {to}. {}", self.name, self.advice(&error));
        Error::new(Kind::Database, text).with_source(error)
    }

    /// What to do about it.
    pub(super) fn advice(&self, error: &io::Error) -> String {
        let directory = self.directory.display();
        match error.kind() {
            io::ErrorKind::ResourceBusy => "It is mounted as a file, as by `docker -v file:file`, \
                and a mounted file cannot be replaced: mount its directory instead"
                .to_owned(),
            io::ErrorKind::PermissionDenied => format!(
                "Let this process create, rename and remove files in {directory}. In a sticky \
                 directory, it has to own the file; an immutable file or directory has to be \
                 released with `chattr -i` or `chattr -a`"
            ),
            io::ErrorKind::ReadOnlyFilesystem => format!("Mount {directory} for writing"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                format!("Free space for another file of that size in {directory}")
            }
            _ => format!(
                "Each save writes a new file in {directory} and renames it: use a directory where \
                 that is possible"
            ),
        }
    }

    /// Logs a warning, unless that was done since the file was opened.
    pub(super) fn remark(&self, remark: Remark) {
        self.remarks.once(remark, &self.name);
    }

    pub(super) fn beside(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(ending);
        path.into()
    }

    pub(super) fn fingerprint(&self) -> io::Result<Fingerprint> {
        fs::metadata(&self.path).map(|metadata| Fingerprint::from(&metadata))
    }

    /// What the file holds. The fingerprint is from before the reading, so that what is written
    /// meanwhile is noticed.
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
    ) -> io::Result<Temporary> {
        // A name of its own: another process may have lost the lock without having noticed yet.
        let path = self.beside(&format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        // Until it has the permissions of the file that it replaces, only its owner reads it.
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
        for item in items {
            writer.write_all(before)?;
            writer.write_all(item.as_bytes())?;
            before = b",\n  ";
        }
        writer.write_all(if before.starts_with(b"[") { b"[]" } else { b"\n]" })?;
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.synced(file.sync_all())?;
        temporary.fingerprint = Fingerprint::from(&file.metadata()?);
        Ok(temporary)
    }

    /// Removes what processes left that were ended while they wrote. It was not acknowledged, and
    /// may be half a file.
    pub(super) fn remove_temporaries(&self) {
        // A directory that cannot be listed keeps them, which does no harm.
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

    /// Puts `temporary` in the place of db.json, at once. It is durable after
    /// [`sync_directory`](Self::sync_directory).
    pub(super) fn replace(&self, temporary: &Temporary) -> Result<(), NotReplaced> {
        self.rename(temporary, &self.path)
    }

    /// The same for any other file.
    pub(super) fn rename(&self, temporary: &Temporary, to: &Path) -> Result<(), NotReplaced> {
        let Err(error) = (self.calls.rename)(&temporary.path, to) else { return Ok(()) };
        let is_temporary = |path| {
            let metadata = fs::symlink_metadata(path);
            metadata.is_ok_and(|found| Fingerprint::from(&found) == temporary.fingerprint)
        };
        if is_temporary(temporary.path.as_path()) {
            Err(NotReplaced::Refused(error))
        } else if is_temporary(to) {
            // Over a network, a repeated call finds that the first one, whose answer was lost, did
            // it.
            Ok(())
        } else {
            Err(NotReplaced::Unknown(error))
        }
    }

    /// Waits until names are on the disk, where that can be done.
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

    /// Moves db.json to a name that nothing has yet, and returns that.
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

/// A directory whose entry in the one above is not on the disk would take the file with it in a
/// power cut.
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
