//! The end of a schedule.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};
use tower_persistence::testing::{Fault, InjectedFault};

use super::process::{Notes, request_of};

/// The answer that a client received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    Status(u16),
    Cancelled,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delivered {
    /// The answer to each delivery.
    pub(crate) answers: Vec<Answer>,
    /// The body of the last answer.
    pub(crate) body: String,
}

impl Delivered {
    pub(crate) fn last(&self) -> Answer {
        self.answers[self.answers.len() - 1]
    }
}

/// The outcome of a schedule.
#[derive(Debug)]
pub(crate) struct End {
    /// The answers, by request.
    pub(crate) answers: BTreeMap<usize, Delivered>,
    /// The replies that are stored for repeats, by request.
    pub(crate) replies: BTreeMap<usize, String>,
    pub(crate) notes: Notes,
    /// The stored records, by user.
    pub(crate) stored: Vec<Option<Map<String, Value>>>,
    pub(crate) faults: Vec<Vec<InjectedFault>>,
    /// The longest time that one of the last requests took, without any interference; `None` on a
    /// real clock.
    pub(crate) last_took: Option<Duration>,
}

impl End {
    /// Returns the kinds of events in this schedule.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let faults = self.faults.iter().flatten().map(|injected| match injected.fault {
            Fault::Delay(_) => "Delay".to_owned(),
            Fault::DelayAfter(_) => "DelayAfter".to_owned(),
            Fault::Outage { .. } => "Outage".to_owned(),
            fault => format!("{fault:?}"),
        });
        let answers = self.answers.values().flat_map(|it| &it.answers).map(|answer| match answer {
            Answer::Status(status) => format!("answered {status}"),
            Answer::Cancelled => "cancelled".to_owned(),
        });
        let runs = self.notes.runs.values().filter(|runs| **runs > 1);
        let runs = runs.map(|_| "ran twice".to_owned());
        let degraded = self.notes.degraded.keys().map(|_| "degraded".to_owned());
        let unsure = self.stored.iter().flatten().flat_map(|data| data.keys());
        let unsure = unsure.filter_map(|key| request_of(key));
        let unsure = unsure.filter(|number| self.answers[number].last() != Answer::Status(200));
        let unsure = unsure.map(|_| "not acknowledged but stored".to_owned());
        let again = self.notes.answered_again.iter().map(|_| "answered again".to_owned());
        let late = self.answers.values().filter(|it| it.answers.len() > 1);
        let late = late.map(|it| match it.last() {
            Answer::Status(200) => "redelivered with success".to_owned(),
            _ => "redelivered in vain".to_owned(),
        });
        let kinds = faults.chain(answers).chain(runs).chain(degraded).chain(unsure);
        kinds.chain(again).chain(late).collect()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (process, faults) in self.faults.iter().enumerate() {
            writeln!(f, "faults of process {process}:")?;
            faults.iter().try_for_each(|fault| writeln!(f, "  {fault:?}"))?;
        }
        writeln!(f, "answers: {:?}", self.answers)?;
        for (user, data) in self.stored.iter().enumerate() {
            let data = data.as_ref().map(|data| serde_json::to_string(data).unwrap_or_default());
            writeln!(f, "stored of user {user}: {}", data.as_deref().unwrap_or("nothing"))?;
        }
        Ok(())
    }
}
