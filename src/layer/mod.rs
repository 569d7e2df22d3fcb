mod options;

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use tower_layer::Layer;

pub(crate) use self::options::Config;
use crate::config::{PersistenceConfig, jovo_v3_key};
use crate::order::Order;
use crate::{AnyDatabase, Database, Error, Persistence};

/// The layer that finds out whose request it is, gives the handler what is stored of that user, and stores what the handler
/// changed before the reply leaves.
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::stored_elements::StoredElements;
/// use tower_persistence::{MemoryDb, PersistenceLayer};
///
/// let layer = PersistenceLayer::new(MemoryDb::new())
///     .stored_elements(StoredElements::new().session(true).history(true))
///     .require_user(true)
///     .save_timeout(Duration::from_secs(1));
/// ```
///
/// Clones, and the services that are made of them, keep the order of one user's requests in common. Two layers made
/// with `new` do not, even on one database.
///
/// # Requests
///
/// GET, HEAD and OPTIONS requests, and bodies that are not JSON or no platform's, pass through as they are. What stands in a
/// request is data from outside: **whether it is genuine has to be checked in front of this layer.**
///
/// # In front of it
///
/// tower-http's `RequestBodyLimitLayer` directly outside this layer in one `ServiceBuilder` makes the request's body a type
/// that cannot be made from bytes: put `MapRequestBodyLayer::new(Body::new)` in between, or use
/// [`body_limit`](Self::body_limit).
pub struct PersistenceLayer<D> {
    shared: Arc<Shared<D>>,
}

pub(crate) struct Shared<D> {
    pub(crate) database: Arc<D>,
    pub(crate) order: Arc<Order>,
    pub(crate) config: Config,
}

impl<D: Database> PersistenceLayer<D> {
    /// A layer on this database, with the defaults of each option.
    pub fn new(database: D) -> Self {
        let config = Config::new(&database);
        let shared = Shared { database: Arc::new(database), order: Arc::default(), config };
        Self { shared: Arc::new(shared) }
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &D {
        &self.shared.database
    }

    /// Everything that is stored of user `id`, as JSON with the `id`: what the user may ask for. `None` where there is no such user.
    ///
    /// # Errors
    ///
    /// When the item cannot be read.
    pub async fn export(&self, id: &str) -> Result<Option<Value>, Error> {
        let Some(stored) = self.shared.database.load(id).await? else { return Ok(None) };
        let mut item = Map::from_iter([("id".to_owned(), id.into())]);
        item.extend(stored.record.fields().clone());
        Ok(Some(Value::Object(item)))
    }
}

impl PersistenceLayer<AnyDatabase> {
    /// A layer on the database that `config` names, with the elements that it names.
    ///
    /// # Errors
    ///
    /// [`is_configuration`](Error::is_configuration) where the feature of that database is off; otherwise what opening it says.
    pub async fn from_config(config: PersistenceConfig) -> Result<Self, Error> {
        let has_platform_prefix = config.database.has_platform_prefix();
        let layer =
            Self::new(config.database.open().await?).stored_elements(config.stored_elements);
        Ok(if has_platform_prefix { layer.storage_key(jovo_v3_key) } else { layer })
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

impl<D> Clone for Shared<D> {
    fn clone(&self) -> Self {
        Self {
            database: Arc::clone(&self.database),
            order: Arc::clone(&self.order),
            config: self.config.clone(),
        }
    }
}

impl<D: fmt::Debug> fmt::Debug for PersistenceLayer<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl<D: fmt::Debug> fmt::Debug for Shared<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { platforms, stored_elements, body_limit, require_user, save_on_error, .. } =
            &self.config;
        f.debug_struct("PersistenceLayer")
            .field("database", &self.database)
            .field("platforms", &platforms.iter().map(|known| &known.name).collect::<Vec<_>>())
            .field("stored_elements", stored_elements)
            .field("body_limit", body_limit)
            .field("require_user", require_user)
            .field("save_on_error", save_on_error)
            .field("on_conflict", &self.config.on_conflict)
            .field("on_outage", &self.config.on_outage)
            .field("forget_on_skill_disabled", &self.config.forget_on_skill_disabled)
            .field("batch_concurrency", &self.config.batch_concurrency)
            .field("ready_timeout", &self.config.ready_timeout)
            .field("turn_timeout", &self.config.turn_timeout)
            .field("load_timeout", &self.config.load_timeout)
            .field("save_timeout", &self.config.save_timeout)
            .finish_non_exhaustive()
    }
}
