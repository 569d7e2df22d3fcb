//! What is stored, and what other programs store.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use tower_persistence::{Database, Expected, Saved};

use super::{Place, all, load, record, save, visits};

pub(crate) async fn a_user_is_a_hash(place: Place) {
    let db = place.db().await;
    let version = save(&db, "anna", &visits(1), None).await;
    let key = place.key("anna");
    let fields: BTreeMap<String, String> = place.ask(&["HGETALL", &key]).await;
    let expected = [
        ("record".to_owned(), r#"{"user":{"data":{"visits":1}}}"#.to_owned()),
        ("version".to_owned(), version.to_string()),
    ];
    assert_eq!(fields, BTreeMap::from(expected));
    assert_eq!(place.ask::<i64>(&["PTTL", &key]).await, -1, "it does not expire");

    let other = place.builder().prefix("other:").url(&place.url).connect().await.unwrap();
    assert_eq!(other.load("anna").await.unwrap(), None, "another prefix, another user");
    assert!(!format!("{db:?}").contains("127.0.0.1"), "{db:?}");
}

pub(crate) async fn an_edit_is_a_conflict_and_its_spelling_stays(place: Place) {
    let db = place.db().await;
    let version = save(&db, "anna", &visits(1), None).await;
    let key = place.key("anna");
    // A further field of the hash is another program's own.
    let edit = r#"{ "user": {"data":{"big":123456789012345678901234567890,"n":1E3}}, "z": 1.50 }"#;
    let fields = ["HSET", &key, "record", edit, "version", "edit-1", "own", "field"];
    place.ask::<()>(&fields).await;
    let saved = db.save("anna", &visits(2), Expected::Version(&version)).await.unwrap();
    let Saved::Conflict(Some(mut current)) = saved else { panic!("{saved:?}") };
    assert_eq!(current.version.as_str(), "edit-1");

    current.record = record(json!({ "user": { "data": { "big": 1.2345678901234568e29, "n": 7 } },
        "z": 1.5 }));
    let version = save(&db, "anna", &current.record, Some(&current.version)).await;
    let text: String = place.ask(&["HGET", &key, "record"]).await;
    let expected = r#"{"user":{"data":{"big":123456789012345678901234567890,"n":7}},"z":1.50}"#;
    assert_eq!(text, expected);
    assert_eq!(place.ask::<String>(&["HGET", &key, "own"]).await, "field");
    // The version that was saved carries the spelling on.
    save(&db, "anna", &current.record, Some(&version)).await;
    assert_eq!(place.ask::<String>(&["HGET", &key, "record"]).await, expected);

    // A program may create users, too.
    let key = place.key("bert");
    place.ask::<()>(&["HSET", &key, "record", "{}", "version", "imported"]).await;
    assert_eq!(load(&db, "bert").await.version.as_str(), "imported");
}

pub(crate) async fn keys_of_other_programs_are_left_as_they_are(place: Place) {
    let db = place.db().await;
    let key = place.key("text");
    place.ask::<()>(&["SET", &key, "SECRET"]).await;
    let failures = [
        db.load("text").await.map(drop),
        db.save("text", &visits(1), Expected::Absent).await.map(drop),
        db.delete("text").await,
    ];
    for failure in failures {
        let error = failure.unwrap_err();
        assert!(all(&error).contains("another `prefix`") && !all(&error).contains("SECRET"));
    }
    assert_eq!(place.ask::<String>(&["GET", &key]).await, "SECRET");

    let key = place.key("hash");
    place.ask::<()>(&["HSET", &key, "name", "SECRET"]).await;
    for expected in [Expected::Absent, db.load_for_update("hash").await.unwrap().expected()] {
        let error = db.save("hash", &visits(1), expected).await.unwrap_err();
        assert!(all(&error).contains("another `prefix`"), "{error:?}");
    }
    assert_eq!(place.ask::<i64>(&["HLEN", &key]).await, 1);
}

pub(crate) async fn what_cannot_be_read_is_not_overwritten(place: Place) {
    let db = place.db().await;
    let key = place.key("anna");
    for (damaged, remedy) in
        [("SECRET", "repair it"), (r#"["SECRET"]"#, "repair it"), (r#"{"a":SECRET"#, "repair it")]
    {
        place.ask::<()>(&["HSET", &key, "record", damaged, "version", "1"]).await;
        let error = db.load("anna").await.unwrap_err();
        assert!(error.is_decode() && all(&error).contains(remedy), "{error:?}");
        assert!(!all(&error).contains("SECRET"), "{error:?}");
        let error = db.save("anna", &visits(1), Expected::Absent).await.unwrap_err();
        assert!(error.is_decode(), "{error:?}");
        assert_eq!(place.ask::<String>(&["HGET", &key, "record"]).await, damaged);
    }
    // Bytes that are not UTF-8.
    let mut command = redis::cmd("HSET");
    command.arg(&key).arg("record").arg(&b"\xff"[..]);
    command.exec_async(&mut place.client.clone()).await.unwrap();
    assert!(db.load("anna").await.unwrap_err().is_decode());

    place.ask::<()>(&["DEL", &key]).await;
    place.ask::<()>(&["HSET", &key, "record", "{}"]).await;
    let error = db.load("anna").await.unwrap_err();
    assert!(error.is_decode() && all(&error).contains("`version`"), "{error:?}");
    let error = db.save("anna", &visits(1), Expected::Absent).await.unwrap_err();
    assert!(error.is_database(), "{error:?}");
    assert_eq!(place.ask::<String>(&["HGET", &key, "record"]).await, "{}");
}

pub(crate) async fn users_expire(place: Place) {
    let (keeps, key) = (place.db().await, place.key("anna"));
    let expire = async |after| {
        let builder = place.builder().url(&place.url).expire_users_after(after);
        builder.connect().await.unwrap()
    };
    let hour = expire(Duration::from_secs(3600)).await;
    let time_left = async || place.ask::<i64>(&["PTTL", &key]).await;
    let version = save(&hour, "anna", &visits(1), None).await;
    assert!((3_590_000..=3_600_000).contains(&time_left().await));
    // A program takes some of it, and the next save gives it back.
    place.ask::<()>(&["PEXPIRE", &key, "50000"]).await;
    let version = save(&hour, "anna", &visits(2), Some(&version)).await;
    assert!((3_590_000..=3_600_000).contains(&time_left().await));
    // Without the option it is kept from the next save on.
    let version = save(&keeps, "anna", &visits(3), Some(&version)).await;
    assert_eq!(time_left().await, -1);
    // Longer than the server can count.
    let ever = expire(Duration::MAX).await;
    let version = save(&ever, "anna", &visits(4), Some(&version)).await;
    assert!(time_left().await > 1 << 52);

    let soon = expire(Duration::from_millis(30)).await;
    save(&soon, "anna", &visits(5), Some(&version)).await;
    while soon.load("anna").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    save(&soon, "anna", &visits(1), None).await;
}
