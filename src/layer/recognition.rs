//! Options on whose requests are recognised, and under which key a user is stored.

use std::sync::Arc;

use super::PersistenceLayer;
use crate::database::Database;
use crate::identify::Identify;
use crate::platform::{NamedPlatform, Platform};

impl<D: Database> PersistenceLayer<D> {
    /// Adds a platform of your own, in the place of one of the same name. It is asked before the
    /// built-in ones, and the one that was added last is asked first.
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
    /// Platforms of your own are asked first, in this order. A request that two built-in ones
    /// recognise is refused with a 400. Enable only the platforms that are checked in front of
    /// the layer.
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

    /// Sets whether a request that no platform recognises is answered with 400 instead of passing
    /// through. Default: `false`.
    ///
    /// A request that a platform recognises, but that has no user, is then answered with a 200 in
    /// the form that the platform takes for success, and does not reach the handler: Messenger
    /// unsubscribes an app that keeps refusing events that concern its page only. GET, HEAD,
    /// OPTIONS, CONNECT and TRACE requests pass through anyway.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// let layer = PersistenceLayer::new(MemoryDb::new()).require_user(true);
    /// ```
    #[must_use]
    pub fn require_user(self, require_user: bool) -> Self {
        self.with(|config| config.require_user = require_user)
    }

    /// Takes the user from what an authentication layer in front has found, on every platform.
    /// Default: each platform's request names its user.
    ///
    /// Platforms whose requests name none, such as a web chat and MCP, have a user only by this. See
    /// [`Identify`].
    ///
    /// ```
    /// use tower_persistence::{Identify, MemoryDb, PersistenceLayer};
    ///
    /// #[derive(Clone)]
    /// struct Claims {
    ///     sub: String,
    /// }
    ///
    /// let layer = PersistenceLayer::new(MemoryDb::new())
    ///     .identify(Identify::by_extension(|claims: &Claims| claims.sub.clone()));
    /// ```
    #[must_use]
    pub fn identify(self, identify: Identify) -> Self {
        self.with(|config| config.identify = Some(identify))
    }

    /// Sets whether the key of every user begins with the platform's name, as `alexa:…`. Default:
    /// `false`.
    ///
    /// The built-in platforms store their users under the bare id, as Jovo does, so that users of
    /// two of them with the same id share one record. Users of any other platform always have
    /// keys that begin with its name: `slack:T061EG9R6:U2147483697`, where ids are unique only
    /// within a [scope](crate::platform::Event::scope) such as Slack's team. A new app with
    /// more than one platform should switch this on; an app that has users cannot, since they
    /// would be stored elsewhere.
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
    /// A user whose key is empty or longer than 2,048 bytes is not recognised. The ids come from
    /// outside: two users must never get the same key.
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
}
