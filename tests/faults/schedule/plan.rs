//! The events of a schedule, drawn from its seed.

use std::time::Duration;

use tower_persistence::testing::Rates;
use tower_persistence::{OnConflict, OnOutage};

/// A SplitMix64 generator.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// The number of times that a platform sends an event until it is answered with success.
pub(crate) const DELIVERIES: usize = 5;

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The beginning of the user ids, which no other schedule in the same database has.
    pub(crate) prefix: String,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_outage: OnOutage,
    pub(crate) users: usize,
    pub(crate) processes: usize,
    /// Set if an event is sent again until it is answered with success, up to [`DELIVERIES`] times.
    pub(crate) redelivers: bool,
    /// Set if one database fails for all, rather than each process's own connection.
    pub(crate) faults_in_common: bool,
    pub(crate) rates: Rates,
    pub(crate) requests: Vec<Request>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Unique in the plan.
    pub(crate) number: usize,
    pub(crate) user: usize,
    /// The processes to which it is sent, one after the other.
    pub(crate) processes: [usize; DELIVERIES],
    pub(crate) starts_at: Duration,
    pub(crate) handler: Handler,
    /// The number of polls of the first response after which the client hangs up.
    pub(crate) polls: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Handler {
    Answers,
    AnswersAfter(Duration),
    /// Fails after it wrote its number to a key that others write: under `OnConflict::Merge` a
    /// conflict.
    Claims,
    /// Answers with a 500 after it has written.
    Fails,
}

impl Plan {
    pub(crate) fn draw(seed: u64, prefix: &str) -> Self {
        // Adjacent seeds must have nothing in common.
        let mut random = Random(seed);
        let mut random = Random(random.next());
        let attempts = 1 + random.below(3) as u32;
        let rerun = OnConflict::Rerun { attempts };
        let on_conflict =
            random.pick(&[OnConflict::Merge, OnConflict::Merge, rerun, OnConflict::Overwrite]);
        let on_outage = random.pick(&[OnOutage::Reject, OnOutage::Reject, OnOutage::Degrade]);
        let users = random.pick(&[2, 3]);
        let processes = random.pick(&[1, 2, 2]);
        let count = 3 + random.below(6) as usize;
        Self {
            seed,
            prefix: prefix.to_owned(),
            on_conflict,
            on_outage,
            users,
            processes,
            redelivers: random.one_in(2),
            faults_in_common: random.one_in(2),
            rates: rates(&mut random),
            requests: (0..count)
                .map(|number| Request::draw(number, users, processes, &mut random))
                .collect(),
        }
    }

    pub(crate) fn user_id(&self, user: usize) -> String {
        format!("{}user-{user}", self.prefix)
    }

    /// Returns the requests at the end: each user once more in each process.
    pub(crate) fn last_requests(&self) -> impl Iterator<Item = Request> {
        let (count, processes) = (self.requests.len(), self.processes);
        (0..self.users * processes).map(move |index| Request {
            number: count + index,
            user: index / processes,
            processes: [index % processes; DELIVERIES],
            starts_at: Duration::ZERO,
            handler: Handler::Answers,
            polls: None,
        })
    }

    pub(crate) fn all_requests(&self) -> impl Iterator<Item = Request> {
        self.requests.iter().copied().chain(self.last_requests())
    }

    /// Returns whether this is the number of a request of this user.
    pub(crate) fn is_of(&self, number: usize, user: usize) -> bool {
        let last = || (number - self.requests.len()) / self.processes;
        self.requests.get(number).map_or_else(last, |request| request.user) == user
    }
}

impl Request {
    fn draw(number: usize, users: usize, processes: usize, random: &mut Random) -> Self {
        Self {
            number,
            // Half of the requests are those of the first user, so that they interfere.
            user: if random.one_in(2) { 0 } else { random.below(users as u64) as usize },
            processes: std::array::from_fn(|_| random.below(processes as u64) as usize),
            starts_at: Duration::from_millis(random.below(16) * 100),
            handler: match random.below(10) {
                0 => Handler::Fails,
                1..4 => Handler::Claims,
                4..7 => Handler::AnswersAfter(Duration::from_millis(random.below(600))),
                _ => Handler::Answers,
            },
            polls: random.one_in(4).then(|| 1 + random.below(6)),
        }
    }
}

/// Draws the rates: from a day without faults to one on which nearly every call fails.
fn rates(random: &mut Random) -> Rates {
    let level = random.pick(&[0.0, 0.03, 0.1, 0.2]);
    let mut rate = || if random.one_in(3) { 0.0 } else { level };
    let rates = Rates::none().error_before(rate()).error_after(rate()).delay(rate());
    let rates = rates.conflict(2.0 * rate()).stale_read(2.0 * rate()).outage(rate() / 4.0);
    if random.one_in(10) { rates.users_down(0.4) } else { rates }
}
