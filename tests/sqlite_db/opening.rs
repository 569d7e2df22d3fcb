use std::fs;

use super::*;

/// The error of opening what has to be left as it is.
async fn refused(path: &Path) -> Error {
    let before = fs::read(path).ok();
    let error = within(SqliteDb::open(path)).await.unwrap_err();
    assert_eq!(fs::read(path).ok(), before, "it is left as it is");
    error
}

#[tokio::test]
async fn creates_directory_file_and_tables_for_the_owner_only() {
    let (directory, _) = place();
    let path = directory.path().join("a/b/users.sqlite");
    let db = open(&path).await;
    within(db.ensure_ready()).await.unwrap();
    stored(&db, "user", &visits(1), None).await;
    #[cfg(unix)]
    for name in ["users.sqlite", "users.sqlite-wal", "users.sqlite-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path.with_file_name(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    within(db.close()).await.unwrap();
    let connection = sqlite(&path);
    let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

#[tokio::test]
async fn closing_leaves_one_file_and_opening_goes_on() {
    let (directory, path) = place();
    let db = open(&path).await;
    let version = stored(&db, "user", &visits(1), None).await;
    load(&db, "user").await;
    let clone = db.clone();
    within(db.close()).await.unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "the journal is gone");
    for error in [
        within(clone.load("user")).await.unwrap_err(),
        within(clone.delete("user")).await.unwrap_err(),
    ] {
        assert!(error.is_database() && error.to_string().contains("was closed"), "{error}");
    }
    within(clone.close()).await.unwrap();

    let db = open(&path).await;
    let found = load(&db, "user").await.unwrap();
    assert_eq!((found.record, found.version), (visits(1), version));
    drop(db);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "dropping closes as well");
}

#[tokio::test]
async fn what_is_not_our_database_is_refused_and_left() {
    let (_directory, path) = place();
    fs::write(&path, "SECRET text that is certainly not a database".repeat(40)).unwrap();
    let error = refused(&path).await;
    assert!(error.is_database() && error.to_string().contains("not an SQLite database"), "{error}");
    assert!(!all(&error).contains("SECRET"));

    let (_directory, path) = place();
    sqlite(&path).execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE users (name)").unwrap();
    let error = refused(&path).await;
    assert!(error.to_string().contains("of another program"), "{error}");

    let (_directory, path) = place();
    within(open(&path).await.close()).await.unwrap();
    sqlite(&path).execute_batch("UPDATE tower_persistence SET schema_version = 2").unwrap();
    let error = refused(&path).await;
    assert!(error.to_string().contains("newer version of tower-persistence"), "{error}");
    sqlite(&path).execute_batch("DELETE FROM tower_persistence").unwrap();
    let error = refused(&path).await;
    assert!(error.to_string().contains("unknown content"), "{error}");
}

#[tokio::test]
async fn the_apps_own_tables_can_be_in_the_file() {
    let (_directory, path) = place();
    sqlite(&path).execute_batch("CREATE TABLE prices (price REAL)").unwrap();
    let db = open(&path).await;
    stored(&db, "user", &visits(1), None).await;
    assert!(load(&db, "user").await.is_some());
}

#[tokio::test]
async fn a_path_that_cannot_be_meant() {
    let (directory, path) = place();
    fs::create_dir(&path).unwrap();
    for (path, why) in [
        (Path::new(""), "is empty"),
        (Path::new(":memory:"), "`MemoryDb`"),
        (&path, "is not a file"),
    ] {
        let error = within(SqliteDb::open(path)).await.unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains(why), "{error}");
    }
    let below_a_file = directory.path().join("file/users.sqlite");
    fs::write(directory.path().join("file"), "").unwrap();
    let error = within(SqliteDb::open(below_a_file)).await.unwrap_err();
    assert!(error.is_database() && error.to_string().contains("give this process"), "{error}");
    for builder in [
        SqliteDb::builder("x").timeout(Duration::ZERO),
        SqliteDb::builder("x").expire_users_after(Duration::ZERO),
    ] {
        assert!(within(builder.open()).await.unwrap_err().is_configuration());
    }
    assert!(!Path::new("x").exists());
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_written_says_so() {
    use std::os::unix::fs::PermissionsExt;
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let (directory, path) = place();
    within(open(&path).await.close()).await.unwrap();
    set_mode(directory.path(), 0o555);
    let is_root = fs::write(directory.path().join("probe"), "").is_ok();
    if is_root {
        // Permissions are nothing to it.
        return set_mode(directory.path(), 0o755);
    }
    let in_directory = within(SqliteDb::open(&path)).await;
    let new = within(SqliteDb::open(directory.path().join("new.sqlite"))).await;
    set_mode(directory.path(), 0o755);
    set_mode(&path, 0o444);
    let file = within(SqliteDb::open(&path)).await;
    for result in [in_directory, new, file] {
        let error = result.unwrap_err();
        assert!(error.is_database() && error.to_string().contains("give this process"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_removed_or_replaced_takes_no_more_saves() {
    for is_replaced in [false, true] {
        let (_directory, path) = place();
        let db = open(&path).await;
        let version = stored(&db, "user", &visits(1), None).await;
        let aside = path.with_file_name("aside");
        fs::rename(&path, &aside).unwrap();
        if is_replaced {
            fs::copy(&aside, &path).unwrap();
        }
        let expected = Expected::Version(&version);
        for error in [
            within(db.save("user", &visits(2), expected)).await.unwrap_err(),
            within(db.delete("user")).await.unwrap_err(),
            within(db.load("user")).await.unwrap_err(),
        ] {
            assert!(error.is_database() && error.to_string().contains("replaced"), "{error}");
        }
        fs::rename(&aside, &path).unwrap();
        assert_eq!(load(&db, "user").await.unwrap().record, visits(1));
        stored(&db, "user", &visits(2), Some(&version)).await;
    }
}

#[tokio::test]
async fn many_open_a_new_file_at_once() {
    let (_directory, path) = place();
    let opening: Vec<_> = (0..16).map(|_| tokio::spawn(SqliteDb::open(path.clone()))).collect();
    let mut versions = Vec::new();
    for (number, opened) in opening.into_iter().enumerate() {
        let db = within(opened).await.unwrap().unwrap();
        versions.push(stored(&db, &format!("user-{number}"), &visits(1), None).await);
    }
    versions.sort_by_key(|version| version.to_string());
    versions.dedup();
    assert_eq!(versions.len(), 16);
}

#[test]
fn a_second_runtime_goes_on_where_the_first_ended() {
    let (_directory, path) = place();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (db, version) = runtime().block_on(async {
        let db = open(&path).await;
        let version = stored(&db, "user", &visits(1), None).await;
        load(&db, "user").await;
        (db, version)
    });
    runtime().block_on(async {
        assert_eq!(load(&db, "user").await.unwrap().version, version);
        stored(&db, "user", &visits(2), Some(&version)).await;
        within(db.close()).await.unwrap();
    });
}
