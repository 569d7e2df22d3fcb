//! `FileDb` opens any file, or leaves it as it is; and what it opens it keeps through a save.

#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_persistence::{Database, Expected, FileDb, Record, Saved};

const NEW_USER: &str = "a user that no seed holds";

fuzz_target!(|text: &[u8]| {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db.json");
    fs::write(&path, text).expect("a file");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(run(&path, text));
});

async fn run(path: &Path, text: &[u8]) {
    let Ok(db) = FileDb::open(path).await else {
        assert_eq!(fs::read(path).expect("the file"), text, "it is left as it was");
        return;
    };
    let ids = ids(text);
    let mut records = Vec::new();
    for id in &ids {
        records.push(load(&db, id).await);
    }
    let saved = db.save(NEW_USER, &Record::default(), Expected::Absent).await;
    db.close().await.expect("it closes");
    match saved {
        Ok(Saved::Written(_)) => {}
        // It is there already.
        Ok(Saved::Conflict(_)) => return,
        Err(error) => panic!("{error:?}"),
    }

    let db = FileDb::open(path).await.expect("it opens what it wrote");
    assert!(db.load(NEW_USER).await.expect("it is readable").is_some());
    for (id, record) in ids.iter().zip(records) {
        assert_eq!(load(&db, id).await, record);
    }
}

/// `None` where the record is absent or cannot be read.
async fn load(db: &FileDb, id: &str) -> Option<String> {
    let stored = db.load(id).await.ok()??;
    Some(serde_json::to_string(&stored.record).expect("JSON"))
}

/// Reads the ids of some users.
fn ids(text: &[u8]) -> Vec<String> {
    let users: Vec<Value> = serde_json::from_slice(text).unwrap_or_default();
    let ids =
        users.iter().take(8).filter_map(|user| user["id"].as_str().or(user["userId"].as_str()));
    ids.map(str::to_owned).collect()
}
