//! Rows that other programs read and write.

use std::sync::Arc;

use serde_json::json;
use tower_persistence::{Database, Expected, Saved};

use super::{Place, all, load, record, stored, value, visits};

pub(super) async fn an_edit_by_hand_is_a_conflict(place: Arc<Place>) {
    let db = place.ready().await;
    stored(&db, "a", &visits(1), None).await;
    for (sql, count) in [
        ("record = jsonb_set(record::jsonb, '{user,data,visits}', '7')::json", 7),
        ("record = record", 7),
        ("updated_at = now()", 7),
        ("record = '{\"user\":{\"data\":{\"visits\":9}}}'", 9),
    ] {
        let before = load(&db, "a").await;
        place.execute(&format!("UPDATE $table SET {sql} WHERE id = 'a'")).await;
        let saved = db.save("a", &visits(2), Expected::Version(&before.version)).await.unwrap();
        let Saved::Conflict(Some(current)) = saved else { panic!("{sql}: {saved:?}") };
        assert_eq!(value(&current.record)["user"]["data"]["visits"], count, "{sql}");
        assert_ne!(current.version, before.version);
    }
    let version = load(&db, "a").await.version;
    stored(&db, "a", &visits(3), Some(&version)).await;
}

pub(super) async fn another_spelling_stays(place: Arc<Place>) {
    let db = place.ready().await;
    let text =
        r#"{ "user": {"data": {"big": 123456789012345678901234567890, "n": 1E3}}, "z": 1.50 }"#;
    place.execute(&format!("INSERT INTO $table (id, record) VALUES ('a', '{text}')")).await;
    let loaded = load(&db, "a").await;
    let mut fields = loaded.record.fields().clone();
    fields["user"]["data"]["n"] = json!(7);
    let version = stored(&db, "a", &record(fields.clone().into()), Some(&loaded.version)).await;
    let kept = r#"{"user":{"data":{"big":123456789012345678901234567890,"n":7}},"z":1.50}"#;
    assert_eq!(place.text("SELECT record FROM $table").await, kept);
    // So does the next save, without a load in between.
    fields["user"]["data"]["n"] = json!(8);
    stored(&db, "a", &record(fields.into()), Some(&version)).await;
    assert_eq!(place.text("SELECT record FROM $table").await, kept.replace("\"n\":7", "\"n\":8"));
}

pub(super) async fn a_broken_record_is_an_error_and_stays(place: Arc<Place>) {
    let db = place.ready().await;
    for text in [r#"["SECRET"]"#, r#""SECRET""#, r#"{"SECRET":1e999}"#] {
        place.execute("DELETE FROM $table").await;
        place.execute(&format!("INSERT INTO $table (id, record) VALUES ('a', '{text}')")).await;
        let error = db.load("a").await.unwrap_err();
        assert!(error.is_decode() && !all(&error).contains("SECRET"), "{}", all(&error));
        assert!(all(&error).contains("repair it in the database"), "{error}");
        let error = db.save("a", &visits(1), Expected::Absent).await.unwrap_err();
        assert!(error.is_decode(), "{error:?}");
        assert_eq!(place.text("SELECT record FROM $table").await, text);
    }
}

pub(super) async fn rows_may_be_added_by_hand(place: Arc<Place>) {
    let db = place.ready().await;
    place.execute("INSERT INTO $table (id, record) VALUES ('a', '{\"user\":{\"data\":{}}}')").await;
    let version = load(&db, "a").await.version;
    stored(&db, "a", &visits(1), Some(&version)).await;
    // A row without a record is none, and can be written over.
    place.execute("INSERT INTO $table (id) VALUES ('b')").await;
    let loaded = db.load_for_update("b").await.unwrap();
    assert_eq!(loaded.clone().into_record(), None);
    let saved = db.save("b", &visits(1), loaded.expected()).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
}

pub(super) async fn generated_columns_are_indexes_and_projections(place: Arc<Place>) {
    let db = place.ready().await;
    stored(&db, "before", &record(json!({ "user": { "data": { "plan": "gold" } } })), None).await;
    // As the documentation says it.
    place
        .execute(
            "ALTER TABLE $table ADD COLUMN plan text \
             GENERATED ALWAYS AS (record #>> '{user,data,plan}') STORED; \
             CREATE INDEX ON $table (plan);",
        )
        .await;
    for (id, data) in [
        ("nul", json!({ "plan": "gold", "text": "\0" })),
        ("number", json!({ "plan": 7 })),
        ("nothing", json!({})),
        ("object", json!({ "plan": { "a": [1, 2.50] } })),
    ] {
        stored(&db, id, &record(json!({ "user": { "data": data } })), None).await;
    }
    let of_gold = "SELECT id FROM $table WHERE plan = 'gold' ORDER BY id";
    assert_eq!(place.texts(of_gold).await, [Some("before".to_owned()), Some("nul".to_owned())]);
    place.execute("SET enable_seqscan = off").await;
    let plan = format!("{:?}", place.texts(&format!("EXPLAIN {of_gold}")).await);
    assert!(plan.contains("Index"), "{plan}");
    let plans = place.texts("SELECT plan FROM $table ORDER BY id").await;
    let plans = plans.iter().map(Option::as_deref).collect::<Vec<_>>();
    assert_eq!(plans, [Some("gold"), None, Some("gold"), Some("7"), Some(r#"{"a":[1,2.5]}"#)]);
    // The record has no such member of its own, and a tombstone has no value.
    assert!(!load(&db, "nul").await.record.fields().contains_key("plan"));
    db.delete("nul").await.unwrap();
    assert_eq!(place.texts(of_gold).await, [Some("before".to_owned())]);
}

pub(super) async fn a_constraint_that_refuses_a_record(place: Arc<Place>) {
    let db = place.ready().await;
    place
        .execute(
            "ALTER TABLE $table ADD COLUMN mail text \
             GENERATED ALWAYS AS (record #>> '{user,data,mail}') STORED CONSTRAINT one_mail UNIQUE, \
             ADD COLUMN age int GENERATED ALWAYS AS ((record #>> '{user,data,age}')::int) STORED",
        )
        .await;
    let of = |data| record(json!({ "user": { "data": data } }));
    stored(&db, "a", &of(json!({ "mail": "SECRET" })), None).await;
    let same = db.save("b", &of(json!({ "mail": "SECRET" })), Expected::Absent).await.unwrap_err();
    assert!(same.is_encode() && all(&same).contains("`one_mail`"), "{}", all(&same));
    let text = db.save("b", &of(json!({ "age": "SECRET" })), Expected::Absent).await.unwrap_err();
    assert!(text.is_encode() && all(&text).contains("generated columns"), "{}", all(&text));
    for error in [same, text] {
        assert!(!all(&error).contains("SECRET"), "{}", all(&error));
    }
    assert_eq!(db.load("b").await.unwrap(), None);
}
