//! The file of the first Jovo, `{userId, userData: {data, metaData}}`.

use super::*;

const FILE: &str = "[
\t{
\t\t\"userId\": \"first\",
\t\t\"userData\": {
\t\t\t\"data\": {
\t\t\t\t\"score\": 3.0,
\t\t\t\t\"nick\": \"\\ud83d\"
\t\t\t},
\t\t\t\"metaData\": {
\t\t\t\t\"createdAt\": \"2017-06-30T05:50:04.034Z\",
\t\t\t\t\"lastUsedAt\": \"2017-07-01T05:50:04.034Z\",
\t\t\t\t\"sessionsCount\": 7
\t\t\t}
\t\t}
\t},
\t{
\t\t\"userId\": \"second\",
\t\t\"userData\": {
\t\t\t\"data\": {}
\t\t}
\t}
]";

#[tokio::test]
async fn records_are_served_and_the_next_save_writes_them_in_todays_shape() {
    let (_directory, path) = file(FILE);
    let db = FileDb::open(&path).await.unwrap();
    let VersionedRecord { record: found, version } = load(&db, "first").await;
    let expected = json!({
        "user": { "data": { "score": 3.0, "nick": "\u{fffd}" } },
        "createdAt": "2017-06-30T05:50:04.034Z",
        "updatedAt": "2017-07-01T05:50:04.034Z",
        "metaData": {
            "createdAt": "2017-06-30T05:50:04.034Z",
            "lastUsedAt": "2017-07-01T05:50:04.034Z",
            "sessionsCount": 7,
        },
    });
    assert_eq!(found, record(expected.clone()));
    assert_eq!(load(&db, "second").await.record, record(json!({ "user": { "data": {} } })));
    stored(&db, "third", &Record::default(), None).await;
    let untouched = FILE.strip_prefix("[\n").and_then(|rest| rest.strip_suffix("\n]")).unwrap();
    for object in untouched.split("\n\t},\n\t{\n") {
        assert!(text(&path).contains(object.trim_start()), "{}", text(&path));
    }

    let mut fields = found.fields().clone();
    fields["user"]["data"]["score"] = json!(4);
    let version = stored(&db, "first", &Record::new(fields), Some(&version)).await;
    let file = text(&path);
    assert!(file.starts_with("[\n  {\n    \"id\": \"first\",\n    \"user\": {\n      \"data\": {"));
    assert!(file.contains(r#""nick": "\ud83d""#), "{file}");
    assert!(!file.contains(r#""userId": "first""#));
    assert!(file.contains(r#""userId": "second""#));
    let found = load(&db, "first").await;
    assert_eq!(found.version, version);
    let mut expected = expected;
    expected["user"]["data"]["score"] = json!(4);
    assert_eq!(found.record, record(expected.clone()));

    db.close().await.unwrap();
    let db = FileDb::open(&path).await.unwrap();
    assert_eq!(load(&db, "first").await.record, record(expected));
    // Saved unchanged, it has today's shape as well.
    let second = load(&db, "second").await;
    stored(&db, "second", &second.record, Some(&second.version)).await;
    assert!(!text(&path).contains("userId"));
    assert_eq!(load(&db, "second").await.record, second.record);
}

#[tokio::test]
async fn members_without_a_place_today_are_kept() {
    let (_directory, path) = file(
        r#"[{"userId":"a","userData":{"data":{"n":1},"metaData":{"devices":{"d":{}}},
            "context":{"prev":[1.0]}},"data":{"own":1e2},"updatedAt":"x"},{"id":"b"}]"#,
    );
    let db = FileDb::open(&path).await.unwrap();
    let VersionedRecord { record: found, version } = load(&db, "a").await;
    let expected = json!({
        "user": { "data": { "n": 1 } },
        "metaData": { "devices": { "d": {} } },
        "userData": { "context": { "prev": [1.0] } },
        "data": { "own": 100.0 },
        "updatedAt": "x",
    });
    assert_eq!(found, record(expected.clone()));
    stored(&db, "a", &found, Some(&version)).await;
    assert_eq!(load(&db, "a").await.record, record(expected));
    assert!(text(&path).contains("\"own\":1e2"));
    assert!(text(&path).contains("{\"prev\":[1.0]}"));
}

#[tokio::test]
async fn other_shapes_are_refused() {
    for foreign in [
        r#"[{"userId":"SECRET","userData":{}}]"#,
        r#"[{"userId":"SECRET","userData":{"data":[]}}]"#,
        r#"[{"userId":"SECRET","userData":{"data":{},"metaData":1}}]"#,
        r#"[{"userId":"SECRET"}]"#,
        r#"[{"userData":{"data":{}}}]"#,
        r#"[{"userId":"SECRET","userData":{"data":{}},"user":{}}]"#,
    ] {
        let (_directory, path) = file(foreign);
        let error = FileDb::open(&path).await.unwrap_err();
        assert!(error.to_string().contains("looks like a user of Jovo v1, v2 or v3"), "{error}");
        assert!(!all(&error).contains("SECRET"));
        assert_eq!(text(&path), foreign);
    }
    let twice = r#"[{"userId":"a","userData":{"data":{}}},{"id":"a"}]"#;
    let (_directory, path) = file(twice);
    let error = FileDb::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("the same `id` twice"), "{error}");
}
