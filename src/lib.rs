//! A Tower middleware that gives voice and chat apps a memory.

mod body;
mod error;
mod future;
mod layer;
mod order;
mod record;
mod response;
mod service;
mod timestamp;
mod turn;

pub mod database;
pub mod platform;
pub mod stored_elements;

pub use self::body::FromBuffered;
pub use self::database::{AnyDatabase, Database, MemoryDb, Saved, Stored, Version, connect};
#[cfg(feature = "file")]
pub use self::database::{FileDb, FileDbBuilder};
pub use self::error::{BoxError, Error};
pub use self::future::ResponseFuture;
pub use self::layer::PersistenceLayer;
pub use self::platform::Platform;
pub use self::record::Record;
pub use self::response::ResponseBody;
pub use self::service::Persistence;
pub use self::stored_elements::StoredElements;
pub use self::turn::{History, MetaData, Session, User};
