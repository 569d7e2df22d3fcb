//! Tombstones in the collection.

use std::time::Duration;

use mongodb::IndexModel;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::IndexOptions;
use serde_json::json;
use tower_persistence::{Database, Expected, Loaded, MongoDb, Saved, Version};

use crate::common::{alexa, send_json, sync_app};
use crate::erasure::{UnderWay, patient};

use super::{DATABASE, Place, jovo_document, load, record, save, value};

const LIFETIME: i64 = 15 * 60 * 1000;

/// Makes a database whose index exists, so that it leaves tombstones.
async fn ready(place: &Place) -> MongoDb {
    let db = place.db().await;
    db.ensure_ready().await.unwrap();
    for _ in 0..500 {
        if place.users.list_index_names().await.unwrap().contains(&INDEX.to_owned()) {
            return db;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no index");
}

const INDEX: &str = "persistenceTombstone_1";

/// Returns the index's own filter. MongoDB removes the documents that it matches.
async fn filter(place: &Place) -> Document {
    let indexes = doc! { "listIndexes": place.users.name() };
    let indexes = place.client.database(DATABASE).run_command(indexes).await.unwrap();
    let indexes = indexes.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let mut indexes = indexes.iter().filter_map(Bson::as_document);
    let index = indexes.find(|index| index.get_str("name").unwrap() == INDEX).unwrap();
    assert_eq!(index.get_document("key").unwrap(), &doc! { "persistenceTombstone": 1 });
    let seconds = index.get("expireAfterSeconds");
    assert_eq!(seconds.and_then(|it| it.as_i32().map(i64::from).or(it.as_i64())), Some(0));
    index.get_document("partialFilterExpression").unwrap().clone()
}

async fn tombstone(db: &MongoDb, id: &str) -> Option<Version> {
    let nothing = nothing(db).await;
    match db.load_for_update(id).await.unwrap() {
        Loaded::Absent(version) => version.filter(|version| *version != nothing),
        found => panic!("{found:?}"),
    }
}

/// Returns the version of a turn that finds neither a document nor a tombstone.
async fn nothing(db: &MongoDb) -> Version {
    db.load_for_update("never stored").await.unwrap().expected().version().unwrap().clone()
}

pub(crate) async fn a_tombstone_holds_nothing_of_the_user(place: Place) {
    let db = ready(&place).await;
    save(&db, "user-1", json!({ "user": { "data": { "name": "Zoë" } }, "x": 1 })).await;
    for id in ["user-1", "unknown"] {
        let before = DateTime::now().timestamp_millis();
        db.delete(id).await.unwrap();
        let raw = place.raw(id).await;
        let names: Vec<_> = raw.keys().map(String::as_str).collect();
        assert_eq!(names, ["_id", "persistenceVersion", "persistenceTombstone"]);
        let end = raw.get_datetime("persistenceTombstone").unwrap().timestamp_millis();
        let now = DateTime::now().timestamp_millis();
        assert!((before + LIFETIME..=now + LIFETIME).contains(&end), "{end}");
        assert_eq!(db.load(id).await.unwrap(), None);
    }
    // MongoDB removes both by these.
    let filter = filter(&place).await;
    assert_eq!(place.users.count_documents(filter.clone()).await.unwrap(), 2);

    save(&db, "user-1", json!({ "user": {} })).await;
    assert_eq!(value(&load(&db, "user-1").await.record), json!({ "user": {} }));
    assert!(!place.raw("user-1").await.contains_key("persistenceTombstone"));
    let error = db.save("x", &record(json!({ "persistenceTombstone": 1 })), Expected::Absent).await;
    assert!(error.unwrap_err().is_encode());
}

pub(crate) async fn an_expired_tombstone_does_not_count(place: Place) {
    let db = ready(&place).await;
    for shown in [true, false] {
        db.delete("user-1").await.unwrap();
        let before = tombstone(&db, "user-1").await;
        let fields = record(json!({ "user": {} }));
        let nothing = nothing(&db).await;
        let saved = db.save("user-1", &fields, Expected::Version(&nothing)).await.unwrap();
        assert_eq!(saved, Saved::Conflict(None));
        let ended = doc! { "$set": { "persistenceTombstone": DateTime::now() } };
        place.users.update_one(doc! { "_id": "user-1" }, ended).await.unwrap();
        assert_eq!(tombstone(&db, "user-1").await, None);
        let expected = if shown { before.unwrap() } else { nothing };
        let saved = db.save("user-1", &fields, Expected::Version(&expected)).await.unwrap();
        assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
        assert_eq!(load(&db, "user-1").await.record, fields);
    }
    // A tombstone that was removed meanwhile holds no save back.
    db.delete("user-1").await.unwrap();
    let before = tombstone(&db, "user-1").await;
    place.users.delete_one(doc! { "_id": "user-1" }).await.unwrap();
    let fields = record(json!({ "user": {} }));
    let saved = db.save("user-1", &fields, Expected::from(before.as_ref())).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
    let saved = db.save("user-1", &fields, Expected::from(before.as_ref())).await.unwrap();
    assert_eq!(saved, Saved::Conflict(Some(load(&db, "user-1").await)));
}

pub(crate) async fn a_tombstone_written_over_is_a_document(place: Place) {
    let db = ready(&place).await;
    // Everything that Jovo v4 stores, and as little as it can.
    let documents = [jovo_document(), doc! { "user": { "data": { "visits": 3 } } }];
    for (id, document) in ["user-1", "user-2"].into_iter().zip(documents) {
        db.delete(id).await.unwrap();
        let before = tombstone(&db, id).await;
        place.jovo_saves(id, document.clone()).await;
        // The date stays, and must not end the document that Jovo has stored.
        let raw = place.raw(id).await;
        assert!(raw.contains_key("persistenceTombstone"), "{raw:?}");
        assert_eq!(place.users.count_documents(filter(&place).await).await.unwrap(), 0);
        let stored = load(&db, id).await;
        let fields = value(&stored.record);
        assert_eq!(fields["user"]["data"]["visits"], 3);
        assert_eq!(fields.as_object().unwrap().len(), document.len());
        for expected in [None, before.as_ref()] {
            let saved = db.save(id, &record(json!({})), Expected::from(expected)).await.unwrap();
            assert_eq!(saved, Saved::Conflict(Some(stored.clone())));
        }
        save(&db, id, json!({ "user": { "data": { "visits": 4 } } })).await;
        assert!(!place.raw(id).await.contains_key("persistenceTombstone"));
    }
}

/// A tombstone does not satisfy the collection's rules for documents.
pub(crate) async fn a_collection_that_refuses_tombstones(place: Place) {
    let schema = doc! { "$jsonSchema": { "required": ["user"] } };
    let options = IndexOptions::builder().unique(true).build();
    let unique = IndexModel::builder().keys(doc! { "user.data.email": 1 }).options(options).build();
    for is_unique in [true, false] {
        place.users.drop().await.unwrap();
        if is_unique {
            place.users.create_index(unique.clone()).await.unwrap();
            // A tombstone has no address, and neither has this.
            place.users.insert_one(doc! { "_id": "other" }).await.unwrap();
        } else {
            let database = place.client.database(DATABASE);
            database.create_collection(place.users.name()).validator(schema.clone()).await.unwrap();
        }
        let db = ready(&place).await;
        let fields = json!({ "user": { "data": { "email": "anna@example.com" } } });
        for id in ["user-1", "user-2"] {
            save(&db, id, fields.clone()).await;
            db.delete(id).await.unwrap();
            db.delete(id).await.unwrap();
            assert_eq!(db.load(id).await.unwrap(), None);
            assert_eq!(place.users.find_one(doc! { "_id": id }).await.unwrap(), None);
        }
        save(&db, "user-1", fields).await;
    }
}

/// A document that disappeared without a tombstone was not deleted by this crate: the turn must not
/// end as if its user had been forgotten.
pub(crate) async fn a_document_removed_by_a_ttl_index_during_a_turn_is_an_error(place: Place) {
    let layer = patient(ready(&place).await);
    let visit = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
    send_json(&visit, &alexa("user-1")).await.assert_ok();
    let turn = UnderWay::begin(&layer, "user-1").await;
    place.users.delete_one(doc! { "_id": "user-1" }).await.unwrap();
    let answer = turn.answer().await;
    assert_eq!(answer.status, 503);
    let text = format!("{:?}", answer.error());
    assert!(text.contains("removed during the turn, by a TTL index"), "{text}");
    // The next one starts anew.
    send_json(&visit, &alexa("user-1")).await.assert_ok();
    assert_eq!(value(&load(layer.database(), "user-1").await.record)["user"]["data"]["visits"], 1);

    // The deleted user stays deleted.
    let before = load(layer.database(), "user-1").await;
    layer.database().delete("user-1").await.unwrap();
    let saved =
        layer.database().save("user-1", &before.record, Expected::Version(&before.version)).await;
    assert_eq!(saved.unwrap(), Saved::Conflict(None));
}
