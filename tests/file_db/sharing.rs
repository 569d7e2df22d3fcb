//! A second process after the lock file was removed or replaced.

use super::*;

async fn count(db: &FileDb) -> Result<u64, Error> {
    let found = db.load("user").await?;
    let n = found.as_ref().map_or(0, |found| found.record.fields()["n"].as_u64().unwrap());
    let expected = found.as_ref().map(|found| &found.version);
    match db.save("user", &record(json!({ "n": n + 1 })), Expected::from(expected)).await? {
        Saved::Written(_) => Ok(n + 1),
        conflict @ Saved::Conflict(_) => panic!("{conflict:?}"),
    }
}

#[tokio::test]
async fn a_removed_lock_is_taken_again() {
    let (directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    assert_eq!(count(&db).await.unwrap(), 1);
    fs::remove_file(directory.path().join("db.json.lock")).unwrap();
    assert_eq!(count(&db).await.unwrap(), 2);
    let error = FileDb::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("is in use: another process"), "{error}");
    assert_eq!(count(&db).await.unwrap(), 3);
}

#[tokio::test]
async fn of_two_processes_after_a_removed_lock_one_works() {
    let (directory, path) = file("[]");
    let first = FileDb::open(&path).await.unwrap();
    assert_eq!(count(&first).await.unwrap(), 1);
    fs::remove_file(directory.path().join("db.json.lock")).unwrap();
    let second = FileDb::open(&path).await.unwrap();
    assert_eq!(count(&second).await.unwrap(), 2);
    for _ in 0..2 {
        let error = count(&first).await.unwrap_err();
        assert!(error.is_database());
        assert!(error.to_string().contains("another process has the new one"), "{error}");
    }
    assert_eq!(count(&second).await.unwrap(), 3);
    // Nothing acknowledged is lost, and the first goes on after the second has ended.
    second.close().await.unwrap();
    assert_eq!(count(&first).await.unwrap(), 4);
    FileDb::open(&path).await.unwrap_err();
    first.close().await.unwrap();
    assert_eq!(count(&FileDb::open(&path).await.unwrap()).await.unwrap(), 5);
}

#[tokio::test]
async fn a_replaced_directory_is_noticed() {
    let outer = directory();
    let directory = outer.path().join("db");
    let path = directory.join("db.json");
    let first = FileDb::open(&path).await.unwrap();
    assert_eq!(count(&first).await.unwrap(), 1);
    let replace = |number: u8| {
        let before = outer.path().join(format!("before-{number}"));
        fs::rename(&directory, &before).unwrap();
        fs::create_dir(&directory).unwrap();
        fs::copy(before.join("db.json"), &path).unwrap();
        before
    };
    let before = replace(1);
    let second = FileDb::open(&path).await.unwrap();
    assert_eq!(count(&second).await.unwrap(), 2);
    count(&first).await.unwrap_err();
    assert_eq!(count(&second).await.unwrap(), 3);
    drop(second);
    // Without another process, the file that is now at the path is loaded and saved.
    replace(2);
    assert_eq!(count(&first).await.unwrap(), 4);
    assert!(text(&path).contains("\"n\": 4"));
    assert!(text(&before.join("db.json")).contains("\"n\": 1"));
    FileDb::open(&path).await.unwrap_err();
}

#[tokio::test]
async fn a_removed_directory_is_not_recreated() {
    let outer = directory();
    let directory = outer.path().join("db");
    let db = FileDb::open(directory.join("db.json")).await.unwrap();
    count(&db).await.unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let error = count(&db).await.unwrap_err();
    assert!(error.to_string().contains("was removed"), "{error}");
    assert!(!directory.exists());
}

#[tokio::test]
async fn the_error_does_not_suggest_deleting_the_lock() {
    let (_directory, path) = file("[]");
    let _db = FileDb::open(&path).await.unwrap();
    let error = FileDb::open(&path).await.unwrap_err();
    assert!(!all(&error).contains(".lock"), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn the_error_names_the_obstacle_to_the_lock() {
    let (directory, path) = file("[]");
    let lock = directory.path().join("db.json.lock");
    fs::create_dir(&lock).unwrap();
    let error = FileDb::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("db.json.lock is in the way"), "{error}");
    fs::remove_dir(&lock).unwrap();
    // A pipe: opening it would wait forever for its other end.
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let error = FileDb::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("db.json.lock is in the way"), "{error}");
    assert_eq!(text(&path), "[]");
}
