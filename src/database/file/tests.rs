//! File systems that lack operations, or report them in their own way.

// Clippy allows `unwrap` in test functions, but not in their helpers.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tempfile::TempDir;

use super::calls::Calls;
use super::disk::Disk;
use super::{Expected, FileDb, FileDbBuilder};
use crate::database::{Database, Saved};
use crate::error::Error;
use crate::record::Record;

const EPERM: i32 = 1;
const EIO: i32 = 5;
const EBADF: i32 = 9;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const EINVAL: i32 = 22;

/// Makes the calls below fail while it lies beside db.json.
const OBSTACLE: &str = "obstacle";

fn fail_at_obstacle(path: &Path, code: i32) -> io::Result<()> {
    if path.with_file_name(OBSTACLE).exists() { fail(code) } else { Ok(()) }
}

fn fail(code: i32) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(code))
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db.json");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn open(path: &Path, calls: Calls) -> Result<FileDb, Error> {
    let mut disk = Disk::locate(path)?;
    disk.calls = calls;
    FileDbBuilder::new(path.to_owned()).open_on(disk)
}

async fn save(db: &FileDb, id: &str) -> Result<Saved, Error> {
    db.save(id, &Record::default(), Expected::Absent).await
}

fn logged(work: impl FnOnce()) -> Vec<String> {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap();
    String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_directory_that_cannot_be_synced_is_warned_of_once_and_saves_are_answered() {
    const UNSUPPORTED: [fn(&Path) -> io::Result<()>; 4] = [
        |_| fail(EINVAL),
        |_| fail(EACCES),
        |_| fail(EBADF),
        |_| Err(io::ErrorKind::Unsupported.into()),
    ];
    for sync_directory in UNSUPPORTED {
        for text in [None, Some("[]")] {
            let (_directory, path) = file("[]");
            if text.is_none() {
                fs::remove_file(&path).unwrap();
            }
            let mut opened = None;
            let log = logged(|| {
                opened = Some(open(&path, Calls { sync_directory, ..Calls::default() }).unwrap());
            });
            assert_eq!(log.len(), 1, "{log:?}");
            assert!(log[0].contains("cannot be synced"), "{log:?}");
            let db = opened.unwrap();
            for id in ["a", "b"] {
                assert!(matches!(save(&db, id).await.unwrap(), Saved::Written(_)));
            }
        }
    }
}

#[tokio::test]
async fn a_directory_whose_sync_goes_wrong_is_refused() {
    let (_directory, path) = file("[]");
    let calls = Calls { sync_directory: |_| fail(EIO), ..Calls::default() };
    let error = open(&path, calls).unwrap_err();
    assert!(error.to_string().contains("cannot be saved and was not opened"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn permissions_that_cannot_be_set_are_warned_of_once() {
    use std::os::unix::fs::PermissionsExt;

    let (_directory, path) = file("[]");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let set_permissions: fn(&File, fs::Permissions) -> _ = |_, _| fail(EPERM);
    let mut opened = None;
    let log = logged(|| {
        opened = Some(open(&path, Calls { set_permissions, ..Calls::default() }).unwrap());
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("does not set permissions"), "{log:?}");
    assert!(matches!(save(&opened.unwrap(), "a").await.unwrap(), Saved::Written(_)));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // Permissions that a new file already has are not set.
    let calls = Calls { set_permissions, ..Calls::default() };
    assert_eq!(logged(|| drop(open(&path, calls).unwrap())), [""; 0]);
}

#[tokio::test]
async fn a_file_that_cannot_be_replaced_is_refused_at_once() {
    let (directory, path) = file("[]");
    let calls = Calls { rename: |_, _| fail(EBUSY), ..Calls::default() };
    let error = open(&path, calls).unwrap_err();
    assert!(error.to_string().contains("mount its directory instead"), "{error}");
    fs::remove_file(&path).unwrap();
    let error = open(&path, calls).unwrap_err();
    assert!(error.to_string().contains("could not be created"), "{error}");
    let left = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["db.json.lock"]);
}

#[tokio::test]
async fn a_refused_rename_changes_nothing_and_says_so() {
    let before = r#"[{"id":"second"},{"id":"third"}]"#;
    let (directory, path) = file(before);
    let rename: fn(&Path, &Path) -> _ = |from, to| {
        fail_at_obstacle(to, EBUSY)?;
        fs::rename(from, to)
    };
    let db = open(&path, Calls { rename, ..Calls::default() }).unwrap();
    let second = db.load("second").await.unwrap().unwrap();
    let obstacle = directory.path().join(OBSTACLE);
    fs::write(&obstacle, "").unwrap();
    let changed: Record = serde_json::from_value(json!({ "name": "SECRET" })).unwrap();
    let (saved, added, deleted) = tokio::join!(
        db.save("second", &changed, Expected::Version(&second.version)),
        db.save("SECRET", &changed, Expected::Absent),
        db.delete("third"),
    );
    for error in [saved.unwrap_err(), added.unwrap_err(), deleted.unwrap_err()] {
        assert!(error.is_database());
        assert!(error.to_string().contains("could not be replaced; it is as it was"), "{error}");
        assert!(!error.to_string().contains("for certain"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
        assert!(!format!("{error:?}").contains("SECRET"));
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), before);
    assert_eq!(db.load("second").await.unwrap().unwrap(), second);
    assert_eq!(db.load("SECRET").await.unwrap(), None);
    assert!(db.load("third").await.unwrap().is_some());

    fs::remove_file(obstacle).unwrap();
    let saved = db.save("second", &changed, Expected::Version(&second.version)).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)));
}

#[tokio::test]
async fn a_rename_whose_answer_was_lost_counts_if_it_was_done() {
    let (_directory, path) = file("[]");
    let rename: fn(&Path, &Path) -> _ = |from, to| {
        fs::rename(from, to)?;
        fail(EIO)
    };
    let db = open(&path, Calls { rename, ..Calls::default() }).unwrap();
    assert!(matches!(save(&db, "a").await.unwrap(), Saved::Written(_)));
    assert!(db.load("a").await.unwrap().is_some());
}

#[tokio::test]
async fn after_an_uncertain_replacement_the_file_is_read_again() {
    let (directory, path) = file("[]");
    let sync_directory: fn(&Path) -> _ = |path| fail_at_obstacle(&path.join("db.json"), EIO);
    let db = open(&path, Calls { sync_directory, ..Calls::default() }).unwrap();
    fs::write(directory.path().join(OBSTACLE), "").unwrap();
    let error = save(&db, "a").await.unwrap_err();
    assert!(error.to_string().contains("could not be replaced for certain"), "{error}");
    assert!(db.load("a").await.unwrap().is_some());
    assert!(matches!(save(&db, "a").await.unwrap(), Saved::Conflict(Some(_))));
}

#[tokio::test]
async fn flush_and_close_report_a_failure_after_its_caller_gave_up() {
    /// Begins a save and drops it. Returns whether it was still pending: it may have been answered
    /// at once.
    fn begin(db: &FileDb) -> bool {
        let record = Record::default();
        let mut save = tokio_test::task::spawn(db.save("a", &record, Expected::Absent));
        save.poll().is_pending()
    }

    let (directory, path) = file("[]");
    let rename: fn(&Path, &Path) -> _ = |from, to| {
        fail_at_obstacle(to, EIO)?;
        fs::rename(from, to)
    };
    let db = open(&path, Calls { rename, ..Calls::default() }).unwrap();
    fs::write(directory.path().join(OBSTACLE), "").unwrap();
    while !begin(&db) {}
    let error = db.flush().await.unwrap_err();
    assert!(error.to_string().contains("could not be replaced"), "{error}");
    db.flush().await.unwrap();
    while !begin(&db) {}
    db.close().await.unwrap_err();
    db.close().await.unwrap();
}

#[tokio::test]
async fn more_users_than_a_file_suits_are_warned_of_once() {
    let record = |id: usize| format!("{{\"id\":\"{id}\"}}");
    let records: Vec<String> = (0..10_001).map(record).collect();
    let (_directory, path) = file(&format!("[{}]", records[..10_000].join(",")));
    let open = || open(&path, Calls::default()).unwrap();
    assert_eq!(logged(|| drop(open())), [""; 0]);
    fs::write(&path, format!("[{}]", records.join(","))).unwrap();
    let log = logged(|| drop(open()));
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("holds more than 10,000 users"), "{log:?}");
    assert!(log[0].contains("Move to `SqliteDb`"), "{log:?}");
}

#[tokio::test]
async fn half_pairs_are_warned_of_once() {
    let (_directory, path) = file(r#"[{"id":"a","n":"\ud83d"},{"id":"\ud83d","n":"\udc00"}]"#);
    let log = logged(|| {
        let db = open(&path, Calls::default()).unwrap();
        db.handle.shared.invalidate();
        db.handle.shared.refresh().unwrap();
        let shared = &db.handle.shared;
        shared.get("a").unwrap().stored().unwrap();
    });
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("half of a surrogate pair"), "{log:?}");
}

/// A look at a slow file is left to a thread that may block, until it is quick again.
#[tokio::test]
async fn a_slow_file_does_not_hold_up_other_futures() {
    const SLOW: &str = "slow";
    static LOOKS: Mutex<Vec<std::thread::ThreadId>> = Mutex::new(Vec::new());

    let (directory, path) = file("[]");
    let metadata = |path: &Path| {
        LOOKS.lock().unwrap_or_else(PoisonError::into_inner).push(std::thread::current().id());
        if path.with_file_name(SLOW).exists() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        fs::metadata(path)
    };
    let db = open(&path, Calls { metadata, ..Calls::default() }).unwrap();
    let is_here = async || {
        assert_eq!(db.load("user-1").await.unwrap(), None);
        let last = LOOKS.lock().unwrap_or_else(PoisonError::into_inner).last().copied();
        last == Some(std::thread::current().id())
    };
    // A machine under load may delay one look, and even several, but not all of them.
    let mut looks = 0;
    while !is_here().await {
        looks += 1;
        assert!(looks < 1000);
    }
    let obstacle = directory.path().join(SLOW);
    fs::write(&obstacle, "").unwrap();
    is_here().await;
    for _ in 0..3 {
        assert!(!is_here().await);
    }
    fs::remove_file(&obstacle).unwrap();
    while !is_here().await {
        looks += 1;
        assert!(looks < 1000);
    }
}
