//! The system calls that some file systems lack or answer in their own way. Tests replace them.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::path::Path;

#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    pub(super) metadata: fn(&Path) -> io::Result<Metadata>,
    pub(super) rename: fn(&Path, &Path) -> io::Result<()>,
    pub(super) sync_directory: fn(&Path) -> io::Result<()>,
    pub(super) set_permissions: fn(&File, Permissions) -> io::Result<()>,
    #[cfg(unix)]
    pub(super) change_owner: fn(&File, Option<u32>, Option<u32>) -> io::Result<()>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            metadata: |path| fs::metadata(path),
            rename: |from, to| fs::rename(from, to),
            sync_directory,
            set_permissions: File::set_permissions,
            #[cfg(unix)]
            change_owner: |file, user, group| std::os::unix::fs::fchown(file, user, group),
        }
    }
}

#[cfg(unix)]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Does nothing: outside Unix a directory cannot be opened as a file.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns whether `error` means that the call is not supported here, rather than that it failed.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    /// Some network file systems answer an unsupported call with "bad file descriptor". The number
    /// is the same on every Unix.
    const EBADF: i32 = 9;
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput
            | io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
    ) || cfg!(unix) && error.raw_os_error() == Some(EBADF)
}
