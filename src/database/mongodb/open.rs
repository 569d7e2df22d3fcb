//! The client, and what has to be there before it is used.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mongodb::bson::doc;
use mongodb::bson::raw::RawDocumentBuf;
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{
    ClientOptions, CollectionOptions, ConnectionString, IndexOptions, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, IndexModel};
use tokio::sync::OnceCell;

use super::builder::unusable_uri;
use super::document::{EXPIRES_AT, Layout, TOMBSTONE, without_fields};
use super::failure::{failure, is_unauthorized};
use crate::Error;

/// Under the 2 s that the layer waits for a database by default, so that the reason is told and not that it took too long.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// How long a request may wait for the index of tombstones: on a large collection it takes its time to be built, once.
const INDEX_WAIT: Duration = Duration::from_secs(1);

/// How long to wait before an index that could not be created is tried again by the way.
const PAUSE: Duration = Duration::from_secs(5);

/// Where the client comes from.
pub(super) enum Source {
    Uri(Box<ConnectionString>),
    Client(Client),
}

/// What all clones share.
pub(super) struct Shared {
    source: Source,
    pub(super) database: String,
    pub(super) collection: String,
    pub(super) layout: Layout,
    opened: OnceCell<Opened>,
    ready: OnceCell<()>,
    removes_tombstones: AtomicBool,
    prepared_at: Mutex<Option<Instant>>,
}

struct Opened {
    client: Client,
    collection: Collection<RawDocumentBuf>,
}

impl Shared {
    pub(super) fn new(
        source: Source,
        database: String,
        collection: String,
        layout: Layout,
    ) -> Self {
        let (opened, ready) = (OnceCell::new(), OnceCell::new());
        let prepared_at = Mutex::new(None);
        let removes_tombstones = AtomicBool::new(false);
        Self {
            source,
            database,
            collection,
            layout,
            opened,
            ready,
            removes_tombstones,
            prepared_at,
        }
    }

    /// What errors call it.
    pub(super) fn place(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    /// Opens what can be opened. The hosts behind `mongodb+srv` are asked of DNS, and like a server that may be down at start.
    pub(super) async fn begin(&self) -> Result<(), Error> {
        match tokio::time::timeout(TIMEOUT, self.opened.get_or_try_init(|| self.open())).await {
            Ok(Err(error)) if !is_passing(&error) => Err(unusable_uri()),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!("the hosts of MongoDB could not be looked up; it is tried again");
                Ok(())
            }
        }
    }

    async fn open(&self) -> Result<Opened, DriverError> {
        let client = match &self.source {
            Source::Client(client) => client.clone(),
            Source::Uri(uri) => {
                let mut options = ClientOptions::parse(uri.as_ref().clone()).await?;
                options.server_selection_timeout.get_or_insert(TIMEOUT);
                options.connect_timeout.get_or_insert(TIMEOUT);
                Client::with_options(options)?
            }
        };
        // Reads see what the condition of a write is compared with: the latest on the primary.
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .read_concern(ReadConcern::local())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let database = client.database(&self.database);
        let collection = database.collection_with_options(&self.collection, options);
        Ok(Opened { client, collection })
    }

    async fn opened(&self) -> Result<&Opened, Error> {
        let opened = self.opened.get_or_try_init(|| self.open()).await;
        opened.map_err(|error| failure("connecting to", &self.place(), &error))
    }

    pub(super) async fn collection(&self) -> Result<&Collection<RawDocumentBuf>, Error> {
        Ok(&self.opened().await?.collection)
    }

    /// Of several who ask at the same time one does it, and the others wait. A failed attempt is tried again.
    pub(super) async fn ensure_ready(self: &Arc<Self>) -> Result<(), Error> {
        self.ready.get_or_try_init(|| self.make_ready()).await.copied()
    }

    async fn make_ready(self: &Arc<Self>) -> Result<(), Error> {
        self.make_users_ready().await?;
        let shared = Arc::clone(self);
        let index = tokio::spawn(async move { shared.index_tombstones().await });
        match tokio::time::timeout(INDEX_WAIT, index).await {
            Ok(Ok(indexed)) => indexed,
            // It goes on by itself, or its runtime has ended.
            Err(_) | Ok(Err(_)) => Ok(()),
        }
    }

    /// Whether MongoDB removes tombstones, so that they may be left.
    pub(super) fn removes_tombstones(&self) -> bool {
        self.removes_tombstones.load(Ordering::Acquire)
    }

    /// The index is partial: where Jovo v4 writes over a tombstone, the date stays in its document and must not end it.
    async fn index_tombstones(&self) -> Result<(), Error> {
        let options = IndexOptions::builder()
            .expire_after(Duration::ZERO)
            .partial_filter_expression(without_fields());
        let index =
            IndexModel::builder().keys(doc! { TOMBSTONE: 1 }).options(options.build()).build();
        match self.opened().await?.collection.create_index(index).await {
            Ok(_) => {
                self.removes_tombstones.store(true, Ordering::Release);
                Ok(())
            }
            // The role may not, or the server has no such indexes: deletions leave no tombstones.
            Err(error) if matches!(*error.kind, ErrorKind::Command(_)) => {
                let error =
                    failure("creating the TTL index of tombstones of", &self.place(), &error);
                tracing::debug!("{error}");
                Ok(())
            }
            Err(error) => {
                Err(failure("creating the TTL index of tombstones of", &self.place(), &error))
            }
        }
    }

    async fn make_users_ready(&self) -> Result<(), Error> {
        let Opened { client, collection } = self.opened().await?;
        if self.layout.expires_after.is_none() {
            let ping = client.database(&self.database).run_command(doc! { "ping": 1 }).await;
            return ping.map(drop).map_err(|error| failure("connecting to", &self.place(), &error));
        }
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

    /// Sees to it that users and tombstones expire. No request waits for that: on a large collection an index takes its time, and
    /// nothing that has expired is served without it.
    pub(super) fn prepare(self: &Arc<Self>) {
        if self.ready.initialized() {
            return;
        }
        {
            let mut prepared_at = self.prepared_at.lock().unwrap_or_else(PoisonError::into_inner);
            if prepared_at.is_some_and(|at| at.elapsed() < PAUSE) {
                return;
            }
            *prepared_at = Some(Instant::now());
        }
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = shared.ensure_ready().await {
                tracing::warn!("{error:?}");
            }
        });
    }

    pub(super) async fn close(&self) {
        if let (Source::Uri(_), Some(opened)) = (&self.source, self.opened.get()) {
            opened.client.clone().shutdown().await;
        }
    }
}

/// Whether it may be another time.
fn is_passing(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::DnsResolve { .. } | ErrorKind::Io(_))
}
