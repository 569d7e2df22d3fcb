//! Data that `serde_json` cannot read affects no other user, and is never overwritten.

use super::*;

const HALF: &str = r#"[
  {"id":"user-1","user":{"data":{"nick":"Anna \ud83d","visits":4}}},
  {"id":"user-2","user":{"data":{"visits":9}}}
]
"#;

async fn change(db: &FileDb, id: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let VersionedRecord { record, version } = load(db, id).await;
    let mut fields = record.fields().clone();
    change(&mut fields);
    stored(db, id, &Record::new(fields), Some(&version)).await;
}

#[tokio::test]
async fn half_of_a_surrogate_pair_loads_as_a_replacement_and_stays_in_the_file() {
    let (_directory, path) = file(HALF);
    let db = FileDb::open(&path).await.unwrap();
    let found = load(&db, "user-1").await;
    assert_eq!(found.record.fields()["user"]["data"]["nick"], "Anna \u{fffd}");
    change(&db, "user-2", |fields| fields["user"]["data"]["visits"] = json!(10)).await;
    assert!(text(&path).contains(HALF.lines().nth(1).unwrap()));
    for visits in [5, 6] {
        change(&db, "user-1", |fields| fields["user"]["data"]["visits"] = json!(visits)).await;
        assert!(text(&path).contains(r#""nick": "Anna \ud83d""#), "{}", text(&path));
        assert!(text(&path).contains(&format!("\"visits\": {visits}")));
    }
    // A value that is set again is written.
    change(&db, "user-1", |fields| fields["user"]["data"]["nick"] = json!("Anna")).await;
    assert!(!text(&path).contains("ud83d"));
}

#[tokio::test]
async fn halves_of_surrogate_pairs_stay_at_any_place() {
    let object = r#"{"id":"a","user":{"data":{"list":["\udc00",{"deep":["\ud800 x"]}],"n":0,
        "\ud83d":1,"\ud83e":2,"\ud83d\ude00":3}},"history":{"items":[{"a":"\ud83d"},{"b":1}]}}"#;
    let (_directory, path) = file(&format!("[{object}]"));
    let db = FileDb::open(&path).await.unwrap();
    let found = load(&db, "a").await;
    let data = &found.record.fields()["user"]["data"];
    assert_eq!(data["list"], json!(["\u{fffd}", { "deep": ["\u{fffd} x"] }]));
    assert_eq!(data["\u{1f600}"], 3);
    change(&db, "a", |fields| {
        fields["user"]["data"]["n"] = json!(1);
        fields["user"]["data"]["list"].as_array_mut().unwrap().push(json!("new"));
        let items = fields["history"]["items"].as_array_mut().unwrap();
        items.insert(0, json!({ "c": 1 }));
        items.truncate(2);
    })
    .await;
    let file = text(&path);
    for kept in [
        r#""\udc00""#,
        r#"{"deep":["\ud800 x"]}"#,
        r#""\ud83d": 1"#,
        r#""\ud83e": 2"#,
        r#""\ud83d\ude00": 3"#,
        r#"{"a":"\ud83d"}"#,
        r#""new""#,
    ] {
        assert!(file.contains(kept), "{kept} is missing: {file}");
    }
    assert!(!file.contains(r#"{"b":1}"#));
    let VersionedRecord { record, .. } = load(&db, "a").await;
    assert_eq!(record.fields()["user"]["data"]["n"], 1);
}

#[tokio::test]
async fn an_id_that_is_not_text_belongs_to_no_user_and_stays() {
    let odd = [
        r#"{"id":"a \ud83d","user":{"data":{"n":1}}}"#,
        r#"{ "id" : "\udc00" }"#,
        r#"{"id":"a \ud83d"}"#,
        r#"{"userId":"\ud83d","userData":{"data":{}}}"#,
    ];
    let begin = format!("[{},{{\"id\":\"b\"}},{},{}", odd[0], odd[1], odd[2]);
    let (_directory, path) = file(&format!("{begin},{}]", odd[3]));
    let db = FileDb::open(&path).await.unwrap();
    for id in ["a \u{fffd}", "a ", "\u{fffd}", "a \\ud83d", "userId", ""] {
        assert_eq!(db.load(id).await.unwrap(), None);
    }
    stored(&db, "a \u{fffd}", &named("other"), None).await;
    db.delete("b").await.unwrap();
    let expected = odd.map(|object| format!("  {object}")).join(",\n");
    assert!(text(&path).starts_with(&format!("[\n{expected},\n")), "{}", text(&path));
    // An edit of another user neither duplicates nor loses them.
    fs::write(&path, text(&path).replace("\"other\"", "\"edited\"")).unwrap();
    let found = load(&db, "a \u{fffd}").await;
    stored(&db, "a \u{fffd}", &named("again"), Some(&found.version)).await;
    assert!(text(&path).starts_with(&format!("[\n{expected},\n")), "{}", text(&path));
    assert_eq!(text(&path).matches("\"id\"").count(), 4);
}

#[tokio::test]
async fn an_unreadable_record_affects_no_other_user_and_stays() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let very_deep = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    for odd in ["1e999", "-1e400", deep.as_str(), very_deep.as_str()] {
        let object = format!(r#"{{"id":"odd","user":{{"data":{{"SECRET":{odd}}}}}}}"#);
        let (_directory, path) = file(&format!(r#"[{object},{{"id":"b","n":1}}]"#));
        let db = FileDb::open(&path).await.unwrap();
        let error = db.load("odd").await.unwrap_err();
        assert!(error.is_decode());
        assert!(!all(&error).contains("SECRET"));
        assert!(
            db.save("odd", &Record::default(), Expected::Absent).await.unwrap_err().is_decode()
        );
        change(&db, "b", |fields| fields["n"] = json!(2)).await;
        assert!(text(&path).starts_with(&format!("[\n  {object},\n")));
        // The same record as an edit.
        fs::write(&path, r#"[{"id":"b","n":3}]"#).unwrap();
        load(&db, "b").await;
        fs::write(&path, format!(r#"[{{"id":"b","n":3}},{object}]"#)).unwrap();
        assert_eq!(load(&db, "b").await.record.fields()["n"], 3);
        assert!(db.load("odd").await.unwrap_err().is_decode());
        db.delete("odd").await.unwrap();
        assert_eq!(text(&path), "[\n  {\"id\":\"b\",\"n\":3}\n]");
    }
}
