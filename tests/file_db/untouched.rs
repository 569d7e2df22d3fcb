//! Everything that a save does not change keeps its text in the file.

use super::*;

async fn change(db: &FileDb, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let VersionedRecord { record, version } = load(db, "a").await;
    let mut fields = record.fields().clone();
    change(&mut fields);
    stored(db, "a", &Record::new(fields), Some(&version)).await;
}

#[tokio::test]
async fn numbers_and_texts_keep_their_spelling() {
    let kept = [
        r#""big":123456789012345678901234567890"#,
        r#""float":1.50"#,
        r#""exponent":1E5"#,
        r#""zero":-0"#,
        r#""third":0.1000000000000000055511151231257827"#,
        r#""text":"\u00e9\/""#,
        r#""list":[ 1.0,2e0 , {"x":0.10} ]"#,
    ];
    let (_directory, path) = file(&format!(
        r#"[{{"user":{{"data":{{"n":0,{}}}}},"id":"\u0061","created":1.0}}]"#,
        kept.join(",")
    ));
    let db = FileDb::open(&path).await.unwrap();
    change(&db, |fields| fields["user"]["data"]["n"] = json!(1)).await;
    let file = text(&path);
    assert!(file.starts_with("[\n  {\n    \"id\": \"\\u0061\",\n    \"user\": {"), "{file}");
    assert!(file.contains("\"created\": 1.0"));
    for member in kept {
        let (name, value) = member.split_once(':').unwrap();
        assert!(file.contains(&format!("\n        {name}: {value}")), "{member}: {file}");
    }
    let before = load(&db, "a").await.record;
    change(&db, |fields| fields["user"]["data"]["n"] = json!(2)).await;
    let mut expected = before.fields().clone();
    expected["user"]["data"]["n"] = json!(2);
    assert_eq!(load(&db, "a").await.record, Record::new(expected));
}

#[tokio::test]
async fn a_difference_only_in_kind_sign_or_order_is_a_change() {
    for (before, after) in [
        ("1", json!(1.0)),
        ("1.0", json!(1)),
        ("0.0", json!(-0.0)),
        (r#"{"a":1,"b":2}"#, json!({ "b": 2, "a": 1 })),
        ("[1,2]", json!([2, 1])),
        ("[1,2,2]", json!([2, 1])),
        (r#""x""#, json!(["x"])),
        (r#"[{"a":1}]"#, json!({ "a": 1 })),
        (r#"{"a":1}"#, json!({})),
        ("[1]", json!([])),
        ("null", json!({ "a": [null, {}] })),
    ] {
        let (_directory, path) = file(&format!(r#"[{{"id":"a","x":{before},"y":1.0}}]"#));
        let db = FileDb::open(&path).await.unwrap();
        change(&db, |fields| fields["x"] = after.clone()).await;
        let found = load(&db, "a").await.record;
        assert_eq!(found.fields()["x"].to_string(), after.to_string());
        assert!(text(&path).contains("\"y\": 1.0"));
    }
}

#[tokio::test]
async fn only_edited_records_get_a_new_version() {
    let object = |id: usize, n: usize| format!(r#"{{"id":"user-{id}","n":{n}}}"#);
    let objects: Vec<String> = (0..50).map(|id| object(id, id)).collect();
    let (_directory, path) = file(&format!("[{}]", objects.join(",")));
    let db = FileDb::open(&path).await.unwrap();
    let versions = async || {
        let mut versions = Vec::new();
        for id in 0..60 {
            let found = db.load(&format!("user-{id}")).await.unwrap();
            versions.push(found.map(|found| (found.version, found.record.fields()["n"].clone())));
        }
        versions
    };
    let write = |objects: &[String]| {
        let text = format!("[\r\n\t{} ]\n", objects.join(" ,\n"));
        fs::write(&path, text).unwrap();
    };
    let before = versions().await;
    // Records are changed, removed, moved, and added at several places.
    let mut edited = objects.clone();
    edited[10] = object(10, 1_000);
    edited.remove(20);
    edited.swap(30, 40);
    edited.insert(0, object(55, 55));
    edited.insert(25, object(56, 56));
    edited.push(object(57, 57));
    write(&edited);
    let after = versions().await;
    for id in 0..60 {
        match id {
            10 => {
                let (version, n) = after[id].as_ref().unwrap();
                assert_eq!(n, 1_000);
                assert_ne!(before[id].as_ref().unwrap().0, *version);
            }
            20 | 50..55 | 58.. => assert_eq!(after[id], None),
            55..58 => assert!(after[id].is_some()),
            _ => assert_eq!(after[id], before[id], "{id}"),
        }
    }
    // New records follow in the order of their saves.
    stored(&db, "last", &Record::default(), None).await;
    edited.push("{\n    \"id\": \"last\"\n  }".to_owned());
    assert_eq!(text(&path), format!("[\n  {}\n]", edited.join(",\n  ")));
}

#[tokio::test]
async fn a_truncated_edit_is_invalid_at_any_place() {
    let valid = r#"[{"id":"a"},{"id":"b"}]"#;
    for invalid in [
        r#"[{"id":"a"},{"id":"b"}"#,
        r#"[{"id":"a"},{"id":"b"},]"#,
        r#"[{"id":"a"} {"id":"b"}]"#,
        r#"[{"id":"a"},,{"id":"b"}]"#,
        r#"[{"id":"a"},{"id":"b"}]]"#,
        r#"[,{"id":"a"},{"id":"b"}]"#,
        "[{\"id\":\"a\"},\u{c}{\"id\":\"b\"}]",
        r#"[{"id":"a"}x,{"id":"b"}]"#,
    ] {
        let (_directory, path) = file(valid);
        let db = FileDb::open(&path).await.unwrap();
        fs::write(&path, invalid).unwrap();
        let error = db.load("a").await.unwrap_err();
        assert!(error.to_string().contains("is not valid JSON"), "{invalid}: {error}");
        fs::write(&path, "[]").unwrap();
        assert_eq!(db.load("a").await.unwrap(), None);
    }
}
