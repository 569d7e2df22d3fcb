//! Servers that refuse what they are asked: each error names a remedy.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tower_persistence::{Database, Expected, RedisDb};
use tracing_subscriber::fmt::MakeWriter;

use super::{Place, all, load, record, save, visits};
use crate::process::Server;

pub(crate) async fn a_user_with_too_few_rights(place: Place) {
    let (user, rule) = (place.prefix.replace(':', "-"), format!("~{}*", place.prefix));
    let url = place.url.replacen("://", &format!("://{user}:SECRET@"), 1);
    let connect = async |url: &str| place.builder().url(url).connect().await.unwrap();
    let mut rules = vec!["ACL", "SETUSER", &user, "on", ">SECRET", &rule];
    rules.extend(["+hmget", "+hget", "+hexists", "+hset", "+exists", "+persist"]);
    rules.extend(["+hkeys", "+hdel", "+pexpire", "+eval", "+evalsha"]);
    place.ask::<()>(&rules).await;
    // These rights are enough, also to be ready.
    let db = connect(&url).await;
    db.ensure_ready().await.unwrap();
    let version = save(&db, "anna", &visits(1), None).await;
    db.delete("bert").await.unwrap();
    load(&db, "anna").await;

    place.ask::<()>(&["ACL", "SETUSER", &user, "-evalsha", "-eval"]).await;
    let saved = db.save("anna", &visits(2), Expected::Version(&version)).await;
    let error = saved.unwrap_err();
    assert!(all(&error).contains("+evalsha") && !all(&error).contains("SECRET"), "{error:?}");
    assert!(!all(&error).contains(&user), "{error:?}");
    place.ask::<()>(&["ACL", "SETUSER", &user, "-hmget"]).await;
    assert!(all(&db.load("anna").await.unwrap_err()).contains("+hmget"));
    place.ask::<()>(&["ACL", "DELUSER", &user]).await;
}

pub(crate) async fn passwords(server: Server) {
    let place = Place::new(server.endpoint()).await;
    place.ask::<()>(&["CONFIG", "SET", "requirepass", "SECRET"]).await;
    for (user, expected) in [
        ("", "asks for a password"),
        (":SECRE@", "does not accept"),
        ("anna:SECRE@", "does not accept"),
    ] {
        let url = place.url.replacen("://", &format!("://{user}"), 1);
        let db = place.builder().url(url).connect().await.unwrap();
        let error = db.load("anna").await.unwrap_err();
        assert!(all(&error).contains(expected) && !all(&error).contains("SECRE"), "{error:?}");
    }
    let url = place.url.replacen("://", "://:SECRET@", 1);
    let db = place.builder().url(url).connect().await.unwrap();
    assert_eq!(db.load("anna").await.unwrap(), None);
}

pub(crate) async fn a_server_without_memory(server: Server) {
    let place = Place::new(server.endpoint()).await;
    let db = place.db().await;
    let version = save(&db, "anna", &visits(1), None).await;
    place.ask::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let large = record(json!({ "user": { "data": { "text": "x".repeat(100_000) } } }));
    for expected in [Expected::Version(&version), Expected::Absent] {
        let id = if expected.version().is_some() { "anna" } else { "bert" };
        let error = db.save(id, &large, expected).await.unwrap_err();
        assert!(all(&error).contains("`maxmemory`"), "{error:?}");
    }
    assert_eq!(load(&db, "anna").await.record, visits(1), "nothing was stored");
    // Users can be deleted all the same.
    db.delete("anna").await.unwrap();
    assert_eq!(db.load("anna").await.unwrap(), None);
    place.ask::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    save(&db, "bert", &large, None).await;
}

pub(crate) async fn a_server_that_cannot_write_its_disk(server: Server) {
    let place = Place::new(server.endpoint()).await;
    let db = place.db().await;
    save(&db, "anna", &visits(1), None).await;
    // A snapshot that fails has the same effect as a full disk.
    place.ask::<()>(&["CONFIG", "SET", "save", "1 1"]).await;
    let directory: Vec<String> = place.ask(&["CONFIG", "GET", "dir"]).await;
    // A directory in its place cannot be replaced by a file.
    let in_the_way = Path::new(&directory[1]).join("dump.rdb/in-the-way");
    std::fs::create_dir_all(in_the_way).unwrap();
    place.ask::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"]).await;
    place.ask::<()>(&["BGSAVE"]).await;
    let error = refused_later(&db).await;
    assert!(all(&error).contains("disk"), "{error:?}");
    load(&db, "anna").await;
}

/// Saves until the server refuses it.
async fn refused_later(db: &RedisDb) -> tower_persistence::Error {
    for _ in 0..600 {
        let over = load(db, "anna").await.version;
        if let Err(error) = db.save("anna", &visits(1), Expected::Version(&over)).await {
            return error;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it is not refused");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

pub(crate) async fn settings_that_lose_users_are_warned_of(server: Server) {
    let place = Place::new(server.endpoint()).await;
    place.ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    place.ask::<()>(&["CONFIG", "SET", "maxmemory", "100mb"]).await;
    place.ask::<()>(&["CONFIG", "SET", "appendonly", "no"]).await;
    let (log, url) = (Log::default(), place.url.clone());
    let writes = log.clone();
    // The log of a thread: other tests write theirs at the same time.
    let thread = std::thread::spawn(move || {
        let subscriber = tracing_subscriber::fmt().with_writer(writes).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_all().build().unwrap().block_on(async {
                let db = RedisDb::connect(url).await.unwrap();
                for _ in 0..50 {
                    db.ensure_ready().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        });
    });
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for warning in ["maxmemory-policy noeviction", "appendonly yes"] {
        assert_eq!(log.matches(warning).count(), 1, "{log}");
    }
}
