//! Warnings that are logged once per opened file.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of users up to which a file answers within the layer's time limits.
pub(super) const MANY_USERS: usize = 10_000;

#[derive(Clone, Copy, Debug)]
// Owners, groups and attributes do not exist on every system.
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
pub(super) enum Remark {
    NotSynced,
    PermissionsNotSet,
    OwnerNotKept,
    GroupNotKept,
    AttributesNotKept,
    HalfPairs,
    ManyUsers,
}

impl Remark {
    /// Returns the text that follows the file's name.
    fn text(self) -> &'static str {
        match self {
            Self::NotSynced => {
                "is on a file system, or in a directory, that cannot be synced: a power cut may \
                 undo the latest saves. Use a local file system and a directory that this process \
                 may read"
            }
            Self::PermissionsNotSet => {
                "is on a file system that does not set permissions: each save leaves it with those \
                 that the file system gives to a new file"
            }
            Self::OwnerNotKept => {
                "belongs to another user, and will belong to the user of this process after the \
                 next save. Run the process as the owner of the file to keep it"
            }
            Self::GroupNotKept => {
                "belongs to a group that this process cannot give to a new file: after the next \
                 save, no group may use it. Add the user of this process to that group to keep it"
            }
            Self::AttributesNotKept => {
                "has extended attributes that cannot be given to a new file: the next save drops \
                 them"
            }
            Self::HalfPairs => {
                "holds text with half of a surrogate pair, such as an emoji that was cut in two: \
                 it is read as U+FFFD, and stays as it is in the file until it is changed. A user \
                 whose `id` holds one cannot be loaded"
            }
            Self::ManyUsers => {
                "holds more than 10,000 users, and each save writes all of them: saves will take \
                 longer than requests wait for them. Move to `SqliteDb`, which imports this file"
            }
        }
    }
}

/// Remembers which remarks were logged.
#[derive(Debug, Default)]
pub(super) struct Remarks(AtomicU32);

impl Remarks {
    /// Logs `remark` about the file `name`, unless it was logged before.
    pub(super) fn once(&self, remark: Remark, name: &str) {
        let bit = 1 << remark as u32;
        if self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            tracing::warn!("{name} {}", remark.text());
        }
    }
}
