//! Finds out, when a file is opened, whether it can be saved: better at start than with the first
//! user.
//!
//! The file itself is not touched by that.

#[cfg(target_os = "linux")]
use std::fs;
use std::io;

use super::disk::{Disk, NotReplaced};
use crate::error::{Error, Kind};

/// Refuses a file that could never be replaced, as each save does. Warns of what the file system
/// cannot do.
pub(super) fn check(disk: &Disk) -> Result<(), Error> {
    is_replaceable(disk).and_then(|()| try_saving(disk)).map_err(|error| {
        let (name, advice) = (disk.name(), disk.advice(&error));
        let text = format!("{name} cannot be saved and was not opened: {error}. {advice}");
        Error::new(Kind::Database, text)
    })
}

/// Does what a save does, with files of its own.
fn try_saving(disk: &Disk) -> io::Result<()> {
    let old = disk.write_temporary(std::iter::empty())?;
    let new = disk.write_temporary(std::iter::empty())?;
    match disk.rename(&new, old.path()) {
        Ok(()) => disk.sync_directory(),
        Err(NotReplaced::Refused(error) | NotReplaced::Unknown(error)) => Err(error),
    }
}

/// What only this file stands in the way of: it is a mount, it is immutable, it is another user's
/// in a sticky directory.
#[cfg(target_os = "linux")]
fn is_replaceable(disk: &Disk) -> io::Result<()> {
    // A file is not a directory, so this always fails; but first the kernel looks whether the name
    // may be removed.
    match fs::remove_dir(disk.path()) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
        _ => {}
    }
    // Without it, the first save finds out.
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    if is_mount(disk.path(), &mounts) { Err(io::ErrorKind::ResourceBusy.into()) } else { Ok(()) }
}

#[cfg(not(target_os = "linux"))]
fn is_replaceable(_: &Disk) -> io::Result<()> {
    Ok(())
}

/// Whether `path` is a mount point by the lines of Linux's `mountinfo`.
#[cfg(target_os = "linux")]
fn is_mount(path: &std::path::Path, mounts: &[u8]) -> bool {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
            _ => escaped.push(*byte),
        }
    }
    let mut points = mounts.split(|byte| *byte == b'\n');
    points.any(|line| line.split(|byte| *byte == b' ').nth(4) == Some(&*escaped))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mounts_are_found_by_their_whole_path() {
        let mounts = b"22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            31 22 254:0 /x /srv/a\\040b/db.json rw shared:1 - ext4 /dev/vda rw\n";
        for (path, expected) in [
            ("/srv/a b/db.json", true),
            ("/srv/a b", false),
            ("/srv/a b/db.json.lock", false),
            ("/x", false),
            ("/", true),
        ] {
            assert_eq!(is_mount(Path::new(path), mounts), expected, "{path}");
        }
    }
}
