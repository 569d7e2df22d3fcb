//! Every database: the conformance suite, and the layer over it, on a real server where
//! one is needed.
//!
//! `scripts/test` fetches the servers and runs this. Without a server its tests are reported as
//! ignored, or fail with `CI=true`. Every test has a time limit. A shared server that no longer
//! answers is replaced once.

#![allow(missing_docs, clippy::expect_used, clippy::needless_pass_by_value)]
#![allow(clippy::panic, clippy::unwrap_used)]

use libtest_mimic::Arguments;

#[cfg(all(
    feature = "file",
    feature = "testing",
    feature = "axum",
    feature = "aws-config",
    any(feature = "lambda", feature = "mongodb")
))]
mod binaries;
#[cfg(all(feature = "file", feature = "testing"))]
mod bounded;
// Other tests use the rest of it, and some parts serve only the databases behind features.
#[cfg(all(
    feature = "file",
    feature = "testing",
    any(
        feature = "dynamodb",
        feature = "mongodb",
        feature = "postgres",
        feature = "redis",
        feature = "sqlite"
    )
))]
mod choosing;
#[cfg(all(feature = "file", feature = "testing"))]
#[allow(dead_code)]
#[path = "../layer/common.rs"]
mod common;
#[cfg(all(feature = "file", feature = "testing"))]
mod conformance;
#[cfg(all(feature = "file", feature = "testing", any(feature = "postgres", feature = "redis")))]
mod cuts;
#[cfg(all(feature = "file", feature = "testing", feature = "dynamodb"))]
mod dynamodb;
#[cfg(all(feature = "file", feature = "testing"))]
mod erasure;
#[cfg(all(feature = "file", feature = "testing"))]
mod faults;
#[cfg(all(feature = "file", feature = "testing"))]
mod health;
#[cfg(all(
    feature = "file",
    feature = "testing",
    feature = "axum",
    feature = "aws-config",
    feature = "lambda"
))]
mod lambda;
#[cfg(all(feature = "file", feature = "testing"))]
mod layer;
#[cfg(all(feature = "file", feature = "testing", feature = "mongodb"))]
mod mongodb;
#[cfg(all(feature = "file", feature = "testing"))]
#[allow(dead_code)]
mod outage;
#[cfg(all(feature = "file", feature = "testing", feature = "postgres"))]
mod postgres;
#[cfg(all(feature = "file", feature = "testing"))]
mod process;
#[cfg(all(feature = "file", feature = "testing", feature = "redis"))]
mod redis;
#[cfg(all(feature = "file", feature = "testing"))]
#[allow(dead_code, unused_imports)]
#[path = "../faults/schedule/mod.rs"]
mod schedule;
#[cfg(all(feature = "file", feature = "testing"))]
#[allow(dead_code)]
mod servers;
#[cfg(all(
    feature = "file",
    feature = "testing",
    feature = "axum",
    feature = "aws-config",
    feature = "mongodb",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
mod voice_app;

#[cfg(all(feature = "file", feature = "testing"))]
fn main() {
    use servers::{dynamodb, mongodb, redis};

    let arguments = Arguments::from_args();
    let (dynamodb, mongodb) = (dynamodb(), mongodb());
    let postgres = servers::postgres();
    let redis = redis();
    explain_the_drivers_panics();
    let mut trials = conformance::trials();
    trials.push(bounded::self_test());
    trials.extend(dynamodb.self_tests());
    trials.extend(mongodb.self_tests());
    trials.extend(postgres.self_tests());
    trials.extend(redis.self_tests());
    #[cfg(feature = "sqlite")]
    trials.extend(choosing::on_sqlite());
    #[cfg(feature = "mongodb")]
    {
        trials.extend(crate::mongodb::trials(&mongodb));
        trials.extend(choosing::on_mongodb(&mongodb));
    }
    #[cfg(feature = "postgres")]
    {
        trials.extend(crate::postgres::trials(&postgres));
        trials.extend(choosing::on_postgres(&postgres));
    }
    #[cfg(feature = "redis")]
    {
        trials.extend(crate::redis::trials(&redis));
        trials.extend(choosing::on_redis(&redis));
    }
    #[cfg(feature = "dynamodb")]
    {
        trials.extend(crate::dynamodb::trials(&dynamodb));
        trials.extend(choosing::on_dynamodb(&dynamodb));
    }
    #[cfg(all(feature = "axum", feature = "aws-config", feature = "lambda"))]
    trials.extend([
        dynamodb.trial("lambda", async |endpoint| {
            lambda::two_events_of_one_user(&endpoint, "lambda-test").await;
        }),
        dynamodb.trial("lambda_is_frozen_after_the_reply", async |endpoint| {
            lambda::nothing_runs_after_the_reply(&endpoint, "lambda-frozen-test").await;
        }),
    ]);
    // Before the tests, whose time limits are shorter.
    #[cfg(all(
        feature = "axum",
        feature = "aws-config",
        feature = "mongodb",
        feature = "postgres",
        feature = "redis",
        feature = "sqlite"
    ))]
    if !arguments.list && arguments.filter.is_none() {
        binaries::binary("voice-app");
    }
    let mut conclusions = vec![libtest_mimic::run(&arguments, trials)];
    // These run one at a time, with the machine to themselves.
    #[cfg(all(
        feature = "axum",
        feature = "aws-config",
        feature = "mongodb",
        feature = "postgres",
        feature = "redis",
        feature = "sqlite"
    ))]
    {
        let one_at_a_time = Arguments { test_threads: Some(1), ..arguments };
        let trials = voice_app::trials(&dynamodb, &mongodb, &postgres, &redis);
        conclusions.push(libtest_mimic::run(&one_at_a_time, trials));
    }
    // `exit` drops nothing.
    dynamodb.stop();
    mongodb.stop();
    postgres.stop();
    redis.stop();
    conclusions.iter().for_each(libtest_mimic::Conclusion::exit_if_failed);
}

#[cfg(not(all(feature = "file", feature = "testing")))]
fn main() {
    use libtest_mimic::Trial;

    let ignored =
        ["FileDb", "MemoryDb", "DynamoDb", "MongoDb", "PostgresDb", "RedisDb"].map(|name| {
            let why = || Err("it needs all features: run scripts/test".into());
            Trial::test(name, why).with_kind("run scripts/test").with_ignored_flag(true)
        });
    libtest_mimic::run(&Arguments::from_args(), ignored.into()).exit();
}

#[cfg(all(feature = "file", feature = "testing"))]
fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(4).enable_all().build().unwrap().block_on(future)
}

/// Replaces a known panic of MongoDB's driver by one line. When a test's runtime ends, background
/// tasks of the driver run on for a moment without others on which they rely, and panic, as in
/// `cmap/connection_requester.rs`. That does no harm. A panic of the driver within a test's own
/// call remains a failure.
#[cfg(all(feature = "file", feature = "testing"))]
fn explain_the_drivers_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", std::panic::Location::file).replace('\\', "/");
        match file.rsplit_once("/mongodb-") {
            Some((_, file)) if tokio::task::try_id().is_some() => eprintln!(
                "(no failure: a background task of MongoDB's driver panicked as the runtime of its test ended, in {file})"
            ),
            _ => hook(panic),
        }
    }));
}
