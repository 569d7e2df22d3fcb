//! The contents of an item.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use libtest_mimic::Trial;
use serde_json::{Map, Value, json};
use tower_persistence::{Database, Expected, PersistenceLayer, Record, Saved};

use super::*;
use crate::common::{alexa, app, post, send, sync_app};

pub(super) fn trials(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("is_jovos_item", is_jovos_item),
        servers.trial("a_write_of_jovo_is_a_conflict", a_write_of_jovo_is_a_conflict),
        servers.trial("keeps_attributes_of_others", keeps_attributes_of_others),
        servers.trial("reads_types_that_json_lacks", reads_types_that_json_lacks),
        servers.trial("writes_empty_texts_and_reads_null", writes_empty_texts_and_reads_null),
        servers.trial("refuses_what_is_too_large", refuses_what_is_too_large),
        servers.trial("refuses_names_of_its_own", refuses_names_of_its_own),
        servers.trial("writes_many_fields", writes_many_fields),
        servers.trial("projects", projects),
        servers.trial("has_a_sort_key_and_a_prefix", has_a_sort_key_and_a_prefix),
        servers.trial("expires", expires),
        servers.trial("switches_expiry_on", switches_expiry_on),
        servers.trial("a_records_own_expiry_is_data", a_records_own_expiry_is_data),
        servers.trial("others_writes_are_not_overwritten", others_writes_are_not_overwritten),
        servers
            .trial("an_item_that_others_grew_is_too_large", an_item_that_others_grew_is_too_large),
    ]
}

fn of_jovo(user: &str, updated_at: &str) -> Item {
    item([
        ("userId", s(user)),
        ("user", m([("data", m([("name", s("Zoë")), ("visits", n("3"))]))])),
        ("session", m([("data", m([])), ("id", s("session-1"))])),
        ("history", m([("items", AttributeValue::L(vec![m([("output", s("Hi"))])]))])),
        ("createdAt", s("2021-06-30T05:50:04.034Z")),
        ("updatedAt", s(updated_at)),
    ])
}

async fn is_jovos_item(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("jovo");
    let before = of_jovo(&id, "2021-06-30T05:50:04.034Z");
    raw.put(before.clone()).await;
    let stored = load(&db, &id).await;
    let expected = json!({
        "user": { "data": { "name": "Zoë", "visits": 3 } },
        "session": { "data": {}, "id": "session-1" },
        "history": { "items": [{ "output": "Hi" }] },
        "createdAt": "2021-06-30T05:50:04.034Z",
        "updatedAt": "2021-06-30T05:50:04.034Z",
    });
    assert_eq!(json_of(&stored).to_string(), expected.to_string());

    // The layer's next save upgrades it, and it keeps Jovo's form.
    let app =
        sync_app(&PersistenceLayer::new(db), |user, _, _| user.increment("visits", 1).map(drop));
    assert_eq!(send(&app, post(alexa(&id).to_string())).await.status, 200);
    let mut after = raw.get(&id).await.unwrap();
    assert!(after.remove("persistenceVersion").unwrap().is_s());
    assert_ne!(after["updatedAt"], before["updatedAt"]);
    let mut expected = before;
    expected.insert("updatedAt".to_owned(), after["updatedAt"].clone());
    expected.insert("user".to_owned(), m([("data", m([("name", s("Zoë")), ("visits", n("4"))]))]));
    assert_eq!(after, expected);
}

async fn a_write_of_jovo_is_a_conflict(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("jovo");
    raw.put(of_jovo(&id, "2021-06-30T05:50:04.034Z")).await;
    let of_jovos = load(&db, &id).await;
    raw.put(of_jovo(&id, "2021-06-30T05:50:05.000Z")).await;
    let saved =
        db.save(&id, &with_data(&json!({})), Expected::Version(&of_jovos.version)).await.unwrap();
    let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
    assert_eq!(json_of(&current)["updatedAt"], "2021-06-30T05:50:05.000Z");

    let ours = save(&db, &id, &current.record, Some(&current.version)).await;
    // Jovo drops our version. Suppose its item has the same times as ours.
    raw.put(of_jovo(&id, "2021-06-30T05:50:05.000Z")).await;
    let saved = db.save(&id, &with_data(&json!({})), Expected::Version(&ours)).await.unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))));
}

async fn keeps_attributes_of_others(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("foreign");
    let mut before = of_jovo(&id, "2021-06-30T05:50:04.034Z");
    before.extend(item([
        ("binary", AttributeValue::B(Blob::new([0, 255]))),
        ("set", AttributeValue::Ss(vec!["a".to_owned(), "b".to_owned()])),
        ("digits", n("12345678901234567890123456789012345678")),
        ("a.b #c", m([("deep", AttributeValue::Ns(vec!["1".to_owned(), "2".to_owned()]))])),
        ("userData", m([("data", m([]))])),
        ("expiresAt", n("1")),
    ]));
    raw.put(before.clone()).await;
    let stored = load(&db, &id).await;
    // Concurrent writes of other programs stay, even in loaded fields.
    raw.update(&id, "SET counted = :v", n("1")).await;
    raw.update(&id, "ADD digits :v", n("1")).await;
    let mut fields = stored.record.fields().clone();
    fields["user"]["data"]["visits"] = json!(4);
    let version = save(&db, &id, &Record::new(fields.clone()), Some(&stored.version)).await;
    let mut after = raw.get(&id).await.unwrap();
    after.remove("persistenceVersion");
    before.extend(item([
        ("counted", n("1")),
        ("digits", n("12345678901234567890123456789012345679")),
        ("user", m([("data", m([("name", s("Zoë")), ("visits", n("4"))]))])),
    ]));
    assert_eq!(after, before);

    // A save removes the fields that the record no longer has, but not fields that it never had.
    // The digits have changed since they were loaded, so they are not removed unseen.
    let mut without = fields.clone();
    without.remove("digits");
    let saved = db.save(&id, &Record::new(without), Expected::Version(&version)).await.unwrap();
    let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
    let (mut fields, version) = (current.record.fields().clone(), current.version);
    for name in ["binary", "session", "a.b #c", "digits"] {
        fields.remove(name);
        before.remove(name);
    }
    save(&db, &id, &Record::new(fields), Some(&version)).await;
    let mut after = raw.get(&id).await.unwrap();
    after.remove("persistenceVersion");
    assert_eq!(after, before);
}

async fn reads_types_that_json_lacks(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("types");
    let data = [
        ("tags", AttributeValue::Ss(vec!["a".to_owned(), "b".to_owned()])),
        ("picture", AttributeValue::B(Blob::new([1, 2, 3]))),
        ("exact", n("0.30000000000000000001")),
    ];
    raw.put(item([("userId", s(&id)), ("user", m([("data", m(data.clone()))]))])).await;
    let stored = load(&db, &id).await;
    let mut json = json_of(&stored);
    json["user"]["data"]["tags"].as_array_mut().unwrap().sort_by_key(Value::to_string);
    let expected = json!({ "exact": 0.3, "picture": "AQID", "tags": ["a", "b"] });
    assert_eq!(json["user"]["data"], expected);
    json["user"]["data"]["new"] = json!(1.5);
    save(&db, &id, &record(&json), Some(&stored.version)).await;
    let after = raw.get(&id).await.unwrap();
    let after = after["user"].as_m().unwrap()["data"].as_m().unwrap();
    let mut expected = item(data);
    expected.insert("new".to_owned(), n("1.5"));
    let mut after = after.clone();
    let tags = after.get_mut("tags").unwrap();
    if let AttributeValue::Ss(tags) = tags {
        tags.sort();
    }
    assert_eq!(after, expected);
}

async fn writes_empty_texts_and_reads_null(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("empty");
    let data = json!({ "a": "", "b": null, "c": {}, "d": [], "e": [""] });
    save(&db, &id, &with_data(&data), None).await;
    let after = raw.get(&id).await.unwrap();
    assert_eq!(after["user"].as_m().unwrap()["data"].as_m().unwrap()["a"], s(""));
    assert_eq!(json_of(&load(&db, &id).await)["user"]["data"], data);
    // As Jovo v1 to v3 wrote `""`.
    let null = m([("data", m([("name", AttributeValue::Null(true))]))]);
    raw.put(item([("userId", s(&id)), ("userData", null)])).await;
    assert_eq!(json_of(&load(&db, &id).await)["userData"]["data"]["name"], Value::Null);
}

async fn refuses_what_is_too_large(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("large");
    let sized = |length: usize| {
        let data = json!({ "small": [1, -2.5, "x", null, {}], "notes": "y".repeat(length), "more": "z".repeat(1000) });
        with_data(&data)
    };
    // The largest size of the notes, found by what DynamoDB itself accepts.
    let (mut fits, mut too_large) = (400_000, 409_600);
    while too_large - fits > 1 {
        let length = (fits + too_large) / 2;
        match db.save(&id, &sized(length), Expected::Absent).await {
            Ok(_) => fits = length,
            Err(error) => {
                let text = text(&error);
                assert!(error.is_encode(), "{text}");
                let expected = format!(
                    "its biggest fields are `/user/data/notes` ({} bytes), `/user/data/more` (1004 bytes)",
                    length + 5
                );
                assert!(text.contains(&expected) && text.contains("at most 409600"), "{text}");
                too_large = length;
            }
        }
        db.delete(&id).await.unwrap();
    }
    // One byte more, past our check, which is therefore not stricter than DynamoDB.
    save(&db, &id, &sized(fits), None).await;
    let longer = raw.client.update_item().table_name(&raw.table).key("userId", s(&id));
    let longer = longer.update_expression("SET x = :v").expression_attribute_values(":v", s(""));
    let error = longer.send().await.unwrap_err().into_service_error();
    assert_eq!(error.meta().code(), Some("ValidationException"));
}

async fn refuses_names_of_its_own(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("own");
    for name in ["userId", "persistenceVersion"] {
        let error = db.save(&id, &record(&json!({ name: 1 })), Expected::Absent).await.unwrap_err();
        assert!(error.is_encode() && text(&error).contains(&format!("`/{name}`")), "{error:?}");
    }
    assert_eq!(raw.get(&id).await, None);
    for id in ["", &"x".repeat(2049)] {
        let error = db.load(id).await.unwrap_err();
        assert!(error.is_encode() && text(&error).contains("1 to 2048 bytes"), "{error:?}");
    }
    assert_eq!(db.load(&"x".repeat(2048)).await.unwrap(), None);
}

/// More attributes than one expression can name.
async fn writes_many_fields(endpoint: String) {
    let (db, _) = ready(&endpoint).await;
    let id = user("many");
    let many = |value: usize, count: usize| -> Record {
        let field = |index| (format!("field-{index:04}"), json!(value));
        Record::new((0..count).map(field).collect::<Map<_, _>>())
    };
    let mut version = save(&db, &id, &many(0, 1000), None).await;
    for (value, count) in [(0, 751), (1, 250), (2, 251), (3, 1000)] {
        version = save(&db, &id, &many(value, count), Some(&version)).await;
        assert_eq!(load(&db, &id).await.record, many(value, count));
    }
}

async fn projects(endpoint: String) {
    let table = table();
    let db = builder(&table, &endpoint)
        .project("score", "/user/data/score")
        .project("mail", "/user/data/a~1b/0");
    let db = db.build().await.unwrap();
    let (raw, id) = (Raw::new(&endpoint, &table), user("projected"));
    let data = |score: Value, mail: &str| with_data(&json!({ "score": score, "a/b": [mail] }));
    let mut version = save(&db, &id, &data(json!(7), "a@b"), None).await;
    let after = raw.get(&id).await.unwrap();
    assert_eq!((&after["score"], &after["mail"]), (&n("7"), &s("a@b")));
    assert_eq!(load(&db, &id).await.record, data(json!(7), "a@b"));

    for score in [json!(""), json!({}), json!(null), json!(true), json!("x".repeat(1025))] {
        version = save(&db, &id, &data(json!(8), "a"), Some(&version)).await;
        assert_eq!(raw.get(&id).await.unwrap()["score"], n("8"));
        version = save(&db, &id, &data(score, ""), Some(&version)).await;
        let after = raw.get(&id).await.unwrap();
        assert!(!after.contains_key("score") && !after.contains_key("mail"), "{after:?}");
    }
}

async fn has_a_sort_key_and_a_prefix(endpoint: String) {
    let table = table();
    let db = builder(&table, &endpoint).partition_key("pk").key_prefix("USER#");
    let db = db.sort_key("sk", "USER#jovo.user.data").build().await.unwrap();
    let (raw, id) = (Raw::new(&endpoint, &table), user("prefixed"));
    save(&db, &id, &with_data(&json!({ "a": 1 })), None).await;
    let key = item([("pk", s(&format!("USER#{id}"))), ("sk", s("USER#jovo.user.data"))]);
    let after = raw.get_by(key.clone()).await.unwrap();
    assert_eq!(after["user"], m([("data", m([("a", n("1"))]))]));
    assert_eq!(load(&db, &id).await.record, with_data(&json!({ "a": 1 })));
    // Another item of the same partition is not the user's.
    raw.put(item([("pk", key["pk"].clone()), ("sk", s("ORDER#1"))])).await;
    db.delete(&id).await.unwrap();
    assert_eq!(db.load(&id).await.unwrap(), None);
    assert!(raw.get_by(item([("pk", key["pk"].clone()), ("sk", s("ORDER#1"))])).await.is_some());
}

/// Returns the attribute by which the table removes items.
async fn time_to_live(raw: &Raw) -> Option<String> {
    let ttl = raw.client.describe_time_to_live().table_name(&raw.table).send().await.unwrap();
    let ttl = ttl.time_to_live_description?;
    let is_on = ttl.time_to_live_status?.as_str().starts_with("ENABL");
    ttl.attribute_name.filter(|_| is_on)
}

/// The time to live of an existing table is enabled in the background.
async fn switches_expiry_on(endpoint: String) {
    let raw = not_ours(&endpoint).await;
    let db = builder(&raw.table, &endpoint).expire_users_after(Duration::from_secs(3600));
    db.build().await.unwrap().ensure_ready().await.unwrap();
    let is_on = async {
        while time_to_live(&raw).await.as_deref() != Some("persistenceExpiresAt") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_on).await.expect("it is switched on");
    // The next database finds it enabled.
    let again = builder(&raw.table, &endpoint).expire_users_after(Duration::from_secs(60));
    again.build().await.unwrap().ensure_ready().await.unwrap();
}

/// Tables that this crate creates have a time to live. `expiresAt` in a record is the record's own.
async fn a_records_own_expiry_is_data(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    assert_eq!(time_to_live(&raw).await.as_deref(), Some("persistenceExpiresAt"));
    for expiring in [false, true] {
        let db = match expiring {
            false => db.clone(),
            true => {
                let db = builder(&raw.table, &endpoint).expire_users_after(Duration::from_secs(60));
                db.build().await.unwrap()
            }
        };
        let id = user("own expiry");
        let fields = json!({ "user": { "data": {} }, "expiresAt": 1, "ttl": 1 });
        let version = save(&db, &id, &record(&fields), None).await;
        assert_eq!(json_of(&load(&db, &id).await), fields);
        let ours = json!({ "persistenceExpiresAt": 1 });
        let error = db.save(&id, &record(&ours), Expected::Version(&version)).await.unwrap_err();
        assert!(error.is_encode() && text(&error).contains("`/persistenceExpiresAt`"), "{error:?}");
    }
}

/// If our version cannot reveal another write, the changed parts are compared.
async fn others_writes_are_not_overwritten(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let changed = |id: &str, name: &str| {
        let mut item = of_jovo(id, "2021-06-30T05:50:04.034Z");
        item.insert("user".to_owned(), m([("data", m([("name", s(name)), ("visits", n("3"))]))]));
        item
    };
    // Jovo v4 writes twice in a millisecond, or with its times switched off.
    for has_times in [true, false] {
        let id = user("twice");
        let put = async |name: &str| {
            let mut item = changed(&id, name);
            if !has_times {
                item.remove("createdAt");
                item.remove("updatedAt");
            }
            raw.put(item).await;
        };
        put("Zoë").await;
        let stored = load(&db, &id).await;
        put("Anna").await;
        let saved =
            db.save(&id, &with_data(&json!({})), Expected::Version(&stored.version)).await.unwrap();
        let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
        assert_eq!(json_of(&current)["user"]["data"]["name"], "Anna");
        save(&db, &id, &with_data(&json!({})), Some(&current.version)).await;
    }
    // A script that ignores versions sets, adds and removes.
    for expression in ["SET #u.#d.a = :v", "SET #u.#d = :v", "SET extra = :v", "REMOVE was"] {
        let id = user("script");
        let fields = json!({ "user": { "data": { "a": 1.0 } }, "was": [null, "", -2.50, {}] });
        save(&db, &id, &record(&fields), None).await;
        let stored = load(&db, &id).await;
        let request = raw.client.update_item().table_name(&raw.table).key("userId", s(&id));
        let mut request = request.update_expression(expression);
        if expression.contains('#') {
            request = request.expression_attribute_names("#u", "user");
            request = request.expression_attribute_names("#d", "data");
        }
        if expression.contains(':') {
            request = request.expression_attribute_values(":v", n("7"));
        }
        request.send().await.unwrap();
        let ours = record(&json!({ "user": { "data": { "a": 2 } }, "was": 1, "extra": 1 }));
        let saved = db.save(&id, &ours, Expected::Version(&stored.version)).await.unwrap();
        let Saved::Conflict(Some(current)) = saved else { panic!("{expression}: {saved:?}") };
        assert_eq!(current.record, load(&db, &id).await.record);
        save(&db, &id, &ours, Some(&current.version)).await;
    }
    // Beside the parts that we change it may do so: both stay.
    let id = user("beside");
    save(&db, &id, &with_data(&json!({ "a": 1, "box1": {}, "gone": {} })), None).await;
    let stored = load(&db, &id).await;
    let update = async |expression: &str| {
        let request = raw.client.update_item().table_name(&raw.table).key("userId", s(&id));
        let request = request.update_expression(expression);
        let request = request.expression_attribute_names("#u", "user");
        let request = request.expression_attribute_names("#d", "data");
        let value = (!expression.starts_with("REMOVE")).then(|| n("7"));
        let values = value.map(|value| [(":v".to_owned(), value)].into());
        request.set_expression_attribute_values(values).send().await.unwrap();
    };
    update("SET #u.#d.b = :v").await;
    let ours = with_data(&json!({ "a": 2, "box1": { "c": { "d": 1 } } }));
    let saved = db.save(&id, &ours, Expected::Version(&stored.version)).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
    let stored = load(&db, &id).await;
    let both = json!({ "a": 2, "b": 7, "box1": { "c": { "d": 1 } } });
    assert_eq!(json_of(&stored)["user"]["data"], both);
    // The map around a new part is gone, or something else.
    for expression in ["REMOVE #u.#d.box1", "SET #u.#d.box1 = :v"] {
        let stored = load(&db, &id).await;
        update(expression).await;
        let mut fields = json_of(&stored);
        fields["user"]["data"]["box1"]["new"] = json!(1);
        let saved = db.save(&id, &record(&fields), Expected::Version(&stored.version)).await;
        assert!(matches!(saved.unwrap(), Saved::Conflict(Some(_))), "{expression}");
        let current = load(&db, &id).await;
        save(&db, &id, &with_data(&both), Some(&current.version)).await;
    }
    // The layer merges both.
    let id = user("merged");
    save(&db, &id, &with_data(&json!({ "a": 1 })), None).await;
    let script = std::sync::Arc::new((Raw::new(&endpoint, &raw.table), id.clone()));
    let app = app(&PersistenceLayer::new(db.clone()), move |user, _, _| {
        let script = script.clone();
        async move {
            let (raw, id) = &*script;
            let request = raw.client.update_item().table_name(&raw.table).key("userId", s(id));
            let request = request.update_expression("SET #u.#d.b = :v");
            let request = request.expression_attribute_names("#u", "user");
            let request = request.expression_attribute_names("#d", "data");
            request.expression_attribute_values(":v", n("7")).send().await.unwrap();
            user.set("a", 2)
        }
    });
    assert_eq!(send(&app, post(alexa(&id).to_string())).await.status, 200);
    assert_eq!(json_of(&load(&db, &id).await)["user"]["data"], json!({ "a": 2, "b": 7 }));
}

/// Other programs' attributes count towards the item's size.
async fn an_item_that_others_grew_is_too_large(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("grown");
    let version = save(&db, &id, &with_data(&json!({ "a": 1 })), None).await;
    raw.update(&id, "SET notes = :v", s(&"n".repeat(300_000))).await;
    let data = json!({ "big": "x".repeat(120_000), "a": 1 });
    let error = db.save(&id, &with_data(&data), Expected::Version(&version)).await.unwrap_err();
    let text = text(&error);
    assert!(error.is_encode(), "{text}");
    let expected =
        "its biggest fields are `/notes` (300005 bytes), `/user/data/big` (120003 bytes)";
    assert!(text.contains(expected) && text.contains("at most 409600"), "{text}");
    assert_eq!(json_of(&load(&db, &id).await)["user"]["data"], json!({ "a": 1 }));
}

async fn expires(endpoint: String) {
    let table = table();
    let db = builder(&table, &endpoint).expire_users_after(Duration::from_secs(3600));
    let db = db.build().await.unwrap();
    let (raw, id) = (Raw::new(&endpoint, &table), user("expiring"));
    let version = save(&db, &id, &record(&json!({ "user": {}, "old": 1 })), None).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expires =
        |item: &Item| item["persistenceExpiresAt"].as_n().unwrap().parse::<u64>().unwrap();
    let at = expires(&raw.get(&id).await.unwrap());
    assert!((now + 3590..=now + 3600).contains(&at), "{at}");
    assert_eq!(json_of(&load(&db, &id).await), json!({ "user": {}, "old": 1 }));
    assert_eq!(time_to_live(&raw).await.as_deref(), Some("persistenceExpiresAt"));

    raw.update(&id, "SET persistenceExpiresAt = :v", n(&(now - 1).to_string())).await;
    assert_eq!(db.load(&id).await.unwrap(), None);
    let saved = db.save(&id, &record(&json!({})), Expected::Version(&version)).await;
    assert!(saved.is_ok(), "over what was loaded before it expired: {saved:?}");
    raw.update(&id, "SET persistenceExpiresAt = :v", n(&(now - 1).to_string())).await;
    // Nothing of the old record comes back.
    save(&db, &id, &record(&json!({ "user": { "data": { "new": 1 } } })), None).await;
    assert_eq!(json_of(&load(&db, &id).await), json!({ "user": { "data": { "new": 1 } } }));
    assert!(matches!(
        db.save(&id, &Record::default(), Expected::Absent).await.unwrap(),
        Saved::Conflict(Some(_))
    ));
}
