//! Sets up the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Client, ConnectionAddr, IntoConnectionInfo};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

use super::RedisDb;
use super::shared::{Replicas, Shared};
use crate::error::Error;

const DEFAULT_PREFIX: &str = "tower-persistence:";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

const FORM: &str = "write it as redis://user:password@host:6379/0, with special characters in user \
                    and password percent-encoded, or with `rediss:` for TLS";

/// Sets up a [`RedisDb`]. [`RedisDb::builder`] creates it.
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::RedisDb;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let db = RedisDb::builder()
///     .url("redis://localhost:6379")
///     .prefix("chat-app:user:")
///     .expire_users_after(Duration::from_secs(90 * 24 * 60 * 60))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
///
/// `Debug` shows neither the URL nor a client.
#[derive(Clone, Default)]
#[must_use = "it does nothing until it is connected"]
pub struct RedisDbBuilder {
    url: Option<String>,
    client: Option<Client>,
    prefix: Option<String>,
    expires_after: Option<Duration>,
    timeout: Option<Duration>,
    replicas: Option<Replicas>,
}

impl RedisDbBuilder {
    /// Sets the server: `redis://user:password@host:port/database`, or with `rediss:` for TLS.
    /// `valkey:` and `valkeys:` mean the same. Of a [cluster](RedisDb#clusters), any server will
    /// do. This or a [`client`](Self::client) is required.
    ///
    /// For TLS the certificate has to come from an authority that the system trusts. If the program
    /// has not chosen a provider of cryptography for `rustls`, that of `aws-lc-rs` becomes the
    /// program's default.
    ///
    /// ```
    /// use tower_persistence::RedisDb;
    ///
    /// let builder = RedisDb::builder().url("rediss://anna:secret@cache.example.com:6380/0");
    /// ```
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Uses a client of your own in place of a [`url`](Self::url), such as one with certificates
    /// ([`redis::Client::build_with_tls`]). It opens its own connections with it, beside those that
    /// the program has.
    ///
    /// ```
    /// use tower_persistence::{RedisDb, RedisDbBuilder};
    ///
    /// fn builder(client: redis::Client) -> RedisDbBuilder {
    ///     RedisDb::builder().client(client)
    /// }
    /// ```
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets the beginning of the keys, which the user id follows. User ids are outside data, so no
    /// other program may have keys that begin like this. Default: `tower-persistence:`.
    ///
    /// ```
    /// use tower_persistence::RedisDb;
    ///
    /// let builder = RedisDb::builder().url("redis://localhost").prefix("chat-app:user:");
    /// ```
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// Forgets users that have not been saved for this long, by the key's time to live. By default
    /// users never expire.
    ///
    /// A user that was stored before this option was set expires after its next save. If it is
    /// taken away again, users keep their time until they are saved.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::RedisDb;
    ///
    /// let ninety_days = Duration::from_secs(90 * 24 * 60 * 60);
    /// let builder = RedisDb::builder().url("redis://localhost").expire_users_after(ninety_days);
    /// ```
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expires_after = Some(duration);
        self
    }

    /// Limits how long a load, a save, a deletion or `ensure_ready` may take, inside and outside a
    /// request. Default: 5 seconds. Within a request the layer's time-outs apply as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::RedisDb;
    ///
    /// let builder = RedisDb::builder().url("redis://localhost").timeout(Duration::from_secs(3));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Acknowledges a save or deletion only once `count` replicas have confirmed that they have it
    /// ([`WAIT`]); it fails if they do not within `timeout`. By default the primary alone counts.
    ///
    /// It gives this: a fail-over to one of *these* replicas loses nothing that was acknowledged.
    /// Set `count` to the number of all replicas, since Sentinel and a cluster choose any of them.
    /// It does not give this: replicas confirm what they have in memory, not on disk; a save that
    /// failed for lack of confirmations may be stored, or be lost, later; and a primary that is cut
    /// off takes writes until it notices, though these fail without confirmations.
    ///
    /// It costs a second round trip, and one to the replicas. Up to 16 saves wait at the same time,
    /// each on a connection of its own; more queue.
    ///
    /// [`WAIT`]: https://valkey.io/commands/wait/
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::RedisDb;
    ///
    /// let builder = RedisDb::builder().url("redis://localhost");
    /// let builder = builder.wait_replicas(1, Duration::from_millis(500));
    /// ```
    pub fn wait_replicas(mut self, count: u32, timeout: Duration) -> Self {
        self.replicas = Some(Replicas { count, timeout });
        self
    }

    /// Creates the database. The server need not be reachable yet.
    ///
    /// # Errors
    ///
    /// A setting is wrong ([`is_configuration`](Error::is_configuration)): neither a URL nor a
    /// client is set or both are, the URL is not usable, the prefix is empty, a time limit or a
    /// number of replicas is zero. The error shows nothing of the URL.
    ///
    /// ```
    /// use tower_persistence::RedisDb;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tower_persistence::Error> {
    /// let db = RedisDb::builder().url("redis://localhost").connect().await?;
    /// # Ok(()) }
    /// ```
    // Like those of the other databases, so that one may take another's place.
    #[allow(clippy::unused_async)]
    pub async fn connect(self) -> Result<RedisDb, Error> {
        let wrong = |text: &str| Err(Error::configuration(text.to_owned()));
        let client = match (&self.url, self.client) {
            (Some(url), None) => client(url)?,
            (None, Some(client)) => client,
            (None, None) => return wrong("Redis needs a URL or a client: set one of them"),
            (Some(_), Some(_)) => {
                return wrong("Redis takes a URL or a client, not both: set one of them");
            }
        };
        if matches!(client.get_connection_info().addr(), ConnectionAddr::TcpTls { .. })
            && CryptoProvider::get_default().is_none()
        {
            // An error says that another thread has just done it.
            let _ = aws_lc_rs::default_provider().install_default();
        }
        let prefix = self.prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        if prefix.is_empty() {
            return wrong(
                "the `prefix` of `RedisDb` is empty, so that a user id could name any key: set it",
            );
        }
        let limit = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let durations = [Some(limit), self.expires_after, self.replicas.map(|it| it.timeout)];
        if durations.into_iter().flatten().any(|duration| duration.is_zero()) {
            return wrong("a duration of `RedisDb` is zero: set it to more");
        }
        if self.replicas.is_some_and(|replicas| replicas.count == 0) {
            return wrong("the `count` of `wait_replicas` is zero: set it to more, or remove it");
        }
        let shared = Shared::new(client, prefix, self.expires_after, self.replicas, limit);
        Ok(RedisDb { shared: Arc::new(shared) })
    }
}

/// Makes the client. The errors of the crate below may quote the URL.
fn client(url: &str) -> Result<Client, Error> {
    let unusable =
        |why: &str| Error::configuration(format!("the URL of Redis cannot be used: {why}; {FORM}"));
    let info = url.into_connection_info();
    let info = info.map_err(|error| unusable(why(&error.to_string())))?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(unusable(
            "`#insecure` is not supported; pass a `client` that trusts the certificate's authority",
        ));
    }
    // Otherwise the second half of a command would wait for the server's acknowledgement.
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Client::open(info.set_tcp_settings(tcp)).map_err(|_| unusable("the client refuses it"))
}

fn why(error: &str) -> &'static str {
    const REASONS: [(&str, &str); 5] = [
        ("Invalid database number", "what follows the host is not the number of a database"),
        ("Missing hostname", "it names no host"),
        ("wildcard", "its host stands for any; name the server's"),
        ("fragment", "a `#` follows; in a password write `%23`"),
        ("protocol", "its `protocol` is neither `resp2` nor `resp3`"),
    ];
    let found = REASONS.iter().find(|(phrase, _)| error.contains(phrase));
    found.map_or("it does not have the form of a URL", |(_, reason)| reason)
}

impl fmt::Debug for RedisDbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisDbBuilder")
            .field("prefix", &self.prefix)
            .field("expires_after", &self.expires_after)
            .field("timeout", &self.timeout)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}
