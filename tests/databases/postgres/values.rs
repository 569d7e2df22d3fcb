//! Records come back as they were.

use std::sync::Arc;

use serde_json::{Value, json};
use tower_persistence::Database;

use super::{Place, load, record, stored, value};

/// Texts of every kind that PostgreSQL or JSON may treat in a way of its own.
fn texts() -> Vec<String> {
    let controls = (0..=0x20_u8).chain([0x7f]).map(|byte| char::from(byte).to_string());
    let odd = [
        "",
        "\0",
        "\0\0",
        "a\0b",
        "\u{1a}",
        "\u{1a}0",
        "\u{1a}1",
        "\0\u{1a}0\u{1a}\0",
        "\\u0000",
        "\\\0",
        "\\\\u001a0",
        "\"",
        "'",
        "$1",
        "\u{fffd}",
        "\u{ffff}",
        "\u{fdd0}",
        "\u{10ffff}",
        "\u{d7ff}\u{e000}",
        "é",
        "e\u{301}",
        "👩‍👩‍👧",
        "\u{feff}",
        "\u{2028}",
        "\u{80}",
        "\u{9f}",
        "null",
        "{}",
        "1e400",
    ];
    controls.chain(odd.map(str::to_owned)).collect()
}

pub(super) async fn every_text_comes_back_and_can_be_queried(place: Arc<Place>) {
    let db = place.ready().await;
    for (number, text) in texts().into_iter().enumerate() {
        let id = format!("user {number} {text}");
        let fields = json!({ "user": { "data": { "x": text, (text.clone()): 1, "visits": 3 } } });
        stored(&db, &id, &record(fields.clone()), None).await;
        assert_eq!(value(&load(&db, &id).await.record), fields, "{text:?}");
    }
    // Each of them can be asked for members, with `json` and with `jsonb`.
    for sql in [
        "SELECT record #>> '{user,data,visits}' FROM $table",
        "SELECT record::jsonb #>> '{user,data,visits}' FROM $table",
    ] {
        let visits = place.texts(sql).await;
        assert!(
            visits.len() == texts().len() && visits.iter().all(|it| it.as_deref() == Some("3"))
        );
    }
    // Why NUL is not stored as `json` takes it, and why the type is not `jsonb`.
    place.execute("SELECT '{\"a\":\"\\u0000\",\"b\":1}'::json").await;
    assert!(place.try_execute("SELECT '{\"a\":\"\\u0000\",\"b\":1}'::json ->> 'b'").await.is_err());
    let changed = place.text("SELECT '{\"bb\":1,\"a\":1e2}'::jsonb").await;
    assert_eq!(changed, r#"{"a": 100, "bb": 1}"#);
}

pub(super) async fn order_and_numbers_stay(place: Arc<Place>) {
    let db = place.ready().await;
    let fields = json!({
        "z": 1, "a": [1.0, -0.0, 5e-324, f64::MAX, 1e300, u64::MAX, i64::MIN, 0.1],
        "user": { "data": { "b": {}, "aa": [], "c": null } }, "m": { "2": 1, "10": 2 },
    });
    let version = stored(&db, "a", &record(fields.clone()), None).await;
    let loaded = load(&db, "a").await;
    assert_eq!(loaded.record.fields().keys().collect::<Vec<_>>(), ["z", "a", "user", "m"]);
    assert_eq!(serde_json::to_string(&loaded.record).unwrap(), fields.to_string());
    assert_eq!(place.text("SELECT record FROM $table").await, fields.to_string());
    assert_eq!(loaded.version, version);
}

pub(super) async fn the_largest_records(place: Arc<Place>) {
    let db = place.ready().await;
    // Random, so that it cannot be compressed away.
    let mut state = 7_u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    let text: String = (0..32 * 1024 * 1024).map(|_| next()).collect();
    let fields = json!({ "user": { "data": { "text": text } } });
    let version = stored(&db, "a", &record(fields.clone()), None).await;
    assert!(value(&load(&db, "a").await.record) == fields);
    let deep = (0..126).fold(json!(1), |inner, _| json!([inner]));
    stored(&db, "a", &record(json!({ "own": deep })), Some(&version)).await;
    assert_eq!(value(&load(&db, "a").await.record), json!({ "own": deep }));
    let deeper: Value = json!([deep]);
    let error = db
        .save("b", &record(json!({ "own": deeper })), tower_persistence::Expected::Absent)
        .await
        .unwrap_err();
    assert!(error.is_encode(), "{error:?}");
}
