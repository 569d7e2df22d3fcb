//! Access to a conversation's record from outside a request.

use std::sync::Arc;

use serde_json::Value;

use super::PersistenceLayer;
use crate::database::Database;
use crate::error::{Error, Kind};
use crate::transaction::{Shared, UserGuard, with_timeout};
use crate::user_key::UserId;

impl<D: Database> PersistenceLayer<D> {
    /// Returns everything stored for conversation `id` of `platform` as JSON with the `id`; `None`
    /// if the conversation is not stored.
    ///
    /// `id` is the platform's id, or a pair of scope and id, as for a user.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// # async fn example(layer: &PersistenceLayer<MemoryDb>) -> Result<(), tower_persistence::Error> {
    /// let stored = layer.export_conversation("slack", ("T061EG9R6", "C024BE91L")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`export`](Self::export).
    pub async fn export_conversation<'a>(
        &self,
        platform: &str,
        id: impl Into<UserId<'a>>,
    ) -> Result<Option<Value>, Error> {
        let id = id.into();
        let (key, _guard) = self.conversation_place(platform, &id).await?;
        self.stored(&key, id.id()).await
    }

    /// Deletes everything stored for conversation `id` of `platform`, after its turns under way. To
    /// forget a conversation that is not stored is no error.
    ///
    /// `id` is the platform's id, or a pair of scope and id, as for a user.
    ///
    /// ```
    /// # use tower_persistence::{MemoryDb, PersistenceLayer};
    /// # async fn example(layer: &PersistenceLayer<MemoryDb>) -> Result<(), tower_persistence::Error> {
    /// layer.forget_conversation("slack", ("T061EG9R6", "C024BE91L")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`forget`](Self::forget).
    pub async fn forget_conversation<'a>(
        &self,
        platform: &str,
        id: impl Into<UserId<'a>>,
    ) -> Result<(), Error> {
        let (key, _guard) = self.conversation_place(platform, &id.into()).await?;
        let Shared { database, config, .. } = &*self.shared;
        with_timeout("deleting", config.save_timeout, database.delete(&key)).await
    }

    /// Makes the key of a conversation, takes its place, and prepares the database.
    async fn conversation_place(
        &self,
        platform: &str,
        id: &UserId<'_>,
    ) -> Result<(Arc<str>, UserGuard), Error> {
        let Shared { database, config, locks, .. } = &*self.shared;
        self.known(platform)?;
        let key = config.keys.conversation_key(platform, id).ok_or_else(|| {
            let message = "the conversation's id, or the key made from it, is empty or longer than \
                           2,048 bytes";
            Error::new(Kind::Configuration, message)
        })?;
        let guard = locks.queue(&key).wait(config.queue_timeout).await?;
        with_timeout("preparing the database", config.ready_timeout, database.ensure_ready())
            .await?;
        Ok((key, guard))
    }
}
