//! Saves: together with Jovo, concurrently, and with an expiry.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::event::EventHandler;
use mongodb::event::command::CommandEvent;
use mongodb::options::ClientOptions;
use mongodb::{Client, IndexModel};
use serde_json::{Value, json};
use tower_persistence::{Database, Expected, Record, Saved};

use super::{DATABASE, Place, jovo_document, load, record, save, value};

pub(crate) async fn documents_are_those_of_jovo(place: Place) {
    let db = place.db().await;
    let fields = json!({
        "user": { "data": { "visits": 1 } }, "history": { "items": [{ "output": [] }] },
        "createdAt": "2024-01-01T00:00:00.000Z", "updatedAt": "2024-01-01T00:00:01.000Z",
    });
    save(&db, "user-1", fields).await;
    let mut raw = place.raw("user-1").await;
    let mark = raw.remove("persistenceVersion").unwrap();
    assert!(mark.as_str().unwrap().starts_with("2024-01-01T00:00:01.000Z/"));
    let expected = doc! {
        "_id": "user-1",
        "user": { "data": { "visits": 1 } }, "history": { "items": [{ "output": [] }] },
        "createdAt": "2024-01-01T00:00:00.000Z", "updatedAt": "2024-01-01T00:00:01.000Z",
    };
    assert_eq!(raw, expected);
}

pub(crate) async fn a_document_of_jovo_is_read_and_upgraded(place: Place) {
    let mut fields = jovo_document();
    fields.insert("foo", doc! { "kept": [1] });
    place.jovo_saves("user-1", fields.clone()).await;
    let db = place.db().await;
    let mut stored = value(&load(&db, "user-1").await.record);
    assert_eq!(stored["user"]["data"], json!({ "name": "Joe", "visits": 3 }));
    assert_eq!(stored["session"]["id"], Value::Null);
    assert!(stored.get("_id").is_none());
    stored["user"]["data"]["visits"] = json!(4);
    stored["updatedAt"] = json!("2024-01-02T00:00:00.000Z");
    save(&db, "user-1", stored).await;

    fields.get_document_mut("user").unwrap().get_document_mut("data").unwrap().insert("visits", 4);
    fields.insert("updatedAt", "2024-01-02T00:00:00.000Z");
    let mut raw = place.raw("user-1").await;
    raw.remove("persistenceVersion").unwrap();
    raw.remove("_id");
    assert_eq!(raw, fields);
    // Jovo goes on with the document.
    place.jovo_saves("user-1", jovo_document()).await;
    let stored = value(&load(&db, "user-1").await.record);
    assert_eq!(
        (&stored["user"]["data"]["visits"], &stored["foo"]),
        (&json!(3), &json!({ "kept": [1] }))
    );
}

pub(crate) async fn a_write_of_jovo_is_a_conflict(place: Place) {
    let db = place.db().await;
    let ours =
        json!({ "user": { "data": { "by": "us" } }, "updatedAt": "2024-01-01T00:00:00.000Z" });
    for jovo_began in [true, false] {
        let id = if jovo_began { "jovo" } else { "us" };
        if jovo_began {
            place.jovo_saves(id, jovo_document()).await;
        } else {
            save(&db, id, ours.clone()).await;
        }
        let before = load(&db, id).await;
        let fields =
            doc! { "user": { "data": { "by": "jovo" } }, "updatedAt": "2024-01-01T00:00:00.001Z" };
        place.jovo_saves(id, fields).await;
        let saved =
            db.save(id, &record(ours.clone()), Expected::Version(&before.version)).await.unwrap();
        let current = load(&db, id).await;
        assert_eq!(saved, Saved::Conflict(Some(current.clone())));
        assert_eq!(value(&current.record)["user"]["data"]["by"], "jovo");
        let saved =
            db.save(id, &record(ours.clone()), Expected::Version(&current.version)).await.unwrap();
        assert!(matches!(saved, Saved::Written(_)));
    }
}

pub(crate) async fn a_duplicate_key_is_a_conflict(place: Place) {
    let db = place.db().await;
    place.jovo_saves("user-1", jovo_document()).await;
    let saved = db.save("user-1", &Record::default(), Expected::Absent).await.unwrap();
    assert_eq!(saved, Saved::Conflict(Some(load(&db, "user-1").await)));
    // A version of another database.
    let saved = db.save("user-1", &Record::default(), Expected::Version(&7.into())).await.unwrap();
    assert_eq!(saved, Saved::Conflict(Some(load(&db, "user-1").await)));
}

pub(crate) async fn of_sixteen_writers_one_wins(place: Place) {
    let db = place.db().await;
    let mut expected = None;
    for _ in 0..5 {
        let writers = (0..16).map(|writer| {
            let (db, expected) = (db.clone(), expected.clone());
            let fields = record(json!({ "user": { "data": { "writer": writer } } }));
            tokio::spawn(async move {
                (writer, db.save("user-1", &fields, Expected::from(expected.as_ref())).await)
            })
        });
        let mut winners = Vec::new();
        for task in writers.collect::<Vec<_>>() {
            match task.await.unwrap() {
                (writer, Ok(Saved::Written(version))) => winners.push((writer, version)),
                (_, Ok(Saved::Conflict(Some(_)))) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1);
        let (writer, version) = winners.remove(0);
        let stored = load(&db, "user-1").await;
        assert_eq!(stored.version, version);
        assert_eq!(value(&stored.record)["user"]["data"]["writer"], writer);
        expected = Some(version);
    }
}

/// The commands that a client sends, with their names, and `ok` for each answered one.
type Commands = Arc<Mutex<Vec<(String, Document)>>>;

async fn overheard(place: &Place) -> (Client, Commands) {
    let commands = Commands::default();
    let heard = commands.clone();
    let mut options = ClientOptions::parse(&place.uri).await.unwrap();
    options.command_event_handler = Some(EventHandler::callback(move |event| match event {
        CommandEvent::Started(event) => {
            heard.lock().unwrap().push((event.command_name, event.command));
        }
        CommandEvent::Succeeded(event) if event.command_name == "createIndexes" => {
            heard.lock().unwrap().push(("ok".to_owned(), event.reply));
        }
        _ => {}
    }));
    (Client::with_options(options).unwrap(), commands)
}

pub(crate) async fn the_indexes_are_there_before_the_first_insertion(place: Place) {
    for expires in [true, false] {
        place.users.drop().await.unwrap();
        let (client, commands) = overheard(&place).await;
        let mut builder = place.builder().client(client);
        if expires {
            builder = builder.expire_users_after(Duration::from_secs(60));
        }
        let db = builder.connect().await.unwrap();
        let fields = record(json!({ "user": {} }));
        // Concurrently, and without waiting for `ensure_ready`.
        let saves = (0..8).map(|user| {
            let (db, fields) = (db.clone(), fields.clone());
            tokio::spawn(async move {
                db.save(&format!("user-{user}"), &fields, Expected::Absent).await
            })
        });
        for save in saves.collect::<Vec<_>>() {
            assert!(matches!(save.await.unwrap().unwrap(), Saved::Written(_)));
        }
        let commands = commands.lock().unwrap();
        let names: Vec<_> = commands.iter().map(|(name, _)| name.as_str()).collect();
        let indexes = if expires { 2 } else { 1 };
        let expected = ["createIndexes", "ok"].repeat(indexes);
        assert_eq!(names[..=indexes * 2], [&["find"], &expected[..]].concat());
        assert_eq!(names[indexes * 2 + 1..], ["insert"; 8]);
    }
}

pub(crate) async fn fields_that_others_add_meanwhile_stay(place: Place) {
    let (client, commands) = overheard(&place).await;
    let db = place.builder().client(client).connect().await.unwrap();
    let mut fields = json!({
        "user": { "data": { "a": 1 } }, "history": { "items": [] }, "kept": { "x": [1] }, "gone": 1,
        "dotted.name": 1, "updatedAt": "2024-01-01T00:00:00.000Z",
    });
    // With names that an update can express, and with one that it cannot.
    for (round, changed) in ["user", "dotted.name"].into_iter().enumerate() {
        save(&db, "user-1", fields.clone()).await;
        let before = load(&db, "user-1").await;
        let theirs = doc! { "$set": { "theirs": round as i32, "kept.y": 2 } };
        place.users.update_one(doc! { "_id": "user-1" }, theirs).await.unwrap();
        commands.lock().unwrap().clear();
        fields[changed] = json!({ "data": { "a": 2 } });
        fields.as_object_mut().unwrap().remove("gone");
        let saved = db
            .save("user-1", &record(fields.clone()), Expected::Version(&before.version))
            .await
            .unwrap();
        assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
        let raw = place.raw("user-1").await;
        assert_eq!(raw.get("theirs"), Some(&Bson::Int32(round as i32)));
        assert_eq!(raw.get_document("kept").unwrap(), &doc! { "x": [1], "y": 2 });
        assert!(!raw.contains_key("gone"));
        let stored = value(&load(&db, "user-1").await.record);
        assert_eq!(stored[changed], json!({ "data": { "a": 2 } }));
        if round == 0 {
            let commands = commands.lock().unwrap();
            let update = commands[0].1.get_array("updates").unwrap()[0].as_document().unwrap();
            let update = update.get_document("u").unwrap();
            let set: Vec<_> = update.get_document("$set").unwrap().keys().collect();
            let unset: Vec<_> = update.get_document("$unset").unwrap().keys().collect();
            assert_eq!(set, ["user.data.a", "persistenceVersion"]);
            assert_eq!(unset, ["gone"]);
        }
        fields["theirs"] = json!(round);
        fields["kept"]["y"] = json!(2);
        fields["gone"] = json!(1);
    }
}

pub(crate) async fn a_turn_is_one_read_and_one_write(place: Place) {
    let (client, commands) = overheard(&place).await;
    let db = place.builder().client(client).connect().await.unwrap();
    db.ensure_ready().await.unwrap();
    commands.lock().unwrap().clear();
    assert_eq!(db.load("user-1").await.unwrap(), None);
    let Saved::Written(first) =
        db.save("user-1", &Record::default(), Expected::Absent).await.unwrap()
    else {
        panic!("a conflict")
    };
    let Saved::Written(_) =
        db.save("user-1", &Record::default(), Expected::Version(&first)).await.unwrap()
    else {
        panic!("a conflict")
    };
    let saved = db.save("user-1", &Record::default(), Expected::Version(&first)).await.unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))));
    db.delete("user-1").await.unwrap();
    let commands = commands.lock().unwrap();
    let names: Vec<_> = commands.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["find", "insert", "update", "update", "find", "update"]);
    for (name, command) in commands.iter().filter(|(name, _)| name != "find") {
        let concern = command.get_document("writeConcern").unwrap();
        assert_eq!(concern.get_str("w").unwrap(), "majority", "{name}");
    }
}

pub(crate) async fn a_deleted_user_stays_deleted(place: Place) {
    let db = place.db().await;
    db.delete("user-1").await.unwrap();
    save(&db, "user-1", json!({ "user": {} })).await;
    let before = load(&db, "user-1").await;
    db.delete("user-1").await.unwrap();
    let saved =
        db.save("user-1", &before.record, Expected::Version(&before.version)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(None));
    // A user who was stored anew is not taken for the same one either.
    save(&db, "user-1", json!({ "user": {} })).await;
    let saved =
        db.save("user-1", &before.record, Expected::Version(&before.version)).await.unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))));
}

pub(crate) async fn users_expire(place: Place) {
    let within =
        |millis| place.builder().uri(&place.uri).expire_users_after(Duration::from_millis(millis));
    let db = within(60_000).connect().await.unwrap();
    // The first request creates it.
    save(&db, "user-1", json!({ "user": {}, "updatedAt": "a" })).await;
    let begun = Instant::now();
    while !place.users.list_index_names().await.unwrap().contains(&"expiresAt_1".to_owned()) {
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let indexes = doc! { "listIndexes": place.users.name() };
    let indexes = place.client.database(DATABASE).run_command(indexes).await.unwrap();
    let indexes = indexes.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    let mut indexes = indexes.iter().filter_map(Bson::as_document);
    let index = indexes.find(|index| index.get_str("name").unwrap() == "expiresAt_1").unwrap();
    assert_eq!(index.get_document("key").unwrap(), &doc! { "expiresAt": 1 });
    assert_eq!(
        index.get("expireAfterSeconds").and_then(|it| it.as_i32().map(i64::from).or(it.as_i64())),
        Some(0)
    );
    let expires_at = *place.raw("user-1").await.get_datetime("expiresAt").unwrap();
    let left = expires_at.timestamp_millis() - DateTime::now().timestamp_millis();
    assert!((50_000..=60_000).contains(&left), "{left}");
    assert_eq!(value(&load(&db, "user-1").await.record), json!({ "user": {}, "updatedAt": "a" }));

    let short = within(100).connect().await.unwrap();
    short.ensure_ready().await.unwrap();
    save(&short, "user-1", json!({ "old": { "nested": true } })).await;
    let before = load(&short, "user-1").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(place.users.find_one(doc! { "_id": "user-1" }).await.unwrap().is_some());
    assert_eq!(db.load("user-1").await.unwrap(), None);
    // One writer stores it anew, and only one.
    let fields = record(json!({ "new": true }));
    let (one, other) = tokio::join!(
        db.save("user-1", &fields, Expected::Absent),
        db.save("user-1", &fields, Expected::Absent)
    );
    let wins = |saved: &Saved| matches!(saved, Saved::Written(_));
    assert!(wins(&one.unwrap()) != wins(&other.unwrap()));
    assert_eq!(value(&load(&db, "user-1").await.record), json!({ "new": true }));
    let saved =
        db.save("user-1", &before.record, Expected::Version(&before.version)).await.unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))));

    let error =
        db.save("x", &record(json!({ "expiresAt": 1 })), Expected::Absent).await.unwrap_err();
    assert!(error.is_encode());
}

pub(crate) async fn a_failed_index_is_tried_again(place: Place) {
    // An index of the same name that expires nothing.
    let index = IndexModel::builder().keys(doc! { "expiresAt": 1 }).build();
    place.users.create_index(index).await.unwrap();
    let builder = place.builder().uri(&place.uri).expire_users_after(Duration::from_secs(60));
    let db = builder.connect().await.unwrap();
    let error = db.ensure_ready().await.unwrap_err();
    assert!(error.is_database(), "{error:?}");
    assert!(format!("{error:?}").contains("creating the TTL index"), "{error:?}");
    // Requests go on.
    save(&db, "user-1", json!({ "user": {} })).await;
    place.users.drop_index("expiresAt_1").await.unwrap();
    let (one, other) = tokio::join!(db.ensure_ready(), db.ensure_ready());
    one.and(other).unwrap();
}

pub(crate) async fn failed_writes(place: Place) {
    let db = place.db().await;
    save(&db, "SECRET", json!({ "user": {} })).await;
    let before = load(&db, "SECRET").await;
    let fail = async |data: Document| {
        let command =
            doc! { "configureFailPoint": "failCommand", "mode": { "times": 1 }, "data": data };
        place.client.database("admin").run_command(command).await.unwrap();
    };
    // The write is made, but may not last.
    let concern = doc! { "code": 64, "codeName": "WriteConcernFailed", "errmsg": "SECRET" };
    fail(doc! { "failCommands": ["update"], "writeConcernError": concern }).await;
    let error =
        db.save("SECRET", &before.record, Expected::Version(&before.version)).await.unwrap_err();
    let text = format!("{error:?}");
    assert!(error.is_database() && text.contains("64 (WriteConcernFailed)"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");

    // A command that the server refuses.
    fail(doc! { "failCommands": ["find"], "errorCode": 13 }).await;
    let error = db.load("SECRET").await.unwrap_err();
    let text = format!("{error:?}");
    assert!(error.is_database() && text.contains("error 13"), "{text}");
    assert!(!text.contains("SECRET"), "{text}");

    // A connection that breaks once: the driver repeats the write, and it counts once.
    let before = load(&db, "SECRET").await;
    fail(doc! { "failCommands": ["update"], "closeConnection": true }).await;
    let saved =
        db.save("SECRET", &before.record, Expected::Version(&before.version)).await.unwrap();
    assert_eq!(saved, Saved::Written(load(&db, "SECRET").await.version));
    fail(doc! { "failCommands": ["insert"], "closeConnection": true }).await;
    let saved = db.save("user-2", &before.record, Expected::Absent).await.unwrap();
    assert_eq!(saved, Saved::Written(load(&db, "user-2").await.version));

    // A role that may not create the index can work all the same.
    let builder = place.builder().uri(&place.uri).expire_users_after(Duration::from_secs(60));
    let db = builder.connect().await.unwrap();
    fail(doc! { "failCommands": ["createIndexes"], "errorCode": 13 }).await;
    db.ensure_ready().await.unwrap();
    save(&db, "user-2", json!({ "user": {} })).await;

    // Nothing would remove the tombstone, so none is left.
    let db = place.builder().uri(&place.uri).connect().await.unwrap();
    fail(doc! { "failCommands": ["createIndexes"], "errorCode": 13 }).await;
    db.ensure_ready().await.unwrap();
    db.delete("user-2").await.unwrap();
    assert_eq!(place.users.find_one(doc! { "_id": "user-2" }).await.unwrap(), None);
}
