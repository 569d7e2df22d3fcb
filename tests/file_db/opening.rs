use super::*;

#[tokio::test]
async fn creates_directories_and_file() {
    let directory = directory();
    let path = directory.path().join("a/b/db.json");
    let db = FileDb::open(&path).await.unwrap();
    assert_eq!(text(&path), "[]");
    assert_eq!(db.load("user").await.unwrap(), None);
    assert_eq!(names(path.parent().unwrap()), ["db.json", "db.json.lock"]);
    assert_eq!(format!("{db:?}"), format!("FileDb({})", path.display()));
}

#[tokio::test]
async fn the_default_path_is_in_the_working_directory() {
    if std::env::var_os("FILE_DB_DEFAULT").is_some() {
        let db = FileDb::open_default().await.unwrap();
        stored(&db, "user", &Record::default(), None).await;
        assert_eq!(format!("{db:?}"), "FileDb(db/db.json)");
        // The database keeps its file when the working directory changes.
        std::env::set_current_dir("/").unwrap();
        stored(&db, "other", &Record::default(), None).await;
        return;
    }
    let directory = directory();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::the_default_path_is_in_the_working_directory"])
        .env("FILE_DB_DEFAULT", "1")
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let file: Value = serde_json::from_str(&text(&directory.path().join("db/db.json"))).unwrap();
    assert_eq!(file, json!([{ "id": "user" }, { "id": "other" }]));
}

#[tokio::test]
async fn a_second_process_is_refused() {
    if let Some(path) = std::env::var_os("FILE_DB_SECOND") {
        let error = FileDb::open(path).await.unwrap_err();
        assert!(error.is_database());
        assert!(error.to_string().contains("is in use: another process"), "{error}");
        return;
    }
    let (_directory, path) = file(JOVO);
    let db = FileDb::open(&path).await.unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "opening::a_second_process_is_refused"])
        .env("FILE_DB_SECOND", &path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("1 passed"));
    assert_eq!(text(&path), JOVO);
    stored(&db, "user", &Record::default(), None).await;
}

#[tokio::test]
async fn opening_twice_in_one_process_is_refused_under_any_spelling() {
    let (directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    let other = directory.path().join("made/../db.json");
    for path in [path.clone(), other] {
        let error = FileDb::open(&path).await.unwrap_err();
        assert!(error.to_string().contains("clone the `FileDb`"), "{error}");
    }
    drop(db.clone());
    FileDb::open(&path).await.unwrap_err();
    drop(db);
    FileDb::open(&path).await.unwrap();
}

#[tokio::test]
async fn refuses_paths_that_cannot_be_a_file() {
    let directory = directory();
    let error = FileDb::open("").await.unwrap_err();
    assert!(error.is_configuration());
    let slash = directory.path().join("sub/");
    for path in [directory.path(), &slash, &directory.path().join("..")] {
        let error = FileDb::open(path).await.unwrap_err();
        assert!(error.is_configuration());
        assert!(error.to_string().contains("is a directory"), "{error}");
    }
    assert_eq!(names(directory.path()), [""; 0]);
}

#[tokio::test]
async fn names_the_place_of_a_syntax_error_and_leaves_the_file_unchanged() {
    for (damaged, place) in [
        ("[\n  {\n    \"id\": \"SECRET\",\n    oops\n  }\n]", "line 4 column 5"),
        ("[\n  {\n    \"id\": \"SECRET\"", "line 3 column 18"),
        ("[{\"id\": \"SECRET\"}] trailing", "line 1 column 20"),
        ("{\"SECRET\": ", "line 1 column 11"),
        ("", "is empty"),
        (" \n", "is empty"),
    ] {
        let (directory, path) = file(damaged);
        let error = FileDb::open(&path).await.unwrap_err();
        assert!(error.is_database());
        assert!(error.to_string().contains(place), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(error.to_string().contains("`recover_damaged(true)`"), "{error}");
        assert!(!all(&error).contains("SECRET"), "{error:?}");
        assert_eq!(text(&path), damaged);
        assert_eq!(names(directory.path()), ["db.json", "db.json.lock"]);
    }
    let (_directory, path) = file("");
    fs::write(&path, b"[\n\xff]").unwrap();
    let error = FileDb::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("not UTF-8 text at line 2"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"[\n\xff]");
}

#[tokio::test]
async fn sets_a_damaged_file_aside_if_asked_to() {
    let directory = directory();
    let path = directory.path().join("db.json");
    for damaged in ["[{", "", "[{"] {
        fs::write(&path, damaged).unwrap();
        let db = FileDb::builder(&path).recover_damaged(true).open().await.unwrap();
        assert_eq!(text(&path), "[]");
        db.close().await.unwrap();
    }
    let names = names(directory.path());
    let aside: Vec<_> = names.iter().filter(|name| name.contains("damaged")).collect();
    assert_eq!(aside.len(), 3, "{names:?}");
    let contents: Vec<String> =
        aside.iter().map(|name| text(&directory.path().join(name))).collect();
    assert_eq!(contents.iter().filter(|content| *content == "[{").count(), 2);
    for name in aside {
        // Such as db.json.damaged-20250131T235959Z, with a number if several fall into one second.
        let time = name.strip_prefix("db.json.damaged-").unwrap();
        assert!(time.len() >= 16 && time.as_bytes()[15] == b'Z', "{name}");
        assert!(time.chars().all(|each| each.is_ascii_alphanumeric() || each == '-'), "{name}");
    }
    // The option does not touch a valid file.
    fs::write(&path, JOVO).unwrap();
    let db = FileDb::builder(&path).recover_damaged(true).open().await.unwrap();
    assert_eq!(text(&path), JOVO);
    assert_eq!(load(&db, "second").await.record, record(json!({ "user": { "data": {} } })));
}

#[tokio::test]
async fn refuses_json_that_is_not_a_list_of_users() {
    for (foreign, why) in [
        ("{\"SECRET\": {}}", "early Jovo v1"),
        ("\"SECRET\"", "not an array of users"),
        ("[\n{\"id\":\"a\"},\n\"SECRET\"]", "record 2 (line 3): it is not an object"),
        ("[[\"SECRET\"]]", "record 1 (line 1): it is not an object"),
        ("[{\"data\":\"SECRET\"}]", "record 1 (line 1): it has no `id`"),
        ("[{\"id\":null}]", "it has no `id`"),
        ("[{\"id\":77777}]", "its `id` is not a string"),
        ("[{\"id\":\"SECRET\",\"id\":\"SECRET\"}]", "it has `id`"),
        (
            "[\n\t{\n\t\t\"userId\": \"SECRET\",\n\t\t\"userData\": {}\n\t}\n]",
            "record 1 (line 2): it has no `id` but looks like a user of Jovo v1, v2 or v3",
        ),
        (
            "[\n{\"id\":\"SECRET\"},\n{\"id\":\"b\"},\n{\"id\":\"SE\\u0043RET\"}]",
            "the same `id` twice: record 1 (line 2) and record 3 (line 4)",
        ),
    ] {
        let (directory, path) = file(foreign);
        for recover in [false, true] {
            let opened = FileDb::builder(&path).recover_damaged(recover).open().await;
            let error = opened.unwrap_err();
            assert!(error.is_database());
            assert!(error.to_string().contains(why), "{error}");
            assert!(!all(&error).contains("SECRET"), "{error:?}");
            assert!(!all(&error).contains("77777"), "{error:?}");
            assert_eq!(text(&path), foreign);
        }
        assert_eq!(names(directory.path()), ["db.json", "db.json.lock"]);
    }
}

#[tokio::test]
async fn accepts_a_byte_order_mark() {
    let (_directory, path) = file("\u{feff}[{\"id\":\"user\"}]");
    let db = FileDb::open(&path).await.unwrap();
    load(&db, "user").await;
}

#[tokio::test]
async fn removes_temporary_files_of_killed_processes_and_no_others() {
    let (directory, path) = file("[]");
    let ours = "db.json.0123456789abcdef0123456789abcdef.tmp";
    let others = ["db.json.tmp", "db.json.backup.tmp", "x.0123456789abcdef0123456789abcdef.tmp"];
    for name in [ours].iter().chain(&others) {
        fs::write(directory.path().join(name), "[{").unwrap();
    }
    let db = FileDb::open(&path).await.unwrap();
    stored(&db, "user", &Record::default(), None).await;
    let mut expected = vec!["db.json", "db.json.lock"];
    expected.extend(others);
    expected.sort_unstable();
    assert_eq!(names(directory.path()), expected);
}

#[tokio::test]
async fn a_directory_named_like_a_temporary_file_does_no_harm() {
    let (directory, path) = file("[]");
    fs::create_dir(directory.path().join("db.json.tmp")).unwrap();
    let db = FileDb::open(&path).await.unwrap();
    stored(&db, "user", &Record::default(), None).await;
    assert_eq!(names(directory.path()), ["db.json", "db.json.lock", "db.json.tmp"]);
}

#[tokio::test]
async fn opening_leaves_a_file_unchanged() {
    let (_directory, path) = file(JOVO);
    let before = fs::metadata(&path).unwrap();
    let db = FileDb::open(&path).await.unwrap();
    db.close().await.unwrap();
    let after = fs::metadata(&path).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        assert_eq!(before.ino(), after.ino());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_its_owner_can_read_a_new_file() {
    use std::os::unix::fs::PermissionsExt;

    let directory = directory();
    let path = directory.path().join("db.json");
    let db = FileDb::open(&path).await.unwrap();
    stored(&db, "user", &Record::default(), None).await;
    for name in names(directory.path()) {
        let mode = fs::metadata(directory.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn links_and_permissions_stay() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let (directory, path) = file("[{");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let link = directory.path().join("sub/link.json");
    fs::create_dir(link.parent().unwrap()).unwrap();
    symlink("../db.json", &link).unwrap();
    let db = FileDb::builder(&link).recover_damaged(true).open().await.unwrap();
    stored(&db, "user", &Record::default(), None).await;
    assert!(link.is_symlink());
    assert!(text(&path).contains("user"));
    let private = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(private(&path), 0o600);
    // The lock belongs to the file, not to the link.
    FileDb::open(&path).await.unwrap_err();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    stored(&db, "other", &Record::default(), None).await;
    assert_eq!(private(&path), 0o664);

    let nowhere = directory.path().join("nowhere.json");
    symlink("missing", &nowhere).unwrap();
    let error = FileDb::open(&nowhere).await.unwrap_err();
    assert!(error.to_string().contains("leads nowhere"), "{error}");
}

#[test]
fn opening_without_a_runtime_is_an_error_that_says_so() {
    let (_directory, path) = file("[]");
    let mut opening = tokio_test::task::spawn(FileDb::open(&path));
    let std::task::Poll::Ready(Err(error)) = opening.poll() else { panic!() };
    assert!(error.is_configuration());
    assert!(error.to_string().contains("tokio runtime"), "{error}");
}
