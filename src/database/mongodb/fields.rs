//! The names of all fields of a document that have a meaning to this crate.

pub(super) const ID: &str = "_id";
pub(super) const EXPIRES_AT: &str = "expiresAt";
pub(super) const CREATED_AT: &str = "createdAt";
pub(super) const UPDATED_AT: &str = "updatedAt";
/// The mark of this crate's writes: `updatedAt` as written together with the mark, `/` and a unique
/// text. Jovo leaves the mark unchanged, so it counts only while `updatedAt` is the same.
pub(super) const MARK: &str = "persistenceVersion";
/// Lists which of the numbers that Jovo wrote are integers, while the mark counts.
pub(super) const INTEGERS: &str = "persistenceIntegers";
/// Makes a document a tombstone: the date at which it ends.
pub(super) const TOMBSTONE: &str = "persistenceTombstone";

/// The fields of a record in Jovo. Each write of Jovo sets some of them.
pub(super) const FIELDS: [&str; 5] = ["user", "session", "history", CREATED_AT, UPDATED_AT];
