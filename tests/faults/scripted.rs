//! The effect of each fault.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use tower_persistence::testing::{Fault, Faulty, InjectedFault, Operation, Rates, conformance};
use tower_persistence::{Database, Expected, MemoryDb, Record, Saved, Version, VersionedRecord};

const USER: &str = "user-1";

fn record(number: u64) -> Record {
    serde_json::from_value(json!({ "user": { "data": { "number": number } } })).unwrap()
}

async fn store(database: &impl Database, number: u64, over: Option<&Version>) -> Version {
    match database.save(USER, &record(number), Expected::from(over)).await.unwrap() {
        Saved::Written(version) => version,
        conflict => panic!("{conflict:?}"),
    }
}

async fn current(database: &Faulty<MemoryDb>) -> VersionedRecord {
    database.inner().load(USER).await.unwrap().unwrap()
}

fn faulty(script: impl IntoIterator<Item = Fault>) -> Faulty<MemoryDb> {
    let database = Faulty::new(MemoryDb::new());
    database.script(script);
    database
}

#[tokio::test]
async fn without_faults_it_is_the_database() {
    let database = Faulty::new(MemoryDb::new());
    conformance(async || database.clone()).await;
}

#[tokio::test]
async fn an_error_comes_before_or_after_the_effect() {
    let database = faulty([Fault::ErrorBefore, Fault::ErrorAfter, Fault::ErrorBefore]);
    assert!(database.save(USER, &record(1), Expected::Absent).await.unwrap_err().is_database());
    assert!(database.inner().is_empty());
    assert!(database.save(USER, &record(1), Expected::Absent).await.unwrap_err().is_database());
    assert_eq!(current(&database).await.record, record(1));
    assert!(database.load(USER).await.is_err());
    assert!(database.load(USER).await.is_ok(), "the script is over");
    database.script([Fault::ErrorBefore, Fault::ErrorAfter]);
    assert!(database.delete(USER).await.is_err());
    assert_eq!(database.inner().len(), 1);
    assert!(database.delete(USER).await.is_err());
    assert!(database.inner().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delay_comes_before_or_after_the_effect() {
    let delay = Duration::from_secs(3);
    for (fault, is_stored) in [(Fault::Delay(delay), false), (Fault::DelayAfter(delay), true)] {
        let database = faulty([fault, fault]);
        let record = record(1);
        let save = database.save(USER, &record, Expected::Absent);
        tokio::time::timeout(Duration::from_secs(2), save).await.unwrap_err();
        assert_eq!(!database.inner().is_empty(), is_stored);
        let began = Instant::now();
        database.load(USER).await.unwrap();
        assert_eq!(began.elapsed(), delay);
    }
}

#[tokio::test]
async fn another_process_saves_before_the_save() {
    let database = faulty([]);
    let first = store(&database, 1, None).await;
    database.script([Fault::Conflict]);
    let saved = database.save(USER, &record(2), Expected::Version(&first)).await.unwrap();
    let current = current(&database).await;
    assert_eq!(current.record, record(1));
    assert_ne!(current.version, first);
    assert_eq!(saved, Saved::Conflict(Some(current)));

    // Two first requests at the same time, also of a user that was deleted before.
    let database = faulty([]);
    for is_deleted in [false, true] {
        if is_deleted {
            database.delete(USER).await.unwrap();
        }
        let found = database.load_for_update(USER).await.unwrap();
        database.script([Fault::Conflict]);
        let saved = database.save(USER, &record(1), found.expected()).await.unwrap();
        let Saved::Conflict(Some(theirs)) = saved else { panic!("{saved:?}") };
        assert_eq!(theirs.record, Record::default());
        store(&database, 1, Some(&theirs.version)).await;
    }
}

#[tokio::test]
async fn a_conflict_without_a_reason_writes_nothing() {
    let database = faulty([]);
    let first = store(&database, 1, None).await;
    database.script([Fault::SpuriousConflict]);
    let saved = database.save(USER, &record(2), Expected::Version(&first)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(Some(current(&database).await)));
    assert_eq!(
        current(&database).await,
        VersionedRecord { record: record(1), version: first.clone() }
    );
    store(&database, 2, Some(&first)).await;

    // No user was deleted, and none is reported as deleted.
    let database = faulty([Fault::SpuriousConflict]);
    store(&database, 1, None).await;
}

#[tokio::test]
async fn a_save_over_a_stale_record_is_a_conflict() {
    let database = faulty([]);
    let first = store(&database, 1, None).await;
    database.script([Fault::StaleRead]);
    assert_eq!(database.load(USER).await.unwrap(), None, "before it was created");
    assert!(matches!(
        database.save(USER, &record(9), Expected::Absent).await.unwrap(),
        Saved::Conflict(Some(_))
    ));

    store(&database, 2, Some(&first)).await;
    database.script([Fault::StaleRead]);
    let stale = database.load(USER).await.unwrap().unwrap();
    assert_eq!(stale, VersionedRecord { record: record(1), version: first });
    let saved = database.save(USER, &record(9), Expected::Version(&stale.version)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(Some(current(&database).await)));

    database.delete(USER).await.unwrap();
    database.script([Fault::StaleRead]);
    let stale = database.load(USER).await.unwrap().unwrap();
    let saved = database.save(USER, &record(9), Expected::Version(&stale.version)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(None), "what is deleted stays so");
}

#[tokio::test]
async fn a_write_past_the_handle_makes_the_last_known_state_stale() {
    let database = faulty([]);
    let first = store(&database, 1, None).await;
    store(database.inner(), 2, Some(&first)).await;
    database.script([Fault::StaleRead]);
    assert_eq!(database.load(USER).await.unwrap().unwrap().record, record(1));
    assert_eq!(database.load(USER).await.unwrap().unwrap().record, record(2));
}

#[tokio::test]
async fn an_outage_ends() {
    let database = faulty([Fault::None, Fault::Outage { calls: 3 }, Fault::None]);
    let mut works = Vec::new();
    for user in ["a", "b", "a", "b", "a"] {
        works.push(database.load(user).await.is_ok());
    }
    assert_eq!(works, [true, false, false, false, true]);
    database.script([Fault::Outage { calls: 3 }]);
    database.load(USER).await.unwrap_err();
    database.heal();
    database.load(USER).await.unwrap();
}

#[tokio::test]
async fn a_share_of_users_is_down() {
    let database = Faulty::seeded(MemoryDb::new(), 7);
    database.set_rates(Rates::none().users_down(0.25));
    let mut down = 0;
    for user in 0..1000 {
        let user = format!("user-{user}");
        let is_down = database.load(&user).await.is_err();
        assert_eq!(database.delete(&user).await.is_err(), is_down, "the same users each time");
        down += usize::from(is_down);
    }
    assert!((200..300).contains(&down), "{down} of 1000");
}

#[tokio::test]
async fn the_log_says_what_was_injected() {
    // A load cannot be a conflict, nor a save stale.
    let script = [Fault::Conflict, Fault::StaleRead, Fault::None, Fault::Outage { calls: 2 }];
    let database = faulty(script);
    let clone = database.clone();
    clone.load(USER).await.unwrap();
    store(&clone, 1, None).await;
    clone.load(USER).await.unwrap();
    clone.load(USER).await.unwrap_err();
    clone.delete(USER).await.unwrap_err();
    let log: Vec<_> =
        database.log().iter().map(|entry| (entry.call, entry.operation, entry.fault)).collect();
    let outage = |calls| Fault::Outage { calls };
    assert_eq!(log, [(3, Operation::Load, outage(2)), (4, Operation::Delete, outage(1))]);
    let shown = format!("{database:?}");
    assert!(
        shown.contains("calls: 5") && !shown.contains(USER) && !shown.contains("number"),
        "{shown}"
    );
}

async fn drawn(seed: u64, rates: &Rates) -> Vec<InjectedFault> {
    let database = Faulty::seeded(MemoryDb::new(), seed);
    database.set_rates(rates.clone());
    for _ in 0..500 {
        let over = database.load(USER).await.ok().flatten().map(|stored| stored.version);
        let _ = database.save(USER, &record(1), Expected::from(over.as_ref())).await;
    }
    database.log()
}

#[tokio::test(start_paused = true)]
async fn a_seed_draws_the_same_faults_at_their_rates() {
    let rates = Rates::default();
    let faults = drawn(7, &rates).await;
    assert_eq!(faults, drawn(7, &rates).await);
    assert_ne!(faults, drawn(8, &rates).await);
    assert!(drawn(7, &Rates::none()).await.is_empty());

    let conflicts = drawn(7, &Rates::none().conflict(0.2)).await;
    assert!((60..140).contains(&conflicts.len()), "{} of 500", conflicts.len());
    assert!(conflicts.iter().all(|injected| injected.operation == Operation::Save));
}
