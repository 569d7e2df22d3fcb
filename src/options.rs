//! The values of the layer's options.

use std::fmt;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body::Body;

use crate::body;
use crate::database::Database;
use crate::error::Error;
use crate::identify::Identify;
use crate::observe;
use crate::platform::{self, NamedPlatform};
use crate::policy::{OnConflict, OnHangUp, OnOutage, TurnEnd};
use crate::stored_elements::StoredElements;
use crate::timestamp::Clock;
use crate::user_key::UserKeys;

type OnError = dyn Fn(&Error) -> Response<Bytes> + Send + Sync;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) platforms: Vec<NamedPlatform>,
    pub(crate) stored_elements: Arc<StoredElements>,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) reply_limit: usize,
    pub(crate) reply_timeout: Duration,
    pub(crate) require_user: bool,
    pub(crate) identify: Option<Identify>,
    pub(crate) save_on_error: bool,
    pub(crate) keys: UserKeys,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_outage: OnOutage,
    pub(crate) forget_on_skill_disabled: bool,
    pub(crate) batch_concurrency: usize,
    pub(crate) deduplicate: bool,
    pub(crate) ready_timeout: Duration,
    pub(crate) queue_timeout: Duration,
    /// Set if the app chose `queue_timeout`.
    pub(crate) has_queue_timeout: bool,
    pub(crate) turn_end: TurnEnd,
    pub(crate) on_hang_up: OnHangUp,
    pub(crate) stream_idle_timeout: Duration,
    pub(crate) load_timeout: Duration,
    pub(crate) save_timeout: Duration,
    pub(crate) detached_limit: usize,
    pub(crate) detached_timeout: Duration,
    pub(crate) on_error: Arc<OnError>,
    pub(crate) observe: Arc<observe::Settings>,
    pub(crate) clock: Arc<Clock>,
    sessions_missing: Arc<Warning>,
    nested_layer: Arc<Warning>,
}

impl Config {
    /// Makes the defaults.
    pub(crate) fn new(database: &impl Database) -> Self {
        Self {
            platforms: platform::all().into_iter().map(NamedPlatform::from).collect(),
            stored_elements: Arc::default(),
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            reply_limit: 1024 * 1024,
            reply_timeout: Duration::from_secs(2),
            require_user: false,
            identify: None,
            save_on_error: false,
            keys: UserKeys::default(),
            on_conflict: OnConflict::Merge,
            on_outage: OnOutage::Reject,
            forget_on_skill_disabled: false,
            batch_concurrency: 8,
            deduplicate: false,
            ready_timeout: Duration::from_secs(30),
            queue_timeout: default_queue_timeout(TurnEnd::Head),
            has_queue_timeout: false,
            turn_end: TurnEnd::Head,
            on_hang_up: OnHangUp::Save,
            stream_idle_timeout: Duration::from_secs(30),
            load_timeout: Duration::from_secs(2),
            save_timeout: Duration::from_secs(2),
            detached_limit: 1024,
            detached_timeout: Duration::from_secs(5 * 60),
            on_error: Arc::new(Error::response),
            observe: Arc::new(observe::Settings::new(database)),
            clock: Arc::new(SystemTime::now),
            sessions_missing: Arc::default(),
            nested_layer: Arc::default(),
        }
    }

    /// Returns whether the layer reads the body of this request.
    pub(crate) fn reads(&self, method: &Method, headers: &HeaderMap, body: &impl Body) -> bool {
        let is_read_type = platform::reads(&self.platforms, headers);
        body::is_read(method, headers, body, self.body_limit, is_read_type)
    }

    /// Logs once that no place keeps a platform's sessions.
    pub(crate) fn warn_of_sessions(&self, platform: &str) {
        self.sessions_missing.0.call_once(|| {
            tracing::warn!(
                platform,
                "{platform} has no client-side sessions, so `Session` is empty there: store \
                 sessions with `StoredElements::session(true)`"
            );
        });
    }

    /// Logs once that another layer serves the requests of this one.
    pub(crate) fn warn_of_nested_layer(&self) {
        self.nested_layer.0.call_once(|| {
            tracing::warn!(
                "a PersistenceLayer on another database, around this one, serves its requests, so \
                 the inner layer stores nothing: put each layer around its own routes"
            );
        });
    }
}

/// Returns the default of `queue_timeout`. A language model may speak for twenty seconds.
pub(crate) fn default_queue_timeout(turn_end: TurnEnd) -> Duration {
    match turn_end {
        TurnEnd::Head => Duration::from_secs(2),
        TurnEnd::Body => Duration::from_secs(30),
    }
}

/// A warning that is logged once.
struct Warning(Once);

impl Default for Warning {
    fn default() -> Self {
        Self(Once::new())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let platforms: Vec<_> = self.platforms.iter().map(|platform| &platform.name).collect();
        f.debug_struct("Config")
            .field("platforms", &platforms)
            .field("stored_elements", &self.stored_elements)
            .field("body_limit", &self.body_limit)
            .field("body_timeout", &self.body_timeout)
            .field("reply_limit", &self.reply_limit)
            .field("reply_timeout", &self.reply_timeout)
            .field("require_user", &self.require_user)
            .field("identify", &self.identify)
            .field("save_on_error", &self.save_on_error)
            .field("platform_keys", &self.keys.with_platform)
            .field("on_conflict", &self.on_conflict)
            .field("on_outage", &self.on_outage)
            .field("forget_on_skill_disabled", &self.forget_on_skill_disabled)
            .field("batch_concurrency", &self.batch_concurrency)
            .field("deduplicate", &self.deduplicate)
            .field("ready_timeout", &self.ready_timeout)
            .field("queue_timeout", &self.queue_timeout)
            .field("turn_end", &self.turn_end)
            .field("on_hang_up", &self.on_hang_up)
            .field("stream_idle_timeout", &self.stream_idle_timeout)
            .field("load_timeout", &self.load_timeout)
            .field("save_timeout", &self.save_timeout)
            .field("detached_limit", &self.detached_limit)
            .field("detached_timeout", &self.detached_timeout)
            .finish_non_exhaustive()
    }
}
