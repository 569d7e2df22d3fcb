//! The promises that must hold when a schedule has ended.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tower_persistence::{OnConflict, OnOutage};

use super::end::{Answer, End};
use super::plan::{Handler, Plan, Request};
use super::process::{CLAIMED_BY, COUNT, request_of, traces};

/// Returns the promises that the schedule breaks.
pub(crate) fn check(plan: &Plan, end: &End) -> Vec<String> {
    let mut broken = end.notes.violations.clone();
    for request in plan.all_requests() {
        broken.extend(of_request(plan, end, request).map(|why| format!("{request:?}: {why}")));
    }
    for user in 0..plan.users {
        broken.extend(of_user(plan, end, user).map(|why| format!("user {user}: {why}")));
    }
    broken.extend(of_locks(plan, end));
    broken
}

fn of_request(plan: &Plan, end: &End, request: Request) -> Option<String> {
    let key = format!("request-{}", request.number);
    let data = end.stored[request.user].as_ref();
    let times = data.and_then(|data| data.get(&key)).map_or(Some(0), Value::as_u64);
    let Some(times) = times else { return Some("stored as what it is not".to_owned()) };
    let delivered = &end.answers[&request.number];
    let (answer, is_redelivered) = (delivered.last(), delivered.answers.len() > 1);
    let count = |runs: &HashMap<usize, usize>| runs.get(&request.number).copied().unwrap_or(0);
    let (runs, degraded) = (count(&end.notes.runs), count(&end.notes.degraded));
    let is_saved = end.notes.saved.contains(&request.number);
    let (is_degraded, always) = (degraded > 0, degraded > 0 && degraded == runs);
    let overwrites = plan.on_conflict == OnConflict::Overwrite;
    match answer {
        _ if is_degraded && plan.on_outage != OnOutage::Degrade => {
            Some("ran without memory, which the policy forbids".to_owned())
        }
        _ if always && (times > 0 || is_saved) => {
            Some(format!("ran without memory, and is stored {times} times"))
        }
        _ if times > 1 => Some(format!("{answer:?}, and stored {times} times")),
        Answer::Status(200) | Answer::Cancelled if is_degraded => None,
        _ if always && !is_redelivered && request.handler != Handler::Fails => {
            Some(format!("ran without memory, and is answered with {answer:?}"))
        }
        // An earlier delivery may have been stored although its save reported an error.
        Answer::Status(200) if !is_saved && !is_redelivered => {
            Some("acknowledged, and no save of it has succeeded".to_owned())
        }
        Answer::Status(200) if times == 0 && !overwrites => {
            Some("acknowledged, and not stored".to_owned())
        }
        // Another process may have put back what an earlier delivery had stored.
        Answer::Status(200)
            if !overwrites
                && end.replies.get(&request.number).is_some_and(|it| *it != delivered.body) =>
        {
            Some(format!("answered with {:?}, which is not the stored reply", delivered.body))
        }
        Answer::Status(409) if times > 0 && !is_redelivered => {
            Some("a conflict, and stored".to_owned())
        }
        _ if times > 0 && runs == 0 => Some("stored, and has not run".to_owned()),
        _ if times > 0 && request.handler == Handler::Fails => {
            Some("the handler failed, and it is stored".to_owned())
        }
        _ => None,
    }
}

fn of_user(plan: &Plan, end: &End, user: usize) -> Option<String> {
    let data = end.stored[user].as_ref()?;
    let is_own = |number: Option<usize>| number.is_some_and(|number| plan.is_of(number, user));
    if !traces(data).all(is_own) {
        return Some(format!("stored with what is of others: {data:?}"));
    }
    // The writes of a turn are stored together or not at all.
    let requests = data.keys().filter_map(|key| request_of(key)).count();
    let count = data.get(COUNT).and_then(Value::as_u64);
    if count != Some(requests as u64) {
        return Some(format!("{requests} requests counted as {count:?}"));
    }
    let claimed_by = data.get(CLAIMED_BY)?;
    let is_half = !data.contains_key(&format!("request-{claimed_by}"));
    is_half.then(|| format!("{claimed_by} has claimed it, and is not stored"))
}

/// A request without interference is served at once, with memory.
fn of_locks(plan: &Plan, end: &End) -> Option<String> {
    let (runs, degraded) = (&end.notes.runs, &end.notes.degraded);
    let always = |last: Request| {
        degraded.get(&last.number).is_some_and(|count| Some(count) == runs.get(&last.number))
    };
    if plan.last_requests().any(always) {
        return Some("all is well again, and a handler runs without memory".to_owned());
    }
    let mut last = plan.last_requests();
    let refused = last.find(|last| end.answers[&last.number].last() != Answer::Status(200));
    if let Some(refused) = refused {
        let answer = end.answers[&refused.number].last();
        return Some(format!("all is over and well again, and {refused:?} gets {answer:?}"));
    }
    let late = end.last_took.filter(|took| *took > Duration::from_secs(1))?;
    Some(format!("all is over, and a request takes {late:?}"))
}
