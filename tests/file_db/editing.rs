use super::*;

#[tokio::test]
async fn an_edit_is_served_by_the_next_load() {
    let (_directory, path) = file(JOVO);
    let db = FileDb::open(&path).await.unwrap();
    let (second, third) = (load(&db, "second").await, load(&db, "third").await);
    let edited = JOVO.replace("\"visits\": 7", "\"visits\": 70").replace(FIRST, "renamed");
    fs::write(&path, &edited).unwrap();
    let found = load(&db, "third").await;
    assert_eq!(found.record.fields()["user"]["data"]["visits"], 70);
    assert_ne!(found.version, third.version);
    assert_eq!(db.load(FIRST).await.unwrap(), None);
    load(&db, "renamed").await;
    // A user that was not edited keeps its version.
    assert_eq!(load(&db, "second").await, second);
    stored(&db, "second", &second.record, Some(&second.version)).await;
    assert_eq!(text(&path), edited);
}

#[tokio::test]
async fn an_edit_of_the_same_length_is_noticed_by_time_or_by_file() {
    let (directory, path) = file(JOVO);
    let db = FileDb::open(&path).await.unwrap();
    let visits = |stored: VersionedRecord| stored.record.fields()["user"]["data"]["visits"].clone();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, JOVO.replace("\"visits\": 7", "\"visits\": 8")).unwrap();
    let later = modified + std::time::Duration::from_secs(1);
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(visits(load(&db, "third").await), 8);
    // An editor that writes another file and renames it, here with the same time.
    let other = directory.path().join("other");
    fs::write(&other, JOVO.replace("\"visits\": 7", "\"visits\": 9")).unwrap();
    fs::File::options().write(true).open(&other).unwrap().set_modified(later).unwrap();
    fs::rename(&other, &path).unwrap();
    #[cfg(unix)]
    assert_eq!(visits(load(&db, "third").await), 9);
}

#[tokio::test]
async fn an_edit_between_load_and_save_is_a_conflict() {
    let (_directory, path) = file(JOVO);
    let db = FileDb::open(&path).await.unwrap();
    let third = load(&db, "third").await;
    let second = load(&db, "second").await;
    let edited = JOVO.replace("\"visits\": 7", "\"visits\": 70");
    fs::write(&path, &edited).unwrap();
    let saved = db.save("third", &named("a"), Expected::Version(&third.version)).await.unwrap();
    let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
    assert_eq!(current.record.fields()["user"]["data"]["visits"], 70);
    assert_eq!(text(&path), edited);
    // A save of another user keeps the edit.
    fs::write(&path, edited.replace("70", "700")).unwrap();
    stored(&db, "second", &named("a"), Some(&second.version)).await;
    assert_eq!(load(&db, "third").await.record.fields()["user"]["data"]["visits"], 700);
    assert!(text(&path).contains("\"visits\": 700"));
    // The loaded user is gone.
    let third = load(&db, "third").await;
    fs::write(&path, "[]").unwrap();
    let saved = db.save("third", &named("a"), Expected::Version(&third.version)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(None));
    assert_eq!(text(&path), "[]");
}

#[tokio::test]
async fn an_invalid_edit_fails_until_it_is_repaired() {
    let duplicate = JOVO.replace("\"second\"", "\"third\"");
    for (invalid, why) in [
        (JOVO.replace("\"visits\": 7", "\"visits\": SECRET"), "line 66 column 19"),
        (String::new(), "is empty"),
        ("{\"SECRET\": 1}".to_owned(), "not an array"),
        (duplicate, "the same `id` twice: record 2 (line 56) and record 3 (line 62)"),
    ] {
        let (directory, path) = file(JOVO);
        let db = FileDb::builder(&path).recover_damaged(true).open().await.unwrap();
        let second = load(&db, "second").await;
        fs::write(&path, &invalid).unwrap();
        for result in [
            db.load("second").await.map(drop),
            db.load("absent").await.map(drop),
            db.save("second", &named("a"), Expected::Version(&second.version)).await.map(drop),
            db.save("new", &named("a"), Expected::Absent).await.map(drop),
            db.delete("third").await,
        ] {
            let error = result.unwrap_err();
            assert!(error.is_database());
            assert!(error.to_string().contains(why), "{error}");
            assert!(error.to_string().contains("until it is repaired"), "{error}");
            assert!(!all(&error).contains("SECRET"), "{error:?}");
        }
        assert_eq!(text(&path), invalid);
        assert_eq!(names(directory.path()), ["db.json", "db.json.lock"]);
        fs::write(&path, JOVO).unwrap();
        assert_eq!(load(&db, "second").await, second);
        stored(&db, "second", &named("a"), Some(&second.version)).await;
    }
}

#[tokio::test]
async fn a_removed_file_is_not_recreated() {
    let (directory, path) = file(JOVO);
    let db = FileDb::open(&path).await.unwrap();
    let second = load(&db, "second").await;
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    let error = db.load("second").await.unwrap_err();
    assert!(error.is_database());
    assert!(error.to_string().contains("was removed"), "{error}");
    db.save("second", &named("a"), Expected::Version(&second.version)).await.unwrap_err();
    assert_eq!(names(directory.path()), ["db.json.lock", "elsewhere"]);
    fs::rename(&elsewhere, &path).unwrap();
    assert_eq!(load(&db, "second").await, second);
}
