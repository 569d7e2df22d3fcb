//! Removes rows that have expired, a few at a time: PostgreSQL has no time to live.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Shared;

/// Writes between two clean-ups. The first write of a process is followed by one, so that
/// processes that live for a few requests remove what they leave.
const WRITES: u32 = 32;

/// The time for which a save that is done may be held up.
const LIMIT: Duration = Duration::from_millis(250);

/// Longer than any user is kept, and short enough for a timestamp.
const LONGEST: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

#[derive(Debug, Default)]
pub(super) struct CleanUps {
    writes: AtomicU32,
    has_failed: AtomicBool,
}

/// Returns a duration as `make_interval` takes it.
pub(super) fn seconds(duration: Duration) -> f64 {
    duration.min(LONGEST).as_secs_f64()
}

impl Shared {
    /// Cleans up after a write that began at `since`, now and then, unless the server is slow. It
    /// is done before the call returns, since on AWS Lambda nothing runs later.
    pub(super) async fn clean_up(&self, since: Instant) {
        let CleanUps { writes, has_failed } = &self.clean_ups;
        if !writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(WRITES) || since.elapsed() > LIMIT
        {
            return;
        }
        let cleaned = timeout(LIMIT, self.connections.query(&self.table.clean, &[])).await;
        // Too slow is no failure: the next one removes the rest.
        if let Ok(Err(failure)) = cleaned
            && !has_failed.swap(true, Ordering::Relaxed)
        {
            let error = failure.into_error("removing what has expired from", &self.table.name);
            tracing::warn!("expired users are not served, but stay stored: {error}");
        }
    }
}
