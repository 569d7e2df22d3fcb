//! `FileDb` and `connect`, through the public interface.
#![cfg(feature = "file")]
// Clippy allows these in test functions, but not in their helpers.
#![allow(clippy::panic, clippy::unwrap_used)]

mod connecting;
mod editing;
mod first_jovo;
mod format;
mod opening;
mod random;
mod saving;
mod sharing;
mod unreadable;
mod untouched;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tower_persistence::{
    Database, Error, Expected, FileDb, Record, Saved, Version, VersionedRecord, connect,
};

/// A file as Jovo v4 writes it, with additional fields at every level and no newline at the end.
const JOVO: &str = r#"[
  {
    "id": "amzn1.ask.account.FIRST",
    "user": {
      "data": {
        "visits": 3,
        "name": "Zoë",
        "empty": {},
        "list": []
      },
      "unknownOfUser": 1
    },
    "session": {
      "id": "s-1",
      "data": {
        "z": 1,
        "a": 2
      },
      "state": [
        {
          "component": "Main",
          "unknownOfState": null
        }
      ],
      "createdAt": "2021-06-30T05:50:04.034Z",
      "updatedAt": "2021-06-30T05:50:04.034Z",
      "_GOOGLE_ASSISTANT_REPROMPTS_": [
        "Hello?"
      ]
    },
    "history": {
      "items": [
        {
          "output": [
            {
              "message": "Hi \"you\" \\ \u0001"
            }
          ],
          "unknownOfItem": 0.5
        }
      ],
      "unknownOfHistory": {
        "deep": [
          1,
          [
            2
          ]
        ]
      }
    },
    "unknown": true,
    "createdAt": "2021-06-30T05:50:04.034Z",
    "updatedAt": "2021-06-30T05:50:04.034Z",
    "last": -9007199254740993
  },
  {
    "id": "second",
    "user": {
      "data": {}
    }
  },
  {
    "id": "third",
    "user": {
      "data": {
        "visits": 7
      }
    }
  }
]"#;

const FIRST: &str = "amzn1.ask.account.FIRST";

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = directory();
    let path = directory.path().join("db.json");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn record(value: Value) -> Record {
    serde_json::from_value(value).unwrap()
}

fn named(name: &str) -> Record {
    record(json!({ "user": { "data": { "name": name } } }))
}

async fn load(db: &impl Database, id: &str) -> VersionedRecord {
    db.load(id).await.unwrap().unwrap()
}

async fn stored(
    db: &impl Database,
    id: &str,
    record: &Record,
    expected: Option<&Version>,
) -> Version {
    match db.save(id, record, Expected::from(expected)).await.unwrap() {
        Saved::Written(version) => version,
        conflict @ Saved::Conflict(_) => panic!("{conflict:?}"),
    }
}

/// Lists a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Joins the message with those of the sources.
fn all(error: &Error) -> String {
    format!("{error:?}")
}
