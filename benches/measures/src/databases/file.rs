//! A map in a JSON file: the least that `FileDb` could be. As Jovo's, it holds all users in memory,
//! and each save writes the whole file, here durably.

use std::collections::HashMap;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::Value;
use tower_persistence::Record;

use super::{Store, id, visit};

/// Makes the text of a `db.json`.
#[must_use]
pub fn text(users: usize, record: &Record) -> String {
    let mut record = serde_json::to_value(record).expect("JSON");
    let users = (0..users).map(|user| {
        record["id"] = id(user).into();
        record.to_string()
    });
    format!("[{}]", users.collect::<Vec<_>>().join(","))
}

/// The users of a file.
#[derive(Debug)]
pub struct Bare {
    path: PathBuf,
    users: Mutex<(Vec<Value>, HashMap<String, usize>)>,
}

impl Bare {
    /// Reads a file.
    #[must_use]
    pub fn open(path: &Path) -> Self {
        let file = BufReader::new(File::open(path).expect("a file"));
        let records: Vec<Value> = serde_json::from_reader(file).expect("JSON");
        let ids = records.iter().map(|record| record["id"].as_str().expect("an id").to_owned());
        let places = ids.enumerate().map(|(place, id)| (id, place)).collect();
        Self { path: path.to_owned(), users: Mutex::new((records, places)) }
    }

    fn find(&self, id: &str) -> Value {
        let users = self.users.lock().expect("not poisoned");
        users.0[users.1[id]].clone()
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(id));
    }

    async fn visit(&self, id: &str, _: usize) {
        let mut record = self.find(id);
        visit(&mut record);
        let mut users = self.users.lock().expect("not poisoned");
        let place = users.1[id];
        users.0[place] = record;
        let text = serde_json::to_vec(&users.0).expect("JSON");
        let next = self.path.with_extension("next");
        let mut file = File::create(&next).expect("a file");
        file.write_all(&text).expect("written");
        file.sync_all().expect("synced");
        fs::rename(&next, &self.path).expect("renamed");
        let directory = self.path.parent().expect("a directory");
        File::open(directory).and_then(|directory| directory.sync_all()).expect("synced");
    }
}
