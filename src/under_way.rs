//! Counts the work that goes on in tasks of its own, which a shutdown waits for.

use tokio::sync::watch;

/// Counts the work under way. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct UnderWay(watch::Sender<usize>);

/// Counts as work under way until it is dropped.
pub(crate) struct WorkUnderWay(watch::Sender<usize>);

impl Default for UnderWay {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl UnderWay {
    pub(crate) fn begin(&self) -> WorkUnderWay {
        // Only the end of all work is waited for.
        self.0.send_if_modified(|count| {
            *count += 1;
            false
        });
        WorkUnderWay(self.0.clone())
    }

    /// Counts one more, unless `limit` are under way.
    pub(crate) fn begin_within(&self, limit: usize) -> Option<WorkUnderWay> {
        let mut is_free = false;
        self.0.send_if_modified(|count| {
            is_free = *count < limit;
            *count += usize::from(is_free);
            false
        });
        is_free.then(|| WorkUnderWay(self.0.clone()))
    }

    /// Waits until no work is under way.
    pub(crate) async fn ended(&self) {
        // This cannot fail: `self` holds a sender, so the channel is open.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for WorkUnderWay {
    fn drop(&mut self) {
        self.0.send_if_modified(|count| {
            *count -= 1;
            *count == 0
        });
    }
}
