//! The databases and their bare clients, opened and filled, as subjects.

use std::path::Path;
use std::rc::Rc;

use measures::databases::{
    Ours, Store, dynamodb, file, fill, id, memory, mongodb, postgres, redis, sqlite,
};
use measures::samples;
use tokio::runtime::Runtime;
use tower_persistence::{FileDb, MemoryDb, Record, SqliteDb};

use crate::measure::Subject;

/// The work of a subject.
pub(crate) const LOAD: &str = "load";
pub(crate) const VISIT: &str = "load and save";

/// A prime number: with it the users, a power of ten, are visited in an order that no cache has
/// foreseen, each once in a cycle.
const STRIDE: usize = 7_919;

/// The data to store, and its place.
pub(crate) struct Place<'a> {
    pub(crate) runtime: &'a Runtime,
    /// An empty directory.
    pub(crate) directory: &'a Path,
    pub(crate) users: usize,
    /// The size of each record.
    pub(crate) bytes: usize,
}

/// A database together with its bare client.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) bare: &'static str,
    /// Opens and fills both. Empty without their server.
    pub(crate) open: for<'a> fn(&Place<'a>) -> Vec<Subject<'a>>,
}

pub(crate) const PAIRS: [Pair; 7] = [
    Pair { name: "MemoryDb", bare: "HashMap", open: memory_db },
    Pair { name: "FileDb", bare: "std::fs", open: file_db },
    Pair { name: "SqliteDb", bare: "rusqlite", open: sqlite_db },
    Pair { name: "PostgresDb", bare: "tokio-postgres", open: postgres_db },
    Pair { name: "RedisDb", bare: "redis", open: redis_db },
    Pair { name: "DynamoDb", bare: "aws-sdk-dynamodb", open: dynamo_db },
    Pair { name: "MongoDb", bare: "mongodb", open: mongo_db },
];

/// Opens and fills all databases and their clients.
pub(crate) fn open_all<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    PAIRS.iter().flat_map(|pair| (pair.open)(place)).collect()
}

/// Returns the URL of a server, or says that there is none.
pub(crate) fn server(variable: &str) -> Option<String> {
    let url = std::env::var(variable).ok();
    if url.is_none() {
        eprintln!("left out: {variable} is not set");
    }
    url
}

impl<'a> Place<'a> {
    fn record(&self) -> Record {
        samples::record(self.bytes)
    }

    /// Makes the two subjects of a store.
    fn subjects(&self, group: &str, name: &str, store: impl Store + 'a) -> Vec<Subject<'a>> {
        let (runtime, users, store) = (self.runtime, self.users, Rc::new(store));
        let visitor = |first: usize| (first..).map(move |number| (number * STRIDE % users, number));
        let (loading, mut loads) = (Rc::clone(&store), visitor(0));
        let loads = Subject::new(group, &format!("{name}: {LOAD}"), move |count| {
            runtime.block_on(async {
                for (user, _) in loads.by_ref().take(count) {
                    loading.load(&id(user)).await;
                }
            });
        });
        let mut visits = visitor(0);
        let visits = Subject::new(group, &format!("{name}: {VISIT}"), move |count| {
            runtime.block_on(async {
                for (user, number) in visits.by_ref().take(count) {
                    store.visit(&id(user), number / users).await;
                }
            });
        });
        vec![loads, visits]
    }

    fn bare(&self, group: &str, name: &str, store: impl Store + 'a) -> Vec<Subject<'a>> {
        let subjects = self.subjects(group, name, store);
        subjects.into_iter().map(Subject::yardstick).collect()
    }
}

fn memory_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let (db, record) = (MemoryDb::new(), place.record());
    place.runtime.block_on(fill(&db, place.users, &record));
    let mut subjects = place.subjects("MemoryDb", "MemoryDb", Ours(db));
    let bare = memory::Bare::filled(place.users, &record);
    subjects.extend(place.bare("MemoryDb", "HashMap", bare));
    subjects
}

fn file_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let text = file::text(place.users, &place.record());
    let [ours, bare] = ["db.json", "bare.json"].map(|name| {
        let path = place.directory.join(name);
        std::fs::write(&path, &text).expect("written");
        path
    });
    let db = place.runtime.block_on(FileDb::open(&ours)).expect("a file");
    let mut subjects = place.subjects("FileDb", "FileDb", Ours(db));
    subjects.extend(place.bare("FileDb", "std::fs", file::Bare::open(&bare)));
    subjects
}

fn sqlite_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let json = place.directory.join("users.json");
    std::fs::write(&json, file::text(place.users, &place.record())).expect("written");
    let db = place.runtime.block_on(async {
        let path = place.directory.join("ours.sqlite");
        let db = SqliteDb::open(path).await.expect("a file");
        db.import_file(&json).await.expect("imported");
        db
    });
    let mut subjects = place.subjects("SqliteDb", "SqliteDb", Ours(db));
    let bare = sqlite::Bare::open(&place.directory.join("bare.sqlite"));
    bare.fill(place.users, &place.record());
    subjects.extend(place.bare("SqliteDb", "rusqlite", bare));
    subjects
}

fn postgres_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let Some(url) = server("POSTGRES_URL") else { return Vec::new() };
    let bare = postgres::Bare::open(&url);
    let db = place.runtime.block_on(async {
        let (db, record) = (postgres::database(&url).await, place.record());
        bare.clear().await;
        bare.fill(place.users, &record).await;
        fill(&db, place.users, &record).await;
        db
    });
    let mut subjects = place.subjects("PostgresDb", "PostgresDb", Ours(db));
    subjects.extend(place.bare("PostgresDb", "tokio-postgres", bare.clone()));
    let prepared = "tokio-postgres, prepared";
    subjects.extend(place.bare("PostgresDb", prepared, bare.prepared()));
    subjects
}

fn redis_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let Some(url) = server("REDIS_URL") else { return Vec::new() };
    let (db, bare) = place.runtime.block_on(async {
        let (db, record) = (redis::database(&url).await, place.record());
        let bare = redis::Bare::open(&url).await;
        bare.clear().await;
        bare.fill(place.users, &record).await;
        fill(&db, place.users, &record).await;
        (db, bare)
    });
    let mut subjects = place.subjects("RedisDb", "RedisDb", Ours(db));
    subjects.extend(place.bare("RedisDb", "redis", bare));
    subjects
}

fn dynamo_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let record = place.record();
    let db = place.runtime.block_on(dynamodb::database(&record));
    let mut subjects = place.subjects("DynamoDb", "DynamoDb", Ours(db));
    subjects.extend(place.bare("DynamoDb", "aws-sdk-dynamodb", dynamodb::Bare::new(&record)));
    subjects
}

fn mongo_db<'a>(place: &Place<'a>) -> Vec<Subject<'a>> {
    let uri = mongodb::serve(&place.record());
    let (db, bare) = place
        .runtime
        .block_on(async { (mongodb::database(&uri).await, mongodb::Bare::open(&uri).await) });
    let mut subjects = place.subjects("MongoDb", "MongoDb", Ours(db));
    subjects.extend(place.bare("MongoDb", "mongodb", bare));
    subjects
}
