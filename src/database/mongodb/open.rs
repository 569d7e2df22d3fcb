//! Opens the client, and notices the end of the runtime to which it belongs.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
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

/// Under the 2 s that the layer waits for a database by default, so that the reason is told and not
/// that it took too long.
const TIMEOUT: Duration = Duration::from_millis(1500);

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
    /// The longest that a call may take.
    limit: Duration,
    opened: Mutex<Option<Opened>>,
    pub(super) is_ready: AtomicBool,
    pub(super) removes_tombstones: AtomicBool,
    /// The time of the last failed attempt to make it ready.
    pub(super) attempted_at: Mutex<Option<Instant>>,
}

#[derive(Clone)]
struct Opened {
    client: Client,
    collection: Collection<RawDocumentBuf>,
    runtime: Arc<Runtime>,
}

/// The runtime in which the driver's background tasks run. When it ends, the client is of no use
/// any more.
struct Runtime {
    id: Id,
    /// Waits without end, so that it is cancelled with the runtime.
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
            opened: Mutex::new(None),
            is_ready: AtomicBool::new(false),
            removes_tombstones: AtomicBool::new(false),
            attempted_at: Mutex::new(None),
        }
    }

    /// What errors call it.
    pub(super) fn place(&self) -> String {
        format!("{}.{}", self.database, self.collection)
    }

    /// Opens what can be opened. The hosts behind `mongodb+srv` are asked of DNS, and like a server
    /// that may be down at start.
    pub(super) async fn begin(&self) -> Result<(), DriverError> {
        match timeout(TIMEOUT, self.opened()).await {
            Ok(Err(error)) if !is_passing(&error) => Err(error),
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
        Ok(Opened { client, collection, runtime: Runtime::current() })
    }

    /// Opens the client, once for all that ask at the same time.
    async fn opened(&self) -> Result<Opened, DriverError> {
        let mut opened = self.opened.lock().await;
        let is_lost =
            |opened: &Opened| matches!(self.source, Source::Uri(_)) && opened.runtime.has_ended();
        match opened.take_if(|opened| !is_lost(opened)) {
            Some(usable) => Ok(opened.insert(usable).clone()),
            None => Ok(opened.insert(self.open().await?).clone()),
        }
    }

    pub(super) async fn collection(&self) -> Result<Collection<RawDocumentBuf>, Error> {
        let opened = self.opened().await;
        let opened = opened.map_err(|error| failure("connecting to", &self.place(), &error))?;
        // The driver would panic.
        if opened.runtime.has_ended() {
            let reason = "the tokio runtime in which it was connected with a client has ended: make a client in this \
                          one and connect again";
            return Err(failed("connecting to", &self.place(), reason));
        }
        Ok(opened.collection)
    }

    /// Bounds a call: the driver itself waits without end for a server that accepts connections and
    /// does not answer.
    pub(super) async fn in_time<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        match timeout(self.limit, call).await {
            Ok(result) => result,
            Err(_) => Err(late(action, &self.place(), self.limit, self.hint().await)),
        }
    }

    /// Names a reason other than the server why there is no answer.
    async fn hint(&self) -> &'static str {
        match self.opened.lock().await.as_ref() {
            Some(opened) if opened.runtime.id != Handle::current().id() => {
                "; the database was connected in another tokio runtime, which may not be running: connect it in this one"
            }
            _ => "",
        }
    }

    pub(super) async fn close(&self) {
        let opened = self.opened.lock().await.clone();
        if let (Source::Uri(_), Some(opened)) = (&self.source, opened)
            && !opened.runtime.has_ended()
        {
            // It may hang like any other call.
            let _ = timeout(self.limit, opened.client.shutdown()).await;
        }
    }
}

/// Returns whether another attempt may succeed.
fn is_passing(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::DnsResolve { .. } | ErrorKind::Io(_))
}
