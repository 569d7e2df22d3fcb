//! Creates the TTL indexes, before the first write.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::error::ErrorKind;
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel, bson::raw::RawDocumentBuf};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::document::{EXPIRES_AT, ID, TOMBSTONE, without_fields};
use super::failure::{failed, failure, is_unauthorized};
use super::open::Shared;
use crate::error::Error;

/// The longest that a write waits for the indexes of a collection with documents: a large one takes
/// its time to be indexed, once.
const WAIT: Duration = Duration::from_secs(1);

/// The longest that a task in the background waits for them.
const LONG: Duration = Duration::from_secs(600);

/// The time after which a write repeats a failed attempt.
const PAUSE: Duration = Duration::from_secs(5);

impl Shared {
    /// Creates the indexes, once for all that ask at the same time. A failed attempt is repeated.
    pub(super) async fn ensure_ready(self: &Arc<Self>) -> Result<(), Error> {
        if self.is_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut attempted_at = self.attempted_at.lock().await;
        self.attempt(&mut attempted_at).await
    }

    /// Creates the indexes before a write: some servers lock up when an index is created beside the
    /// first insertion. The write goes on if that fails; expired users are not served without the
    /// indexes either.
    pub(super) async fn prepare(self: &Arc<Self>) {
        if self.is_ready.load(Ordering::Acquire) {
            return;
        }
        let mut attempted_at = self.attempted_at.lock().await;
        if attempted_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        if let Err(error) = self.attempt(&mut attempted_at).await {
            tracing::warn!("{error:?}");
        }
    }

    async fn attempt(self: &Arc<Self>, attempted_at: &mut Option<Instant>) -> Result<(), Error> {
        // Another one may have done it meanwhile.
        if self.is_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let attempt = self.make_ready().await;
        *attempted_at = attempt.is_err().then(Instant::now);
        self.is_ready.store(attempt.is_ok(), Ordering::Release);
        attempt
    }

    async fn make_ready(self: &Arc<Self>) -> Result<(), Error> {
        let collection = self.collection().await?;
        let any = collection.find_one(doc! {}).projection(doc! { ID: 1 }).await;
        let any = any.map_err(|error| failure("connecting to", &self.place(), &error))?;
        if any.is_none() {
            return self.create_indexes(&collection).await;
        }
        let shared = Arc::clone(self);
        let mut building = tokio::spawn(async move {
            let built = timeout(LONG, shared.create_indexes(&collection)).await;
            built.unwrap_or_else(|_| Err(shared.not_built("they are not built after 10 minutes")))
        });
        match timeout(WAIT, &mut building).await {
            Ok(Ok(built)) => built,
            Ok(Err(_)) => Err(self.not_built("the runtime has ended")),
            // It goes on by itself.
            Err(_) => {
                self.watch(building);
                Ok(())
            }
        }
    }

    /// Has the indexes attempted again, should they fail later than any write waits for them.
    fn watch(self: &Arc<Self>, building: JoinHandle<Result<(), Error>>) {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            if let Ok(Err(error)) = building.await {
                tracing::warn!("{error:?}");
                shared.is_ready.store(false, Ordering::Release);
            }
        });
    }

    fn not_built(&self, reason: &str) -> Error {
        failed("creating the TTL indexes of", &self.place(), reason)
    }

    async fn create_indexes(&self, collection: &Collection<RawDocumentBuf>) -> Result<(), Error> {
        if self.layout.expires_after.is_some() {
            self.index_users(collection).await?;
        }
        self.index_tombstones(collection).await
    }

    /// Returns whether MongoDB removes tombstones, so that they may be left.
    pub(super) fn removes_tombstones(&self) -> bool {
        self.removes_tombstones.load(Ordering::Acquire)
    }

    /// The index is partial: where Jovo v4 writes over a tombstone, the date stays in its document
    /// and must not end it.
    async fn index_tombstones(&self, collection: &Collection<RawDocumentBuf>) -> Result<(), Error> {
        let options = IndexOptions::builder()
            .expire_after(Duration::ZERO)
            .partial_filter_expression(without_fields());
        let index =
            IndexModel::builder().keys(doc! { TOMBSTONE: 1 }).options(options.build()).build();
        let Err(error) = collection.create_index(index).await else {
            self.removes_tombstones.store(true, Ordering::Release);
            return Ok(());
        };
        let is_refused = matches!(*error.kind, ErrorKind::Command(_));
        let error = failure("creating the TTL index of tombstones of", &self.place(), &error);
        match is_refused {
            // The role may not, or the server has no such indexes: deletions leave no tombstones.
            true => {
                tracing::debug!("{error}");
                Ok(())
            }
            false => Err(error),
        }
    }

    async fn index_users(&self, collection: &Collection<RawDocumentBuf>) -> Result<(), Error> {
        let options = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let index = IndexModel::builder().keys(doc! { EXPIRES_AT: 1 }).options(options).build();
        match collection.create_index(index).await {
            Ok(_) => Ok(()),
            // It may well be there, made by one who may.
            Err(error) if is_unauthorized(&error) => {
                tracing::warn!(
                    "the role may not create the TTL index on `{EXPIRES_AT}` of `{}`; without it, expired users are \
                     not served but stay stored",
                    self.place()
                );
                Ok(())
            }
            Err(error) => {
                let action = "creating the TTL index on `expiresAt` of";
                Err(failure(action, &self.place(), &error))
            }
        }
    }
}
