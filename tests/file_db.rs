//! `FileDb` and `connect`, through the public interface.
#![cfg(feature = "file")]
// Clippy allows them in test functions, not in what these call.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use tower_persistence::{Database, Error, FileDb, Record, Saved, Stored, Version, connect};

/// As Jovo v4 writes it, with fields of others at every level, and no newline at the end.
const JOVO: &str = r#"[
  {
    "id": "amzn1.ask.account.FIRST",
    "user": {
      "data": {
        "visits": 3,
        "name": "Zoë",
        "empty": {},
        "list": []
      },
      "unknownOfUser": 1
    },
    "session": {
      "id": "s-1",
      "data": {
        "z": 1,
        "a": 2
      },
      "state": [
        {
          "component": "Main",
          "unknownOfState": null
        }
      ],
      "createdAt": "2021-06-30T05:50:04.034Z",
      "updatedAt": "2021-06-30T05:50:04.034Z",
      "_GOOGLE_ASSISTANT_REPROMPTS_": [
        "Hello?"
      ]
    },
    "history": {
      "items": [
        {
          "output": [
            {
              "message": "Hi \"you\" \\ \u0001"
            }
          ],
          "unknownOfItem": 0.5
        }
      ],
      "unknownOfHistory": {
        "deep": [
          1,
          [
            2
          ]
        ]
      }
    },
    "unknown": true,
    "createdAt": "2021-06-30T05:50:04.034Z",
    "updatedAt": "2021-06-30T05:50:04.034Z",
    "last": -9007199254740993
  },
  {
    "id": "second",
    "user": {
      "data": {}
    }
  },
  {
    "id": "third",
    "user": {
      "data": {
        "visits": 7
      }
    }
  }
]"#;

const FIRST: &str = "amzn1.ask.account.FIRST";

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn file(text: &str) -> (TempDir, PathBuf) {
    let directory = directory();
    let path = directory.path().join("db.json");
    fs::write(&path, text).unwrap();
    (directory, path)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn record(value: Value) -> Record {
    serde_json::from_value(value).unwrap()
}

fn named(name: &str) -> Record {
    record(json!({ "user": { "data": { "name": name } } }))
}

async fn load(db: &impl Database, id: &str) -> Stored {
    db.load(id).await.unwrap().unwrap()
}

async fn stored(db: &impl Database, id: &str, record: &Record, over: Option<&Version>) -> Version {
    match db.save(id, record, over).await.unwrap() {
        Saved::Stored(version) => version,
        conflict @ Saved::Conflict(_) => panic!("{conflict:?}"),
    }
}

/// What is in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message with those of the sources.
fn all(error: &Error) -> String {
    format!("{error:?}")
}

mod opening {
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
    async fn the_default_is_in_the_working_directory() {
        if std::env::var_os("FILE_DB_DEFAULT").is_some() {
            let db = FileDb::open_default().await.unwrap();
            stored(&db, "user", &Record::default(), None).await;
            assert_eq!(format!("{db:?}"), "FileDb(db/db.json)");
            // It stays the same file when the working directory changes.
            std::env::set_current_dir("/").unwrap();
            stored(&db, "other", &Record::default(), None).await;
            return;
        }
        let directory = directory();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "opening::the_default_is_in_the_working_directory"])
            .env("FILE_DB_DEFAULT", "1")
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let file: Value =
            serde_json::from_str(&text(&directory.path().join("db/db.json"))).unwrap();
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
    async fn a_second_time_in_this_process_is_refused_under_any_spelling() {
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
    async fn refuses_paths_that_are_no_file() {
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
    async fn says_where_the_json_breaks_and_touches_nothing() {
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
    async fn sets_a_damaged_file_aside_where_that_was_asked_for() {
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
            // Such as db.json.damaged-20250131T235959Z, with a number where several are of one second.
            let time = name.strip_prefix("db.json.damaged-").unwrap();
            assert!(time.len() >= 16 && time.as_bytes()[15] == b'Z', "{name}");
            assert!(time.chars().all(|each| each.is_ascii_alphanumeric() || each == '-'), "{name}");
        }
        // A valid file is not touched by it.
        fs::write(&path, JOVO).unwrap();
        let db = FileDb::builder(&path).recover_damaged(true).open().await.unwrap();
        assert_eq!(text(&path), JOVO);
        assert_eq!(load(&db, "second").await.record, record(json!({ "user": { "data": {} } })));
    }

    #[tokio::test]
    async fn refuses_what_is_not_a_list_of_users() {
        for (foreign, why) in [
            ("{\"SECRET\": {}}", "early Jovo v1"),
            ("\"SECRET\"", "not an array of users"),
            ("[\n{\"id\":\"a\"},\n\"SECRET\"]", "item 2 (line 3): it is not an object"),
            ("[[\"SECRET\"]]", "item 1 (line 1): it is not an object"),
            ("[{\"data\":\"SECRET\"}]", "item 1 (line 1): it has no `id`"),
            ("[{\"id\":null}]", "it has no `id`"),
            ("[{\"id\":77777}]", "its `id` is not a string"),
            ("[{\"id\":\"SECRET\",\"id\":\"SECRET\"}]", "it has `id`"),
            (
                "[\n\t{\n\t\t\"userId\": \"SECRET\",\n\t\t\"userData\": {}\n\t}\n]",
                "item 1 (line 2): it has no `id` but looks like a user of Jovo v1, v2 or v3",
            ),
            (
                "[\n{\"id\":\"SECRET\"},\n{\"id\":\"b\"},\n{\"id\":\"SE\\u0043RET\"}]",
                "the same `id` twice: item 1 (line 2) and item 3 (line 4)",
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
    async fn takes_a_byte_order_mark_and_what_a_killed_process_left() {
        let (directory, path) = file("\u{feff}[{\"id\":\"user\"}]");
        fs::write(directory.path().join("db.json.tmp"), "[{").unwrap();
        let db = FileDb::open(&path).await.unwrap();
        load(&db, "user").await;
        assert_eq!(names(directory.path()), ["db.json", "db.json.lock"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_link_and_permissions_stay() {
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
        // The lock is that of the file, not of the link.
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
    fn without_a_runtime_it_says_so() {
        let (_directory, path) = file("[]");
        let mut opening = tokio_test::task::spawn(FileDb::open(&path));
        let std::task::Poll::Ready(Err(error)) = opening.poll() else { panic!() };
        assert!(error.is_configuration());
        assert!(error.to_string().contains("tokio runtime"), "{error}");
    }
}

mod format {
    use super::*;

    #[tokio::test]
    async fn a_file_of_jovo_is_served_and_written_back_as_it_was() {
        let (_directory, path) = file(JOVO);
        let db = FileDb::open(&path).await.unwrap();
        let Stored { record, version } = load(&db, FIRST).await;
        let names: Vec<&String> = record.fields().keys().collect();
        let expected = ["user", "session", "history", "unknown", "createdAt", "updatedAt", "last"];
        assert_eq!(names, expected);
        assert_eq!(record.fields()["history"]["items"][0]["unknownOfItem"], 0.5);

        // Written unchanged, it is the same text to the byte.
        let version = stored(&db, FIRST, &record, Some(&version)).await;
        assert_eq!(text(&path), JOVO);
        let mut fields = record.fields().clone();
        fields["user"]["data"]["visits"] = json!(4);
        stored(&db, FIRST, &Record::new(fields), Some(&version)).await;
        let expected = JOVO.replace("\"visits\": 3", "\"visits\": 4");
        assert_eq!(text(&path), expected);

        let new = json!({ "user": { "data": {} } });
        stored(&db, "fourth", &super::record(new), None).await;
        db.delete("second").await.unwrap();
        let second =
            "  {\n    \"id\": \"second\",\n    \"user\": {\n      \"data\": {}\n    }\n  }";
        let expected = expected.replace(&format!("{second},\n"), "");
        let fourth = second.replace("second", "fourth");
        let expected = expected.strip_suffix("\n]").unwrap().to_owned() + ",\n" + &fourth + "\n]";
        assert_eq!(text(&path), expected);
    }

    #[tokio::test]
    async fn users_that_are_not_saved_stay_byte_for_byte() {
        let odd = r#"{"n" :1.0, "e":1E5, "big":123456789012345678901234567890,
 "escaped": "\u00e9\/\ud800", "tooBig": 1e999, "id" : "odd",	"n":2 }"#;
        let (_directory, path) = file(&format!("\n\n[ {odd} , {{\"id\":\"other\"}}]\n"));
        let db = FileDb::open(&path).await.unwrap();
        let other = load(&db, "other").await;
        stored(&db, "other", &named("new"), Some(&other.version)).await;
        let begin = format!("[\n  {odd},\n  {{\n    \"id\": \"other\",\n    \"user\"");
        assert!(text(&path).starts_with(&begin), "{}", text(&path));
        // What cannot be represented fails this user alone, and is not saved over.
        let error = db.load("odd").await.unwrap_err();
        assert!(error.is_decode());
        assert!(!all(&error).contains("odd"));
        let error = db.save("odd", &Record::default(), None).await.unwrap_err();
        assert!(error.is_decode());
        assert!(text(&path).starts_with(&begin));
    }

    #[tokio::test]
    async fn the_id_comes_first_and_is_not_part_of_the_record() {
        let (_directory, path) = file(r#"[{"user":{"data":{}},"id":"a","x":1,"y":2}]"#);
        let db = FileDb::open(&path).await.unwrap();
        let Stored { record: found, version } = load(&db, "a").await;
        let fields: Vec<_> = found.fields().keys().collect();
        assert_eq!(fields, ["user", "x", "y"]);
        stored(&db, "a", &found, Some(&version)).await;
        assert!(text(&path).starts_with("[\n  {\n    \"id\": \"a\",\n    \"user\": {"));

        // A record that carries it all the same.
        stored(&db, "b", &record(json!({ "x": 1, "id": "b" })), None).await;
        assert!(text(&path).ends_with("{\n    \"id\": \"b\",\n    \"x\": 1\n  }\n]"));
        let error = db.save("c", &record(json!({ "id": "b" })), None).await.unwrap_err();
        assert!(error.is_encode());
        assert_eq!(db.load("c").await.unwrap(), None);
    }

    #[tokio::test]
    async fn shows_no_version() {
        let (_directory, path) = file("[]");
        let db = FileDb::open(&path).await.unwrap();
        stored(&db, "a", &record(json!({ "user": { "data": { "n": 1 } } })), None).await;
        let expected = json!([{ "id": "a", "user": { "data": { "n": 1 } } }]);
        assert_eq!(serde_json::from_str::<Value>(&text(&path)).unwrap(), expected);
    }

    #[tokio::test]
    async fn what_could_not_be_read_again_is_refused() {
        fn nested(levels: usize) -> Record {
            let mut value = json!("SECRET");
            for level in 0..levels - 1 {
                value = if level % 2 == 0 { json!([value]) } else { json!({ "n": value }) };
            }
            // The record itself is a level, and so are `user` and `data`. Not made with `from_value`, whose
            // recursion has no limit.
            let Value::Object(mut fields) = json!({ "user": { "data": {} } }) else { panic!() };
            fields["user"]["data"]["tree"] = value;
            Record::new(fields)
        }
        let (_directory, path) = file("[]");
        let db = FileDb::open(&path).await.unwrap();
        let deepest = nested(126 - 2);
        stored(&db, "deep", &deepest, None).await;
        assert_eq!(load(&db, "deep").await.record, deepest);
        serde_json::from_str::<Value>(&text(&path)).unwrap();
        let before = text(&path);
        for levels in [126 - 1, 1_000] {
            let error = db.save("deeper", &nested(levels), None).await.unwrap_err();
            assert!(error.is_encode());
            assert!(error.to_string().starts_with("`user.data.tree` is nested more than 126"));
            assert!(!all(&error).contains("SECRET"));
        }
        assert_eq!(text(&path), before);
    }
}

mod random {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-z]{0,5}",
            Just(String::new()),
            Just("a.b".to_owned()),
            Just("$set".to_owned()),
            Just("\"quoted\\\"".to_owned()),
            Just("__proto__".to_owned()),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            Just(json!(i64::MIN)),
            Just(json!(u64::MAX)),
            any::<f64>().prop_filter("no JSON form", |n| n.is_finite()).prop_map(Value::from),
            Just(json!(-0.0)),
            Just(json!(5e-324)),
            any::<String>().prop_map(Value::from),
            Just(json!("")),
            Just(json!("\u{2028}\u{feff}\u{0}\u{10ffff}\r\n")),
        ];
        leaf.prop_recursive(6, 40, 6, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Value::from),
                btree_map(key(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().rev().collect())),
            ]
        })
    }

    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-zA-Z0-9.-]{1,40}",
            Just("../../etc/passwd".to_owned()),
            Just("\u{0}\"\\\u{1f600}\u{202e}\r\n".to_owned()),
            Just("\u{10ffff}".repeat(512)),
            Just("x".repeat(2_048)),
        ]
    }

    async fn unchanged(db: &FileDb, users: &[(String, Record)]) {
        for (id, record) in users {
            let Stored { record: found, version } = load(db, id).await;
            // As text, because the order of the keys and the kind of a number count.
            let json = |record| serde_json::to_string(record).unwrap();
            assert_eq!(json(&found), json(record));
            stored(db, id, &found, Some(&version)).await;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn records_and_ids_come_back_as_they_were(
            users in btree_map(id(), btree_map(key(), value(), 0..6), 1..4),
        ) {
            let users: Vec<(String, Record)> = users
                .into_iter()
                .map(|(id, fields)| {
                    let fields = fields.into_iter().rev().filter(|(name, _)| name != "id");
                    (id, Record::new(fields.collect()))
                })
                .collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (_directory, path) = file("[]");
                let db = FileDb::open(&path).await.unwrap();
                for (id, record) in &users {
                    stored(&db, id, record, None).await;
                }
                let file = text(&path);
                unchanged(&db, &users).await;
                db.close().await.unwrap();
                let db = FileDb::open(&path).await.unwrap();
                unchanged(&db, &users).await;
                assert_eq!(text(&path), file);
            });
        }
    }
}

mod saving {
    use super::*;

    #[tokio::test]
    async fn is_conditional_on_the_version() {
        let (_directory, path) = file("[]");
        let db = FileDb::open(&path).await.unwrap();
        let unknown = Version::new("1");
        let missing = db.save("user", &named("a"), Some(&unknown)).await.unwrap();
        assert_eq!(missing, Saved::Conflict(None));
        assert_eq!(text(&path), "[]");
        let first = stored(&db, "user", &named("a"), None).await;
        assert_eq!(load(&db, "user").await, Stored { record: named("a"), version: first.clone() });
        let second = stored(&db, "user", &named("b"), Some(&first)).await;
        assert_ne!(first, second);
        for over in [None, Some(&first)] {
            let current = Stored { record: named("b"), version: second.clone() };
            let saved = db.save("user", &named("c"), over).await.unwrap();
            assert_eq!(saved, Saved::Conflict(Some(current)));
        }
        assert_eq!(load(&db, "user").await.record, named("b"));
    }

    #[tokio::test]
    async fn what_was_deleted_and_created_anew_has_no_version_of_before() {
        let (_directory, path) = file("[]");
        let db = FileDb::open(&path).await.unwrap();
        let first = stored(&db, "user", &named("a"), None).await;
        db.delete("user").await.unwrap();
        db.delete("user").await.unwrap();
        assert_eq!(db.load("user").await.unwrap(), None);
        assert_eq!(text(&path), "[]");
        let saved = db.save("user", &named("a"), Some(&first)).await.unwrap();
        assert_eq!(saved, Saved::Conflict(None));
        let anew = stored(&db, "user", &named("a"), None).await;
        assert_ne!(first, anew);
        let saved = db.save("user", &named("b"), Some(&first)).await.unwrap();
        assert!(matches!(saved, Saved::Conflict(Some(_))));
        // Nor does opening the file again begin to count anew.
        db.close().await.unwrap();
        let db = FileDb::open(&path).await.unwrap();
        let saved = db.save("user", &named("b"), Some(&first)).await.unwrap();
        assert!(matches!(saved, Saved::Conflict(Some(_))));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn of_several_writers_over_one_version_one_wins() {
        let (_directory, path) = file("[]");
        let db = FileDb::open(&path).await.unwrap();
        let mut version = None;
        for round in 0..5 {
            let writers: Vec<_> = (0..16)
                .map(|writer| {
                    let (db, version) = (db.clone(), version.clone());
                    tokio::spawn(async move {
                        let record = named(&format!("{round}-{writer}"));
                        (db.save("user", &record, version.as_ref()).await.unwrap(), record)
                    })
                })
                .collect();
            let mut won = Vec::new();
            for writer in writers {
                match writer.await.unwrap() {
                    (Saved::Stored(version), record) => won.push(Stored { record, version }),
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
    async fn no_increment_is_lost_among_many() {
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
                        let over = found.as_ref().map(|found| &found.version);
                        let saved = db.save(&id, &record(json!({ "n": n + 1 })), over).await;
                        if let Saved::Stored(_) = saved.unwrap() {
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
        let counts: Vec<&Value> = file.as_array().unwrap().iter().map(|item| &item["n"]).collect();
        assert_eq!(counts, [8; 8]);
    }

    #[tokio::test]
    async fn a_failed_write_changes_nothing() {
        let (directory, path) = file(JOVO);
        let db = FileDb::open(&path).await.unwrap();
        let before = load(&db, "second").await;
        // Permissions would not stop root.
        let obstacle = directory.path().join("db.json.tmp");
        fs::create_dir(&obstacle).unwrap();
        let record = named("SECRET");
        let (saved, added, deleted) = tokio::join!(
            db.save("second", &record, Some(&before.version)),
            db.save("SECRET", &record, None),
            db.delete("third"),
        );
        for error in [saved.unwrap_err(), added.unwrap_err(), deleted.unwrap_err()] {
            assert!(error.is_database());
            assert!(error.to_string().contains("could not be written; it is as it was"));
            assert!(std::error::Error::source(&error).is_some());
            assert!(!all(&error).contains("SECRET"));
        }
        assert_eq!(text(&path), JOVO);
        assert_eq!(load(&db, "second").await, before);
        assert_eq!(db.load("SECRET").await.unwrap(), None);
        load(&db, "third").await;

        fs::remove_dir(obstacle).unwrap();
        stored(&db, "second", &named("a"), Some(&before.version)).await;
    }

    /// Begins a save and lets go of it. Whether it was still under way then; it may have been answered at once.
    fn begin(db: &FileDb, id: &str) -> bool {
        let record = named("begun");
        let mut save = tokio_test::task::spawn(db.save(id, &record, None));
        save.poll().is_pending()
    }

    #[tokio::test]
    async fn flush_close_and_drop_write_what_was_begun() {
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
            db.save("a", &Record::default(), None).await.map(drop),
            db.delete("a").await,
            db.flush().await,
        ] {
            let error = result.unwrap_err();
            assert!(error.is_database());
            assert!(error.to_string().ends_with("is closed"), "{error}");
        }
        // The closed one is still there, and holds nothing.
        let again = FileDb::open(&path).await.unwrap();
        begin(&again, "c");
        let clone = again.clone();
        drop(again);
        begin(&clone, "d");
        drop(clone);
        assert!(text(&path).contains("\"c\"") && text(&path).contains("\"d\""));
    }

    #[tokio::test]
    async fn flush_and_close_report_a_failure_that_nobody_heard() {
        let (directory, path) = file("[]");
        let db = FileDb::open(&path).await.unwrap();
        fs::create_dir(directory.path().join("db.json.tmp")).unwrap();
        while !begin(&db, "a") {}
        let error = db.flush().await.unwrap_err();
        assert!(error.to_string().contains("could not be written"), "{error}");
        db.flush().await.unwrap();
        while !begin(&db, "a") {}
        db.close().await.unwrap_err();
        db.close().await.unwrap();
    }

    /// What a thread reads and writes is counted per thread.
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
}

mod editing {
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
        // Who was not edited keeps the version.
        assert_eq!(load(&db, "second").await, second);
        stored(&db, "second", &second.record, Some(&second.version)).await;
        assert_eq!(text(&path), edited);
    }

    #[tokio::test]
    async fn an_edit_of_the_same_length_is_noticed_by_time_or_by_file() {
        let (directory, path) = file(JOVO);
        let db = FileDb::open(&path).await.unwrap();
        let visits = |stored: Stored| stored.record.fields()["user"]["data"]["visits"].clone();
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
        let saved = db.save("third", &named("a"), Some(&third.version)).await.unwrap();
        let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
        assert_eq!(current.record.fields()["user"]["data"]["visits"], 70);
        assert_eq!(text(&path), edited);
        // A save of another user keeps the edit.
        fs::write(&path, edited.replace("70", "700")).unwrap();
        stored(&db, "second", &named("a"), Some(&second.version)).await;
        assert_eq!(load(&db, "third").await.record.fields()["user"]["data"]["visits"], 700);
        assert!(text(&path).contains("\"visits\": 700"));
        // The user that was loaded is gone.
        let third = load(&db, "third").await;
        fs::write(&path, "[]").unwrap();
        let saved = db.save("third", &named("a"), Some(&third.version)).await.unwrap();
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
            (duplicate, "the same `id` twice: item 2 (line 56) and item 3 (line 62)"),
        ] {
            let (directory, path) = file(JOVO);
            let db = FileDb::builder(&path).recover_damaged(true).open().await.unwrap();
            let second = load(&db, "second").await;
            fs::write(&path, &invalid).unwrap();
            for result in [
                db.load("second").await.map(drop),
                db.load("nobody").await.map(drop),
                db.save("second", &named("a"), Some(&second.version)).await.map(drop),
                db.save("new", &named("a"), None).await.map(drop),
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
    async fn a_removed_file_is_not_made_anew() {
        let (directory, path) = file(JOVO);
        let db = FileDb::open(&path).await.unwrap();
        let second = load(&db, "second").await;
        let elsewhere = directory.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        let error = db.load("second").await.unwrap_err();
        assert!(error.is_database());
        assert!(error.to_string().contains("was removed"), "{error}");
        db.save("second", &named("a"), Some(&second.version)).await.unwrap_err();
        assert_eq!(names(directory.path()), ["db.json.lock", "elsewhere"]);
        fs::rename(&elsewhere, &path).unwrap();
        assert_eq!(load(&db, "second").await, second);
    }
}

mod connecting {
    use super::*;

    #[tokio::test]
    async fn to_a_file() {
        let directory = directory();
        // As it is: nothing is decoded, and what looks like a query belongs to the name.
        for name in ["sub/../db.json", "a b%20c?d#e.json", "UPPER:case.json"] {
            let path = directory.path().join(name);
            let db = connect(&format!("file:{}", path.display())).await.unwrap();
            stored(&db, "user", &Record::default(), None).await;
            assert!(text(&path).contains("user"));
            assert_eq!(format!("{db:?}"), format!("FileDb({})", path.display()));
            db.close().await.unwrap();
        }
        let path = directory.path().join("db.json");
        let db = connect(&format!("FILE://{}", path.display())).await.unwrap();
        load(&db, "user").await;
    }

    #[tokio::test]
    async fn to_memory() {
        let db = connect("memory:").await.unwrap();
        stored(&db, "user", &Record::default(), None).await;
        assert!(format!("{db:?}").starts_with("MemoryDb"));
    }

    #[tokio::test]
    async fn to_nothing_that_is_known() {
        for (url, why) in [
            ("redis://user:SECRET@host/SECRET", "unknown scheme `redis`"),
            ("", "does not begin with a scheme"),
            ("SECRET/db.json", "does not begin with a scheme such as `file:`"),
            ("SECRET@host:27017", "does not begin with a scheme"),
            (":SECRET", "does not begin with a scheme"),
            ("file:", "the path after `file:`"),
            ("file://SECRET/db.json", "a host after `file://`"),
            ("memory:SECRET", "nothing may follow `memory:`"),
        ] {
            let error = connect(url).await.unwrap_err();
            assert!(error.is_configuration());
            assert!(error.to_string().contains(why), "{error}");
            assert!(!all(&error).contains("SECRET"), "{error:?}");
        }
        let error = connect("redis://host").await.unwrap_err();
        assert!(error.to_string().contains("`file:db/db.json`, `memory:`"), "{error}");
    }
}
