//! Limits every test, and reports the condition for which a test waited in vain.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};

use crate::run;

/// The time limit of a test.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// A repeatable test. The layer's tests are written once for every database.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) job: Arc<dyn Fn() + Send + Sync>,
}

/// Makes a test of a future, in a runtime of its own.
pub(crate) fn case(name: String, test: impl AsyncFn() + Send + Sync + 'static) -> Case {
    Case { name, job: Arc::new(move || run(test())) }
}

impl Case {
    /// Makes a trial for a database that needs no server.
    pub(crate) fn trial(self) -> Trial {
        Trial::test(self.name, move || within(LIMIT, "no server", move || (self.job)()))
    }
}

/// Runs `job`, and fails if it takes longer than `limit`, whether it waits in a future or blocks.
/// Its thread is then abandoned: it ends with the process.
pub(crate) fn within(
    limit: Duration,
    waits_for: &str,
    job: impl FnOnce() + Send + 'static,
) -> Result<(), Failed> {
    let (done, is_done) = channel();
    let thread = thread::spawn(move || {
        job();
        let _ = done.send(());
    });
    match is_done.recv_timeout(limit) {
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("it is not done after {limit:?}; it waited for {waits_for}").into())
        }
        // The test itself panicked.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => {
            thread.join().map_err(|panic| resume_unwind(panic))
        }
    }
}

/// Checks that the limit applies to a future and to a blocked thread.
pub(crate) fn self_test() -> Trial {
    Trial::test("a_test_that_hangs_fails", || {
        let forever: [Box<dyn FnOnce() + Send>; 2] =
            [Box::new(|| run(std::future::pending())), Box::new(thread::park)];
        for job in forever {
            let failed = within(Duration::from_millis(50), "SecantusDB at its address", job);
            let message = failed.unwrap_err().message().unwrap().to_owned();
            assert_eq!(
                message,
                "it is not done after 50ms; it waited for SecantusDB at its address"
            );
        }
        within(LIMIT, "no server", || {})
    })
}
