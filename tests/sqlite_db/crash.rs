//! A process that is killed at any moment loses nothing that it acknowledged.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::processes::count;
use super::*;

const FILE: &str = "TOWER_PERSISTENCE_SQLITE_CRASH";
const USERS: u64 = 3;
const ROUNDS: u64 = 40;

/// What is killed: as long as it lives, it saves several users at the same time, and prints each
/// count that was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let Ok(path) = std::env::var(FILE) else { return };
    let db = open(path).await;
    let users = (0..USERS).map(|user| tokio::spawn(visit(db.clone(), format!("user-{user}"))));
    for user in users.collect::<Vec<_>>() {
        // It ends after a while also where its parent does not kill it.
        within(user).await.unwrap();
    }
}

async fn visit(db: SqliteDb, user: String) {
    let mut found = load(&db, &user).await;
    loop {
        let (last, over) = match &found {
            Some(stored) => (count(&stored.record), Some(&stored.version)),
            None => (0, None),
        };
        let record = visits(last + 1);
        let version = stored(&db, &user, &record, over).await;
        writeln!(std::io::stdout().lock(), "\nacknowledged {user} {}", last + 1).unwrap();
        found = Some(VersionedRecord { record, version });
    }
}

/// Runs a child, kills it at a random moment, and returns what it acknowledged last.
fn run_and_kill(path: &Path, wait_for_first: bool, random: u64) -> HashMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = HashMap::new();
    let mut note = |line: &str| {
        let Some((user, count)) =
            line.strip_prefix("acknowledged ").and_then(|line| line.split_once(' '))
        else {
            return false;
        };
        acknowledged.insert(user.to_owned(), count.parse().unwrap());
        true
    };
    if wait_for_first {
        lines.by_ref().map_while(Result::ok).find(|line| note(line));
    }
    std::thread::sleep(Duration::from_micros(random % 20_000));
    child.kill().unwrap();
    for line in lines.map_while(Result::ok) {
        note(&line);
    }
    child.wait().unwrap();
    acknowledged
}

#[tokio::test]
async fn killed_at_random_moments_it_loses_no_acknowledged_save() {
    let (_directory, path) = place();
    let random = RandomState::new();
    let mut expected: HashMap<String, u64> = HashMap::new();
    for round in 0..ROUNDS {
        // Some are killed while they start and open the file, most while they write.
        let acknowledged = run_and_kill(&path, round % 4 != 0, random.hash_one(round));
        expected.extend(acknowledged);
        let db = open(&path).await;
        for user in (0..USERS).map(|user| format!("user-{user}")) {
            let found = load(&db, &user).await.map_or(0, |stored| count(&stored.record));
            let last = expected.get(&user).copied().unwrap_or(0);
            // The kill may have come after a commit and before its acknowledgement.
            assert!(
                found == last || found == last + 1,
                "{user}: {found} is stored, {last} expected"
            );
            expected.insert(user, found);
        }
        let connection = sqlite(&path);
        let check = "PRAGMA integrity_check";
        let check: String = connection.query_row(check, [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
        drop(connection);
        within(db.close()).await.unwrap();
    }
    let total: u64 = expected.values().sum();
    assert!(total > ROUNDS, "the children hardly got to work: {total}");
}
