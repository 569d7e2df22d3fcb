//! The database in PostgreSQL.

mod builder;
mod connections;
mod escape;
mod expiry;
mod failure;
mod row;
mod save;
mod schema;
mod table;
mod tls;
mod url;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::timeout;

pub use self::builder::PostgresDbBuilder;
use self::connections::Connections;
use self::expiry::CleanUps;
use self::save::{DELETING, READING, WRITING};
use self::table::Table;
use super::flight::Flight;
use super::{Database, Expected, Loaded, Saved, VersionedRecord};
use crate::error::Error;
use crate::record::Record;

/// A table in PostgreSQL 14 or later.
///
/// ```no_run
/// use tower_persistence::{PersistenceLayer, PostgresDb};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let db = PostgresDb::connect("postgres://anna:secret@localhost/app").await?;
/// let layer = PersistenceLayer::new(db);
/// # Ok(()) }
/// ```
///
/// * An unreachable server fails the requests that need it, not the program. Requests succeed as
///   soon as it is back. Each call has a [time limit](PostgresDbBuilder::timeout), inside and
///   outside a request; a statement whose caller has given up is cancelled.
/// * A load is one round trip, and so is a save; a conflict takes one more. Saves are durable
///   when they return, also where the role has `synchronous_commit` switched off.
/// * No statement is prepared under a name, and no setting of a session is used, so that a pooler
///   in between may give each transaction another connection: PgBouncer with `pool_mode =
///   transaction`, RDS Proxy, Supavisor.
/// * A record holds up to 999,000,000 bytes, and 127 levels of nesting. More is refused
///   ([`is_encode`](Error::is_encode)).
///
/// # The table
///
/// | column | type | |
/// | --- | --- | --- |
/// | `id` | `text` | the user id, compared byte by byte |
/// | `record` | `json` | the record; `NULL` in a [tombstone](Database#deleted-users-stay-deleted) |
/// | `version` | `uuid` | a random number with each write, never reused |
/// | `created_at`, `updated_at` | `timestamptz` | the times of the first and the last write |
/// | `expires_at` | `timestamptz` | `NULL` without [`expire_users_after`], except in a tombstone |
///
/// The first call creates the table, named `persistence_users` unless
/// [`table`](PostgresDbBuilder::table) says otherwise, under an advisory lock. With
/// [`create_table(false)`](PostgresDbBuilder::create_table) it is only checked, and
/// [`table_sql`](PostgresDbBuilder::table_sql) is the SQL for a migration.
///
/// The column is `json` because `jsonb` changes what it stores: it sorts the members, drops zeros
/// and refuses numbers that it cannot compute with. `json` keeps the text. It also keeps `\u0000`,
/// but no operator can then be applied to that record. A NUL in a record, or in a user id, is
/// therefore stored as the two characters U+001A and `0`, and U+001A as U+001A and `1`. They are
/// loaded as they were.
///
/// ```sql
/// SELECT id, record #>> '{user,data,visits}' FROM persistence_users
///   WHERE record IS NOT NULL ORDER BY updated_at DESC LIMIT 10;
/// UPDATE persistence_users SET record =
///   jsonb_set(record::jsonb, '{user,data,visits}', '0')::json WHERE id = 'user-1';
/// ```
///
/// An edit like this may be made at any time: a trigger gives the row a new version, so that a
/// turn under way meets a conflict and does not overwrite it. What a save does not change keeps
/// its spelling, such as integers beyond 64 bits, which are loaded as floats. A record that cannot
/// be read is an error for that user alone, and is not overwritten.
///
/// # Indexes and projections
///
/// A generated column copies a value out of the record, with a type and an index:
///
/// ```sql
/// ALTER TABLE persistence_users
///   ADD COLUMN plan text GENERATED ALWAYS AS (record #>> '{user,data,plan}') STORED;
/// CREATE INDEX ON persistence_users (plan);
/// ```
///
/// Let it take every value: text rather than `::int`, and neither `NOT NULL` nor `UNIQUE`. A save
/// that the column refuses is an error ([`is_encode`](Error::is_encode)); a deletion that it
/// refuses leaves no tombstone.
///
/// # Deletions
///
/// A deletion sets `record` to `NULL` for 15 minutes: the id, a version and an expiry stay. Rows
/// that have expired are not served, and every 32nd write removes up to 64 of them, as does the
/// first of a process. The bytes of old rows stay in the files until PostgreSQL's `VACUUM` and
/// later writes have used their place.
///
/// # Lost answers, restarts, fail-overs
///
/// A load is repeated on a new connection if the old one breaks off, and so is a save: a save
/// makes its version itself, so that the repetition either finds its own version, or takes effect
/// for the first time, or meets another's write. In the last case it is unknown whether the first
/// attempt took effect before, and the save is an error. A deletion uses a connection that has
/// just answered, and is not repeated.
///
/// A URL with several hosts leads to the one that takes writes. A server that has become a standby
/// is left, and the statement repeated on a new connection, once. A standby to which replication
/// is asynchronous may lack what the primary has acknowledged: `synchronous_standby_names`.
///
/// `Debug` shows database and table.
///
/// [`expire_users_after`]: PostgresDbBuilder::expire_users_after
#[derive(Clone)]
pub struct PostgresDb {
    shared: Arc<Shared>,
}

impl PostgresDb {
    /// Uses the database that `url` names, `postgres://user:password@host:5432/database`, also with
    /// `postgresql:`, and its table `persistence_users`.
    ///
    /// The server need not be reachable yet.
    ///
    /// # Errors
    ///
    /// As for [`PostgresDbBuilder::connect`].
    ///
    /// ```no_run
    /// use tower_persistence::PostgresDb;
    ///
    /// # async fn example() -> Result<(), tower_persistence::Error> {
    /// let db = PostgresDb::connect("postgres://anna:secret@localhost/app").await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: impl Into<String>) -> Result<Self, Error> {
        Self::builder().url(url).connect().await
    }

    /// Uses a pool that the app has already, and the table `persistence_users`.
    ///
    /// ```
    /// use deadpool_postgres::Pool;
    /// use tower_persistence::PostgresDb;
    ///
    /// fn open(pool: Pool) -> PostgresDb {
    ///     PostgresDb::from_pool(pool)
    /// }
    /// ```
    #[must_use]
    pub fn from_pool(pool: Pool) -> Self {
        PostgresDbBuilder::default().over(Connections::given(pool), None, Table::default())
    }

    /// Creates a builder, for settings other than the default ones.
    ///
    /// ```
    /// use tower_persistence::PostgresDb;
    ///
    /// let builder = PostgresDb::builder().url("postgres://localhost/app").table("app.users");
    /// ```
    pub fn builder() -> PostgresDbBuilder {
        PostgresDbBuilder::default()
    }

    /// Limits a call: a server that accepts connections may still not answer.
    async fn in_time<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.shared.ready().await?;
        let limit = self.shared.limit;
        timeout(limit, call).await.unwrap_or_else(|_| Err(self.shared.late(action, limit)))
    }
}

impl Database for PostgresDb {
    fn name(&self) -> &str {
        "postgresql"
    }

    fn collection(&self) -> Option<&str> {
        Some(&self.shared.table.name)
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.load_for_update(id).await.map(Loaded::into_record)
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.in_time(READING, self.shared.find(id)).await.and_then(row::loaded)
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        self.in_time(WRITING, self.shared.save(id, record, expected)).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.in_time(DELETING, self.shared.delete(id)).await
    }

    /// Creates the table if it is missing, and checks its columns, within
    /// [`ready_timeout`](PostgresDbBuilder::ready_timeout).
    async fn ensure_ready(&self) -> Result<(), Error> {
        self.shared.ready().await
    }

    /// Closes the connections, unless the pool is the caller's own.
    async fn close(&self) -> Result<(), Error> {
        self.shared.connections.close();
        Ok(())
    }
}

impl fmt::Debug for PostgresDb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PostgresDb");
        if let Some(database) = &self.shared.database {
            shown.field("database", database);
        }
        shown.field("table", &self.shared.table.name).finish()
    }
}

/// The state that all clones share.
#[derive(Debug)]
struct Shared {
    connections: Connections,
    /// As the URL names it.
    database: Option<String>,
    table: Table,
    creates_table: bool,
    expires_after: Option<Duration>,
    /// The time limit of a call.
    limit: Duration,
    /// The time limit of what is done once for all calls.
    ready_limit: Duration,
    is_ready: AtomicBool,
    /// Set once this process has found the table.
    was_seen: AtomicBool,
    flight: Flight<()>,
    clean_ups: CleanUps,
}

impl Shared {
    fn late(&self, action: &str, limit: Duration) -> Error {
        let reason = format!("there was no answer within {limit:?}; {}", self.connections.hint());
        Error::timeout(failure::text(action, &self.table.name, &reason))
    }
}
