//! Sets up the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;

use super::connections::Connections;
use super::table::Table;
use super::{PostgresDb, Shared};
use crate::error::Error;

/// A little less than the 2 seconds for which the layer waits by default, so that the error says
/// what took so long.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(1800);
const DEFAULT_READY_TIMEOUT: Duration = Duration::from_secs(25);

/// A statement takes about a millisecond, and a server admits 100 by default.
const DEFAULT_CONNECTIONS: usize = 10;

/// Sets up a [`PostgresDb`]. [`PostgresDb::builder`] creates it.
///
/// `Debug` shows neither URL nor pool.
#[derive(Clone)]
#[must_use = "it does nothing until it is connected"]
pub struct PostgresDbBuilder {
    url: Option<String>,
    pool: Option<Pool>,
    table: Option<String>,
    creates_table: bool,
    connections: usize,
    expires_after: Option<Duration>,
    timeout: Duration,
    ready_timeout: Duration,
}

impl Default for PostgresDbBuilder {
    fn default() -> Self {
        Self {
            url: None,
            pool: None,
            table: None,
            creates_table: true,
            connections: DEFAULT_CONNECTIONS,
            expires_after: None,
            timeout: DEFAULT_TIMEOUT,
            ready_timeout: DEFAULT_READY_TIMEOUT,
        }
    }
}

impl PostgresDbBuilder {
    /// Sets the server by a URL, `postgres://user:password@host:5432/database?option=value`. This
    /// or a [`pool`](Self::pool) is required.
    ///
    /// The options are those of `tokio-postgres`, with libpq's names (`connect_timeout`,
    /// `application_name`, `target_session_attrs`, `keepalives_idle`…), and for TLS:
    ///
    /// | `sslmode` | |
    /// | --- | --- |
    /// | `disable` | no TLS |
    /// | `prefer` (default) | TLS if the server has it, with any certificate |
    /// | `require`, `verify-ca`, `verify-full` | TLS; the certificate must name the host, and be signed by an authority of `sslrootcert` (a file in PEM), or else of the system |
    ///
    /// `require` is stricter than libpq's, which accepts any certificate. `sslrootcert` alone
    /// stands for `verify-full`. Providers with an authority of their own offer it as a file to
    /// download.
    ///
    /// Unless the URL sets them, `connect_timeout` is 1.5 seconds, `keepalives_idle` 60 seconds,
    /// and with several hosts `target_session_attrs` is `read-write`. Several hosts stand side by
    /// side: `postgres://anna@one:5432,two:5432/app`.
    ///
    /// ```
    /// use tower_persistence::PostgresDb;
    ///
    /// let url = "postgres://anna:secret@db.example.com/app?sslmode=verify-full";
    /// let builder = PostgresDb::builder().url(url);
    /// ```
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Uses a pool that the app has already, in place of a [`url`](Self::url), with its TLS, its
    /// size and its time limits. [`close`](crate::Database::close) leaves it open.
    ///
    /// ```
    /// use deadpool_postgres::Pool;
    /// use tower_persistence::{PostgresDb, PostgresDbBuilder};
    ///
    /// fn builder(pool: Pool) -> PostgresDbBuilder {
    ///     PostgresDb::builder().pool(pool).table("app.users")
    /// }
    /// ```
    pub fn pool(mut self, pool: Pool) -> Self {
        self.pool = Some(pool);
        self
    }

    /// Sets the table, as `name` or `schema.name`. Default: `persistence_users`, in the first
    /// schema of the search path.
    ///
    /// The name is taken as it is, in its case: `Users` is not `users`. A schema must exist.
    ///
    /// ```
    /// use tower_persistence::PostgresDb;
    ///
    /// let builder = PostgresDb::builder().url("postgres://localhost/app").table("app.users");
    /// ```
    pub fn table(mut self, name: impl Into<String>) -> Self {
        self.table = Some(name.into());
        self
    }

    /// Sets whether to create the table if it is missing. Default: `true`.
    ///
    /// The role then needs `CREATE` on the schema. A table that this process has seen and that is
    /// gone is an error: a new one would be empty.
    ///
    /// ```
    /// use tower_persistence::PostgresDb;
    ///
    /// let builder = PostgresDb::builder().url("postgres://localhost/app").create_table(false);
    /// ```
    pub fn create_table(mut self, create: bool) -> Self {
        self.creates_table = create;
        self
    }

    /// Sets how many connections the pool opens at most. Default: 10. A pool of your own has a size
    /// of its own.
    ///
    /// All processes together must stay below the server's `max_connections`.
    ///
    /// ```
    /// use tower_persistence::PostgresDb;
    ///
    /// let builder = PostgresDb::builder().url("postgres://localhost/app").max_connections(4);
    /// ```
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Limits how long a load, a save or a deletion may take, with waiting for a connection and
    /// with repetitions. After that it fails with [`is_timeout`](Error::is_timeout), and the server
    /// is asked to cancel the statement. Default: 1.8 seconds. Within a request the layer's
    /// time-outs apply as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::PostgresDb;
    ///
    /// let builder = PostgresDb::builder().url("postgres://localhost/app");
    /// let builder = builder.timeout(Duration::from_secs(3));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits how long creating and checking the table may take, which is done once for all
    /// requests. Default: 25 seconds, less than the layer's own
    /// [`ready_timeout`](crate::PersistenceLayer::ready_timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::PostgresDb;
    ///
    /// let builder = PostgresDb::builder().url("postgres://localhost/app");
    /// let builder = builder.ready_timeout(Duration::from_secs(60));
    /// ```
    pub fn ready_timeout(mut self, ready_timeout: Duration) -> Self {
        self.ready_timeout = ready_timeout;
        self
    }

    /// Forgets users for whom nothing was saved for so long. By default users are kept.
    ///
    /// Each save writes the time into `expires_at`; a request that only reads does not put it off.
    /// Rows past their time are not served, and every 32nd write removes up to 64 of them. Users
    /// who were stored without it expire from their next save on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::PostgresDb;
    ///
    /// let ninety_days = Duration::from_secs(90 * 24 * 60 * 60);
    /// let builder = PostgresDb::builder().url("postgres://localhost/app");
    /// let builder = builder.expire_users_after(ninety_days);
    /// ```
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expires_after = Some(duration);
        self
    }

    /// Returns the SQL that creates the table, its index and its trigger, for a migration. Run it
    /// in one transaction: it waits then for processes that are creating a table.
    ///
    /// # Errors
    ///
    /// The name of the table is not allowed ([`is_configuration`](Error::is_configuration)).
    ///
    /// ```
    /// use tower_persistence::PostgresDb;
    ///
    /// let sql = PostgresDb::builder().table("app.users").table_sql()?;
    /// assert!(sql.contains("CREATE TABLE \"app\".\"users\" ("));
    /// # Ok::<(), tower_persistence::Error>(())
    /// ```
    pub fn table_sql(&self) -> Result<String, Error> {
        self.named().map(|table| table.definition())
    }

    fn named(&self) -> Result<Table, Error> {
        self.table.as_deref().map_or_else(|| Ok(Table::default()), Table::new)
    }

    /// Creates the database. The server need not be reachable yet.
    ///
    /// # Errors
    ///
    /// A setting is wrong ([`is_configuration`](Error::is_configuration)): neither a URL nor a pool
    /// is set, or both are; the URL, the name of the table or the file of `sslrootcert` cannot be
    /// used; a number or a time is zero. The error shows neither user, password nor host.
    ///
    /// ```no_run
    /// use tower_persistence::PostgresDb;
    ///
    /// # async fn example() -> Result<(), tower_persistence::Error> {
    /// let db = PostgresDb::builder().url("postgres://localhost/app").connect().await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(mut self) -> Result<PostgresDb, Error> {
        let table = self.named()?;
        self.check()?;
        let (connections, database) = match (self.url.take(), self.pool.take()) {
            (Some(url), None) => Connections::to(&url, self.connections).await?,
            (None, Some(pool)) => (Connections::given(pool), None),
            (url, _) => {
                let why = if url.is_some() {
                    "takes one of URL and pool"
                } else {
                    "needs a URL or a pool"
                };
                return Err(Error::configuration(format!("PostgreSQL {why}: set one of them")));
            }
        };
        Ok(self.over(connections, database, table))
    }

    /// Makes the database over these connections.
    pub(super) fn over(
        self,
        connections: Connections,
        database: Option<String>,
        table: Table,
    ) -> PostgresDb {
        let shared = Shared {
            connections,
            database,
            table,
            creates_table: self.creates_table,
            expires_after: self.expires_after,
            limit: self.timeout,
            ready_limit: self.ready_timeout,
            is_ready: Default::default(),
            was_seen: Default::default(),
            flight: Default::default(),
            clean_ups: Default::default(),
        };
        PostgresDb { shared: Arc::new(shared) }
    }

    fn check(&self) -> Result<(), Error> {
        let zeros = [
            ("max_connections", self.connections == 0),
            ("timeout", self.timeout.is_zero()),
            ("ready_timeout", self.ready_timeout.is_zero()),
            ("expire_users_after", self.expires_after.is_some_and(|it| it.is_zero())),
        ];
        match zeros.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(Error::configuration(format!(
                "`{name}` of `PostgresDb` is zero: set it to more"
            ))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for PostgresDbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDbBuilder")
            .field("table", &self.table)
            .field("create_table", &self.creates_table)
            .field("expire_users_after", &self.expires_after)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
