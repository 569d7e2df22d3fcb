use std::time::Duration;

use super::fault::{Fault, Operation};
use super::random::Random;

/// How often a [`Faulty`](super::Faulty) database draws which fault: 0 is never, 1 is always. A rate concerns the calls that can have
/// the fault; the rates of one kind of call should add up to 1 at most.
///
/// ```
/// use std::time::Duration;
/// use tower_persistence::testing::Rates;
///
/// let slow = Rates::none().delay(0.5).longest_delay(Duration::from_millis(300));
/// let flaky = Rates::default().users_down(0.1);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    error_before: f64,
    error_after: f64,
    delay: f64,
    longest_delay: Duration,
    conflict: f64,
    stale_read: f64,
    outage: f64,
    longest_outage: u32,
    pub(super) users_down: f64,
}

impl Rates {
    /// No fault at all.
    #[must_use]
    pub fn none() -> Self {
        Self {
            error_before: 0.0,
            error_after: 0.0,
            delay: 0.0,
            longest_delay: Duration::from_secs(3),
            conflict: 0.0,
            stale_read: 0.0,
            outage: 0.0,
            longest_outage: 5,
            users_down: 0.0,
        }
    }

    /// Of [`Fault::ErrorBefore`].
    #[must_use]
    pub fn error_before(self, rate: f64) -> Self {
        Self { error_before: rate, ..self }
    }

    /// Of [`Fault::ErrorAfter`].
    #[must_use]
    pub fn error_after(self, rate: f64) -> Self {
        Self { error_after: rate, ..self }
    }

    /// Of [`Fault::Delay`] and [`Fault::DelayAfter`], half of this each.
    #[must_use]
    pub fn delay(self, rate: f64) -> Self {
        Self { delay: rate, ..self }
    }

    /// How long a delay is at most. Default: 3 seconds, longer than the layer waits for the database.
    #[must_use]
    pub fn longest_delay(self, longest_delay: Duration) -> Self {
        Self { longest_delay, ..self }
    }

    /// Of [`Fault::Conflict`] and [`Fault::SpuriousConflict`], half of this each, among the saves.
    #[must_use]
    pub fn conflict(self, rate: f64) -> Self {
        Self { conflict: rate, ..self }
    }

    /// Of [`Fault::StaleRead`], among the loads.
    #[must_use]
    pub fn stale_read(self, rate: f64) -> Self {
        Self { stale_read: rate, ..self }
    }

    /// Of [`Fault::Outage`]: how often one begins.
    #[must_use]
    pub fn outage(self, rate: f64) -> Self {
        Self { outage: rate, ..self }
    }

    /// How many calls an outage lasts at most. Default: 5.
    #[must_use]
    pub fn longest_outage(self, calls: u32) -> Self {
        Self { longest_outage: calls, ..self }
    }

    /// The share of users for whom every call fails, as if they were on a partition that is down. The seed says which users these are. It comes
    /// before the script, and takes nothing off it.
    #[must_use]
    pub fn users_down(self, share: f64) -> Self {
        Self { users_down: share, ..self }
    }

    pub(super) fn draw(&self, operation: Operation, random: &mut Random) -> Fault {
        let mut left = random.fraction();
        let mut is = |rate: f64| {
            left -= rate;
            left < 0.0
        };
        if is(self.error_before) {
            Fault::ErrorBefore
        } else if is(self.error_after) {
            Fault::ErrorAfter
        } else if is(self.delay / 2.0) {
            Fault::Delay(random.delay(self.longest_delay))
        } else if is(self.delay / 2.0) {
            Fault::DelayAfter(random.delay(self.longest_delay))
        } else if is(self.outage) {
            Fault::Outage { calls: random.count(self.longest_outage) }
        } else if operation == Operation::Load && is(self.stale_read) {
            Fault::StaleRead
        } else if operation == Operation::Save && is(self.conflict / 2.0) {
            Fault::Conflict
        } else if operation == Operation::Save && is(self.conflict / 2.0) {
            Fault::SpuriousConflict
        } else {
            Fault::None
        }
    }
}

/// Each fault at a few percent, outages at one, and no user down.
impl Default for Rates {
    fn default() -> Self {
        let rates = Self::none().error_before(0.05).error_after(0.05).delay(0.05).outage(0.01);
        rates.conflict(0.05).stale_read(0.05)
    }
}
