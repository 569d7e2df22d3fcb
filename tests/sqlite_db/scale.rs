//! What it costs with many users. Prints and asserts nothing: run it in release mode with
//! `--ignored --nocapture`.

use std::time::Instant;

use super::*;

const SAVES: usize = 2_000;

#[ignore = "measures, and takes a minute"]
#[tokio::test(flavor = "multi_thread")]
async fn by_number_of_users() {
    let mut measured = Vec::new();
    for users in [1, 10_000, 100_000, 1_000_000] {
        let (directory, path) = place();
        within(open(&path).await.close()).await.unwrap();
        fill(&path, users);
        let before = memory();
        let since = Instant::now();
        let db = SqliteDb::open(&path).await.unwrap();
        println!("{users} users: opened in {} µs, {before} before", since.elapsed().as_micros());
        measured.push((users, db, Vec::new(), Vec::new(), directory));
    }
    let mut random = 1_usize;
    // In turn, since the disk has good and bad moments.
    for _ in 0..SAVES {
        for (users, db, loads, saves, _) in &mut measured {
            let id = next(&mut random, *users);
            let since = Instant::now();
            let found = load(db, &id).await.unwrap();
            loads.push(since.elapsed());
            let mut fields = found.record.fields().clone();
            fields["user"]["data"]["visits"] = json!(random);
            let since = Instant::now();
            stored(db, &id, &Record::new(fields), Some(&found.version)).await;
            saves.push(since.elapsed());
        }
    }
    for (users, db, loads, saves, _) in &mut measured {
        let (load, save) = (times(loads), times(saves));
        let together = together(db, *users, random).await;
        println!("{users} users: load {load}; save {save}; {together} saves a second by 64 tasks");
    }
    println!("{} in the end, for all of them", memory());
}

fn times(times: &mut [Duration]) -> String {
    times.sort();
    let mean = times.iter().sum::<Duration>().as_micros() / times.len() as u128;
    let median = times[times.len() / 2].as_micros();
    format!("{median} µs (median), {mean} µs (mean)")
}

fn next(random: &mut usize, users: usize) -> String {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    format!("amzn1.ask.account.{:010}", (*random >> 33) % users)
}

async fn together(db: &SqliteDb, users: usize, random: usize) -> u128 {
    let since = Instant::now();
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let (db, mut random) = (db.clone(), random.wrapping_add(task));
            tokio::spawn(async move {
                for _ in 0..SAVES / 64 {
                    let id = next(&mut random, users);
                    let found = load(&db, &id).await.unwrap();
                    save(&db, &id, &found.record, Expected::Version(&found.version)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    (SAVES / 64 * 64) as u128 * 1_000_000 / since.elapsed().as_micros()
}

/// Writes the rows of users in SQL, since it is not their saves that are measured.
fn fill(path: &Path, users: usize) {
    let users = i64::try_from(users).unwrap();
    let connection = sqlite(path);
    connection
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?) \
             INSERT INTO users SELECT format('amzn1.ask.account.%010d', i), \
             json_object('user', json_object('data', json_object('visits', i, 'text', \
             hex(zeroblob(100))))), i, 1, 1, NULL FROM n",
            [users],
        )
        .unwrap();
    connection
        .execute("UPDATE tower_persistence SET last_version = last_version + ?", [users])
        .unwrap();
    number(&connection, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/// The memory of this process, where the system says.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("unknown");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}
