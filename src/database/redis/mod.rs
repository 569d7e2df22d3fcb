//! The database in Redis or Valkey.

mod attempt;
mod builder;
mod check;
mod failure;
mod known;
mod link;
mod node;
mod nodes;
mod save;
mod script;
mod shared;
mod slot;

use std::fmt;
use std::sync::Arc;

pub use self::builder::RedisDbBuilder;
use self::shared::Shared;
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// Users in Redis 4 or later, or in Valkey: one key per user.
///
/// ```no_run
/// use tower_persistence::{PersistenceLayer, RedisDb};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let db = RedisDb::connect("redis://localhost:6379").await?;
/// let layer = PersistenceLayer::new(db);
/// # Ok(()) }
/// ```
///
/// **The server's settings decide what an acknowledged save is worth.** Set `appendonly yes`,
/// `appendfsync always` and `maxmemory-policy noeviction`, and see the section on Redis in the
/// databases guide for what each of them, and a fail-over, can lose. The first
/// [`ensure_ready`](Database::ensure_ready) warns in the log of a server that evicts users, or has
/// no append-only file.
///
/// * A load is one round trip, and so is a save: a script compares and writes in one step. A server
///   that does not know the script, as after a restart, is sent it once more.
/// * Concurrent calls share one connection. One that was closed is replaced within the call, and
///   one that does not answer for a second with the next.
/// * An unreachable server fails the requests that need it, not the program. Each call has a [time
///   limit](RedisDbBuilder::timeout).
/// * A record holds up to 512 MB, and up to 127 levels of nesting. More is refused
///   ([`is_encode`](Error::is_encode)).
///
/// # Keys
///
/// The key of a user is `tower-persistence:` and the user id, or begins with another
/// [`prefix`](RedisDbBuilder::prefix). It is a hash:
///
/// | field | |
/// | --- | --- |
/// | `record` | the record as JSON |
/// | `version` | unique to each save |
///
/// A program that edits a record sets both in one command, with any new text as the version, so
/// that a turn under way meets a conflict and does not overwrite the edit. The same command creates
/// a user:
///
/// ```text
/// HSET tower-persistence:user-1 record '{"user":{"data":{"visits":0}}}' version edit-1
/// ```
///
/// Values that a save does not change keep their spelling, also if another program wrote it, such
/// as integers beyond 64 bits, which are loaded as floats. Other fields of the hash stay.
///
/// A deletion leaves a [tombstone](Database#deleted-users-stay-deleted): the same key with a
/// `version` and no `record`, for 15 minutes. A record that disappears during a turn by other
/// means, such as `DEL` or eviction, leaves none: the turn fails without being stored, and the next
/// one starts anew.
///
/// # Lost answers
///
/// A call whose connection breaks off is repeated: a save recognises itself by its version. If
/// another process has saved the same user in between, it cannot be known whether the first attempt
/// was stored, and the save fails. No turn is ever applied twice.
///
/// # Clusters
///
/// A cluster needs no setting: name any of its servers, or better a host name that stands for
/// several, such as the configuration endpoint of ElastiCache. `RedisDb` notices that the server is
/// one of a cluster, learns the others from it, and asks the primary of each user's slot. It
/// follows slots that move and replicas that are promoted.
///
/// A server that does not have a slot says so and does nothing, so following it repeats nothing. A
/// call whose answer was lost is repeated as [above](#lost-answers), wherever the slot is then.
///
/// `Debug` shows the number of the database and the prefix.
#[derive(Clone)]
pub struct RedisDb {
    shared: Arc<Shared>,
}

impl RedisDb {
    /// Uses the server that `url` names: `redis://user:password@host:port/database`, or `rediss:`
    /// for TLS. The keys begin with `tower-persistence:`.
    ///
    /// The server need not be reachable yet.
    ///
    /// # Errors
    ///
    /// The URL is not usable ([`is_configuration`](Error::is_configuration)). The error shows
    /// nothing of it.
    ///
    /// ```
    /// use tower_persistence::RedisDb;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_persistence::Error> {
    /// let db = RedisDb::connect("redis://anna:secret@localhost:6379/0").await?;
    /// assert!(!format!("{db:?}").contains("secret"));
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Creates a builder, for settings other than the default ones.
    ///
    /// ```
    /// use tower_persistence::RedisDb;
    ///
    /// let builder = RedisDb::builder().url("redis://localhost").prefix("chat-app:user:");
    /// ```
    pub fn builder() -> RedisDbBuilder {
        RedisDbBuilder::default()
    }
}

impl Database for RedisDb {
    fn name(&self) -> &str {
        "redis"
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.shared.prefix)
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.find(id).await.map(Loaded::into_record)
    }

    fn load_for_update(&self, id: &str) -> impl Future<Output = Result<Loaded, Error>> {
        self.find(id)
    }

    fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> impl Future<Output = Result<Saved, Error>> {
        self.write(id, record, expected)
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.remove(id).await
    }

    /// Opens the connection. The first call also has a look at the server's settings, beside the
    /// requests, and warns in the log of those with which users would be lost.
    async fn ensure_ready(&self) -> Result<(), Error> {
        self.shared.ensure_ready().await
    }

    /// Closes the connections, once the calls that wait for an answer have ended. A later call
    /// opens another one.
    async fn close(&self) -> Result<(), Error> {
        self.shared.close();
        Ok(())
    }
}

impl fmt::Debug for RedisDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisDb")
            .field("database", &self.shared.database)
            .field("prefix", &self.shared.prefix)
            .finish()
    }
}
