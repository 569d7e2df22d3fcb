//! Connections that load, several at a time and beside the writer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::blocking;
use super::failure::failed;
use super::place::Place;
use crate::error::{Error, Kind};

/// Loads that run at the same time; more wait. Each has a connection with a page cache of 2 MB.
const READERS: u32 = 4;

#[derive(Debug)]
pub(super) struct Readers {
    place: Arc<Place>,
    timeout: Duration,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(place: Arc<Place>, timeout: Duration) -> Self {
        let permits = Arc::new(Semaphore::new(READERS as usize));
        Self { place, timeout, idle: Mutex::default(), permits }
    }

    /// Does `work` with a connection, off the threads that run futures.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| closed(&self.place))?;
        let readers = Arc::clone(self);
        blocking(move || {
            let result = readers.run_blocking(work);
            drop(permit);
            result
        })
        .await?
    }

    fn run_blocking<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.place.check()?;
        let idle = self.idle().pop();
        let worked = idle.map_or_else(|| self.connect(), Ok).and_then(|connection| {
            let result = work(&connection)?;
            // One that failed is dropped instead.
            self.idle().push(connection);
            Ok(result)
        });
        worked.map_err(|error| failed(&self.place, error))
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = self.place.connect()?;
        connection.busy_timeout(self.timeout)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the loads that are under way, and refuses those that come.
    pub(super) async fn close(&self) {
        // An error says that they are closed already.
        let _all = self.permits.acquire_many(READERS).await;
        self.permits.close();
        self.clear();
    }

    /// Closes the connections that no load uses.
    pub(super) fn clear(&self) {
        self.idle().clear();
    }
}

pub(super) fn closed(place: &Place) -> Error {
    let text = format!("{} was closed: open it again", place.name());
    Error::new(Kind::Database, text)
}
