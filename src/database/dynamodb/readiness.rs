//! Checks by a read whether the table can be used, and describes the table only if the read fails.
//!
//! `DescribeTable` is made for administrators: it is throttled early, is often not permitted, and
//! says nothing about an existing table that a read does not say as well.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use aws_sdk_dynamodb::types::ScalarAttributeType;

use super::failure::{self, Trouble};
use super::inner::Inner;
use super::time_to_live::TimeToLive;
use crate::database::flight::Flight;
use crate::error::Error;

/// The user id of the test read. It need not exist.
const PROBE_ID: &str = "tower-persistence";

/// The types of all key attributes, of the table and of its indexes.
type Kinds = HashMap<String, ScalarAttributeType>;

#[derive(Debug, Default)]
pub(super) struct Readiness {
    ready: AtomicBool,
    /// Set once this process has found the table.
    seen: AtomicBool,
    flight: Flight<()>,
    expiry_begun: AtomicBool,
    /// `None` unless the table had to be described.
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

    /// Makes the next caller check the table again.
    fn reset(&self) {
        self.ready.store(false, Ordering::Release);
        self.time_to_live.forget();
    }
}

impl Inner {
    /// Waits until there are credentials and the table can be used. Costs nothing once that is so.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        self.credentials().await?;
        if self.readiness.ready.load(Ordering::Acquire) {
            return Ok(());
        }
        self.make_ready(None).await
    }

    /// Makes a call once the table is ready. If the call reveals a problem with the table, checks
    /// the table and repeats the call, which has had no effect.
    pub(super) async fn on_table<T, F>(self: &Arc<Self>, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        match self.ready().await {
            // After a failed read, a write may still succeed, or may report the problem better.
            Err(error) if failure::trouble(&error).is_none() => Err(error),
            _ => self.on_ready_table(call).await,
        }
    }

    /// Makes a call as [`on_table`](Self::on_table) does, without the check before it.
    pub(super) async fn on_ready_table<T, F>(
        self: &Arc<Self>,
        call: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
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
            // Describing the table reveals the type that an index requires for a projected
            // attribute.
            Some(Trouble::IndexKey) if !self.projections.is_empty() => self.look(&error).await?,
            _ => return Err(error),
        }
        call().await
    }

    /// Checks by a read whether the table can be used, and describes it if not. With a `reason`,
    /// the error of a call, describes it at once. Concurrent callers wait for the same check.
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
                    // A policy may permit other keys, and throttling passes. Neither says anything
                    // about the table.
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
        let read = read.set_key(Some(self.key(PROBE_ID)?)).send().await;
        read.map(drop).map_err(|error| self.failed("GetItem", error))
    }

    /// Enables the time to live in the background, once per process, if users expire.
    fn begin_expiry(self: Arc<Self>) {
        if self.expire_users_after.is_none()
            || self.readiness.expiry_begun.swap(true, Ordering::Relaxed)
        {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = self.switch_expiry_on().await {
                let table = &self.table;
                tracing::warn!("table \"{table}\" will not remove expired items: {error:?}");
            }
        });
    }
}
