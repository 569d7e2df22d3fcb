//! Seeded schedules of requests and faults, over any database, and the promises that must hold when
//! one has ended.

mod end;
mod invariants;
mod plan;
mod process;
mod world;

pub(crate) use self::invariants::check;
pub(crate) use self::plan::Plan;
pub(crate) use self::world::{Clock, run, run_over};
