//! A process that dies between the save of the conversation and that of its user.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tower_persistence::{
    Database, Error, Expected, FileDb, Loaded, Record, Saved, VersionedRecord,
};

use super::*;

/// The fate of the first save of a user after that of a conversation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Then {
    /// It fails.
    Fails,
    /// Another process has stored the user meanwhile.
    Conflicts,
    /// The process dies.
    Dies,
}

/// A database in which something happens between the two saves of a turn, once.
#[derive(Clone, Debug)]
pub(super) struct AfterConversation<D> {
    database: D,
    then: Then,
    is_due: Arc<AtomicBool>,
}

impl<D> AfterConversation<D> {
    pub(super) fn new(database: D, then: Then) -> Self {
        Self { database, then, is_due: Arc::new(AtomicBool::new(true)) }
    }
}

impl<D: Database> Database for AfterConversation<D> {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.database.load(id).await
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.database.load_for_update(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        if !id.starts_with("conversation:") && self.is_due.swap(false, Ordering::Relaxed) {
            assert!(self.database.load(LUNCH).await?.is_some(), "the conversation comes first");
            match self.then {
                Then::Fails => return Err(Error::database("the disk is on fire")),
                Then::Dies => std::process::abort(),
                Then::Conflicts => {
                    let theirs = json!({ "user": { "data": { "theirs": true } } });
                    store(&self.database, id, &theirs).await;
                }
            }
        }
        self.database.save(id, record, expected).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.database.delete(id).await
    }
}

const FILE: &str = "CONVERSATION_KILL_FILE";

fn event() -> Value {
    message(Some("anna"), Some("event-1"))
}

/// The process that dies: a test that does nothing unless it is told the file.
#[tokio::test]
async fn child_that_dies_between_the_two_saves() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let database = FileDb::open(file).await.unwrap();
    let layer = layer(AfterConversation::new(database, Then::Dies));
    let _ = send_json(&visits(&layer), &event()).await;
    unreachable!("the save of the user kills this process");
}

#[tokio::test]
async fn a_kill_between_the_two_saves_is_completed_by_the_repeat() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("db.json");
    die(&file);
    let database = FileDb::open(&file).await.unwrap();
    assert_eq!(count(&database).await, json!({ "count": 1 }));
    assert_eq!(stored(&database, "chat:anna").await, None);
    let app = visits(&layer(database.clone()));
    for _ in 0..2 {
        send_json(&app, &event()).await.assert_ok();
        assert_eq!(count(&database).await, json!({ "count": 1 }));
    }
    let anna = stored(&database, "chat:anna").await.unwrap();
    assert!(anna["user"]["data"]["visits"].as_u64() >= Some(1));
}

fn die(file: &Path) {
    let test = "conversations::kill::child_that_dies_between_the_two_saves";
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(FILE, file)
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
}
