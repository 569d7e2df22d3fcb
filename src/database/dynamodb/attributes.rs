//! The names of all attributes that this crate writes besides the record's own fields, and the
//! order of those fields.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

pub(super) type Attributes = HashMap<String, AttributeValue>;

/// The partition key that Jovo uses by default.
pub(super) const PARTITION_KEY: &str = "userId";

/// The attribute with the version. Jovo v4 drops it when it writes, which works as well as a new
/// version.
pub(super) const VERSION: &str = "persistenceVersion";

/// The attribute with the time of expiry, in epoch seconds.
pub(super) const EXPIRES: &str = "persistenceExpiresAt";

/// The attribute that makes an item a tombstone: the time at which it ends, in epoch seconds. The
/// attribute of the table's time to live holds the same value.
pub(super) const TOMBSTONE: &str = "persistenceTombstone";

/// The attribute in which Jovo before v4 kept its metadata.
pub(super) const META_DATA: &str = "metaData";

/// The fields of a record in the order in which Jovo writes them. All others follow.
pub(super) const ORDER: [&str; 5] = ["user", "session", "history", "createdAt", "updatedAt"];

/// The fields that give away most writes of Jovo v4, which writes a whole new item without our
/// version.
pub(super) const TIMES: [&str; 2] = ["createdAt", "updatedAt"];
