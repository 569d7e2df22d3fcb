//! The promises of the layer on a failing database: 10,000 schedules, each drawn from a seed.
//!
//! A schedule that breaks a promise is printed with its seed, and can be run again with a log of
//! all its events:
//!
//! ```text
//! FAULTS_SEED=4711 cargo test --features testing --test faults -- --nocapture
//! ```
//!
//! `tests/databases` runs some of them over every other database, too.
//!
//! `FAULTS_SCHEDULES=1000000` runs more of them: the seeds from 0 up to that number.
//!
//! The promises, for a request that stores something of its own:
//!
//! * If it is answered with 200, it is stored exactly once. (Under `OnConflict::Overwrite` it was
//!   stored, but a later save of another process may have replaced it, as that policy intends.)
//! * Under `OnOutage::Degrade`, a handler that runs without memory can tell, and its writes are
//!   stored nowhere. This is the only 200 that stores nothing.
//! * In half of the schedules a request is sent again until it is answered with 200, up to five
//!   times, each time to a process drawn at random. All of the above holds for these deliveries
//!   together, and the 200 has the reply that is stored with the event's id.
//! * Otherwise it is stored at most once, and not at all if the handler did not run or failed, or
//!   if the answer is 409.
//! * A failed load is never saved over: each save names a version that the database returned to the
//!   same turn.
//! * No key of another user is ever visible, neither to a handler nor in the stored records.
//! * In one process, the turns of a user never run at the same time; afterwards the locks are free.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod batches;
#[allow(dead_code, unused_imports)]
mod schedule;
mod scripted;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use self::schedule::{Plan, check, run};

const SCHEDULES: u64 = 10_000;

/// The maximum number of seeds in a report; more would add nothing.
const SHOWN: usize = 3;

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number: {value}")))
}

/// Returns the broken promises in the schedule of this seed.
fn broken_promises(seed: u64) -> Vec<String> {
    let plan = Plan::draw(seed, "");
    let end = run(&plan);
    check(&plan, &end)
}

#[test]
fn the_invariants_hold_over_seeded_schedules() {
    if let Some(seed) = setting("FAULTS_SEED") {
        let plan = Plan::draw(seed, "");
        let end = run(&plan);
        println!("{plan:#?}\n{end}");
        let broken = check(&plan, &end);
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
        return;
    }
    let schedules = setting("FAULTS_SCHEDULES").unwrap_or(SCHEDULES);
    let next = AtomicU64::new(0);
    let failures = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules {
                        return;
                    }
                    let broken = broken_promises(seed);
                    if !broken.is_empty() {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push((seed, broken));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    for (seed, broken) in failures.iter().take(SHOWN) {
        println!("seed {seed}: {broken:#?}");
        println!(
            "again: FAULTS_SEED={seed} cargo test --features testing --test faults -- --nocapture"
        );
    }
    assert!(failures.is_empty(), "{} of {schedules} schedules break a promise", failures.len());
}

#[test]
fn a_seed_makes_the_same_schedule_again() {
    for seed in 0..200 {
        let plan = Plan::draw(seed, "");
        let runs = [run(&plan), run(&plan)].map(|end| end.to_string());
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

/// Checks that the schedules inject faults: a test without any would always succeed.
#[test]
fn the_schedules_are_worth_running() {
    let mut tally = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..500 {
        let end = run(&Plan::draw(seed, ""));
        for what in end.kinds() {
            *tally.entry(what).or_default() += 1;
        }
    }
    let expected = [
        "ErrorBefore",
        "ErrorAfter",
        "Delay",
        "DelayAfter",
        "Conflict",
        "SpuriousConflict",
        "StaleRead",
        "Outage",
        "answered 200",
        "answered 409",
        "answered 500",
        "answered 503",
        "cancelled",
        "ran twice",
        "degraded",
        "not acknowledged but stored",
        "answered again",
        "redelivered with success",
        "redelivered in vain",
    ];
    for what in expected {
        assert!(tally.get(what).is_some_and(|count| *count >= 10), "{what}: {tally:#?}");
    }
}
