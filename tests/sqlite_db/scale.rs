//! What it costs with many users. Prints and asserts nothing: run it in release mode with
//! `--ignored --nocapture`.

use std::time::Instant;

use super::*;

const SAVES: usize = 2_000;

#[ignore = "measures, and takes minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn by_number_of_users() {
    let (_directory, path) = place();
    within(open(&path).await.close()).await.unwrap();
    let mut filled = 0;
    println!("users, µs to open, µs a save (median, mean), µs a load, saves/s by 64 tasks, RSS");
    for users in [1, 10_000, 100_000, 1_000_000] {
        fill(&path, filled, users);
        filled = users;
        let since = Instant::now();
        let db = SqliteDb::open(&path).await.unwrap();
        let opening = since.elapsed();
        let mut times = Vec::with_capacity(SAVES);
        let mut random = 1_usize;
        let mut loads = Duration::ZERO;
        for _ in 0..SAVES {
            let id = next(&mut random, users);
            let since = Instant::now();
            let found = load(&db, &id).await.unwrap();
            loads += since.elapsed();
            let record = visits(random as u64);
            let since = Instant::now();
            stored(&db, &id, &record, Some(&found.version)).await;
            times.push(since.elapsed());
        }
        let mean = times.iter().sum::<Duration>().as_micros() / SAVES as u128;
        times.sort();
        let together = together(&db, users, random).await;
        println!(
            "{users}, {}, {} {mean}, {}, {together}, {}",
            opening.as_micros(),
            times[SAVES / 2].as_micros(),
            loads.as_micros() / SAVES as u128,
            memory()
        );
        db.close().await.unwrap();
    }
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
fn fill(path: &Path, from: usize, to: usize) {
    let [from, to] = [from, to].map(|users| i64::try_from(users).unwrap());
    let connection = sqlite(path);
    connection
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2) \
             INSERT INTO users SELECT format('amzn1.ask.account.%010d', i), \
             json_object('user', json_object('data', json_object('visits', i, 'text', \
             hex(zeroblob(100))))), i, 1, 1, NULL FROM n",
            [from, to],
        )
        .unwrap();
    connection
        .execute("UPDATE tower_persistence SET last_version = last_version + ?", [to])
        .unwrap();
    number(&connection, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/// The memory of this process, where the system says.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("unknown");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}
