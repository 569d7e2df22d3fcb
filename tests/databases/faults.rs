//! The layer's promises under seeded faults, over any database: `tests/faults` says what they are.
//!
//! A real clock and other processes' work decide the order of the calls, so a seed draws the same
//! requests and faults again, and not the same schedule.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tower_persistence::Database;

use crate::bounded::{Case, case};
use crate::layer::user;
use crate::schedule::{Clock, Plan, check, run_over};

/// Schedules that run at the same time: nearly all of them wait, in a fault or between requests.
const SCHEDULES: u64 = 48;

pub(crate) fn fault_cases<D, M>(name: &str, make_db: M) -> Vec<Case>
where
    D: Database + Clone,
    M: AsyncFn() -> D + Clone + Send + Sync + 'static,
{
    let test = async move || the_promises_hold(make_db.clone()).await;
    vec![case(format!("{name}::fault_schedules"), test)]
}

async fn the_promises_hold<D: Database + Clone>(make_db: impl AsyncFn() -> D) {
    let handles = [make_db().await, make_db().await];
    handles[0].ensure_ready().await.unwrap();
    let (prefix, mut schedules) = (user("faults"), JoinSet::new());
    for seed in 0..SCHEDULES {
        let plan = Plan::draw(seed, &format!("{prefix}-{seed}-"));
        let handles = handles.clone();
        schedules.spawn(async move {
            let end = run_over(&plan, &handles, Clock::Real).await;
            let broken = check(&plan, &end);
            assert!(broken.is_empty(), "seed {seed}: {broken:#?}\n{plan:#?}\n{end}");
            end.kinds()
        });
    }
    let mut kinds = BTreeSet::new();
    while let Some(ended) = schedules.join_next().await {
        kinds.extend(ended.unwrap());
    }
    // Without them, it would always succeed.
    let expected = ["ErrorBefore", "ErrorAfter", "DelayAfter", "Conflict", "StaleRead", "Outage"];
    let expected = expected.into_iter().chain(["answered 503", "ran twice"]);
    for kind in expected.chain(["not acknowledged but stored", "redelivered with success"]) {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}
