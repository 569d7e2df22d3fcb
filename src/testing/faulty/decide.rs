//! Choosing the fault of each call, and remembering past states for stale reads.

use std::collections::{HashMap, VecDeque};

use super::fault::{Fault, InjectedFault, Operation};
use super::random::{Random, place_of};
use super::rates::Rates;
use crate::database::Loaded;

pub(super) struct State {
    pub(super) script: VecDeque<Fault>,
    pub(super) rates: Rates,
    pub(super) log: Vec<InjectedFault>,
    pub(super) calls: u64,
    seed: u64,
    random: Random,
    /// The number of calls that are still to fail.
    outage: u32,
    /// The last two known states of each user, the newer one last.
    seen: HashMap<String, [Option<Loaded>; 2]>,
}

impl State {
    pub(super) fn new(seed: u64, rates: Rates) -> Self {
        Self {
            script: VecDeque::new(),
            rates,
            log: Vec::new(),
            calls: 0,
            seed,
            random: Random::new(seed),
            outage: 0,
            seen: HashMap::new(),
        }
    }

    pub(super) fn heal(&mut self) {
        self.script.clear();
        self.rates = Rates::none();
        self.outage = 0;
    }

    /// Returns the fault of the current call.
    pub(super) fn decide(&mut self, operation: Operation, id: &str) -> Fault {
        let call = self.calls;
        self.calls += 1;
        let fault = self.next(operation, id);
        if !fault.concerns(operation) {
            return Fault::None;
        }
        self.log.push(InjectedFault { call, operation, fault });
        fault
    }

    fn next(&mut self, operation: Operation, id: &str) -> Fault {
        if self.outage > 0 {
            let fault = Fault::Outage { calls: self.outage };
            self.outage -= 1;
            return fault;
        }
        if place_of(id, self.seed) < self.rates.users_down {
            return Fault::Outage { calls: 1 };
        }
        let scripted = self.script.pop_front();
        let fault = scripted.unwrap_or_else(|| self.rates.draw(operation, &mut self.random));
        if let Fault::Outage { calls } = fault {
            self.outage = calls.saturating_sub(1);
        }
        fault
    }

    /// Remembers a state of this user's record.
    pub(super) fn note(&mut self, id: &str, state: &Loaded) {
        if !self.seen.contains_key(id) {
            self.seen.insert(id.to_owned(), [None, None]);
        }
        let Some(seen) = self.seen.get_mut(id) else { return };
        let [_, newest] = &*seen;
        if newest.as_ref().is_none_or(|newest| newest.expected() != state.expected()) {
            *seen = [seen[1].take(), Some(state.clone())];
        }
    }

    /// Returns the newest known state of this user's record other than the current one.
    pub(super) fn older_than(&self, id: &str, current: &Loaded) -> Option<Loaded> {
        let mut seen = self.seen.get(id)?.iter().rev().flatten();
        seen.find(|seen| seen.expected() != current.expected()).cloned()
    }
}
