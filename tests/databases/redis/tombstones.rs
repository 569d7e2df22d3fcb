//! What a deletion leaves, and disappearances that are not deletions.

use std::collections::BTreeMap;

use tower_persistence::{Database, Expected, Loaded, Saved};

use super::{Place, all, load, save, visits};

pub(crate) async fn a_tombstone_holds_nothing_of_the_user(place: Place) {
    let (db, key) = (place.db().await, place.key("anna"));
    save(&db, "anna", &visits(1), None).await;
    place.ask::<()>(&["HSET", &key, "own", "field"]).await;
    db.delete("anna").await.unwrap();
    let fields: BTreeMap<String, String> = place.ask(&["HGETALL", &key]).await;
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["version"]);
    let loaded = db.load_for_update("anna").await.unwrap();
    let Loaded::Absent(Some(version)) = &loaded else { panic!("{loaded:?}") };
    assert_eq!(version.as_str(), fields["version"]);
    let left: i64 = place.ask(&["PTTL", &key]).await;
    assert!((890_000..=900_000).contains(&left), "{left}");

    // An expired one holds nothing back, not even a save that expects it.
    place.ask::<()>(&["DEL", &key]).await;
    save(&db, "anna", &visits(2), Some(version)).await;
    assert_eq!(place.ask::<i64>(&["PTTL", &key]).await, -1);

    // A record that takes its place does not expire with it.
    db.delete("anna").await.unwrap();
    save(&db, "anna", &visits(3), None).await;
    assert_eq!(place.ask::<i64>(&["PTTL", &key]).await, -1);
    assert_eq!(load(&db, "anna").await.record, visits(3));
}

/// As by eviction: it must not pass for a user who wanted to be forgotten.
pub(crate) async fn a_record_that_disappears_during_a_turn_is_an_error(place: Place) {
    let (db, key) = (place.db().await, place.key("anna"));
    save(&db, "anna", &visits(1), None).await;
    let loaded = load(&db, "anna").await;
    place.ask::<()>(&["DEL", &key]).await;
    let saved = db.save("anna", &visits(2), Expected::Version(&loaded.version)).await;
    let error = saved.unwrap_err();
    assert!(error.is_database() && all(&error).contains("maxmemory-policy"), "{error:?}");
    assert_eq!(place.ask::<i64>(&["EXISTS", &key]).await, 0);

    // After a deletion it is a conflict.
    save(&db, "anna", &visits(1), None).await;
    let loaded = load(&db, "anna").await;
    db.delete("anna").await.unwrap();
    let saved = db.save("anna", &visits(2), Expected::Version(&loaded.version)).await;
    assert_eq!(saved.unwrap(), Saved::Conflict(None));
}
