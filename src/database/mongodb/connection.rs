//! Opens the client, and detects the end of the runtime to which it belongs.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use mongodb::bson::raw::RawDocumentBuf;
use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{
    ClientOptions, CollectionOptions, ConnectionString, ReadConcern, ReadPreference,
    SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection};
use tokio::runtime::{Handle, Id};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::document::Layout;
use super::failure::{failed, failure, late};
use crate::error::Error;

/// Less than the 2 seconds for which the layer waits by default, so that its error states the cause
/// rather than a time-out.
const TIMEOUT: Duration = Duration::from_millis(1500);

/// The origin of the client.
pub(super) enum Source {
    Uri(Box<ConnectionString>),
    Client(Client),
}

/// The state that all clones share.
pub(super) struct Shared {
    source: Source,
    pub(super) database: String,
    pub(super) collection: String,
    pub(super) layout: Layout,
    /// The time limit of a call.
    limit: Duration,
    opened: RwLock<Option<Opened>>,
    /// Held while a client is opened.
    opening: Mutex<()>,
    pub(super) is_ready: AtomicBool,
    pub(super) removes_tombstones: AtomicBool,
    /// The time of the last failed attempt to create the indexes.
    pub(super) attempted_at: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Opened {
    client: Client,
    collection: Collection<RawDocumentBuf>,
    runtime: Arc<Runtime>,
}

/// The runtime of the driver's background tasks. The client is useless once it has ended.
struct Runtime {
    id: Id,
    /// Never completes by itself: its end tells that the runtime was shut down.
    task: JoinHandle<()>,
}

impl Runtime {
    fn current() -> Arc<Self> {
        let task = tokio::spawn(std::future::pending());
        Arc::new(Self { id: Handle::current().id(), task })
    }

    fn has_ended(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    pub(super) fn new(
        source: Source,
        database: String,
        collection: String,
        layout: Layout,
        limit: Duration,
    ) -> Self {
        Self {
            source,
            database,
            collection,
            layout,
            limit,
            opened: RwLock::new(None),
            opening: Mutex::new(()),
            is_ready: AtomicBool::new(false),
            removes_tombstones: AtomicBool::new(false),
            attempted_at: Mutex::new(None),
        }
    }

    /// Names the collection for error texts.
    pub(super) fn place(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    /// Opens the client, but tolerates a failed DNS lookup of the hosts behind `mongodb+srv`: like
    /// any server, DNS may be down at start.
    pub(super) async fn begin(&self) -> Result<(), DriverError> {
        match timeout(TIMEOUT, self.opened()).await {
            Ok(Err(error)) if !is_passing(&error) => Err(error),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(
                    "the host names of MongoDB could not be resolved; the first request tries again"
                );
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
        // Reads the latest state on the primary, which is what the condition of a write is compared
        // with.
        let options = CollectionOptions::builder()
            .write_concern(WriteConcern::majority())
            .read_concern(ReadConcern::local())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let database = client.database(&self.database);
        let collection = database.collection_with_options(&self.collection, options);
        Ok(Opened { client, collection, runtime: Runtime::current() })
    }

    /// Opens the client, once for all concurrent callers.
    async fn opened(&self) -> Result<Opened, DriverError> {
        if let Some(usable) = self.usable() {
            return Ok(usable);
        }
        let _opening = self.opening.lock().await;
        // Another caller may have opened it meanwhile.
        if let Some(usable) = self.usable() {
            return Ok(usable);
        }
        let opened = self.open().await?;
        let mut place = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        Ok(place.insert(opened).clone())
    }

    fn last_opened(&self) -> Option<Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn usable(&self) -> Option<Opened> {
        let is_lost =
            |opened: &Opened| matches!(self.source, Source::Uri(_)) && opened.runtime.has_ended();
        self.last_opened().filter(|opened| !is_lost(opened))
    }

    pub(super) async fn collection(&self) -> Result<Collection<RawDocumentBuf>, Error> {
        let opened = self.opened().await;
        let opened = opened.map_err(|error| failure("connecting to", &self.place(), &error))?;
        // The driver would panic.
        if opened.runtime.has_ended() {
            let reason = "the tokio runtime in which its client was connected has ended; make a client in this one and \
                          connect again";
            return Err(failed("connecting to", &self.place(), reason));
        }
        Ok(opened.collection)
    }

    /// Limits a call: the driver itself waits forever for a server that accepts connections and
    /// does not answer.
    pub(super) async fn in_time<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match timeout(self.limit, call).await {
            Ok(result) => result,
            Err(_) => Err(late(action, &self.place(), self.limit, self.hint())),
        }
    }

    /// Returns a likely reason, other than the server, for a missing answer.
    fn hint(&self) -> &'static str {
        match self.last_opened() {
            Some(opened) if opened.runtime.id != Handle::current().id() => {
                "; the database was connected in another tokio runtime, which may not be running: connect it in this one"
            }
            _ => "",
        }
    }

    pub(super) async fn close(&self) {
        if let (Source::Uri(_), Some(opened)) = (&self.source, self.last_opened())
            && !opened.runtime.has_ended()
        {
            // Shutting down may hang like any other call.
            let _ = timeout(self.limit, opened.client.shutdown()).await;
        }
    }
}

/// Returns whether another attempt may succeed.
fn is_passing(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::DnsResolve { .. } | ErrorKind::Io(_))
}
