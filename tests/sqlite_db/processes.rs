//! Several processes on one file.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

const FILE: &str = "TOWER_PERSISTENCE_SQLITE_PROCESSES";
const PROCESSES: u64 = 3;
const TASKS: u64 = 4;
const INCREMENTS: u64 = 50;
const USERS: u64 = 3;

/// What runs several times at once: increments each user.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let db = within(SqliteDb::builder(path).timeout(LIMIT).open()).await.unwrap();
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(increment(db.clone()))).collect();
    for task in tasks {
        within(task).await.unwrap();
    }
    within(db.close()).await.unwrap();
}

async fn increment(db: SqliteDb) {
    for number in 0..INCREMENTS {
        let id = format!("user-{}", number % USERS);
        loop {
            let loaded = within(db.load_for_update(&id)).await.unwrap();
            let count = match &loaded {
                Loaded::Present(stored) => count(&stored.record),
                Loaded::Absent(_) => 0,
            };
            match save(&db, &id, &visits(count + 1), loaded.expected()).await {
                Saved::Written(_) => break,
                Saved::Conflict(_) => tokio::task::yield_now().await,
            }
        }
    }
}

pub(crate) fn count(record: &Record) -> u64 {
    record.fields()["user"]["data"]["visits"].as_u64().unwrap()
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn they_lose_no_increment() {
    let (_directory, path) = place();
    let start = |_| {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child"])
            .env(FILE, &path)
            .stdout(Stdio::null())
            .spawn();
        Running(child.unwrap())
    };
    let mut children: Vec<_> = (0..PROCESSES).map(start).collect();
    let since = Instant::now();
    for Running(child) in &mut children {
        let status = loop {
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => assert!(since.elapsed() < LIMIT, "not done in {LIMIT:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(status.success());
    }
    let db = open(&path).await;
    let mut total = 0;
    for user in 0..USERS {
        total += count(&load(&db, &format!("user-{user}")).await.unwrap().record);
    }
    assert_eq!(total, PROCESSES * TASKS * INCREMENTS);
}
