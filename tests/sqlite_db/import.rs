use std::fs;

use tower_persistence::FileDb;

use super::*;

const FILE: &str = r#"[
  {
    "id": "one",
    "user": { "data": { "big": 123456789012345678901234567890, "a": 1.0, "text": "a \" b : {" } },
    "createdAt": "2021-06-30T05:50:04.034Z"
  },
  { "id": "t\u0077o", "own": [1, 2.50, "half \ud83d"] },
  { "userId": "first-jovo", "userData": { "data": { "visits": 3 }, "metaData": {} } },
  { "id": "half-\ud83d" },
  { "id": "there" }
]"#;

#[tokio::test]
async fn copies_all_users_once() {
    let (directory, path) = place();
    let file = directory.path().join("db.json");
    fs::write(&file, FILE).unwrap();
    let db = open(&path).await;
    let there = stored(&db, "there", &visits(9), None).await;
    let imported = within(db.import_file(&file)).await.unwrap();
    assert_eq!((imported.users, imported.skipped), (3, 2));
    assert_eq!(fs::read_to_string(&file).unwrap(), FILE);

    let connection = sqlite(&path);
    assert_eq!(
        text(&connection, "one"),
        r#"{"user":{"data":{"big":123456789012345678901234567890,"a":1.0,"text":"a \" b : {"}},"createdAt":"2021-06-30T05:50:04.034Z"}"#
    );
    assert_eq!(text(&connection, "two"), r#"{"own":[1,2.50,"half \ufffd"]}"#);
    assert_eq!(load(&db, "there").await.unwrap().version, there, "is newer than the file's");
    // As `FileDb` itself loads them.
    let old = within(FileDb::open(&file)).await.unwrap();
    for id in ["one", "two", "first-jovo"] {
        let expected = within(old.load(id)).await.unwrap().unwrap().record;
        assert_eq!(load(&db, id).await.unwrap().record, expected, "{id}");
    }
    within(old.close()).await.unwrap();

    within(db.delete("one")).await.unwrap();
    let error = within(db.import_file(&file)).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("imported"), "{error}");
    assert_eq!(load(&db, "one").await, None, "a deleted user does not come back");
}

#[tokio::test]
async fn a_file_that_cannot_be_imported_changes_nothing_and_can_be_repaired() {
    let (directory, path) = place();
    let file = directory.path().join("db.json");
    let db = open(&path).await;
    let error = within(db.import_file(&file)).await.unwrap_err();
    assert!(error.is_configuration() && error.to_string().contains("was not found"), "{error}");
    assert!(!file.exists());

    for text in [r#"[{ "id": "SECRET" "#, r#"[{ "id": "a" }, { "own": "SECRET" }]"#, ""] {
        fs::write(&file, text).unwrap();
        let error = within(db.import_file(&file)).await.unwrap_err();
        assert!(error.is_database() && !all(&error).contains("SECRET"), "{error:?}");
    }
    assert_eq!(number(&sqlite(&path), "SELECT count(*) FROM users"), 0);

    fs::write(&file, r#"[{ "id": "user", "user": { "data": { "visits": 1 } } }]"#).unwrap();
    let old = within(FileDb::open(&file)).await.unwrap();
    let error = within(db.import_file(&file)).await.unwrap_err();
    assert!(error.is_database() && error.to_string().contains("open"), "{error}");
    within(old.close()).await.unwrap();

    assert_eq!(within(db.import_file(&file)).await.unwrap().users, 1);
    assert_eq!(load(&db, "user").await.unwrap().record, visits(1));
}

#[tokio::test]
async fn a_user_deleted_a_moment_ago_is_not_imported() {
    let (directory, path) = place();
    let file = directory.path().join("db.json");
    fs::write(&file, r#"[{ "id": "deleted" }]"#).unwrap();
    let db = open(&path).await;
    within(db.delete("deleted")).await.unwrap();
    let imported = within(db.import_file(&file)).await.unwrap();
    assert_eq!((imported.users, imported.skipped), (0, 1));
    assert_eq!(load(&db, "deleted").await, None);
    assert!(within(db.import_file(&file)).await.unwrap_err().is_configuration(), "also then once");
}
