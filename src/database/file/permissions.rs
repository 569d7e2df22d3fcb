//! Grants the file that replaces db.json to the users of db.json, and to no others.

use std::fs::{File, Metadata, Permissions};
use std::io;

use super::calls;
use super::disk::Disk;
use super::remarks::Remark;

/// Gives the new `file` the owner, group, permissions and extended attributes of db.json, described
/// by `like`. Where that is not possible, grants less rather than more.
pub(super) fn give(disk: &Disk, file: &File, like: &Metadata) -> io::Result<()> {
    #[cfg(unix)]
    let (permissions, keeps_group) = owner_and_mode(disk, file, like)?;
    #[cfg(not(unix))]
    let permissions = like.permissions();

    #[cfg(target_os = "linux")]
    super::attributes::remove_inherited(disk.path(), file)?;
    // Some file systems refuse to set even the current permissions.
    if !has(file, &permissions)? {
        match (disk.calls.set_permissions)(file, permissions) {
            Err(error) if calls::is_unsupported(&error) => disk.remark(Remark::PermissionsNotSet),
            result => result?,
        }
    }
    #[cfg(target_os = "linux")]
    if !super::attributes::carry(disk.path(), file, keeps_group)? {
        disk.remark(Remark::AttributesNotKept);
    }
    #[cfg(all(unix, not(target_os = "linux")))]
    let _ = keeps_group;
    Ok(())
}

#[cfg(unix)]
fn has(file: &File, permissions: &Permissions) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o7777 == permissions.mode())
}

#[cfg(not(unix))]
fn has(file: &File, permissions: &Permissions) -> io::Result<bool> {
    Ok(file.metadata()?.permissions() == *permissions)
}

/// Changes owner and group as far as permitted. Returns the permissions that the file may then
/// have, and whether its group is that of `like`.
#[cfg(unix)]
fn owner_and_mode(disk: &Disk, file: &File, like: &Metadata) -> io::Result<(Permissions, bool)> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        // Only root may give a file away. Other users may still give it to one of their groups.
        let change = disk.calls.change_owner;
        let _ = change(file, Some(like.uid()), Some(like.gid()))
            .or_else(|_| change(file, None, Some(like.gid())));
    }
    // Some file systems accept the change and ignore it.
    let own = file.metadata()?;
    let (keeps_owner, keeps_group) = (own.uid() == like.uid(), own.gid() == like.gid());
    let mut mode = like.mode() & 0o7777;
    if !keeps_owner {
        disk.remark(Remark::OwnerNotKept);
        mode &= 0o777;
    }
    if !keeps_group {
        // The group's permissions were not meant for the file's present group.
        if mode & 0o070 != 0 {
            disk.remark(Remark::GroupNotKept);
        }
        mode &= 0o707;
    }
    Ok((Permissions::from_mode(mode), keeps_group))
}
