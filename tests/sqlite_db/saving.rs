use std::pin::pin;
use std::task::Poll;

use futures_util::poll;

use super::*;

#[tokio::test]
async fn versions_count_up_and_are_not_reused() {
    let (_directory, path) = place();
    let mut last = 0;
    for _ in 0..3 {
        let db = open(&path).await;
        for _ in 0..3 {
            let found = within(db.load_for_update("user")).await.unwrap();
            let Saved::Written(version) = save(&db, "user", &visits(1), found.expected()).await
            else {
                panic!()
            };
            let version: u64 = version.as_str().parse().unwrap();
            assert!(version > last, "{version} after {last}");
            last = version;
            within(db.delete("user")).await.unwrap();
        }
        within(db.close()).await.unwrap();
    }
}

#[tokio::test]
async fn records_come_back_as_they_were_saved() {
    let (_directory, path) = place();
    let db = open(&path).await;
    let json = r#"{"z":1.0,"a":1,"n":[-0.0,1e+300,18446744073709551615,0.1],"é\u0000":{"":null}}"#;
    let record: Record = serde_json::from_str(json).unwrap();
    let id = "quotes ' \" \0 -- ; é";
    stored(&db, id, &record, None).await;
    let found = load(&db, id).await.unwrap();
    assert_eq!(serde_json::to_string(&found.record).unwrap(), json);
    assert_eq!(text(&sqlite(&path), id), json);
}

#[tokio::test]
async fn a_lock_of_another_program_is_waited_for_and_not_for_ever() {
    let (_directory, path) = place();
    let timeout = Duration::from_millis(100);
    let db = within(SqliteDb::builder(&path).timeout(timeout).open()).await.unwrap();
    let version = stored(&db, "user", &visits(1), None).await;
    let other = sqlite(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let expected = Expected::Version(&version);
    for error in [
        within(db.save("user", &visits(2), expected)).await.unwrap_err(),
        within(db.delete("user")).await.unwrap_err(),
    ] {
        assert!(error.is_timeout() && error.to_string().contains("`timeout`"), "{error}");
    }
    assert_eq!(load(&db, "user").await.unwrap().record, visits(1), "loads go on");

    let patient = open(&path).await;
    {
        let record = visits(2);
        let mut saving = pin!(patient.save("user", &record, expected));
        assert!(poll!(saving.as_mut()).is_pending());
        other.execute_batch("COMMIT").unwrap();
        assert!(matches!(within(saving).await.unwrap(), Saved::Written(_)));
    }
    assert_eq!(load(&db, "user").await.unwrap().record, visits(2));

    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = within(SqliteDb::builder(&path).timeout(timeout).open()).await.err();
    // A file that is in order is opened without writing.
    assert!(error.is_none_or(|error| error.is_timeout()));
}

#[tokio::test]
async fn what_waits_is_committed_together() {
    let (_directory, path) = place();
    let db = open(&path).await;
    let other = sqlite(&path);
    number(&other, "PRAGMA wal_checkpoint(TRUNCATE)");
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let save = |number: usize| {
        let db = db.clone();
        async move { stored(&db, &format!("user-{number}"), &visits(1), None).await }
    };
    let saves = futures_util::future::join_all((0..64).map(save));
    let mut saves = pin!(saves);
    assert!(poll!(saves.as_mut()).is_pending());
    other.execute_batch("COMMIT").unwrap();
    within(saves).await;
    assert_eq!(number(&other, "SELECT count(*) FROM users"), 64);
    // Each commit alone writes three pages or more.
    let sql = "PRAGMA wal_checkpoint(PASSIVE)";
    let pages: i64 = other.query_row(sql, [], |row| row.get(1)).unwrap();
    assert!(pages < 64, "{pages} pages");
}

#[tokio::test]
async fn futures_that_are_dropped_leave_all_or_nothing_and_no_lock() {
    let (_directory, path) = place();
    let db = open(&path).await;
    for polls in 0..6 {
        let id = format!("user-{polls}");
        {
            let record = Record::default();
            let mut loading = pin!(db.load(&id));
            let mut saving = pin!(db.save(&id, &record, Expected::Absent));
            for _ in 0..polls {
                let is_done = matches!(poll!(saving.as_mut()), Poll::Ready(_));
                if is_done || poll!(loading.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Writes are done in their order, so the one that was dropped is done now, or never begun.
        within(db.delete("another")).await.unwrap();
        let found = load(&db, &id).await;
        assert_eq!(found.is_some(), polls > 0);
        let over = found.map(|stored| stored.version);
        let version = stored(&db, &id, &visits(1), over.as_ref()).await;
        assert_eq!(load(&db, &id).await.unwrap().version, version);
    }
}

#[tokio::test]
async fn closing_waits_for_saves_that_nobody_waits_for() {
    let (_directory, path) = place();
    let db = open(&path).await;
    for number in 0..50 {
        let (id, record) = (format!("user-{number}"), visits(1));
        let mut saving = pin!(db.save(&id, &record, Expected::Absent));
        assert!(poll!(saving.as_mut()).is_pending());
    }
    within(db.close()).await.unwrap();
    assert_eq!(number(&sqlite(&path), "SELECT count(*) FROM users"), 50);
}

#[tokio::test]
async fn closing_tells_of_a_save_that_failed_unheard() {
    let (_directory, path) = place();
    let timeout = Duration::from_millis(50);
    let db = within(SqliteDb::builder(&path).timeout(timeout).open()).await.unwrap();
    let other = sqlite(&path);
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    {
        let record = visits(1);
        let mut saving = pin!(db.save("SECRET", &record, Expected::Absent));
        assert!(poll!(saving.as_mut()).is_pending());
    }
    let error = within(db.close()).await.unwrap_err();
    assert!(error.is_timeout() && !all(&error).contains("SECRET"), "{error:?}");
}
