//! The errors of the file, each with advice that fits its cause.

use std::borrow::Cow;
use std::io;

use super::disk::Disk;
use crate::error::{Error, Kind};

/// Makes the error for a file that cannot be used.
pub(super) fn unusable(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::Database, message)
}

impl Disk {
    pub(super) fn failed(&self, to: &str, error: io::Error) -> Error {
        unusable(format!("{} could not be {to}", self.name())).with_source(error)
    }

    /// Makes the error for a file that cannot be written or replaced.
    pub(super) fn unwritable(&self, to: &str, error: io::Error) -> Error {
        let text = format!("{} could not be {to}. {}", self.name(), self.advice(&error));
        unusable(text).with_source(error)
    }

    /// Returns advice that fits the cause.
    pub(super) fn advice(&self, error: &io::Error) -> String {
        let directory = self.directory().display();
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
}
