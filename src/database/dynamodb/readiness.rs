//! Whether the table can be used: found out by reading, and looked into only where that fails.
//!
//! `DescribeTable` is for administrators: it is throttled early, often not allowed, and says nothing
//! that a read does not say where the table is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_dynamodb::types::ScalarAttributeType;

use super::Inner;
use super::failure::{self, Trouble};
use super::flight::Flight;
use super::tombstone::TimeToLive;
use crate::error::Error;

/// The user id that is read to find out whether the table is there. It need not exist.
const NOBODY: &str = "tower-persistence";

/// The types of the attributes that are keys, of the table or an index.
type Kinds = HashMap<String, ScalarAttributeType>;

#[derive(Debug, Default)]
pub(super) struct Readiness {
    ready: AtomicBool,
    /// Whether this process has ever found the table.
    seen: AtomicBool,
    flight: Flight<()>,
    expiry_begun: AtomicBool,
    /// Unknown where the table never had to be looked at.
    pub(super) kinds: RwLock<Option<Kinds>>,
    pub(super) time_to_live: TimeToLive,
}

impl Readiness {
    pub(super) fn kind(&self, attribute: &str) -> Option<ScalarAttributeType> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.as_ref()?.get(attribute).cloned()
    }

    /// Notes that the table has answered.
    pub(super) fn note(&self) {
        self.seen.store(true, Ordering::Relaxed);
        self.ready.store(true, Ordering::Release);
    }

    pub(super) fn was_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    /// Has the table tried again by the next caller.
    fn reset(&self) {
        self.ready.store(false, Ordering::Release);
        self.time_to_live.forget();
    }
}

impl Inner {
    /// Waits until there are credentials and the table can be used. It costs nothing once it was.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        self.credentials().await?;
        if self.readiness.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        self.make_ready(None).await
    }

    /// Makes a call once the table is ready. Where it finds something wrong with the table after all, the
    /// table is looked at, and the call is repeated: it has had no effect.
    pub(super) async fn on_table<T, F>(self: &Arc<Self>, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self.ready().await {
            // Where a read failed, a write may succeed, or says better what is wrong with it.
            Err(error) if failure::trouble(&error).is_none() => return Err(error),
            _ => {}
        }
        let error = match call().await {
            Ok(done) => {
                self.readiness.note();
                return Ok(done);
            }
            Err(error) => error,
        };
        match failure::trouble(&error) {
            Some(Trouble::Missing | Trouble::Key) => {
                self.readiness.reset();
                self.make_ready(Some(error)).await?;
            }
            // The type that an index has for what is projected is known once the table was looked at.
            Some(Trouble::IndexKey) if !self.projections.is_empty() => self.look(&error).await?,
            _ => return Err(error),
        }
        call().await
    }

    /// Finds out by a read whether the table can be used, and looks at it if not; at once for a `reason`,
    /// the error of a call. Callers that come meanwhile wait for the same.
    async fn make_ready(self: &Arc<Self>, reason: Option<Error>) -> Result<(), Error> {
        let inner = self.clone();
        let work = async move {
            let found = match reason {
                Some(reason) => Err(reason),
                None => inner.probe().await,
            };
            if let Err(error) = found {
                match failure::trouble(&error) {
                    Some(Trouble::Missing | Trouble::Key) => inner.look(&error).await?,
                    // A policy may allow other keys. Neither says anything about the table.
                    Some(Trouble::Denied | Trouble::Busy) => {
                        inner.readiness.ready.store(true, Ordering::Release);
                        return Ok(());
                    }
                    _ => return Err(error),
                }
            }
            inner.readiness.note();
            inner.begin_expiry();
            Ok(())
        };
        self.readiness.flight.join(work).await
    }

    async fn probe(&self) -> Result<(), Error> {
        let read = self.client.get_item().table_name(&self.table);
        let read = read.set_key(Some(self.key(NOBODY)?)).send().await;
        read.map(drop).map_err(|error| self.failed("GetItem", error))
    }

    /// Switches the time to live on if users expire, once for the process and in no request's way.
    fn begin_expiry(self: Arc<Self>) {
        if self.expire_users_after.is_none()
            || self.readiness.expiry_begun.swap(true, Ordering::Relaxed)
        {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = self.switch_expiry_on().await {
                let table = &self.table;
                tracing::warn!("table \"{table}\" will not remove what is expired: {error:?}");
            }
        });
    }
}
