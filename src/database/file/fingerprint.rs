//! Recognises files and their changes by their metadata.

use std::fs::Metadata;
use std::time::SystemTime;

/// The metadata by which a change of the file is noticed without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    modified: Option<SystemTime>,
    length: u64,
    identity: Identity,
}

impl From<&Metadata> for Fingerprint {
    fn from(metadata: &Metadata) -> Self {
        let identity = Identity::from(metadata);
        Self { modified: metadata.modified().ok(), length: metadata.len(), identity }
    }
}

/// The identity of a file, whatever its name: device and inode. Unknown outside Unix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

impl From<&Metadata> for Identity {
    #[cfg(unix)]
    fn from(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Self(metadata.dev(), metadata.ino())
    }

    #[cfg(not(unix))]
    fn from(_: &Metadata) -> Self {
        Self(0, 0)
    }
}
