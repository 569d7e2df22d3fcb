//! The example `voice-app` as processes: several at a time, and under load.

mod app;
mod load;
mod two_processes;

use libtest_mimic::Trial;

use crate::servers::Servers;

pub(crate) fn trials(
    dynamodb: &Servers,
    mongodb: &Servers,
    postgres: &Servers,
    redis: &Servers,
) -> Vec<Trial> {
    let mut trials = two_processes::trials(dynamodb, mongodb, postgres, redis);
    trials.extend(load::trials(dynamodb, mongodb, postgres, redis));
    trials
}
