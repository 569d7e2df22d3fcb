//! Options on what is stored, and when.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Response;

use super::PersistenceLayer;
use crate::database::Database;
use crate::error::Error;
#[cfg(feature = "user-hash")]
use crate::observe::UserHashKey;
use crate::policy::{OnConflict, OnOutage};
use crate::stored_elements::StoredElements;

impl<D: Database> PersistenceLayer<D> {
    /// Sets what is stored. Default: [`StoredElements::new`], user data and timestamps.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer, StoredElements};
    /// let elements = StoredElements::new().session(true).history(true);
    /// let layer = PersistenceLayer::new(MemoryDb::new()).stored_elements(elements);
    /// ```
    #[must_use]
    pub fn stored_elements(self, stored_elements: StoredElements) -> Self {
        self.with(|config| config.stored_elements = Arc::new(stored_elements))
    }

    /// Sets whether a turn is saved even if the handler responds with a 5xx. Default: `false`.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).save_on_error(true);
    /// ```
    #[must_use]
    pub fn save_on_error(self, save_on_error: bool) -> Self {
        self.with(|config| config.save_on_error = save_on_error)
    }

    /// Sets what happens when another process saved the same user's record between load and save.
    /// Default: [`OnConflict::Merge`].
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, OnConflict, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).on_conflict(OnConflict::Rerun { attempts: 3 });
    /// ```
    #[must_use]
    pub fn on_conflict(self, on_conflict: OnConflict) -> Self {
        self.with(|config| config.on_conflict = on_conflict)
    }

    /// Sets what happens when loading fails or takes too long. Default: [`OnOutage::Reject`].
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, OnOutage, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).on_outage(OnOutage::Degrade);
    /// ```
    #[must_use]
    pub fn on_outage(self, on_outage: OnOutage) -> Self {
        self.with(|config| config.on_outage = on_outage)
    }

    /// Sets whether a user who disables the Alexa skill is forgotten:
    /// `AlexaSkillEvent.SkillDisabled` with `NOT_PERSISTED`. Default: `false`.
    ///
    /// The handler runs before, and reads everything stored; a write is an
    /// [error](Error::is_turn_ended), since nothing of it would stay. A handler that fails or
    /// answers with a 4xx or 5xx keeps the user.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).forget_on_skill_disabled(true);
    /// ```
    #[must_use]
    pub fn forget_on_skill_disabled(self, forget: bool) -> Self {
        self.with(|config| config.forget_on_skill_disabled = forget)
    }

    /// Sets how many users of one batch are served concurrently. Default: 8; 0 counts as 1.
    ///
    /// A request of Messenger or Instagram may hold events of several users. The inner service gets
    /// one request for each event; each user's events run in order, and no later request of the
    /// user comes between them.
    ///
    /// The answer is an empty 200 if all events were served, and otherwise that of the first failed
    /// one, which is never a 2xx. The platform then sends the whole batch again; events that
    /// were served are known by their ids and are not served twice.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).batch_concurrency(2);
    /// ```
    #[must_use]
    pub fn batch_concurrency(self, users: usize) -> Self {
        self.with(|config| config.batch_concurrency = users)
    }

    /// Sets whether every event with an id of its own is served once, not only those of platforms
    /// that [repeat](crate::platform::Event::repeats) their events. Default: `false`.
    ///
    /// The id is stored in the same write as what the turn did, for 24 hours unless the platform
    /// says otherwise, and with it the reply: status, content type and body, but no other headers.
    /// A repeat gets that reply and does not reach the handler. One that arrives while the first
    /// still runs waits for it. In two processes the handler may run twice at the same time; only
    /// the effects of one run are stored, and both answer with its reply. For a turn that changes
    /// nothing else, the id is a write of its own.
    ///
    /// A reply is kept if it is text that is not compressed, no longer than 32 KiB, and complete
    /// within [`reply_timeout`](Self::reply_timeout), until which it is held back; a stream of
    /// events (`text/event-stream`) is not. Otherwise only the id is kept, and a repeat gets an
    /// empty success. A record keeps 64 KiB of replies, the newest.
    ///
    /// Switch it on where the client repeats requests whose answer got lost, and each has an id
    /// of its own: the same id with other content counts as a repeat.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let chat = JsonPlatform::new("chat").detect("/text").user_id("/from").event_id("/id");
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platform(chat).deduplicate(true);
    /// ```
    #[must_use]
    pub fn deduplicate(self, deduplicate: bool) -> Self {
        self.with(|config| config.deduplicate = deduplicate)
    }

    /// Sets the response sent when the layer cannot serve the request. Default: [`Error::status`]
    /// with a short plain text.
    ///
    /// A voice platform reads out a reply of status 200 only; [`Error::platform`] says whose form
    /// is needed. The error is put into the response's extensions.
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

    /// Sets the key under which spans and failures are marked with `user.hash`, by which the lines
    /// of one user are found without naming the user. Default: none, nothing is marked.
    ///
    /// The hash is the first 16 bytes of HMAC-SHA256 of the user id, in hexadecimal digits, and the
    /// same in all processes with the same key. With the key, an id leads to its lines: keep it
    /// as you keep a password, and use at least 16 random bytes. An empty key marks nothing.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let key = std::env::var("LOG_KEY").unwrap_or_default();
    /// let layer = PersistenceLayer::new(MemoryDb::new()).user_hash_key(key);
    /// ```
    #[cfg(feature = "user-hash")]
    #[must_use]
    pub fn user_hash_key(self, key: impl AsRef<[u8]>) -> Self {
        let key = UserHashKey::new(key.as_ref());
        self.with(|config| Arc::make_mut(&mut config.observe).user_hash_key = key)
    }

    /// Sets the clock, for tests of what expires. Default: [`SystemTime::now`].
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).clock(|| SystemTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|config| config.clock = Arc::new(clock))
    }
}
