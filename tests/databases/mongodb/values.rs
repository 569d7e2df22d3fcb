//! Values load as they were saved.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, DateTime, Decimal128, Document, doc};
use serde_json::json;
use tower_persistence::{Database, Expected, Saved};

use super::{Place, jovo_document, load, record, save, value};

pub(crate) async fn a_record_comes_back_as_it_was(place: Place) {
    let db = place.db().await;
    let fields = json!({
        "user": { "data": {
            "text": "Jürgen 🎲 \u{0}", "empty": "", "map": {}, "list": [], "null": null, "yes": true,
            "numbers": [0, -1, i32::MIN, i32::MAX, i64::MIN, i64::MAX, u64::MAX, i64::MAX as u64 + 1],
            "floats": [0.1, -0.0, 1.0, 1e300, f64::MIN_POSITIVE, f64::MAX, 1.7e12, 9007199254740992.0],
            "nested": [[[]], [{ "a": [null] }]], "": "an empty key",
            "like a date": "2024-01-01T00:00:00.000Z", "like a type": { "$oid": "65920080c8f7a1a1a1a1a1a1" },
        } },
        "ours": ["kept"],
        "createdAt": "2024-01-01T00:00:00.000Z", "updatedAt": "2024-01-01T00:00:01.000Z",
    });
    for id in ["user-1", "", "$where", "{\"$gt\":\"\"}", "a.b", "ü\0\n", &"x".repeat(2048)] {
        save(&db, id, fields.clone()).await;
        let stored = load(&db, id).await;
        // Compared as text, which tells -0.0 from 0.0.
        assert_eq!(value(&stored.record).to_string(), fields.to_string());
        save(&db, id, fields.clone()).await;
        assert_ne!(load(&db, id).await.version, stored.version, "a version comes round again");
    }
}

pub(crate) async fn integers_of_javascript_are_integers(place: Place) {
    let mut fields = jovo_document();
    // As Node.js writes `Date.now()`.
    fields
        .insert("user", doc! { "data": { "at": 1_700_000_000_000.0, "half": 0.5, "list": [5e9] } });
    place.jovo_saves("user-1", fields).await;
    let db = place.db().await;
    let mut stored = value(&load(&db, "user-1").await.record);
    let data = r#"{"at":1700000000000,"half":0.5,"list":[5000000000]}"#;
    assert_eq!(stored["user"]["data"].to_string(), data);
    stored["updatedAt"] = json!("2024-01-02T00:00:00.000Z");
    stored["user"]["data"]["float"] = json!(1.7e12);
    save(&db, "user-1", stored.clone()).await;
    let reloaded = value(&load(&db, "user-1").await.record);
    assert_eq!(reloaded.to_string(), stored.to_string());
}

pub(crate) async fn numbers_stay_what_they_are(place: Place) {
    let numbers = doc! { "small": 5_i64, "at": 1_700_000_000_000.0, "list": [5_i64, 5e9, 0.5, 7] };
    let mut fields = jovo_document();
    let mut data = numbers.clone();
    data.insert("visits", 3);
    fields.insert("user", doc! { "data": data });
    fields.insert("untouched", numbers.clone());
    fields.insert("a.b", numbers.clone());
    place.jovo_saves("user-1", jovo_document()).await;
    place.users.replace_one(doc! { "_id": "user-1" }, fields).await.unwrap();
    let db = place.db().await;
    let mut stored = value(&load(&db, "user-1").await.record);
    let shown =
        json!({ "small": 5, "at": 1_700_000_000_000_i64, "list": [5, 5_000_000_000_i64, 0.5, 7] });
    for visits in 4..7 {
        stored["user"]["data"]["visits"] = json!(visits);
        stored["updatedAt"] = json!(format!("2024-01-0{visits}T00:00:00.000Z"));
        // The last round uses a name for which the document is replaced.
        if visits == 6 {
            stored["a.b"]["ours"] = json!(1e12);
        }
        save(&db, "user-1", stored.clone()).await;
        assert_eq!(value(&load(&db, "user-1").await.record).to_string(), stored.to_string());
        assert_eq!(stored["untouched"], shown);
        let raw = place.raw("user-1").await;
        assert_eq!(raw.get_document("untouched").unwrap(), &numbers);
        for (name, number) in &numbers {
            let data = raw.get_document("user").unwrap().get_document("data").unwrap();
            assert_eq!(data.get(name), Some(number), "{name} of the field that is written");
            assert_eq!(raw.get_document("a.b").unwrap().get(name), Some(number), "{name}");
        }
    }
    // Values that this crate writes in their place are exact again, and their list ends with them.
    for name in ["user", "untouched", "a.b"] {
        stored[name] = json!({ "data": { "float": 1.7e12 } });
    }
    save(&db, "user-1", stored.clone()).await;
    assert_eq!(value(&load(&db, "user-1").await.record).to_string(), stored.to_string());
    assert_eq!(place.raw("user-1").await.get("persistenceIntegers"), None);
    let error = db.save("x", &record(json!({ "persistenceIntegers": 1 })), Expected::Absent).await;
    assert!(error.unwrap_err().is_encode());
}

fn foreign() -> Document {
    doc! {
        "date": DateTime::from_millis(1_704_067_200_034),
        "old": DateTime::from_millis(-1),
        "id": ObjectId::parse_str("65920080c8f7a1a1a1a1a1a1").unwrap(),
        "binary": Binary { subtype: BinarySubtype::Generic, bytes: vec![1, 2, 3] },
        "decimal": "1.50".parse::<Decimal128>().unwrap(),
        "infinite": f64::INFINITY,
    }
}

pub(crate) async fn types_beyond_json_stay_what_they_are(place: Place) {
    let mut fields = jovo_document();
    let mut data = foreign();
    data.insert("nested", doc! { "a.b": [foreign(), { "$x": foreign() }] });
    data.insert("changed", DateTime::from_millis(0));
    data.insert("removed", DateTime::from_millis(0));
    fields.insert("user", doc! { "data": data.clone() });
    fields.insert("ours", DateTime::from_millis(0));
    fields.insert("createdAt", DateTime::from_millis(0));
    place.jovo_saves("user-1", fields.clone()).await;
    let db = place.db().await;

    let mut stored = value(&load(&db, "user-1").await.record);
    let shown = &mut stored["user"]["data"];
    assert_eq!(shown["date"], "2024-01-01T00:00:00.034Z");
    assert_eq!(shown["old"], "1969-12-31T23:59:59.999Z");
    assert_eq!(shown["nested"]["a.b"][1]["$x"]["date"], "2024-01-01T00:00:00.034Z");
    assert_eq!(shown["id"], "65920080c8f7a1a1a1a1a1a1");
    assert_eq!(shown["binary"], json!({ "$binary": { "base64": "AQID", "subType": "00" } }));
    assert_eq!(shown["decimal"], json!({ "$numberDecimal": "1.50" }));
    shown["changed"] = json!("1970-01-02T00:00:00.000Z");
    shown["nested"]["added"] = json!(1);
    shown.as_object_mut().unwrap().remove("removed");
    stored["updatedAt"] = json!("2024-01-02T00:00:00.000Z");
    save(&db, "user-1", stored.clone()).await;

    data.insert("changed", "1970-01-02T00:00:00.000Z");
    data.get_document_mut("nested").unwrap().insert("added", 1);
    data.remove("removed");
    fields.insert("user", doc! { "data": data });
    fields.insert("updatedAt", "2024-01-02T00:00:00.000Z");
    let mut raw = place.raw("user-1").await;
    raw.remove("persistenceVersion").unwrap();
    raw.remove("_id");
    // Fields of the two in any order.
    for (name, field) in &fields {
        if name != "user" {
            assert_eq!(raw.get(name), Some(field), "{name}");
        }
    }
    let (raw, fields) = (raw.get_document("user").unwrap(), fields.get_document("user").unwrap());
    for (name, field) in fields.get_document("data").unwrap() {
        assert_eq!(raw.get_document("data").unwrap().get(name), Some(field), "{name}");
    }
    assert_eq!(value(&load(&db, "user-1").await.record), stored);

    // A write between the load and a save that has to read once more.
    let before = load(&db, "user-1").await;
    save(&db, "user-1", stored).await;
    let saved =
        db.save("user-1", &before.record, Expected::Version(&before.version)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(Some(load(&db, "user-1").await)));
}

pub(crate) async fn types_beyond_json_stay_in_a_history_that_moves(place: Place) {
    let mut fields = jovo_document();
    let at = |millis| doc! { "at": DateTime::from_millis(millis) };
    fields.insert("history", doc! { "items": [at(3), at(2), at(1)] });
    place.jovo_saves("user-1", fields).await;
    let db = place.db().await;
    let mut stored = value(&load(&db, "user-1").await.record);
    let items = stored["history"]["items"].as_array_mut().unwrap();
    items.insert(0, json!({ "at": "new" }));
    items.pop();
    save(&db, "user-1", stored).await;
    let raw = place.raw("user-1").await;
    let items = raw.get_document("history").unwrap().get_array("items").unwrap();
    assert_eq!(items, &[doc! { "at": "new" }.into(), at(3).into(), at(2).into()]);
}

pub(crate) async fn keys_with_dots_and_dollars_are_data(place: Place) {
    let db = place.db().await;
    let keys = ["a.b", "$set", "$", ".", "user.data.admin", "a b", "\"'", "$where", "__proto__"];
    let data: serde_json::Map<_, _> =
        keys.iter().map(|key| ((*key).to_owned(), json!({ *key: [{ *key: 1 }] }))).collect();
    let mut fields = json!({ "user": { "data": data }, "a.b": 1, "history": { "items": [{ "$type": "facebook" }] } });
    save(&db, "user-1", fields.clone()).await;
    assert_eq!(value(&load(&db, "user-1").await.record), fields);
    fields["user"]["data"]["$set"] = json!({ "user.data.a.b": "still data" });
    fields["user"]["data"].as_object_mut().unwrap().remove("a.b");
    save(&db, "user-1", fields.clone()).await;
    assert_eq!(value(&load(&db, "user-1").await.record), fields);
}

pub(crate) async fn values_that_mongodb_cannot_hold_are_refused(place: Place) {
    let db = place.db().await;
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    // The document and `user` are levels too.
    save(&db, "deep", json!({ "user": { "data": nested(98) } })).await;
    let cases = [
        (json!({ "user": { "data": nested(99) } }), "`user.data.a` ", "100 levels"),
        (json!({ "user": { "data": { "list": [{ "a\0b": 1 }] } } }), "`user.data.list` ", "U+0000"),
        (json!({ "$set": 1 }), "$set", "begins with `$`"),
        (json!({ "_id": "SECRET" }), "_id", "own use"),
        (json!({ "persistenceVersion": "SECRET" }), "persistenceVersion", "own use"),
        (
            json!({ "user": { "data": { "small": 1, "photo": "SECRET".repeat(3_000_000) } } }),
            "user.data.photo",
            "16777216",
        ),
    ];
    save(&db, "there", json!({ "before": 1 })).await;
    let there = load(&db, "there").await;
    for (fields, path, limit) in cases {
        for expected in [None, Some(&there.version)] {
            let id = if expected.is_some() { "there" } else { "SECRET-ID" };
            let error =
                db.save(id, &record(fields.clone()), Expected::from(expected)).await.unwrap_err();
            assert!(error.is_encode(), "{error:?}");
            let text = format!("{error:?}");
            assert!(text.contains(path) && text.contains(limit), "{text}");
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
    assert_eq!(load(&db, "there").await, there);
    assert_eq!(db.load("SECRET-ID").await.unwrap(), None);
}

pub(crate) async fn a_removed_key_is_gone(place: Place) {
    let db = place.db().await;
    place.jovo_saves("user-1", jovo_document()).await;
    let fields = json!({ "user": { "data": { "a": { "b": 1, "c": [1, 2] } } }, "updatedAt": "x" });
    save(&db, "user-1", fields).await;
    let fields = json!({ "user": { "data": { "a": { "c": [2] } } }, "updatedAt": "y" });
    save(&db, "user-1", fields.clone()).await;
    assert_eq!(value(&load(&db, "user-1").await.record), fields);
}
