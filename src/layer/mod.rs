//! The layer, and the setters of its options.

mod conversation;
mod detached;
mod limits;
mod policies;
mod recognition;
mod streams;
mod turn;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tower_layer::Layer;

use crate::config::{PersistenceConfig, jovo_v3_key};
use crate::database::{AnyDatabase, Database};
use crate::error::{Error, Kind};
use crate::options::Config;
use crate::platform::NamedPlatform;
use crate::service::Persistence;
use crate::transaction::{Shared, UserGuard, delete, place, with_timeout};
use crate::user_key::UserId;

/// Middleware that gives handlers a memory: it identifies the user behind each request, loads that
/// user's data, and stores what the handler changed before the reply leaves.
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::{MemoryDb, PersistenceLayer, StoredElements};
///
/// let layer = PersistenceLayer::new(MemoryDb::new())
///     .stored_elements(StoredElements::new().session(true).history(true))
///     .require_user(true)
///     .save_timeout(Duration::from_secs(1));
/// ```
///
/// Clones, and the services made of them, share the order of each user's requests. Two layers made
/// with [`new`](Self::new) do not, even on one database.
///
/// # Requests
///
/// GET, HEAD, OPTIONS, CONNECT and TRACE requests, and bodies that are not declared as JSON, pass
/// through unread; bodies without a content type are read if their length is announced and within
/// [`body_limit`](Self::body_limit). What no platform recognises passes through as it is. What a
/// request says is data from outside: **check in front of this layer that it is genuine.**
///
/// # Concurrency limits
///
/// `poll_ready` is forwarded, so that back pressure of the inner service reaches the layers
/// outside. A place that it reserved is given back as soon as the request has to wait for its body,
/// its user's earlier requests or the database, and taken again just before the handler runs. So a
/// `ConcurrencyLimitLayer` inside counts handlers that run; outside, it counts requests, including
/// those that wait for an earlier one of the same user.
///
/// # In front of it
///
/// tower-http's `RequestBodyLimitLayer` directly outside this layer in one `ServiceBuilder` makes
/// the request's body a type that cannot be made from bytes: put
/// `MapRequestBodyLayer::new(Body::new)` in between, or use [`body_limit`](Self::body_limit).
pub struct PersistenceLayer<D> {
    shared: Arc<Shared<D>>,
}

impl<D: Database> PersistenceLayer<D> {
    /// Makes a layer on this database, with the default of each option.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new());
    /// ```
    pub fn new(database: D) -> Self {
        let config = Config::new(&database);
        Self { shared: Arc::new(Shared::new(database, config)) }
    }

    /// Returns the database.
    ///
    /// Use [`export`](Self::export) and [`forget`](Self::forget) for the data of a user: they make
    /// the key as requests do.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new());
    /// assert!(layer.database().is_empty());
    /// ```
    #[must_use]
    pub fn database(&self) -> &D {
        &self.shared.database
    }

    /// Returns everything stored for user `id` of `platform` as JSON with the `id`: what a user may
    /// ask for. `None` if the user is not stored.
    ///
    /// `id` is the platform's id, or a pair of scope and id: see [`UserId`].
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// # async fn example(layer: &PersistenceLayer<MemoryDb>) -> Result<(), tower_persistence::Error> {
    /// let stored = layer.export("alexa", "amzn1.ask.account.A").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the record cannot be read within [`load_timeout`](Self::load_timeout), or the user's
    /// turns under way do not end within [`queue_timeout`](Self::queue_timeout);
    /// [`is_configuration`](Error::is_configuration) where the layer does not have the platform, or
    /// the id cannot be one.
    pub async fn export<'a>(
        &self,
        platform: &str,
        id: impl Into<UserId<'a>>,
    ) -> Result<Option<Value>, Error> {
        let id = id.into();
        let (key, _guard) = self.place(platform, &id).await?;
        self.stored(&key, id.id()).await
    }

    /// Loads the record under `key` as JSON with this `id`.
    async fn stored(&self, key: &str, id: &str) -> Result<Option<Value>, Error> {
        let Shared { database, config, .. } = &*self.shared;
        let load = with_timeout("loading", config.load_timeout, database.load(key));
        Ok(load.await?.map(|stored| {
            let mut record = Map::from_iter([("id".to_owned(), id.into())]);
            record.extend(stored.record.fields().clone());
            Value::Object(record)
        }))
    }

    /// Deletes everything stored for user `id` of `platform`, with its
    /// [aliases](crate::platform::Event::also_known_as), after the user's turns under way. The
    /// user's next request is a new user's. To forget a user who is not stored is no error.
    ///
    /// `id` is the platform's id, or a pair of scope and id: see [`UserId`].
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// # async fn example(layer: &PersistenceLayer<MemoryDb>) -> Result<(), tower_persistence::Error> {
    /// layer.forget("alexa", "amzn1.ask.account.A").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When it is not known that the record is gone; otherwise as [`export`](Self::export).
    pub async fn forget<'a>(&self, platform: &str, id: impl Into<UserId<'a>>) -> Result<(), Error> {
        let (key, _guard) = self.place(platform, &id.into()).await?;
        let Shared { database, config, .. } = &*self.shared;
        with_timeout("deleting", config.save_timeout, delete(database.as_ref(), &key, &[])).await
    }

    /// Waits as [`drain`](Self::drain) does, and closes the database. Call it before the runtime
    /// ends, after the server has stopped.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// # async fn example(layer: PersistenceLayer<MemoryDb>) -> Result<(), tower_persistence::Error> {
    /// layer.close().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Database::close`].
    pub async fn close(&self) -> Result<(), Error> {
        self.drain().await;
        self.shared.database.close().await
    }

    /// Makes the key of a user, and takes the user's place.
    async fn place(&self, platform: &str, id: &UserId<'_>) -> Result<(Arc<str>, UserGuard), Error> {
        let (_, key) = self.key(platform, id)?;
        place(&self.shared, key).await
    }

    /// Finds the platform of this name.
    fn known(&self, platform: &str) -> Result<&NamedPlatform, Error> {
        let mut platforms = self.shared.config.platforms.iter();
        platforms.find(|known| &*known.name == platform).ok_or_else(|| {
            let message = format!("the layer has no platform `{platform}`: add it to the layer");
            Error::new(Kind::Configuration, message)
        })
    }

    /// Finds the platform, and makes the key of a user of it.
    fn key(&self, platform: &str, id: &UserId<'_>) -> Result<(NamedPlatform, Arc<str>), Error> {
        let config = &self.shared.config;
        let known = self.known(platform)?;
        let key = config.keys.key(&config.platforms, platform, id).ok_or_else(invalid_key)?;
        Ok((known.clone(), key))
    }
}

fn invalid_key() -> Error {
    let message = "the user id, or the key made from it, is empty or longer than 2,048 bytes: \
                   check where it comes from";
    Error::new(Kind::Configuration, message)
}

impl<D> PersistenceLayer<D> {
    fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut Arc::make_mut(&mut self.shared).config);
        self
    }
}

impl PersistenceLayer<AnyDatabase> {
    /// Makes a layer on the database that `config` names, with the elements that it names.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_persistence::{PersistenceConfig, PersistenceLayer};
    ///
    /// let config: PersistenceConfig = serde_json::from_str(r#"{ "type": "memory" }"#)?;
    /// let layer = PersistenceLayer::from_config(config).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_configuration`](Error::is_configuration) where the feature of that database is off;
    /// otherwise the error of opening it.
    pub async fn from_config(config: PersistenceConfig) -> Result<Self, Error> {
        let has_platform_prefix = config.database.has_platform_prefix();
        let layer =
            Self::new(config.database.open().await?).stored_elements(config.stored_elements);
        Ok(if has_platform_prefix {
            layer.storage_key(|platform, _, id| jovo_v3_key(platform, id))
        } else {
            layer
        })
    }
}

impl<S, D> Layer<S> for PersistenceLayer<D> {
    type Service = Persistence<S, D>;

    fn layer(&self, inner: S) -> Self::Service {
        Persistence::new(inner, Arc::clone(&self.shared))
    }
}

impl<D> Clone for PersistenceLayer<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: fmt::Debug> fmt::Debug for PersistenceLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}
