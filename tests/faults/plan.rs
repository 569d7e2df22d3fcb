//! What happens in a schedule, as the seed draws it.

use std::time::Duration;

use tower_persistence::testing::Rates;
use tower_persistence::{OnConflict, OnOutage};

/// SplitMix64.
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

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) on_conflict: OnConflict,
    pub(crate) on_outage: OnOutage,
    pub(crate) users: usize,
    pub(crate) processes: usize,
    /// Whether the faults come from one database that fails, or from each process's own way to it.
    pub(crate) faults_in_common: bool,
    pub(crate) rates: Rates,
    pub(crate) requests: Vec<Request>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Unique in the plan.
    pub(crate) number: usize,
    pub(crate) user: usize,
    pub(crate) process: usize,
    pub(crate) starts_at: Duration,
    pub(crate) handler: Handler,
    /// The client hangs up after so many polls of the response.
    pub(crate) polls: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Handler {
    Answers,
    AnswersAfter(Duration),
    /// After it has put its name to a key that others put theirs to: under `OnConflict::Merge` a conflict.
    Claims,
    /// With a 500, after it has written.
    Fails,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        // Seeds that are next to each other are to have nothing in common.
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
            on_conflict,
            on_outage,
            users,
            processes,
            faults_in_common: random.one_in(2),
            rates: rates(&mut random),
            requests: (0..count)
                .map(|number| Request::draw(number, users, processes, &mut random))
                .collect(),
        }
    }

    /// What comes when all is over: each user in each process once more.
    pub(crate) fn last_requests(&self) -> impl Iterator<Item = Request> {
        let (count, processes) = (self.requests.len(), self.processes);
        (0..self.users * processes).map(move |index| Request {
            number: count + index,
            user: index / processes,
            process: index % processes,
            starts_at: Duration::ZERO,
            handler: Handler::Answers,
            polls: None,
        })
    }

    pub(crate) fn all_requests(&self) -> impl Iterator<Item = Request> {
        self.requests.iter().copied().chain(self.last_requests())
    }

    /// Whether this is the number of a request of the user's.
    pub(crate) fn is_of(&self, number: usize, user: usize) -> bool {
        let last = || (number - self.requests.len()) / self.processes;
        self.requests.get(number).map_or_else(last, |request| request.user) == user
    }
}

impl Request {
    fn draw(number: usize, users: usize, processes: usize, random: &mut Random) -> Self {
        Self {
            number,
            // Half of the requests are the first user's, so that they come in each other's way.
            user: if random.one_in(2) { 0 } else { random.below(users as u64) as usize },
            process: random.below(processes as u64) as usize,
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

/// From a day on which nothing happens to one on which nearly everything does.
fn rates(random: &mut Random) -> Rates {
    let level = random.pick(&[0.0, 0.03, 0.1, 0.2]);
    let mut rate = || if random.one_in(3) { 0.0 } else { level };
    let rates = Rates::none().error_before(rate()).error_after(rate()).delay(rate());
    let rates = rates.conflict(2.0 * rate()).stale_read(2.0 * rate()).outage(rate() / 4.0);
    if random.one_in(10) { rates.users_down(0.4) } else { rates }
}
