//! From nothing to the first loaded user.

use std::path::Path;
use std::time::{Duration, Instant};

use measures::databases::{
    Ours, Store, dynamodb, file, fill, id, mongodb, postgres, redis, sqlite,
};
use measures::samples;
use tempfile::tempdir;
use tokio::runtime::Runtime;
use tower_persistence::{Database, FileDb, Record, SqliteDb};

use super::stores::USERS;
use crate::draw;
use crate::stores::server;

/// The milliseconds that each took at best.
struct Starts<'a> {
    runtime: &'a Runtime,
    rounds: usize,
    best: Vec<(String, f64)>,
}

impl Starts<'_> {
    fn ours<D: Database>(&mut self, name: impl Into<String>, open: impl AsyncFn() -> D) {
        self.best(name.into(), async || {
            let began = Instant::now();
            let db = Ours(open().await);
            db.load(&id(0)).await;
            let taken = began.elapsed();
            db.0.close().await.expect("closed");
            taken
        });
    }

    fn bare<S: Store>(&mut self, name: impl Into<String>, open: impl AsyncFn() -> S) {
        self.best(name.into(), async || {
            let began = Instant::now();
            open().await.load(&id(0)).await;
            began.elapsed()
        });
    }

    fn best(&mut self, name: String, start: impl AsyncFn() -> Duration) {
        let taken = (0..self.rounds).map(|_| self.runtime.block_on(start()));
        let best = taken.min().expect("a round").as_secs_f64() * 1e3;
        println!("| {name} | {best:.2} |");
        self.best.push((name, best));
    }
}

pub(super) fn draw(runtime: &Runtime, directory: &Path, rounds: usize) {
    println!("\nfrom nothing to the first load\n\n| | best on the clock, ms |\n| --- | --: |");
    let mut starts = Starts { runtime, rounds, best: Vec::new() };
    let record = samples::record(samples::SIZES[0]);
    for users in [USERS[0], USERS[3]] {
        files(&mut starts, users, &record);
    }
    servers(&mut starts, &record);
    let (title, path) = ("From nothing to the first load", directory.join("cold.svg"));
    draw::logarithmic_bars(&path, title, "ms", &starts.best).expect("a figure");
}

fn files(starts: &mut Starts<'_>, users: usize, record: &Record) {
    let place = tempdir().expect("a directory");
    let [json, ours, bare] =
        ["db.json", "ours.sqlite", "bare.sqlite"].map(|name| place.path().join(name));
    std::fs::write(&json, file::text(users, record)).expect("written");
    sqlite::Bare::open(&bare).fill(users, record);
    starts.runtime.block_on(async {
        let db = SqliteDb::open(&ours).await.expect("a file");
        db.import_file(&json).await.expect("imported");
        db.close().await.expect("closed");
    });
    starts
        .ours(format!("FileDb, users: {users}"), async || FileDb::open(&json).await.expect("open"));
    starts.bare(format!("std::fs, users: {users}"), async || file::Bare::open(&json));
    starts.ours(format!("SqliteDb, users: {users}"), async || {
        SqliteDb::open(&ours).await.expect("open")
    });
    starts.bare(format!("rusqlite, users: {users}"), async || sqlite::Bare::open(&bare));
}

fn servers(starts: &mut Starts<'_>, record: &Record) {
    let runtime = starts.runtime;
    if let Some(url) = server("POSTGRES_URL") {
        runtime.block_on(async {
            let bare = postgres::Bare::open(&url);
            bare.clear().await;
            bare.fill(1, record).await;
            fill(&postgres::database(&url).await, 1, record).await;
        });
        starts.ours("PostgresDb", async || postgres::database(&url).await);
        starts.bare("tokio-postgres", async || postgres::Bare::open(&url));
    }
    if let Some(url) = server("REDIS_URL") {
        runtime.block_on(async {
            let bare = redis::Bare::open(&url).await;
            bare.clear().await;
            bare.fill(1, record).await;
            fill(&redis::database(&url).await, 1, record).await;
        });
        starts.ours("RedisDb", async || redis::database(&url).await);
        starts.bare("redis", async || redis::Bare::open(&url).await);
    }
    starts.ours("DynamoDb, without network", async || dynamodb::database(record).await);
    starts.bare("aws-sdk-dynamodb, without network", async || dynamodb::Bare::new(record));
    let uri = mongodb::serve(record);
    starts.ours("MongoDb, without storage", async || mongodb::database(&uri).await);
    starts.bare("mongodb, without storage", async || mongodb::Bare::open(&uri).await);
}
