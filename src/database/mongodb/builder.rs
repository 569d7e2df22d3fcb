use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mongodb::Client;

use super::MongoDb;
use super::document::Layout;
use super::open::{Shared, Source};
use super::uri;
use crate::error::{Error, Kind};

const DEFAULT_DATABASE: &str = "test";
const DEFAULT_COLLECTION: &str = "jovoUsers";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How a [`MongoDb`] is connected: made by [`MongoDb::builder`].
///
/// ```no_run
/// use std::time::Duration;
/// use tower_persistence::MongoDb;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_persistence::Error> {
/// let db = MongoDb::builder()
///     .uri("mongodb://localhost:27017")
///     .database("app")
///     .collection("users")
///     .expire_users_after(Duration::from_secs(90 * 24 * 60 * 60))
///     .connect()
///     .await?;
/// # Ok(()) }
/// ```
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
    /// The servers, as a connection string. Where it sets no `serverSelectionTimeoutMS` and
    /// `connectTimeoutMS`, they are 1.5 s, so that a request is answered within the time-outs of
    /// the layer. Write concern, read concern and read preference in it do not apply.
    pub fn uri(mut self, uri: impl Into<String>) -> Self {
        self.uri = Some(uri.into());
        self
    }

    /// Takes a client of your own instead of a [`uri`](Self::uri), as it is, with its time-outs.
    /// Its background tasks run in the tokio runtime in which it was made;
    /// [`connect`](Self::connect) there. When that runtime has ended, each call is an error.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The database. By default that of the URI or client, else `test`, with a warning.
    pub fn database(mut self, name: impl Into<String>) -> Self {
        self.database = Some(name.into());
        self
    }

    /// The collection; `jovoUsers` by default.
    pub fn collection(mut self, name: impl Into<String>) -> Self {
        self.collection = Some(name.into());
        self
    }

    /// Has users removed who were not saved for so long: each save writes the date in the field
    /// `expiresAt`, and MongoDB removes them by a TTL index, which is created when it is first
    /// needed or by
    /// [`ensure_ready`](crate::Database::ensure_ready). What has expired is not served even before it is removed. Users who
    /// were stored without it expire from their next save on.
    ///
    /// Jovo v4 leaves the date where it is, so a collection that it writes to as well should do
    /// without.
    ///
    /// To do without it again, the index `expiresAt_1` has to be removed from the collection.
    pub fn expire_users_after(mut self, duration: Duration) -> Self {
        self.expires_after = Some(duration);
        self
    }

    /// Limits how long a load, a save, a deletion or `ensure_ready` may take, also outside a
    /// request: a server that accepts connections may still not answer. By default 5 s, after the
    /// `serverSelectionTimeoutMS` that the URI sets, if any. Within a request the time-outs of the
    /// layer end it earlier.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Makes the database. No server has to be there yet.
    ///
    /// # Errors
    ///
    /// A setting is wrong ([`is_configuration`](Error::is_configuration)): there is neither a URI
    /// nor a client, or both, the URI cannot be used, or the database or collection cannot have
    /// that name. The error says what is wrong with a URI (an option that the driver does not know,
    /// a certificate file that is missing…), without user, password and hosts.
    pub async fn connect(self) -> Result<MongoDb, Error> {
        let source = match (&self.uri, self.client) {
            (Some(uri), None) => Source::Uri(Box::new(uri::parse(uri)?)),
            (None, Some(client)) => Source::Client(client),
            (None, None) => return Err(configuration("MongoDB needs a URI or a client")),
            (Some(_), Some(_)) => {
                return Err(configuration("MongoDB takes a URI or a client, not both"));
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
            tracing::warn!("no database of MongoDB is named; users are stored in `test`");
            DEFAULT_DATABASE.to_owned()
        });
        let collection = self.collection.unwrap_or_else(|| DEFAULT_COLLECTION.to_owned());
        check_names(&database, &collection)?;
        let layout = Layout { expires_after: self.expires_after };
        let shared = Shared::new(source, database, collection, layout, limit);
        let begun = shared.begin().await;
        begun.map_err(|error| uri::unusable(self.uri.as_deref().unwrap_or_default(), &error))?;
        Ok(MongoDb { shared: Arc::new(shared) })
    }
}

/// <https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions>
fn check_names(database: &str, collection: &str) -> Result<(), Error> {
    if database.is_empty()
        || database.len() > 63
        || database.contains(['/', '\\', '.', '"', '$', ' ', '\0'])
    {
        return Err(configuration(
            "a database of MongoDB cannot have that name: 1 to 63 bytes, without spaces and any of /\\.\"$",
        ));
    }
    if collection.is_empty()
        || collection.contains(['$', '\0'])
        || collection.starts_with("system.")
    {
        return Err(configuration(
            "a collection of MongoDB cannot have that name: not empty, without `$`, not beginning with `system.`",
        ));
    }
    Ok(())
}

fn configuration(message: &'static str) -> Error {
    Error::new(Kind::Configuration, message)
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
