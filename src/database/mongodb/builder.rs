//! Sets up the database.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mongodb::Client;

use super::MongoDb;
use super::connection::{Shared, Source};
use super::document::Layout;
use super::failure::unusable_uri;
use super::uri;
use crate::error::Error;

const DEFAULT_DATABASE: &str = "test";
const DEFAULT_COLLECTION: &str = "jovoUsers";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets up a [`MongoDb`]. [`MongoDb::builder`] creates it.
///
/// ```no_run
/// use std::time::Duration;
/// use tower_persistence::MongoDb;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let db = MongoDb::builder()
///     .uri("mongodb://localhost:27017")
///     .database("app")
///     .collection("users")
///     .expire_users_after(Duration::from_secs(90 * 24 * 60 * 60))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
///
/// `Debug` shows neither the URI nor a client.
#[derive(Clone, Default)]
#[must_use = "it does nothing until it is connected"]
pub struct MongoDbBuilder {
    uri: Option<String>,
    client: Option<Client>,
    database: Option<String>,
    collection: Option<String>,
    expires_after: Option<Duration>,
    timeout: Option<Duration>,
}

impl MongoDbBuilder {
    /// Sets the servers by a connection string. This or a [`client`](Self::client) is required.
    ///
    /// Unless the URI sets `serverSelectionTimeoutMS` and `connectTimeoutMS`, both are 1.5 seconds,
    /// so that a request is answered within the time-outs of the layer. Write concern, read concern
    /// and read preference of the URI do not apply.
    ///
    /// ```
    /// use tower_persistence::MongoDb;
    ///
    /// let builder = MongoDb::builder().uri("mongodb://localhost:27017/app");
    /// ```
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// Uses a client of your own in place of a [`uri`](Self::uri), with its time-outs.
    ///
    /// The client's background tasks run in the tokio runtime that created it. Call
    /// [`connect`](Self::connect) in that runtime. Once it has ended, every call is an error.
    ///
    /// ```
    /// use mongodb::Client;
    /// use tower_persistence::{MongoDb, MongoDbBuilder};
    ///
    /// fn builder(client: Client) -> MongoDbBuilder {
    ///     MongoDb::builder().client(client).database("app")
    /// }
    /// ```
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Sets the database. Default: the one that the URI or client names, or else `test`, with a
    /// warning.
    ///
    /// ```
    /// use tower_persistence::MongoDb;
    ///
    /// let builder = MongoDb::builder().uri("mongodb://localhost").database("app");
    /// ```
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = Some(name.into());
        self
    }

    /// Sets the collection. Default: `jovoUsers`.
    ///
    /// ```
    /// use tower_persistence::MongoDb;
    ///
    /// let builder = MongoDb::builder().uri("mongodb://localhost/app").collection("users");
    /// ```
    pub fn collection(mut self, name: impl Into<String>) -> Self {
        self.collection = Some(name.into());
        self
    }

    /// Deletes users that have not been saved for this long. By default users never expire.
    ///
    /// Each save writes the date to the field `expiresAt`, and MongoDB deletes expired documents by
    /// a TTL index, which the first write or [`ensure_ready`](crate::Database::ensure_ready)
    /// creates. Expired users are not served even before they are deleted. A user that was stored
    /// before this option was set expires after its next save.
    ///
    /// Jovo v4 leaves the date unchanged, so do not use this option with a collection that Jovo
    /// writes to as well. To turn expiry off again, also drop the collection's index `expiresAt_1`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::MongoDb;
    ///
    /// let ninety_days = Duration::from_secs(90 * 24 * 60 * 60);
    /// let builder = MongoDb::builder().uri("mongodb://localhost/app");
    /// let builder = builder.expire_users_after(ninety_days);
    /// ```
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expires_after = Some(duration);
        self
    }

    /// Limits how long a load, a save, a deletion or `ensure_ready` may take, inside and outside a
    /// request: a server that accepts connections may still not answer. Default: 5 seconds, plus
    /// the `serverSelectionTimeoutMS` of the URI, if any. Within a request the layer's time-outs
    /// apply as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::MongoDb;
    ///
    /// let builder = MongoDb::builder().uri("mongodb://localhost/app");
    /// let builder = builder.timeout(Duration::from_secs(3));
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Creates the database. The servers need not be reachable yet.
    ///
    /// # Errors
    ///
    /// A setting is wrong ([`is_configuration`](Error::is_configuration)): neither a URI nor a
    /// client is set or both are, the URI is not usable, or the name of the database or collection
    /// is not allowed. The error names the problem with a URI (an unknown option, a missing
    /// certificate file…) without user, password and hosts.
    ///
    /// ```no_run
    /// use tower_persistence::MongoDb;
    ///
    /// # async fn example() -> Result<(), tower_persistence::Error> {
    /// let db = MongoDb::builder().uri("mongodb://localhost/app").connect().await?;
    /// # Ok(()) }
    /// ```
    pub async fn connect(self) -> Result<MongoDb, Error> {
        let source = match (&self.uri, self.client) {
            (Some(uri), None) => Source::Uri(Box::new(uri::parse(uri)?)),
            (None, Some(client)) => Source::Client(client),
            (None, None) => {
                return Err(Error::configuration(
                    "MongoDB needs a URI or a client; set one of them",
                ));
            }
            (Some(_), Some(_)) => {
                return Err(Error::configuration(
                    "MongoDB takes a URI or a client, not both; set one of them",
                ));
            }
        };
        let selection = match &source {
            Source::Uri(uri) => uri.server_selection_timeout.unwrap_or_default(),
            Source::Client(_) => Duration::ZERO,
        };
        let limit = self.timeout.unwrap_or_else(|| DEFAULT_TIMEOUT.saturating_add(selection));
        let database = self.database.or_else(|| match &source {
            Source::Uri(uri) => uri.default_database.clone(),
            Source::Client(client) => client.default_database().map(|it| it.name().to_owned()),
        });
        let database = database.unwrap_or_else(|| {
            tracing::warn!("no database of MongoDB is named; users are stored in `test`, unless `database` or the URI names one");
            DEFAULT_DATABASE.to_owned()
        });
        let collection = self.collection.unwrap_or_else(|| DEFAULT_COLLECTION.to_owned());
        check_names(&database, &collection)?;
        let layout = Layout { expires_after: self.expires_after };
        let shared = Shared::new(source, database, collection, layout, limit);
        let begun = shared.begin().await;
        begun.map_err(|error| unusable_uri(self.uri.as_deref().unwrap_or_default(), &error))?;
        Ok(MongoDb { shared: Arc::new(shared) })
    }
}

/// Refuses names that MongoDB does not allow.
/// <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>
fn check_names(database: &str, collection: &str) -> Result<(), Error> {
    if database.is_empty()
        || database.len() > 63
        || database.contains(['/', '\\', '.', '"', '$', ' ', '\0'])
    {
        return Err(Error::configuration(
            "the name of the database is not allowed by MongoDB; use 1 to 63 bytes, without spaces and any of /\\.\"$",
        ));
    }
    if collection.is_empty()
        || collection.contains(['$', '\0'])
        || collection.starts_with("system.")
    {
        return Err(Error::configuration(
            "the name of the collection is not allowed by MongoDB; use one that is not empty, has no `$` and does not \
             begin with `system.`",
        ));
    }
    Ok(())
}

impl fmt::Debug for MongoDbBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoDbBuilder")
            .field("database", &self.database)
            .field("collection", &self.collection)
            .field("expires_after", &self.expires_after)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
