//! Reports the request lifecycle: spans, log events and, with feature `metrics`, metrics. None of
//! them holds a user id or user data.

mod detached;
mod metrics;
mod step;
#[cfg(feature = "user-hash")]
mod users;

use std::sync::Arc;

use tracing::Span;
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;

pub(crate) use self::detached::WorkLost;
use self::metrics::Labels;
pub(crate) use self::step::StepSpan;
use self::step::{Operation, error_type};
#[cfg(feature = "user-hash")]
pub(crate) use self::users::Key as UserHashKey;
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::incoming::Recognised;

/// The values that are the same for all requests.
#[derive(Clone)]
pub(crate) struct Settings {
    database: Arc<str>,
    collection: Option<Arc<str>>,
    #[cfg(feature = "user-hash")]
    pub(crate) user_hash_key: Option<UserHashKey>,
}

impl Settings {
    pub(crate) fn new(database: &impl Database) -> Self {
        metrics::describe();
        Self {
            database: database.name().into(),
            collection: database.collection().map(Into::into),
            #[cfg(feature = "user-hash")]
            user_hash_key: None,
        }
    }

    #[cfg(feature = "user-hash")]
    fn user_hash(&self, user_id: &str) -> Option<Arc<str>> {
        self.user_hash_key.as_ref().map(|key| key.hash(user_id))
    }

    #[cfg(not(feature = "user-hash"))]
    fn user_hash(&self, _user_id: &str) -> Option<Arc<str>> {
        None
    }
}

/// Reports on one event.
#[derive(Clone)]
pub(crate) struct Observer {
    settings: Arc<Settings>,
    platform: Arc<str>,
    user_hash: Option<Arc<str>>,
}

/// Makes a debug span if the level is on at all. `debug_span` alone is not cheap enough: if some
/// crate has switched on tracing's feature `log`, it formats its fields even for a log that is off.
macro_rules! span {
    ($($span:tt)*) => {
        match LevelFilter::current() >= LevelFilter::DEBUG {
            true => tracing::debug_span!($($span)*),
            false => Span::none(),
        }
    };
}

use span;

/// Makes a span around work of the database. Empty fields are recorded at its end.
macro_rules! database_span {
    ($observer:expr, $name:literal, $operation:literal) => {
        span!(
            $name,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = &*$observer.settings.database,
            db.collection.name = $observer.settings.collection.as_deref(),
            db.operation.name = $operation,
            platform = &*$observer.platform,
            user.hash = $observer.user_hash.as_deref(),
            outcome = Empty,
            error.type = Empty,
            conflicts = Empty,
            bytes = Empty,
            duration_seconds = Empty,
        )
    };
}

impl Observer {
    pub(crate) fn new(settings: &Arc<Settings>, event: &Recognised) -> Self {
        Self {
            settings: Arc::clone(settings),
            platform: Arc::clone(&event.platform.name),
            user_hash: event.user.as_ref().and_then(|user| settings.user_hash(&user.id)),
        }
    }

    pub(crate) fn platform(&self) -> &Arc<str> {
        &self.platform
    }

    fn labels(&self) -> Labels {
        Labels::new(&self.settings.database, Some(&self.platform))
    }

    pub(crate) fn load(&self) -> StepSpan<'_> {
        StepSpan::begin(Operation::Load, database_span!(self, "load", "load"), Some(self))
    }

    /// Reports that the handler runs without memory because of this error.
    pub(crate) fn degraded(&self, error: &Error) {
        let (database, platform) = (&*self.settings.database, &*self.platform);
        tracing::error!(
            db.system.name = database,
            platform,
            user.hash = self.user_hash.as_deref(),
            error.type = error_type(error),
            "the handler runs without memory: {error:?}"
        );
        self.labels().degraded(error_type(error));
    }

    pub(crate) fn call(&self) -> StepSpan<'_> {
        let span = span!(
            "call",
            otel.status_code = Empty,
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            outcome = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            duration_seconds = Empty,
        );
        StepSpan::begin(Operation::Call, span, None)
    }

    /// Begins the step in which a reply is streamed whose turn ends with it.
    pub(crate) fn stream(&self) -> StepSpan<'_> {
        let span = span!(
            "stream",
            otel.status_code = Empty,
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            outcome = Empty,
            error.type = Empty,
            duration_seconds = Empty,
        );
        StepSpan::begin(Operation::Stream, span, None)
    }

    /// Reports that nothing is stored, for this reason.
    pub(crate) fn skip(&self, reason: &'static str) {
        span!(
            "save",
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            outcome = reason,
        );
        self.labels().skipped(reason);
    }

    /// Reports that `what`, which the platform should send back, could not be written into the
    /// reply.
    pub(crate) fn unwritten(&self, what: &'static str, reason: &'static str, cause: &'static str) {
        tracing::warn!(
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            reason,
            "{what} could not be written into the reply: {cause}"
        );
        self.labels().unwritten(reason);
    }

    /// Reports that one of the user's further ids could not be tied to the record yet.
    pub(crate) fn unlinked(&self, error: &Error) {
        tracing::warn!(
            db.system.name = &*self.settings.database,
            platform = &*self.platform,
            user.hash = self.user_hash.as_deref(),
            error.type = error_type(error),
            "an alias of the user is not written yet; the next turn does it: {error:?}"
        );
    }

    pub(crate) fn delete(&self) -> StepSpan<'_> {
        StepSpan::begin(Operation::Save, database_span!(self, "save", "delete"), Some(self))
    }

    pub(crate) fn save(&self) -> StepSpan<'_> {
        StepSpan::begin(Operation::Save, database_span!(self, "save", "save"), Some(self))
    }
}

/// Begins the step that reads the body and recognises its events.
pub(crate) fn recognise() -> StepSpan<'static> {
    let span = span!(
        "recognise",
        platform = Empty,
        outcome = Empty,
        error.type = Empty,
        bytes = Empty,
        duration_seconds = Empty,
    );
    StepSpan::begin(Operation::Recognise, span, None)
}

/// Reports that the layer answers in the handler's place. `observer` is that of the event, once it
/// was recognised.
pub(crate) fn refused(settings: &Settings, observer: Option<&Observer>, error: &Error) {
    /// A macro, since tracing needs the level at compile time.
    macro_rules! log {
        ($log:ident) => {
            tracing::$log!(
                platform = error.platform(),
                user.hash = observer.and_then(|observer| observer.user_hash.as_deref()),
                error.type = error_type(error),
                "request not served: {error:?}"
            )
        };
    }
    match error.kind() {
        _ if error.status().is_server_error() => log!(error),
        // A conflict loses the user's message; an ambiguous request may circumvent a check.
        Kind::Conflict | Kind::Ambiguous | Kind::OtherUser => log!(warn),
        _ => log!(debug),
    }
    let labels = observer.map_or_else(|| Labels::new(&settings.database, None), Observer::labels);
    labels.refused(error_type(error));
}

/// Reports that the handler does not run, because the user's data is not of the type it asks for.
#[cfg(feature = "axum")]
pub(crate) fn not_read(platform: &str, error: &Error) {
    tracing::error!(platform, error.type = error_type(error), "request not served: {error}");
}

/// Reports that unreadable user data is set aside.
pub(crate) fn set_aside(platform: &str, error: &Error) {
    tracing::warn!(
        platform,
        error.type = error_type(error),
        "data is set aside as `user.quarantine`: {error}"
    );
}
