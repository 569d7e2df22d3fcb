//! A Tower middleware that gives voice and chat apps a memory.

mod error;
mod record;

pub mod database;
pub mod platform;

pub use self::database::{AnyDatabase, Database, MemoryDb, Saved, Stored, Version};
pub use self::error::{BoxError, Error};
pub use self::platform::Platform;
pub use self::record::Record;
