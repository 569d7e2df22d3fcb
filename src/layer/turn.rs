//! Turns without a request.

use std::future::Future;
use std::sync::Arc;

use super::{PersistenceLayer, invalid_key};
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::incoming::{Identity, Recognised};
use crate::observe::Observer;
use crate::platform::{Event, NamedPlatform, Platform, PlatformRequest, is_id};
use crate::transaction::{Failed, run_closure};
use crate::turn::Handles;
use crate::user_key::UserId;

impl<D: Database> PersistenceLayer<D> {
    /// Runs `run` as a turn of user `id` of `platform` without a request: for jobs, proactive
    /// messages, administration, and tests of an app.
    ///
    /// It is the transaction of a request: it waits for the user's turns under way
    /// ([`queue_timeout`](Self::queue_timeout)), loads the record, runs `run`, and stores what its
    /// handles wrote, with the layer's policies and time limits. With
    /// [`OnConflict::Rerun`](crate::OnConflict::Rerun), `run` is called again after a conflict. An
    /// error or a panic of `run` stores nothing, and so does dropping the returned future before
    /// `run` has ended.
    ///
    /// ```
    /// use tower_persistence::{Error, MemoryDb, PersistenceLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let layer = PersistenceLayer::new(MemoryDb::new());
    /// let parcels = layer
    ///     .turn("alexa", "user-1", |turn| async move { turn.user.increment("parcels", 1) })
    ///     .await?;
    /// assert_eq!(parcels, 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # What it stores
    ///
    /// The user did nothing, so that the turn is outside any session, as a
    /// [receipt](crate::platform::Event::is_receipt) is: it starts and extends none, reading
    /// `Session` finds it empty, and writing to it is an [error](Error::is_element_disabled). Only
    /// writes are stored. A user who is not stored yet is created by a write, and
    /// [`is_new`](crate::User::is_new) stays true until the user's own first turn.
    /// [`History::set_output`](crate::History::set_output) adds an item with the output to the
    /// history, as a proactive message should; without it there is none.
    ///
    /// # In a handler
    ///
    /// A turn of the handler's own user waits for the handler, which waits for the turn: after
    /// `queue_timeout` it fails with [`is_timeout`](Error::is_timeout). So does a turn of *another*
    /// user while a handler of that user begins a turn of this one. For work after the answer there
    /// is [`AfterReply`](crate::AfterReply).
    ///
    /// # Errors
    ///
    /// Those of `run`, and as `E` those of waiting, loading and saving, as a request has them;
    /// [`is_configuration`](Error::is_configuration) where the layer does not have the platform, or
    /// the id cannot be one.
    pub async fn turn<'a, T, E, F, R>(
        &self,
        platform: &str,
        id: impl Into<UserId<'a>>,
        run: F,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error>,
        F: FnMut(Handles) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let id = id.into();
        let (platform, storage_key) = self.key(platform, &id)?;
        let id = id.id().into();
        self.run(platform, Identity { id, storage_key, ..Identity::default() }, run).await
    }

    /// Runs `run` as a turn of the user who is stored under `key`, where a job goes through the
    /// keys of the database. Otherwise as [`turn`](Self::turn).
    ///
    /// A key does not tell platform and id apart: [`User::id`](crate::User::id) returns the key,
    /// and [`User::platform`](crate::User::platform) `none`.
    ///
    /// ```
    /// use tower_persistence::{Error, MemoryDb, PersistenceLayer};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// let layer = PersistenceLayer::new(MemoryDb::new());
    /// layer
    ///     .turn_by_key("slack:T061EG9R6:U2147483697", |turn| async move {
    ///         turn.user.set("plan", "free")
    ///     })
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`is_configuration`](Error::is_configuration) where the key is empty or longer than 2,048
    /// bytes; otherwise as [`turn`](Self::turn).
    pub async fn turn_by_key<T, E, F, R>(&self, key: &str, run: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error>,
        F: FnMut(Handles) -> R,
        R: Future<Output = Result<T, E>>,
    {
        if !is_id(key) {
            return Err(invalid_key().into());
        }
        let platform = NamedPlatform::from(Arc::new(Unknown) as Arc<dyn Platform>);
        let (id, storage_key) = (key.into(), key.into());
        self.run(platform, Identity { id, storage_key, ..Identity::default() }, run).await
    }

    async fn run<T, E, F, R>(&self, platform: NamedPlatform, user: Identity, run: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error>,
        F: FnMut(Handles) -> R,
        R: Future<Output = Result<T, E>>,
    {
        let name = Arc::clone(&platform.name);
        let event = Recognised::without_request(platform, user);
        let observer = Observer::new(&self.shared.config.observe, &event);
        match run_closure(&self.shared, event, None, &observer, run).await {
            Ok(Some(output)) => Ok(output),
            // Only an event with an id may have been handled before.
            Ok(None) => Err(Error::new(Kind::TurnEnded, "the turn did not run").into()),
            Err(Failed::Closure(error)) => Err(error),
            Err(Failed::Own(error)) => Err(error.with_platform(name).into()),
        }
    }
}

/// The platform of a user who is known only by the key.
struct Unknown;

impl Platform for Unknown {
    /// Returns the label that metrics have without a platform.
    fn name(&self) -> &str {
        "none"
    }

    fn recognise<'a>(&self, _: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        None
    }
}
