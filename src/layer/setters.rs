//! The setters of the options.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;

use super::PersistenceLayer;
use crate::database::Database;
use crate::error::Error;
#[cfg(feature = "user-hash")]
use crate::observe::UserHashKey;
use crate::options::Config;
use crate::platform::{NamedPlatform, Platform};
use crate::policy::{OnConflict, OnOutage};
use crate::stored_elements::StoredElements;

impl<D: Database> PersistenceLayer<D> {
    /// Adds a platform of your own, in the place of one of the same name. It is asked before the built-in
    /// ones, and the one that was added last is asked first.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let mine = JsonPlatform::new("mine").detect("/sender").user_id("/sender/id");
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platform(mine);
    /// ```
    #[must_use]
    pub fn platform(self, platform: impl Platform) -> Self {
        let platform = NamedPlatform::from(Arc::new(platform) as Arc<dyn Platform>);
        self.with(|config| {
            config.platforms.retain(|other| other.name != platform.name);
            config.platforms.insert(0, platform);
        })
    }

    /// Replaces all platforms by these; an empty list leaves none. Default: all of
    /// [`platform`](crate::platform).
    ///
    /// Platforms of your own are asked first, in this order. A request that two built-in ones recognise
    /// is refused with a 400. Enable only the platforms that are checked in front of the layer.
    ///
    /// ```
    /// use tower_persistence::platform::{Alexa, Web};
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer =
    ///     PersistenceLayer::new(MemoryDb::new()).platforms(vec![Box::new(Alexa), Box::new(Web)]);
    /// ```
    #[must_use]
    pub fn platforms(self, platforms: Vec<Box<dyn Platform>>) -> Self {
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

    /// Sets whether a request that no platform recognises is answered with 400 instead of passing through.
    /// Default: `false`.
    ///
    /// A request that a platform recognises, but that has no user, is then answered with a 200 in the form
    /// that the platform takes for success, and does not reach the handler: Messenger unsubscribes an app
    /// that keeps refusing events that concern its page only. GET, HEAD, OPTIONS and CONNECT requests pass
    /// through anyway.
    #[must_use]
    pub fn require_user(self, require_user: bool) -> Self {
        self.with(|config| config.require_user = require_user)
    }

    /// Whether a turn is stored, too, whose handler answers with a 5xx. Default: `false`.
    #[must_use]
    pub fn save_on_error(self, save_on_error: bool) -> Self {
        self.with(|config| config.save_on_error = save_on_error)
    }

    /// Sets whether the key of every user begins with the platform's name, as `alexa:…`. Default: `false`.
    ///
    /// The built-in platforms store their users under the bare id, as Jovo does, so that users of two of
    /// them with the same id share one record. Users of any other platform always have keys that begin
    /// with its name: `slack:T061EG9R6:U2147483697`, where ids are unique only within a
    /// [scope](crate::platform::Event::scope) such as Slack's team. A new app with more than one platform
    /// should switch this on; an app that has users cannot, since they would be stored elsewhere.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platform_keys(true);
    /// ```
    #[must_use]
    pub fn platform_keys(self, platform_keys: bool) -> Self {
        self.with(|config| config.keys.with_platform = platform_keys)
    }

    /// Makes the key under which a user is stored from the platform's [name](Platform::name), the
    /// [scope](crate::platform::Event::scope) if there is one, and the user id, in the place of the
    /// default (see [`platform_keys`](Self::platform_keys)).
    ///
    /// A user whose key is empty or longer than 2,048 bytes is not recognised. The ids come from outside:
    /// two users must never get the same key.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new())
    ///     .storage_key(|platform, scope, id| format!("{platform}/{}/{id}", scope.unwrap_or("-")));
    /// ```
    #[must_use]
    pub fn storage_key(
        self,
        storage_key: impl Fn(&str, Option<&str>, &str) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|config| config.keys.own = Some(Arc::new(storage_key)))
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
    pub fn queue_timeout(self, queue_timeout: Duration) -> Self {
        self.with(|config| config.queue_timeout = queue_timeout)
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

    /// Marks spans and failures with `user.hash`, by which the lines of one user are found without showing who it is: the first
    /// 16 bytes of HMAC-SHA256 of the user id under this key, in hexadecimal digits. It is the same in all processes that have the
    /// same key. Without the key nobody finds the user; with it, whoever knows an id finds its lines, so keep it as you keep a
    /// password. Use at least 16 random bytes. An empty key marks nothing. Default: nothing is marked.
    ///
    /// ```
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let key = std::env::var("LOG_KEY").unwrap_or_default();
    /// let layer = PersistenceLayer::new(MemoryDb::new()).user_hash_key(key);
    /// ```
    #[cfg(feature = "user-hash")]
    #[must_use]
    pub fn user_hash_key(self, key: impl AsRef<[u8]>) -> Self {
        let key = UserHashKey::new(key.as_ref());
        self.with(|config| Arc::make_mut(&mut config.observe).user_hash_key = key)
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
