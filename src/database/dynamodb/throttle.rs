//! Repeats throttled calls while time remains.

use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::failure::{Trouble, trouble};
use super::inner::Inner;
use crate::error::Error;

/// The pauses between retries. The client itself makes three attempts within the first 150 ms.
const PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_millis(250);

impl Inner {
    /// Makes a call, and repeats it within the time-out while it is throttled. A throttled call has
    /// had no effect. Let `call` make its request anew: a copy would cost those that succeed, too.
    pub(super) async fn while_throttled<T, F>(&self, call: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let began = Instant::now();
        let mut answer = call().await;
        let mut pause = PAUSE;
        loop {
            let is_throttled =
                answer.as_ref().is_err_and(|error| trouble(error) == Some(Trouble::Busy));
            let left = self.timeout.saturating_sub(began.elapsed());
            // The last attempt needs time for its answer.
            if !is_throttled || left <= pause * 2 {
                return answer;
            }
            sleep(pause).await;
            // A retry that runs out of time leaves the previous answer as the result.
            match timeout(left - pause, call()).await {
                Ok(next) => answer = next,
                Err(_) => return answer,
            }
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }
}
