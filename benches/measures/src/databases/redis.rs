//! `RedisDb` beside `redis`, over a server that is given.

use std::fmt;
use std::hint::black_box;

use redis::aio::MultiplexedConnection;
use redis::{Client, Script, cmd, pipe};
use serde_json::Value;
use tower_persistence::{Record, RedisDb};

use super::{Store, id, visit};

const OURS: &str = "measures:";
const BARE: &str = "measures-bare:";

/// Users that one message stores.
const BATCH: usize = 1_000;

/// Compares and writes in one step. Returns whether it wrote.
const SAVE: &str = r"
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'record', ARGV[3])
return 1
";

/// Opens the database on keys for measures.
pub async fn database(url: &str) -> RedisDb {
    RedisDb::builder().url(url).prefix(OURS).connect().await.expect("a URL")
}

/// A connection that is shared by concurrent calls.
#[derive(Clone)]
pub struct Bare {
    connection: MultiplexedConnection,
    save: Script,
}

impl Bare {
    /// Connects.
    pub async fn open(url: &str) -> Self {
        let client = Client::open(url).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await.expect("a connection");
        Self { connection, save: Script::new(SAVE) }
    }

    /// Removes the keys of both.
    pub async fn clear(&self) {
        let mut connection = self.connection.clone();
        let mut cursor = 0;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg("measures*").arg("COUNT").arg(BATCH);
            let (next, keys): (u64, Vec<String>) =
                scan.query_async(&mut connection).await.expect("keys");
            if !keys.is_empty() {
                let deleted = cmd("DEL").arg(keys).query_async::<()>(&mut connection).await;
                deleted.expect("deleted");
            }
            cursor = next;
            if cursor == 0 {
                return;
            }
        }
    }

    /// Stores users.
    pub async fn fill(&self, users: usize, record: &Record) {
        let record = serde_json::to_string(record).expect("JSON");
        for begin in (0..users).step_by(BATCH) {
            let mut batch = pipe();
            for user in begin..users.min(begin + BATCH) {
                let key = format!("{BARE}{}", id(user));
                batch.cmd("HSET").arg(key).arg("version").arg(1).arg("record").arg(&record);
            }
            let mut connection = self.connection.clone();
            batch.query_async::<()>(&mut connection).await.expect("stored");
        }
    }

    async fn find(&self, key: &str) -> (Value, u64) {
        let mut connection = self.connection.clone();
        let mut load = cmd("HMGET");
        load.arg(key).arg("version").arg("record");
        let (version, text): (u64, Vec<u8>) =
            load.query_async(&mut connection).await.expect("a record");
        (serde_json::from_slice(&text).expect("JSON"), version)
    }
}

impl fmt::Debug for Bare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bare").finish_non_exhaustive()
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(&format!("{BARE}{id}")).await);
    }

    async fn visit(&self, id: &str, _: usize) {
        let key = format!("{BARE}{id}");
        let (mut record, version) = self.find(&key).await;
        visit(&mut record);
        let mut save = self.save.key(key);
        save.arg(version).arg(version + 1).arg(record.to_string());
        let mut connection = self.connection.clone();
        let written: i64 = save.invoke_async(&mut connection).await.expect("an answer");
        assert_eq!(written, 1);
    }
}
