//! Many tasks, one file: no acknowledged write is lost.

use std::path::Path;

use tempfile::TempDir;
use tower_persistence::{FileDb, PersistenceLayer};

use crate::common::*;

const TASKS: usize = 16;
const INCREMENTS: usize = 1000;

/// Returns a directory in memory, if the system has one. These tests are about counting, and each
/// of the 16,000 saves of one user would wait for the disk twice; `file_db_crash.rs` covers the
/// state of the disk after a killed process.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

async fn count_over(users: usize) {
    let directory = directory();
    let path = directory.path().join("db.json");
    let db = FileDb::open(&path).await.unwrap();
    let layer = PersistenceLayer::new(db.clone());
    let app = sync_app(&layer, |user, _, _| user.increment("count", 1).map(drop));
    let tasks = (0..TASKS).map(|number| {
        let (app, body) = (app.clone(), alexa(&format!("user-{}", number % users)).to_string());
        tokio::spawn(async move {
            for _ in 0..INCREMENTS {
                send(&app, post(body.clone())).await.assert_ok();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    drop((app, layer, db));
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let counts: Vec<_> =
        file.as_array().unwrap().iter().map(|item| &item["user"]["data"]["count"]).collect();
    assert_eq!(counts, vec![TASKS / users * INCREMENTS; users]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_tasks_count_for_one_user() {
    count_over(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_tasks_count_for_a_user_each() {
    count_over(16).await;
}
