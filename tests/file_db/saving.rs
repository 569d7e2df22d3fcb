use super::*;

#[tokio::test]
async fn a_save_is_conditional_on_the_version() {
    let (_directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    let unknown = Version::new("1");
    let missing = db.save("user", &named("a"), Expected::Version(&unknown)).await.unwrap();
    assert_eq!(missing, Saved::Conflict(None));
    assert_eq!(text(&path), "[]");
    let first = stored(&db, "user", &named("a"), None).await;
    assert_eq!(
        load(&db, "user").await,
        VersionedRecord { record: named("a"), version: first.clone() }
    );
    let second = stored(&db, "user", &named("b"), Some(&first)).await;
    assert_ne!(first, second);
    for expected in [None, Some(&first)] {
        let current = VersionedRecord { record: named("b"), version: second.clone() };
        let saved = db.save("user", &named("c"), Expected::from(expected)).await.unwrap();
        assert_eq!(saved, Saved::Conflict(Some(current)));
    }
    assert_eq!(load(&db, "user").await.record, named("b"));
}

#[tokio::test]
async fn a_deleted_and_recreated_user_has_a_new_version() {
    let (_directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    let first = stored(&db, "user", &named("a"), None).await;
    db.delete("user").await.unwrap();
    db.delete("user").await.unwrap();
    assert_eq!(db.load("user").await.unwrap(), None);
    assert_eq!(text(&path), "[]");
    let saved = db.save("user", &named("a"), Expected::Version(&first)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(None));
    let anew = stored(&db, "user", &named("a"), None).await;
    assert_ne!(first, anew);
    let saved = db.save("user", &named("b"), Expected::Version(&first)).await.unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))));
    // Reopening the file does not restart the versions either.
    db.close().await.unwrap();
    let db = FileDb::open(&path).await.unwrap();
    let saved = db.save("user", &named("b"), Expected::Version(&first)).await.unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_writers_with_one_version_one_wins() {
    let (_directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    let mut version = None;
    for round in 0..5 {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                let (db, version) = (db.clone(), version.clone());
                tokio::spawn(async move {
                    let record = named(&format!("{round}-{writer}"));
                    (
                        db.save("user", &record, Expected::from(version.as_ref())).await.unwrap(),
                        record,
                    )
                })
            })
            .collect();
        let mut won = Vec::new();
        for writer in writers {
            match writer.await.unwrap() {
                (Saved::Written(version), record) => won.push(VersionedRecord { record, version }),
                (Saved::Conflict(current), _) => assert!(current.is_some()),
            }
        }
        assert_eq!(won.len(), 1);
        let current = load(&db, "user").await;
        assert_eq!(current, won[0]);
        version = Some(current.version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_are_all_stored() {
    let (_directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    let writers: Vec<_> = (0..64_u64)
        .map(|writer| {
            let (db, id) = (db.clone(), format!("user-{}", writer % 8));
            tokio::spawn(async move {
                loop {
                    let found = db.load(&id).await.unwrap();
                    let n = found
                        .as_ref()
                        .map_or(0, |found| found.record.fields()["n"].as_u64().unwrap());
                    let expected = found.as_ref().map(|found| &found.version);
                    let saved = db
                        .save(&id, &record(json!({ "n": n + 1 })), Expected::from(expected))
                        .await;
                    if let Saved::Written(_) = saved.unwrap() {
                        return;
                    }
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let file: Value = serde_json::from_str(&text(&path)).unwrap();
    let counts: Vec<&Value> = file.as_array().unwrap().iter().map(|object| &object["n"]).collect();
    assert_eq!(counts, [8; 8]);
}

/// Begins a save and drops it. Returns whether it was still pending: it may have been answered at
/// once.
fn begin(db: &FileDb, id: &str) -> bool {
    let record = named("begun");
    let mut save = tokio_test::task::spawn(db.save(id, &record, Expected::Absent));
    save.poll().is_pending()
}

#[tokio::test]
async fn flush_close_and_drop_write_pending_saves() {
    let (_directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    begin(&db, "a");
    db.flush().await.unwrap();
    assert!(text(&path).contains("\"a\""));
    begin(&db, "b");
    db.close().await.unwrap();
    assert!(text(&path).contains("\"b\""));
    db.close().await.unwrap();
    for result in [
        db.load("a").await.map(drop),
        db.save("a", &Record::default(), Expected::Absent).await.map(drop),
        db.delete("a").await,
        db.flush().await,
    ] {
        let error = result.unwrap_err();
        assert!(error.is_database());
        assert!(error.to_string().ends_with("is closed"), "{error}");
    }
    // The closed database still exists, but holds no lock.
    let again = FileDb::open(&path).await.unwrap();
    begin(&again, "c");
    let clone = again.clone();
    drop(again);
    begin(&clone, "d");
    drop(clone);
    assert!(text(&path).contains("\"c\"") && text(&path).contains("\"d\""));
}

/// Linux counts the bytes read and written per thread.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn files_are_never_touched_on_the_threads_that_run_futures() {
    fn bytes() -> u64 {
        let counted = fs::read_to_string("/proc/thread-self/io").unwrap();
        let value = |name: &str| -> u64 {
            let line = counted.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap().trim().parse().unwrap()
        };
        value("rchar:") + value("wchar:")
    }

    let large = "x".repeat(300_000);
    let (_directory, path) = file(&format!(r#"[{{"id":"large","text":"{large}"}}]"#));
    let edit = format!(r#"[{{"id":"large","text":"{large}{large}"}}]"#);
    let before = bytes();
    let db = FileDb::open(&path).await.unwrap();
    stored(&db, "user", &Record::default(), None).await;
    load(&db, "large").await;
    assert!(bytes() - before < 100_000, "reading and writing took place here");
    fs::write(&path, edit).unwrap();
    let before = bytes();
    load(&db, "large").await;
    db.close().await.unwrap();
    assert!(bytes() - before < 100_000, "reading and writing took place here");
}
