//! Counts the allocations of the hot path, and fails when there are more of them than there were.
//! They do not depend on the machine or its load.
//!
//! After a change that needs fewer, lower the limit; after one that needs more, say in the commit
//! what they buy.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use allocation_counter::measure;
use measures::databases::{Ours, Store, dynamodb, id, mongodb};
use measures::{identity, layer, samples};
use tokio::runtime::{Builder, Runtime};
use tower::{Service, ServiceExt};

/// The limits for records of 181 bytes, 6 KB, 49 KB and 300 KB.
const DYNAMODB: [u64; samples::SIZES.len()] = [3, 2, 2, 2];
const MONGODB: [u64; samples::SIZES.len()] = [2, 0, 0, 0];

/// The calls of one subject: some that fill caches, and some that are counted.
const CALLS: usize = 15;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Counts the allocations of one call after some that fill caches, the least of several, because
/// clients work in the background.
fn count(mut call: impl FnMut()) -> u64 {
    for _ in 0..CALLS / 3 {
        call();
    }
    (0..CALLS - CALLS / 3).map(|_| measure(&mut call).count_total).min().unwrap()
}

fn check(what: &str, count: u64, limit: u64) {
    println!("{what}: {count} of {limit}");
    assert!(count <= limit, "{what}: {count} allocations, {limit} before");
}

#[test]
fn identities() {
    let (head, body) = (layer::head(), samples::alexa(0));
    // `serde_json` keeps a list of open brackets while it skips a value.
    check("a borrowed struct", count(|| identity::borrowed(&body)), 1);
    check("a platform", count(|| identity::recognised(&head, &body, |_| {})), 3);
}

#[test]
fn requests() {
    let limits = [
        ("inner service alone", 1),
        ("buffering and identity", 10),
        ("layer: read", 41),
        ("layer: read and write", 57),
        ("layer: write in a turn after the reply", 84),
        ("tower-sessions alone", u64::MAX),
        ("tower-sessions behind identity", u64::MAX),
    ];
    let runtime = runtime();
    let subjects = runtime.block_on(layer::subjects());
    let counts = subjects.all.iter().zip(limits).map(|((name, service, cookie), (same, limit))| {
        assert_eq!(*name, same);
        let mut service = service.clone();
        let request = || layer::post(&subjects.body, cookie.as_deref());
        let mut requests: Vec<_> = (0..CALLS).map(|_| request()).collect();
        let count = count(|| {
            let request = requests.pop().expect("a request for each call");
            let call = async { service.ready().await.unwrap().call(request).await };
            runtime.block_on(call).unwrap();
        });
        check(name, count, limit);
        count
    });
    let counts: Vec<u64> = counts.collect();
    let [.., layer, _, _, tower_sessions] = counts[..] else { panic!("{counts:?}") };
    assert!(layer < tower_sessions, "{layer} of the layer, {tower_sessions} of tower-sessions");
}

/// The allocations of a load and a save beyond those of the bare client on the same work.
#[test]
fn conversions_of_dynamodb() {
    let runtime = runtime();
    for (bytes, limit) in samples::SIZES.into_iter().zip(DYNAMODB) {
        let (user, record) = (id(0), samples::record(bytes));
        let client = dynamodb::Bare::new(&record);
        let bare = count(|| runtime.block_on(client.visit(&user, 0)));
        let db = Ours(runtime.block_on(dynamodb::database(&record)));
        let ours = count(|| runtime.block_on(db.visit(&user, 0)));
        check(&format!("DynamoDb, {bytes} bytes, {bare} bare"), ours.saturating_sub(bare), limit);
    }
}

#[test]
fn conversions_of_mongodb() {
    let runtime = runtime();
    for (bytes, limit) in samples::SIZES.into_iter().zip(MONGODB) {
        let (user, record) = (id(0), samples::record(bytes));
        let uri = mongodb::serve(&record);
        let client = runtime.block_on(mongodb::Bare::open(&uri));
        let bare = count(|| runtime.block_on(client.visit(&user, 0)));
        let db = Ours(runtime.block_on(mongodb::database(&uri)));
        let ours = count(|| runtime.block_on(db.visit(&user, 0)));
        check(&format!("MongoDb, {bytes} bytes, {bare} bare"), ours.saturating_sub(bare), limit);
    }
}
