//! The rates at which faults are drawn.

use std::time::Duration;

use super::fault::{Fault, Operation};
use super::random::Random;

/// The rates at which a [`Faulty`](super::Faulty) database draws faults, from 0 (never) to 1
/// (always).
///
/// A rate applies to the calls that can have the fault. The rates of each kind of call should add
/// up to at most 1.
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
    /// Creates rates without any fault.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().conflict(0.2);
    /// ```
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

    /// Sets the rate of [`Fault::ErrorBefore`]. Default: 0.05.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().error_before(0.1);
    /// ```
    #[must_use]
    pub fn error_before(self, rate: f64) -> Self {
        Self { error_before: rate, ..self }
    }

    /// Sets the rate of [`Fault::ErrorAfter`]. Default: 0.05.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().error_after(0.1);
    /// ```
    #[must_use]
    pub fn error_after(self, rate: f64) -> Self {
        Self { error_after: rate, ..self }
    }

    /// Sets the rate of [`Fault::Delay`] and [`Fault::DelayAfter`], half of it each. Default: 0.05.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().delay(0.5);
    /// ```
    #[must_use]
    pub fn delay(self, rate: f64) -> Self {
        Self { delay: rate, ..self }
    }

    /// Sets the longest delay. Default: 3 seconds, longer than the layer waits for the database.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().delay(0.5).longest_delay(Duration::from_millis(300));
    /// ```
    #[must_use]
    pub fn longest_delay(self, longest_delay: Duration) -> Self {
        Self { longest_delay, ..self }
    }

    /// Sets the rate of [`Fault::Conflict`] and [`Fault::SpuriousConflict`], half of it each, among
    /// the saves. Default: 0.05.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().conflict(0.2);
    /// ```
    #[must_use]
    pub fn conflict(self, rate: f64) -> Self {
        Self { conflict: rate, ..self }
    }

    /// Sets the rate of [`Fault::StaleRead`] among the loads. Default: 0.05.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().stale_read(0.2);
    /// ```
    #[must_use]
    pub fn stale_read(self, rate: f64) -> Self {
        Self { stale_read: rate, ..self }
    }

    /// Sets the rate at which a [`Fault::Outage`] begins. Default: 0.01.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().outage(0.05);
    /// ```
    #[must_use]
    pub fn outage(self, rate: f64) -> Self {
        Self { outage: rate, ..self }
    }

    /// Sets the maximum number of calls in an outage. Default: 5.
    ///
    /// ```
    /// use tower_persistence::testing::Rates;
    ///
    /// let rates = Rates::none().outage(0.05).longest_outage(20);
    /// ```
    #[must_use]
    pub fn longest_outage(self, calls: u32) -> Self {
        Self { longest_outage: calls, ..self }
    }

    /// Sets the share of users for whom every call fails, as if their partition were down. The seed
    /// decides which users these are. Their calls take nothing from the script. Default: 0.
    ///
    /// ```
    /// use tower_persistence::MemoryDb;
    /// use tower_persistence::testing::{Faulty, Rates};
    ///
    /// let db = Faulty::seeded(MemoryDb::new(), 7);
    /// db.set_rates(Rates::none().users_down(0.1));
    /// ```
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

/// Draws each fault at a few percent, outages at one percent, and no user is down.
impl Default for Rates {
    fn default() -> Self {
        let rates = Self::none().error_before(0.05).error_after(0.05).delay(0.05).outage(0.01);
        rates.conflict(0.05).stale_read(0.05)
    }
}
