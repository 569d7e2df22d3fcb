//! The options.

use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;

use super::PersistenceLayer;
use crate::platform::{self, NamedPlatform, Platform};
use crate::stored_elements::StoredElements;
use crate::{Database, Error, OnConflict, OnOutage, observe};

type OnError = dyn Fn(&Error) -> Response<Bytes> + Send + Sync;
type StorageKey = dyn Fn(&str, &str) -> String + Send + Sync;
type Clock = dyn Fn() -> SystemTime + Send + Sync;

#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) platforms: Vec<NamedPlatform>,
    pub(crate) stored_elements: Arc<StoredElements>,
    pub(crate) body_limit: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) reply_limit: usize,
    pub(crate) reply_timeout: Duration,
    pub(crate) require_user: bool,
    pub(crate) save_on_error: bool,
    pub(crate) storage_key: Option<Arc<StorageKey>>,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_outage: OnOutage,
    pub(crate) forget_on_skill_disabled: bool,
    pub(crate) batch_concurrency: usize,
    pub(crate) ready_timeout: Duration,
    pub(crate) turn_timeout: Duration,
    pub(crate) load_timeout: Duration,
    pub(crate) save_timeout: Duration,
    pub(crate) on_error: Arc<OnError>,
    pub(crate) observe: Arc<observe::Settings>,
    pub(crate) clock: Arc<Clock>,
    sessions_missing: Arc<Once>,
}

impl Config {
    /// The defaults.
    pub(super) fn new(database: &impl Database) -> Self {
        Self {
            platforms: platform::all().into_iter().map(NamedPlatform::from).collect(),
            stored_elements: Arc::default(),
            body_limit: 1024 * 1024,
            body_timeout: Duration::from_secs(10),
            reply_limit: 1024 * 1024,
            reply_timeout: Duration::from_secs(2),
            require_user: false,
            save_on_error: false,
            storage_key: None,
            on_conflict: OnConflict::Merge,
            on_outage: OnOutage::Reject,
            forget_on_skill_disabled: false,
            batch_concurrency: 8,
            ready_timeout: Duration::from_secs(30),
            turn_timeout: Duration::from_secs(2),
            load_timeout: Duration::from_secs(2),
            save_timeout: Duration::from_secs(2),
            on_error: Arc::new(Error::response),
            observe: Arc::new(observe::Settings::new(database)),
            clock: Arc::new(SystemTime::now),
            sessions_missing: Arc::new(Once::new()),
        }
    }

    /// Says once that a platform's sessions are kept nowhere.
    pub(crate) fn warn_of_sessions(&self, platform: &str) {
        self.sessions_missing.call_once(|| {
            tracing::warn!(
                platform,
                "{platform} does not carry sessions itself: `Session` is empty there until they are stored, which \
                 `StoredElements::session(true)` switches on"
            );
        });
    }
}

impl<D: Database> PersistenceLayer<D> {
    /// Adds a platform, which is asked before those that are there already.
    #[must_use]
    pub fn platform(self, platform: impl Platform) -> Self {
        let platform: Arc<dyn Platform> = Arc::new(platform);
        self.with(|config| config.platforms.insert(0, platform.into()))
    }

    /// Replaces all platforms by these, which are asked in this order; `platforms([])` leaves none. Default: all of
    /// [`platform`](crate::platform).
    ///
    /// ```
    /// use tower_persistence::platform::{Alexa, Web};
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platforms([Box::new(Alexa), Box::new(Web)]);
    /// ```
    #[must_use]
    pub fn platforms<const N: usize>(self, platforms: [Box<dyn Platform>; N]) -> Self {
        let platforms = platforms.into_iter().map(Arc::<dyn Platform>::from);
        let platforms = platforms.map(NamedPlatform::from).collect();
        self.with(|config| config.platforms = platforms)
    }

    /// What is stored. Default: [`StoredElements::new`], user data and timestamps.
    #[must_use]
    pub fn stored_elements(self, stored_elements: StoredElements) -> Self {
        self.with(|config| config.stored_elements = Arc::new(stored_elements))
    }

    /// Sets the longest request body that is read, in bytes. A longer one is answered with 413, if
    /// it is declared as JSON; without a content type it passes through unread. Default: 1 MiB
    /// (1,048,576).
    #[must_use]
    pub fn body_limit(self, body_limit: usize) -> Self {
        self.with(|config| config.body_limit = body_limit)
    }

    /// Sets how long reading the request's body may take; then the request is answered with 408. Default: 10 seconds.
    #[must_use]
    pub fn body_timeout(self, body_timeout: Duration) -> Self {
        self.with(|config| config.body_timeout = body_timeout)
    }

    /// Sets the longest reply, in bytes, that is read where a session or a created id has to be written into it, or the
    /// history stores it. Default: 1 MiB (1,048,576).
    #[must_use]
    pub fn reply_limit(self, reply_limit: usize) -> Self {
        self.with(|config| config.reply_limit = reply_limit)
    }

    /// Sets how long reading such a reply may take. Default: 2 seconds.
    #[must_use]
    pub fn reply_timeout(self, reply_timeout: Duration) -> Self {
        self.with(|config| config.reply_timeout = reply_timeout)
    }

    /// Whether a request without a user is answered with 400 instead of passing through: a body that is not JSON or no
    /// platform's, or a platform's request that names no user. GET, HEAD and OPTIONS pass through anyway. Default: `false`.
    #[must_use]
    pub fn require_user(self, require_user: bool) -> Self {
        self.with(|config| config.require_user = require_user)
    }

    /// Whether a turn is stored, too, whose handler answers with a 5xx. Default: `false`.
    #[must_use]
    pub fn save_on_error(self, save_on_error: bool) -> Self {
        self.with(|config| config.save_on_error = save_on_error)
    }

    /// Under which key a user is stored, made from the platform's [name](Platform::name) and the user id. Default: the user id, so that two
    /// platforms with the same ids share their users, as in Jovo v4. A key is [`export`](Self::export)ed and deleted by that name.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new())
    ///     .storage_key(|platform, user_id| format!("{platform}::{user_id}"));
    /// ```
    #[must_use]
    pub fn storage_key(
        self,
        storage_key: impl Fn(&str, &str) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.storage_key = Some(Arc::new(storage_key)))
    }

    /// What happens when another process has stored something of the same user between load and save. Default:
    /// [`OnConflict::Merge`].
    #[must_use]
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        self.with(|config| config.on_conflict = on_conflict)
    }

    /// What happens when loading fails or takes too long. Default: [`OnOutage::Reject`].
    #[must_use]
    pub fn on_outage(self, on_outage: OnOutage) -> Self {
        self.with(|config| config.on_outage = on_outage)
    }

    /// Whether a user is forgotten who has disabled the skill: Alexa's `AlexaSkillEvent.SkillDisabled` with
    /// `NOT_PERSISTED`. The handler runs before, with all that is stored. Default: `false`.
    #[must_use]
    pub fn forget_on_skill_disabled(self, forget: bool) -> Self {
        self.with(|config| config.forget_on_skill_disabled = forget)
    }

    /// How many users of one batch are served at the same time: a request of Messenger or Instagram may have events of several. The
    /// inner service gets one request for each event, those of one user one after the other. Default: 8; 0 is 1.
    ///
    /// The answer is an empty 200 if all events were served, and the first failed one's otherwise. The platform then sends the whole batch
    /// again; those that were served are known by their ids, of which 64 are kept for each user, and are not served twice.
    #[must_use]
    pub fn batch_concurrency(self, users: usize) -> Self {
        self.with(|config| config.batch_concurrency = users)
    }

    /// How long a request waits until the database has created what it lacks, such as a table; then it is answered with 503, and the
    /// next one waits again. Default: 30 seconds. [`Database::ensure_ready`], called at start, takes this out of the request.
    #[must_use]
    pub fn ready_timeout(self, ready_timeout: Duration) -> Self {
        self.with(|config| config.ready_timeout = ready_timeout)
    }

    /// How long a request waits until the same user's earlier requests are served; then it is answered with 503.
    /// Default: 2 seconds. (Alexa waits 8 seconds for its reply.)
    #[must_use]
    pub fn turn_timeout(self, turn_timeout: Duration) -> Self {
        self.with(|config| config.turn_timeout = turn_timeout)
    }

    /// How long loading may take; then the request is answered with 503 and nothing is stored. Default: 2 seconds.
    #[must_use]
    pub fn load_timeout(self, load_timeout: Duration) -> Self {
        self.with(|config| config.load_timeout = load_timeout)
    }

    /// How long saving may take, together with what a conflict costs; then the request is answered with 503. The write may still
    /// have taken effect.
    /// Default: 2 seconds.
    #[must_use]
    pub fn save_timeout(self, save_timeout: Duration) -> Self {
        self.with(|config| config.save_timeout = save_timeout)
    }

    /// What is answered where the layer answers in the handler's place: a voice platform reads out a reply of status 200 only.
    /// [`Error::platform`] says whose form is needed. The error is put into the response's extensions.
    /// Default: [`Error::status`] with a short plain text.
    ///
    /// ```
    /// use http::Response;
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new()).on_error(|error| {
    ///     let sorry = r#"{"version":"1.0","response":{"outputSpeech":{"type":"PlainText",
    ///         "text":"Sorry, I cannot remember you right now."},"shouldEndSession":true}}"#;
    ///     let status = if error.platform() == Some("alexa") { 200 } else { error.status().as_u16() };
    ///     let response = Response::builder().status(status).header("content-type", "application/json");
    ///     response.body(sorry).expect("the parts are valid")
    /// });
    /// ```
    #[must_use]
    pub fn on_error<T: Into<Bytes>>(
        self,
        on_error: impl Fn(&Error) -> Response<T> + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.on_error = Arc::new(move |error| on_error(error).map(Into::into)))
    }

    /// Where the layer takes the time from: for tests of what expires. Default: [`SystemTime::now`].
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut Arc::make_mut(&mut self.shared).config);
        self
    }
}
