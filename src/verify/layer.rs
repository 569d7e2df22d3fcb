//! The layer, and the setters of its general options.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tower_layer::Layer;

use super::checks::{Assigned, Checks};
use super::replay::Seen;
use super::service::Verify;
use super::verifier::Verifier;
use crate::platform::{NamedPlatform, Platform};

/// Middleware that checks whether a request is genuine, by the signature of its platform.
///
/// ```
/// use tower_persistence::{MemoryDb, PersistenceLayer, VerifyLayer};
///
/// # #[cfg(feature = "axum")]
/// # fn example() {
/// # async fn handler() {}
/// let app: axum::Router = axum::Router::new()
///     .route("/", axum::routing::post(handler))
///     .layer(PersistenceLayer::new(MemoryDb::new()).require_verified(true))
///     .layer(VerifyLayer::new().meta("app secret", "verify token").slack("signing secret"));
/// # }
/// ```
///
/// It **fails closed**: a request that a platform recognises is refused unless the platform has a
/// verifier that lets it pass, or the app [trusts](Self::trust) the platform because its check
/// stands elsewhere. A request that passed has a [`Verified`](crate::Verified) in its extensions,
/// on which [`require_verified`](crate::PersistenceLayer::require_verified) insists. A request that
/// no platform recognises, such as a health check, passes without one.
///
/// Which platform a request belongs to is decided as the persistence layer decides it. Tell both of
/// the same platforms of your own: [`platform`](Self::platform), [`platforms`](Self::platforms).
///
/// A check with wrong settings, such as an empty secret, refuses all requests of its platform:
/// [`check_settings`](Self::check_settings) tells so at start.
///
/// # Requests
///
/// The layer reads the bodies that the persistence layer reads, once, within
/// [`body_limit`](Self::body_limit) and [`body_timeout`](Self::body_timeout), and hands the same
/// bytes on, which the persistence layer does not copy. GET, HEAD, OPTIONS, CONNECT and TRACE
/// requests, and bodies of other content types, pass through unread and without a `Verified`.
///
/// A refused request is answered with 401, or with the status that its platform expects; the
/// response has the [`Error`](crate::Error) in its extensions, and the log has the
/// [cause](super::Cause). Metric `tower_persistence.verified` counts requests by platform and
/// outcome.
#[derive(Clone, Debug)]
pub struct VerifyLayer {
    pub(super) checks: Arc<Checks>,
}

impl VerifyLayer {
    /// Makes a layer that refuses every request that a platform recognises. Add the verifiers of
    /// your platforms.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().telegram("secret_token");
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self { checks: Arc::new(Checks::new()) }
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Checks)) -> Self {
        change(Arc::make_mut(&mut self.checks));
        self
    }

    /// Puts a verifier in charge of the platform of this name. Of several, one must let the request
    /// pass.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    /// use tower_persistence::verify::FixedHeader;
    ///
    /// let check = FixedHeader::basic("dialogflow", "password");
    /// let layer = VerifyLayer::new().verifier("dialogflow", check);
    /// ```
    #[must_use]
    pub fn verifier(self, platform: impl Into<Arc<str>>, verifier: impl Verifier) -> Self {
        let assigned = match verifier.problem().map(str::to_owned) {
            None => Assigned::Usable(Arc::new(verifier)),
            Some(problem) => Assigned::Unusable(problem),
        };
        self.assign(platform.into(), assigned)
    }

    pub(super) fn assign(self, platform: Arc<str>, assigned: Assigned) -> Self {
        if let Assigned::Unusable(problem) = &assigned {
            tracing::error!(platform = &*platform, "all requests are refused: {problem}");
        }
        self.with(|checks| checks.verifiers.entry(platform).or_default().push(assigned))
    }

    /// Lets requests of the platform of this name pass unchecked, because its check stands
    /// elsewhere: an identity-aware proxy, IAM in front of Lex, a login of your own in front of
    /// `core` and `web`. A verifier of the platform takes precedence.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().trust("web").trust("lex");
    /// ```
    #[must_use]
    pub fn trust(self, platform: impl Into<Arc<str>>) -> Self {
        self.with(|checks| {
            checks.trusted.insert(platform.into());
        })
    }

    /// Adds a platform of your own, in the place of one of the same name: as
    /// [`PersistenceLayer::platform`](crate::PersistenceLayer::platform), which has to be told of
    /// the same.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    /// use tower_persistence::platform::JsonPlatform;
    /// use tower_persistence::verify::FixedHeader;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/kiosk/badge");
    /// let layer = VerifyLayer::new()
    ///     .platform(kiosk)
    ///     .verifier("kiosk", FixedHeader::new("x-kiosk-secret", "secret"));
    /// ```
    #[must_use]
    pub fn platform(self, platform: impl Platform) -> Self {
        let platform = NamedPlatform::from(Arc::new(platform) as Arc<dyn Platform>);
        self.with(|checks| {
            checks.platforms.retain(|other| other.name != platform.name);
            checks.platforms.insert(0, platform);
        })
    }

    /// Replaces all platforms by these: as
    /// [`PersistenceLayer::platforms`](crate::PersistenceLayer::platforms), which takes the same
    /// list.
    ///
    /// ```
    /// use tower_persistence::platform::{Alexa, Platform, Web};
    /// use tower_persistence::{MemoryDb, PersistenceLayer, VerifyLayer};
    ///
    /// /// The platforms of the app, for both layers.
    /// fn platforms() -> Vec<Box<dyn Platform>> {
    ///     vec![Box::new(Alexa), Box::new(Web)]
    /// }
    ///
    /// let memory = PersistenceLayer::new(MemoryDb::new()).platforms(platforms());
    /// let layer = VerifyLayer::new().platforms(platforms()).trust("web");
    /// ```
    #[must_use]
    pub fn platforms(self, platforms: Vec<Box<dyn Platform>>) -> Self {
        let platforms = platforms.into_iter().map(Arc::<dyn Platform>::from);
        let platforms = platforms.map(NamedPlatform::from).collect();
        self.with(|checks| checks.platforms = platforms)
    }

    /// Remembers up to `capacity` requests that passed, and refuses the same signed request until
    /// its time stamp is too old. Default: the time stamp is the only limit.
    ///
    /// It concerns the platforms that sign a time stamp: Alexa, Slack, Standard Webhooks, and
    /// verifiers with a tolerance. The memory takes about 150 bytes for each request, is shared by
    /// the clones of the layer, and knows nothing of other processes. That an event is not handled
    /// twice is the persistence layer's concern.
    ///
    /// ```
    /// use tower_persistence::VerifyLayer;
    ///
    /// let layer = VerifyLayer::new().slack("signing secret").remember(10_000);
    /// ```
    #[must_use]
    pub fn remember(self, capacity: usize) -> Self {
        self.with(|checks| checks.seen = Some(Arc::new(Seen::new(capacity))))
    }

    /// Sets the longest request body that is read, in bytes. A longer one is answered with 413.
    /// Default: 1 MiB (1,048,576).
    ///
    /// ```
    /// # use tower_persistence::VerifyLayer;
    /// let layer = VerifyLayer::new().body_limit(64 * 1024);
    /// ```
    #[must_use]
    pub fn body_limit(self, body_limit: usize) -> Self {
        self.with(|checks| checks.body_limit = body_limit)
    }

    /// Sets how long reading the request's body may take. After that the request is answered with
    /// 408. Default: 10 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::VerifyLayer;
    /// let layer = VerifyLayer::new().body_timeout(Duration::from_secs(3));
    /// ```
    #[must_use]
    pub fn body_timeout(self, body_timeout: Duration) -> Self {
        self.with(|checks| checks.body_timeout = body_timeout)
    }

    /// Sets how long a verifier may take, including the keys or certificates that it fetches. After
    /// that the request is refused with 503. Default: 5 seconds.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use tower_persistence::VerifyLayer;
    /// let layer = VerifyLayer::new().verify_timeout(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn verify_timeout(self, verify_timeout: Duration) -> Self {
        self.with(|checks| checks.verify_timeout = verify_timeout)
    }

    /// Sets the clock, for tests of what is too old. Default: [`SystemTime::now`].
    ///
    /// ```
    /// # use std::time::SystemTime;
    /// # use tower_persistence::VerifyLayer;
    /// let layer = VerifyLayer::new().clock(|| SystemTime::UNIX_EPOCH);
    /// ```
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.with(|checks| checks.clock = Arc::new(clock))
    }
}

impl Default for VerifyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify::new(inner, Arc::clone(&self.checks))
    }
}
