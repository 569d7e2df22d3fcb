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
        let VersionedRecord { record: found, version } = load(db, id).await;
        // Compared as text, because the order of keys and the kind of a number count.
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
