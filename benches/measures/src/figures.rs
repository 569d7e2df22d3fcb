//! The figures of `README.md`.

use std::path::Path;
use std::time::Instant;

use measures::databases::{dynamodb, mongodb, prepare, round, save_over, sqlite};
use measures::{layer, samples};
use tempfile::tempdir;
use tokio::runtime::{Builder, Runtime};
use tower::{Service, ServiceExt};
use tower_persistence::{Database, Expected, FileDb, MemoryDb, Record, SqliteDb};

use crate::draw::{self, Line};
use crate::measure::{Measured, Subject, in_turns};

/// The sizes of the databases, in users.
const USERS: [usize; 4] = [1, 100, 10_000, 100_000];

/// Measures everything, and draws into `directory`.
pub(crate) fn all(directory: &Path, rounds: usize) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    layer(&runtime, directory, rounds);
    sizes(&runtime, directory, rounds);
    users(&runtime, directory, rounds);
    cold_starts(&runtime);
}

fn print(title: &str, measured: &[Measured]) {
    println!("\n{title}\n\n| | CPU, µs | best wall-clock, µs |\n| --- | --- | --- |");
    for Measured { name, cpu, wall } in measured {
        println!("| {name} | {cpu:.2} | {wall:.2} |");
    }
}

fn bars(directory: &Path, file: &str, title: &str, measured: &[Measured]) {
    let values: Vec<_> = measured.iter().map(|one| (one.name.clone(), one.cpu)).collect();
    draw::bars(&directory.join(file), title, "µs of CPU", &values).expect("a figure");
}

/// Identity, and the whole layer, each beside its yardsticks.
fn layer(runtime: &Runtime, directory: &Path, rounds: usize) {
    let (head, body) = (layer::head(), samples::alexa(0));
    let subjects = vec![
        Subject::new("a borrowed serde struct", |count| {
            (0..count).for_each(|_| layer::identity_borrowed(&body));
        }),
        Subject::new("PlatformRequest and Alexa", |count| {
            (0..count).for_each(|_| layer::identity_platform(&head, &body));
        }),
    ];
    let identity = in_turns(subjects, rounds);
    print("identity of an Alexa request", &identity);
    bars(directory, "identity.svg", "Identity of an Alexa request of 3 KB", &identity);

    let subjects = runtime.block_on(layer::subjects());
    let body = &subjects.body;
    let subjects = subjects.all.into_iter().map(|(name, mut service, cookie)| {
        Subject::new(name, move |count| {
            let requests: Vec<_> =
                (0..count).map(|_| layer::post(body, cookie.as_deref())).collect();
            runtime.block_on(async {
                for request in requests {
                    let ready = service.ready().await.expect("ready");
                    ready.call(request).await.expect("a response");
                }
            });
        })
    });
    let layer = in_turns(subjects.collect(), rounds);
    print("a request through the service", &layer);
    bars(directory, "layer.svg", "A request of 3 KB, without network", &layer);
}

/// One load and one save on each database by the size of the record, beside the bare client.
fn sizes(runtime: &Runtime, directory: &Path, rounds: usize) {
    let mut lines: Vec<Line> = Vec::new();
    for bytes in samples::SIZES {
        let record = samples::record(bytes);
        let visited = samples::visited(&record);
        let places = tempdir().expect("a directory");
        let client = dynamodb::client(&record);
        let uri = mongodb::serve(&record);
        let (dynamo, mongo, collection, sqlite, file) = runtime.block_on(async {
            let sqlite = sqlite::database(&places.path().join("ours.sqlite")).await;
            let file = FileDb::open(places.path().join("db.json")).await.expect("a file");
            prepare(&sqlite, bytes).await;
            prepare(&file, bytes).await;
            let mongo = mongodb::database(&uri).await;
            (dynamodb::database(&record).await, mongo, mongodb::client(&uri).await, sqlite, file)
        });
        let connection = sqlite::client(&places.path().join("bare.sqlite"), bytes);
        let subjects = vec![
            Subject::new("aws-sdk-dynamodb", |count| {
                runtime.block_on(async {
                    for _ in 0..count {
                        dynamodb::bare(&client).await;
                    }
                });
            }),
            saves_of(runtime, "DynamoDb", &dynamo, &visited),
            Subject::new("mongodb", |count| {
                runtime.block_on(async {
                    for _ in 0..count {
                        mongodb::bare(&collection).await;
                    }
                });
            }),
            saves_of(runtime, "MongoDb", &mongo, &visited),
            Subject::new("rusqlite", |count| (0..count).for_each(|_| sqlite::bare(&connection))),
            rounds_of(runtime, "SqliteDb", &sqlite),
            rounds_of(runtime, "FileDb", &file),
        ];
        let measured = in_turns(subjects, rounds);
        print(&format!("one load and one save, {bytes} bytes"), &measured);
        for one in measured {
            let is_yardstick = one.name.chars().all(char::is_lowercase) || one.name.contains('-');
            // A file is synced by another thread, so its time is that on the clock.
            let is_synced = ["rusqlite", "SqliteDb", "FileDb"].contains(&one.name.as_str());
            let time = if is_synced { one.wall } else { one.cpu };
            add(&mut lines, one.name, is_yardstick, (bytes as f64, time));
        }
    }
    let axes = ["bytes of a record", "µs"];
    let title = "One load and one save";
    draw::lines(&directory.join("sizes.svg"), title, axes, &lines).expect("a figure");
}

fn rounds_of<'a, D: Database>(runtime: &'a Runtime, name: &str, db: &'a D) -> Subject<'a> {
    Subject::new(name, move |count| {
        runtime.block_on(async {
            for _ in 0..count {
                round(db).await;
            }
        });
    })
}

fn saves_of<'a, D: Database>(
    runtime: &'a Runtime,
    name: &str,
    db: &'a D,
    record: &'a Record,
) -> Subject<'a> {
    Subject::new(name, move |count| {
        runtime.block_on(async {
            for _ in 0..count {
                save_over(db, record).await;
            }
        });
    })
}

fn add(lines: &mut Vec<Line>, name: String, is_yardstick: bool, point: (f64, f64)) {
    match lines.iter_mut().find(|line| line.name == name) {
        Some(line) => line.points.push(point),
        None => lines.push(Line { name, points: vec![point], is_yardstick }),
    }
}

/// A load, and a load with a save, on the embedded databases by the number of users.
fn users(runtime: &Runtime, directory: &Path, rounds: usize) {
    let mut lines: Vec<Line> = Vec::new();
    for users in USERS {
        let places = tempdir().expect("a directory");
        let json = places.path().join("db.json");
        std::fs::write(&json, file_of(users)).expect("written");
        let (memory, file, sqlite) = runtime.block_on(async {
            let memory = MemoryDb::new();
            let record = samples::record(samples::SIZES[0]);
            for user in 1..users {
                let id = format!("user-{user}");
                memory.save(&id, &record, Expected::Absent).await.expect("saved");
            }
            let sqlite = SqliteDb::open(places.path().join("users.sqlite")).await.expect("a file");
            sqlite.import_file(&json).await.expect("imported");
            let file = FileDb::open(&json).await.expect("a file");
            prepare(&memory, samples::SIZES[0]).await;
            prepare(&sqlite, samples::SIZES[0]).await;
            prepare(&file, samples::SIZES[0]).await;
            (memory, file, sqlite)
        });
        let subjects = vec![
            loads_of(runtime, "MemoryDb, load", &memory),
            loads_of(runtime, "SqliteDb, load", &sqlite),
            loads_of(runtime, "FileDb, load", &file),
            rounds_of(runtime, "MemoryDb, load and save", &memory),
            rounds_of(runtime, "SqliteDb, load and save", &sqlite),
            rounds_of(runtime, "FileDb, load and save", &file),
        ];
        let measured = in_turns(subjects, rounds.min(10));
        print(&format!("{users} users"), &measured);
        for one in measured {
            let is_load = one.name.ends_with("load");
            add(&mut lines, one.name, is_load, (users as f64, one.wall));
        }
    }
    let axes = ["users", "µs"];
    let title = "By the number of users, records of 181 bytes";
    draw::lines(&directory.join("users.svg"), title, axes, &lines).expect("a figure");
}

fn loads_of<'a, D: Database>(runtime: &'a Runtime, name: &str, db: &'a D) -> Subject<'a> {
    Subject::new(name, move |count| {
        runtime.block_on(async {
            for _ in 0..count {
                let loaded = db.load_for_update(measures::databases::USER).await.expect("loaded");
                assert!(loaded.into_record().is_some());
            }
        });
    })
}

/// Makes a `db.json` with one user less than this many.
fn file_of(users: usize) -> String {
    let record = serde_json::to_value(samples::record(samples::SIZES[0])).expect("JSON");
    let users = (1..users).map(|user| {
        let mut record = record.clone();
        record["id"] = format!("user-{user}").into();
        record.to_string()
    });
    format!("[{}]", users.collect::<Vec<_>>().join(","))
}

/// The time from nothing to the first loaded user.
fn cold_starts(runtime: &Runtime) {
    println!("\nfrom nothing to the first load\n\n| | ms |\n| --- | --- |");
    let places = tempdir().expect("a directory");
    for users in USERS {
        let json = places.path().join(format!("{users}.json"));
        let path = places.path().join(format!("{users}.sqlite"));
        std::fs::write(&json, file_of(users)).expect("written");
        runtime.block_on(async {
            let db = SqliteDb::open(&path).await.expect("a file");
            db.import_file(&json).await.expect("imported");
            db.close().await.expect("closed");
        });
        cold_start(runtime, &format!("SqliteDb, {users} users"), || SqliteDb::open(&path));
        cold_start(runtime, &format!("FileDb, {users} users"), || FileDb::open(&json));
    }
    let record = samples::record(samples::SIZES[0]);
    let uri = mongodb::serve(&record);
    let opened = || async { Ok::<_, tower_persistence::Error>(dynamodb::database(&record).await) };
    cold_start(runtime, "DynamoDb, without network", opened);
    let opened = || async { Ok::<_, tower_persistence::Error>(mongodb::database(&uri).await) };
    cold_start(runtime, "MongoDb, on the same machine", opened);
}

fn cold_start<D: Database, E: std::fmt::Debug, F: Future<Output = Result<D, E>>>(
    runtime: &Runtime,
    name: &str,
    open: impl Fn() -> F,
) {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let began = Instant::now();
        runtime.block_on(async {
            let db = open().await.expect("a database");
            db.load("user-1").await.expect("loaded");
            best = best.min(began.elapsed().as_secs_f64() * 1e3);
            db.close().await.expect("closed");
        });
    }
    println!("| {name} | {best:.2} |");
}
