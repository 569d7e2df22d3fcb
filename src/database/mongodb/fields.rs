//! The names of all fields of a document to which this crate gives a meaning.

pub(super) const ID: &str = "_id";
pub(super) const EXPIRES_AT: &str = "expiresAt";
pub(super) const CREATED_AT: &str = "createdAt";
pub(super) const UPDATED_AT: &str = "updatedAt";
/// Our mark: `updatedAt` as it was written with it, `/` and what no other write has. Jovo keeps it
/// as it is, so it is ours only as long as `updatedAt` is the same.
pub(super) const MARK: &str = "persistenceVersion";
/// Lists which of the numbers that Jovo wrote are integers, as long as the mark counts.
pub(super) const INTEGERS: &str = "persistenceIntegers";
/// What makes a document a tombstone: the date at which it ends.
pub(super) const TOMBSTONE: &str = "persistenceTombstone";

/// The fields of an item. Jovo sets some of them whenever it writes.
pub(super) const FIELDS: [&str; 5] = ["user", "session", "history", CREATED_AT, UPDATED_AT];
