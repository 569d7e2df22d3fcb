//! The pool of connections, and statements over it.

use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Config, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::{Effect, Failure};
use super::tls::Tls;
use super::url;
use crate::error::Error;

/// The time in which the server is asked to give up a statement whose caller is gone.
const CANCEL: Duration = Duration::from_secs(1);

/// Repetitions of a statement that the server undid for the sake of another transaction.
const REPEATED: u32 = 16;

/// A value with its type: a statement whose types are known takes one round trip.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) struct Connections {
    pool: Pool,
    /// Cancels statements. `None` for a pool of the caller's, whose TLS is not known.
    tls: Option<MakeRustlsConnect>,
}

impl Connections {
    /// Makes a pool for a URL, and returns it with the name of the database. No connection is
    /// opened yet.
    pub(super) async fn to(url: &str, max: usize) -> Result<(Self, Option<String>), Error> {
        let (config, tls) = url::parse(url)?;
        let database = config.get_dbname().map(str::to_owned);
        // No TLS is spoken over a socket in the file system.
        let tls = if url::is_local(&config) { Tls::Off } else { tls };
        let is_direct = config.get_ssl_negotiation() == SslNegotiation::Direct;
        let connector = spawn_blocking(move || tls.connector(is_direct)).await;
        let connector = connector.map_err(Error::database)??;
        Ok((Self::open(config, connector, max)?, database))
    }

    fn open(config: Config, tls: MakeRustlsConnect, max: usize) -> Result<Self, Error> {
        // Asking each connection before it is used would be a round trip more.
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, tls.clone(), ManagerConfig { recycling_method });
        let pool = Pool::builder(manager).max_size(max).build().map_err(Error::database)?;
        Ok(Self { pool, tls: Some(tls) })
    }

    /// Uses a pool that belongs to the caller.
    pub(super) fn given(pool: Pool) -> Self {
        Self { pool, tls: None }
    }

    /// Returns the likely cause of a call that took too long.
    pub(super) fn hint(&self) -> String {
        let status = self.pool.status();
        match status.available == 0 && status.size >= status.max_size {
            true => format!(
                "all {} connections of the pool are busy: look for locks on the table, or enlarge \
                 the pool",
                status.max_size
            ),
            false => "check the server, the network, and locks on the table".to_owned(),
        }
    }

    pub(super) fn close(&self) {
        if self.tls.is_some() {
            self.pool.close();
        }
    }

    /// Runs a statement that changes nothing, a second time if the connection broke off.
    pub(super) async fn read(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        match self.query(sql, values).await {
            Err(failure) if failure.effect == Effect::Unknown => self.query(sql, values).await,
            result => result,
        }
    }

    /// Runs a statement. One that certainly had no effect is repeated: where the server undid it
    /// for the sake of another transaction, and once where the server is not the primary any more.
    pub(super) async fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        self.repeat(false, sql, values).await
    }

    /// The same, over a connection that has just answered. For a statement that must not be
    /// repeated after a connection broke off.
    pub(super) async fn query_once(
        &self,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Failure> {
        self.repeat(true, sql, values).await
    }

    async fn repeat(
        &self,
        is_checked: bool,
        sql: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Failure> {
        let (mut left, mut was_read_only) = (REPEATED, false);
        loop {
            let lease = if is_checked { self.checked_lease().await? } else { self.lease().await? };
            let failure = match lease.query(sql, values).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => failure,
            };
            if failure.is_read_only() && !was_read_only {
                was_read_only = true;
            } else if failure.is_passing() && left > 0 {
                left -= 1;
            } else {
                return Err(failure);
            }
        }
    }

    /// Runs several statements in one message, and so in one transaction.
    pub(super) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        let lease = self.checked_lease().await?;
        let done = lease.object().batch_execute(sql).await;
        lease.end(done)
    }

    async fn lease(&self) -> Result<Lease<'_>, Failure> {
        match self.pool.get().await {
            Ok(object) => Ok(Lease { connections: self, object: Some(object) }),
            Err(error) => Err(Failure::of_connection(&error)),
        }
    }

    /// Takes a connection that is alive: one that was kept may be closed without a word, as
    /// firewalls do.
    async fn checked_lease(&self) -> Result<Lease<'_>, Failure> {
        let lease = self.lease().await?;
        if Object::metrics(lease.object()).recycled.is_none() {
            return Ok(lease);
        }
        let alive = lease.object().check_connection().await;
        match alive {
            Ok(()) => Ok(lease),
            Err(error) => {
                // The error does not matter: the next connection is a new one.
                let _ = lease.end::<()>(Err(error));
                self.lease().await
            }
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}

/// A connection in use. Dropped before its end, as a time limit does, it has a statement under way:
/// the server is asked to give that up, and the connection is not used again.
struct Lease<'a> {
    connections: &'a Connections,
    /// `Some` until the end.
    object: Option<Object>,
}

impl Lease<'_> {
    fn object(&self) -> &Object {
        match &self.object {
            Some(object) => object,
            None => unreachable!("`end` consumes the lease"),
        }
    }

    async fn query(self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        let rows = self.object().query_typed(sql, values).await;
        self.end(rows)
    }

    /// Gives the connection back after an answer. One that is of no use is closed, together with
    /// those that wait in the pool: what closed this one has closed them, too.
    fn end<T>(mut self, answer: Result<T, tokio_postgres::Error>) -> Result<T, Failure> {
        let object = self.object.take();
        let failure = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => Failure::of_statement(&error),
        };
        if failure.effect == Effect::Unknown || failure.is_read_only() {
            drop(object.map(Object::take));
            self.connections.pool.retain(|_, _| false);
        }
        Err(failure)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let Ok(runtime) = Handle::try_current() else { return drop(Object::take(object)) };
        let cancel = self.connections.tls.clone().map(|tls| (object.cancel_token(), tls));
        // Until then the connection counts as one of the pool's, so that the statements that wait
        // for a lock in the server are never more than those.
        runtime.spawn(async move {
            if let Some((token, tls)) = cancel {
                let _ = timeout(CANCEL, token.cancel_query(tls)).await;
            }
            drop(Object::take(object));
        });
    }
}
