//! A map of JSON values: the least that `MemoryDb` could be.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Mutex;

use serde_json::Value;
use tower_persistence::Record;

use super::{Store, id, visit};

/// A map, with a version beside each record.
#[derive(Debug)]
pub struct Bare(Mutex<HashMap<String, (Value, u64)>>);

impl Bare {
    /// Stores users.
    #[must_use]
    pub fn filled(users: usize, record: &Record) -> Self {
        let record = serde_json::to_value(record).expect("JSON");
        Self(Mutex::new((0..users).map(|user| (id(user), (record.clone(), 1))).collect()))
    }

    fn find(&self, id: &str) -> (Value, u64) {
        self.0.lock().expect("not poisoned").get(id).expect("a user").clone()
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(id));
    }

    async fn visit(&self, id: &str, _: usize) {
        let (mut record, version) = self.find(id);
        visit(&mut record);
        let mut users = self.0.lock().expect("not poisoned");
        let stored = users.get_mut(id).expect("a user");
        assert_eq!(stored.1, version);
        *stored = (record, version + 1);
    }
}
