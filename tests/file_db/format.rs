use super::*;

#[tokio::test]
async fn a_file_of_jovo_is_served_and_written_back_unchanged() {
    let (_directory, path) = file(JOVO);
    let db = FileDb::open(&path).await.unwrap();
    let VersionedRecord { record, version } = load(&db, FIRST).await;
    let names: Vec<&String> = record.fields().keys().collect();
    let expected = ["user", "session", "history", "unknown", "createdAt", "updatedAt", "last"];
    assert_eq!(names, expected);
    assert_eq!(record.fields()["history"]["items"][0]["unknownOfItem"], 0.5);

    // Saved unchanged, the record keeps its text to the byte.
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
    let second = "  {\n    \"id\": \"second\",\n    \"user\": {\n      \"data\": {}\n    }\n  }";
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
    // A user whose data cannot be represented fails alone, and is not overwritten.
    let error = db.load("odd").await.unwrap_err();
    assert!(error.is_decode());
    assert!(!all(&error).contains("odd"));
    let error = db.save("odd", &Record::default(), Expected::Absent).await.unwrap_err();
    assert!(error.is_decode());
    assert!(text(&path).starts_with(&begin));
}

#[tokio::test]
async fn the_id_comes_first_and_is_not_part_of_the_record() {
    let (_directory, path) = file(r#"[{"user":{"data":{}},"id":"a","x":1,"y":2}]"#);
    let db = FileDb::open(&path).await.unwrap();
    let VersionedRecord { record: found, version } = load(&db, "a").await;
    let fields: Vec<_> = found.fields().keys().collect();
    assert_eq!(fields, ["user", "x", "y"]);
    // Saved unchanged, the record keeps its text.
    let version = stored(&db, "a", &found, Some(&version)).await;
    assert_eq!(text(&path), "[\n  {\"user\":{\"data\":{}},\"id\":\"a\",\"x\":1,\"y\":2}\n]");
    let mut fields = found.fields().clone();
    fields["x"] = json!(2);
    stored(&db, "a", &Record::new(fields), Some(&version)).await;
    assert!(text(&path).starts_with("[\n  {\n    \"id\": \"a\",\n    \"user\": {"));

    // A record may contain the id all the same.
    stored(&db, "b", &record(json!({ "x": 1, "id": "b" })), None).await;
    assert!(text(&path).ends_with("{\n    \"id\": \"b\",\n    \"x\": 1\n  }\n]"));
    let error = db.save("c", &record(json!({ "id": "b" })), Expected::Absent).await.unwrap_err();
    assert!(error.is_encode());
    assert_eq!(db.load("c").await.unwrap(), None);
}

#[tokio::test]
async fn the_file_holds_no_version() {
    let (_directory, path) = file("[]");
    let db = FileDb::open(&path).await.unwrap();
    stored(&db, "a", &record(json!({ "user": { "data": { "n": 1 } } })), None).await;
    let expected = json!([{ "id": "a", "user": { "data": { "n": 1 } } }]);
    assert_eq!(serde_json::from_str::<Value>(&text(&path)).unwrap(), expected);
}

#[tokio::test]
async fn a_record_that_could_not_be_read_back_is_refused() {
    fn nested(levels: usize) -> Record {
        let mut value = json!("SECRET");
        for level in 0..levels - 1 {
            value = if level % 2 == 0 { json!([value]) } else { json!({ "n": value }) };
        }
        // The record itself is a level, and so are `user` and `data`. Not made with `from_value`,
        // whose recursion has no limit.
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
        let error = db.save("deeper", &nested(levels), Expected::Absent).await.unwrap_err();
        assert!(error.is_encode());
        assert!(error.to_string().starts_with("`user.data.tree` is nested more than 126"));
        assert!(!all(&error).contains("SECRET"));
    }
    assert_eq!(text(&path), before);
}
