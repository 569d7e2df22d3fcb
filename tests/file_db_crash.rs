//! A process that is killed at any moment loses no acknowledged change and leaves a valid file.
#![cfg(feature = "file")]
// Clippy allows these in test functions, but not in their helpers.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::{Database, Error, FileDb, PersistenceLayer, Record, User};

const FILE: &str = "TOWER_PERSISTENCE_CRASH_TEST_FILE";
const USERS: u64 = 3;

/// The process to kill: it serves requests of several users concurrently, and prints each
/// acknowledged count.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let layer = PersistenceLayer::new(FileDb::open(path).await.unwrap());
    let users = (0..USERS).map(|user| tokio::spawn(visit(layer.clone(), format!("user-{user}"))));
    for user in users.collect::<Vec<_>>() {
        user.await.unwrap();
    }
}

async fn visit(layer: PersistenceLayer<FileDb>, user: String) {
    let service = layer.layer(service_fn(count_visit));
    let request = json!({
        "version": "1.0",
        "request": { "requestId": "request-1" },
        "context": { "System": { "user": { "userId": user } } },
    });
    loop {
        let request = Request::post("/").body(Full::from(request.to_string())).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let count = response.into_body().collect().await.unwrap().to_bytes();
        let count = std::str::from_utf8(&count).unwrap();
        writeln!(std::io::stdout().lock(), "\nacknowledged {user} {count}").unwrap();
    }
}

async fn count_visit(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Error> {
    let user = request.extensions().get::<User>().unwrap();
    let count = user.increment("count", 1)?;
    Ok(Response::new(count.to_string().into()))
}

fn count(record: &Record) -> u64 {
    record.fields()["user"]["data"]["count"].as_u64().unwrap()
}

/// Runs a child, kills it at a random moment, and returns the last acknowledged counts.
fn run_and_kill(path: &Path, wait_for_first: bool, random: u64) -> HashMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = HashMap::new();
    let mut note = |line: &str| {
        let mut words = line.split(' ');
        let is_acknowledged = words.next() == Some("acknowledged");
        if let (true, Some(user), Some(count)) = (is_acknowledged, words.next(), words.next()) {
            acknowledged.insert(user.to_owned(), count.parse().unwrap());
            return true;
        }
        false
    };
    if wait_for_first {
        lines.by_ref().map_while(Result::ok).find(|line| note(line));
    }
    std::thread::sleep(Duration::from_micros(random % 20_000));
    child.kill().unwrap();
    for line in lines.map_while(Result::ok) {
        note(&line);
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test]
async fn a_process_killed_at_random_loses_no_acknowledged_increment() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db/db.json");
    let random = RandomState::new();
    let mut expected: HashMap<String, u64> = HashMap::new();
    let mut unacknowledged = 0;
    for round in 0..100_u64 {
        let mut hasher = random.build_hasher();
        hasher.write_u64(round);
        // Some are killed while they start and open the file, most while they write.
        let acknowledged = run_and_kill(&path, round % 4 != 0, hasher.finish());
        expected.extend(acknowledged);

        if path.exists() {
            let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert!(file.is_array());
        }
        let db = FileDb::open(&path).await.unwrap();
        for user in (0..USERS).map(|user| format!("user-{user}")) {
            let found = db.load(&user).await.unwrap().map_or(0, |stored| count(&stored.record));
            let last = expected.get(&user).copied().unwrap_or(0);
            // The kill may have come after a write and before its acknowledgement.
            assert!(
                found == last || found == last + 1,
                "{user}: {found} is stored, {last} expected"
            );
            unacknowledged += found - last;
            expected.insert(user, found);
        }
        db.close().await.unwrap();
    }
    let total: u64 = expected.values().sum();
    assert!(total > 100, "the children hardly got to work: {total}");
    println!("{total} increments, {unacknowledged} of them written but not acknowledged");
    let names = std::fs::read_dir(path.parent().unwrap()).unwrap();
    assert_eq!(names.count(), 2, "only db.json and its lock stay");
}
