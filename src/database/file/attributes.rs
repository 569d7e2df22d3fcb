//! Extended attributes on Linux, access control lists among them.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{XattrFlags, fgetxattr, fremovexattr, fsetxattr, getxattr, listxattr};
use rustix::io::Errno;

use super::calls;

/// The access control list that a new file may inherit from its directory.
const POSIX_ACL: &CStr = c"system.posix_acl_access";

/// Measures of a file's content, which would be wrong for another file.
const MEASURES: [&CStr; 2] = [c"security.ima", c"security.evm"];

/// Removes the access control list that the new file `to` inherited from its directory, if the file
/// `from` has none.
pub(super) fn remove_inherited(from: &Path, to: &File) -> io::Result<()> {
    let inherited = get(|value| fgetxattr(to, POSIX_ACL, value))?.is_some();
    if inherited && get(|value| getxattr(from, POSIX_ACL, value))?.is_none() {
        fremovexattr(to, POSIX_ACL)?;
    }
    Ok(())
}

/// Gives the new file `to` the extended attributes of the file `from`. Returns whether it has them
/// all.
///
/// Fails if it cannot have an access control list: it would be open to other users, or closed to
/// some.
pub(super) fn carry(from: &Path, to: &File, keeps_group: bool) -> io::Result<bool> {
    let mut carries_all = true;
    for name in names(from)? {
        if MEASURES.contains(&&*name) {
            continue;
        }
        let result = carry_one(from, to, &name);
        if name.to_bytes().starts_with(b"system.") {
            let result = if keeps_group { result } else { Err(not_in_group()) };
            result.map_err(|error| {
                io::Error::other(format!(
                    "its access control list cannot be given to a new file ({error}); remove it \
                     with `setfacl -b`, or run this process as the owner of the file and in its group"
                ))
            })?;
        } else {
            carries_all &= result.is_ok();
        }
    }
    Ok(carries_all)
}

/// Makes the error of a list that would apply to the wrong group: it grants rights to the file's
/// group, and the new file has another one.
fn not_in_group() -> io::Error {
    io::Error::other("this process is not in the group of the file")
}

fn carry_one(from: &Path, to: &File, name: &CStr) -> io::Result<()> {
    let value = get(|value| getxattr(from, name, value))?.ok_or(io::ErrorKind::NotFound)?;
    // Some attributes can never be set, but already have the same value.
    if !matches!(get(|value| fgetxattr(to, name, value)), Ok(Some(own)) if own == value) {
        fsetxattr(to, name, &value, XattrFlags::empty())?;
    }
    Ok(())
}

fn names(path: &Path) -> io::Result<Vec<CString>> {
    let names = get(|names| listxattr(path, names))?.unwrap_or_default();
    let names = names.split_inclusive(|byte| *byte == 0);
    Ok(names.filter_map(|name| CString::from_vec_with_nul(name.to_owned()).ok()).collect())
}

/// Returns the bytes that `read` puts into its buffer, or `None` if there are none.
fn get(read: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    /// Linux allows neither a larger attribute nor a longer list of names.
    const LARGEST: usize = 64 * 1024;

    let mut value = vec![0; LARGEST];
    match read(&mut value) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => match io::Error::from(error) {
            error if calls::is_unsupported(&error) => Ok(None),
            error => Err(error),
        },
    }
}
