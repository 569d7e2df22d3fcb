//! The operations of the handles, and those that they refuse.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};
use tower_persistence::{Error, PersistenceLayer, StoredElements, User};

use crate::common::*;

/// Runs `handler` in a turn of a user with this data.
async fn with_data(
    data: Value,
    handler: impl Fn(&User) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Value {
    let layer = PersistenceLayer::new(TestDb::default());
    store(&layer.database().items, "user-1", &json!({ "user": { "data": data } })).await;
    let app = sync_app(&layer, move |user, _, _| handler(user));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    stored(&layer.database().items, "user-1").await.unwrap()["user"]["data"].take()
}

#[tokio::test]
async fn get_tells_absence_from_another_type() {
    let data = json!({ "name": "Anna", "age": 7, "tags": ["a"], "nothing": null });
    with_data(data, |user| {
        assert_eq!(user.get::<String>("name")?, Some("Anna".to_owned()));
        assert_eq!(user.get::<u8>("age")?, Some(7));
        assert_eq!(user.get::<Vec<String>>("tags")?, Some(vec!["a".to_owned()]));
        assert_eq!(user.get::<String>("absent")?, None);
        assert!(user.get::<String>("age").unwrap_err().is_decode());
        assert!(user.get::<HashMap<String, String>>("tags").unwrap_err().is_decode());
        // A null reads as absent, unless the type can hold it.
        assert_eq!(user.get::<String>("nothing")?, None);
        assert_eq!(user.get::<Value>("nothing")?, Some(Value::Null));
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn set_remove_and_increment() {
    let data = json!({ "a": 1, "b": [1], "c": "x", "d": 1.0, "n": null, "z": 0 });
    let data = with_data(data, |user| {
        user.set("a", "text")?;
        user.set("new", json!({ "deep": [true] }))?;
        user.remove("b")?;
        assert_eq!(user.increment("d", 2)?, 3);
        assert_eq!(user.increment("n", 5)?, 5);
        assert_eq!(user.increment("absent", -1)?, -1);
        assert!(user.increment("c", 1).unwrap_err().is_decode());
        assert_eq!(user.get::<String>("c")?.as_deref(), Some("x"));
        Ok(())
    })
    .await;
    // Existing keys keep their order.
    let expected = r#"{"a":"text","c":"x","d":3,"n":5,"z":0,"new":{"deep":[true]},"absent":-1}"#;
    assert_eq!(data.to_string(), expected);
}

#[tokio::test]
async fn increment_refuses_what_it_cannot_add_up() {
    let data = json!({ "max": i64::MAX, "min": i64::MIN, "half": 0.5, "big": 1e300, "over": u64::MAX, "t": true });
    let after = with_data(data.clone(), |user| {
        assert!(user.increment("max", 1).unwrap_err().is_encode());
        assert!(user.increment("min", -1).unwrap_err().is_encode());
        for key in ["half", "big", "over", "t"] {
            assert!(user.increment(key, 1).unwrap_err().is_decode(), "{key}");
        }
        Ok(())
    })
    .await;
    assert_eq!(after, data);
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    score: u32,
}

#[tokio::test]
async fn all_data_at_once() {
    let data = json!({ "name": "Anna", "score": 3 });
    let after = with_data(data, |user| {
        let mut profile: Profile = user.data_as()?;
        assert_eq!(profile, Profile { name: "Anna".into(), score: 3 });
        profile.score += 1;
        user.set("gone", 1)?;
        user.set_data(&profile)?;
        assert!(user.set_data(&7).unwrap_err().is_encode());
        assert!(user.set_data(&["a"]).unwrap_err().is_encode());
        assert!(user.data_as::<Vec<u8>>().unwrap_err().is_decode());
        let removed = user.update(|data| {
            data.insert("added".into(), json!(true));
            data.remove("never there")
        })?;
        assert_eq!(removed, None);
        Ok(())
    })
    .await;
    assert_eq!(after, json!({ "name": "Anna", "score": 4, "added": true }));
}

#[tokio::test]
async fn an_update_that_panics_changes_nothing_and_the_handle_works_on() {
    let after = with_data(json!({ "a": 1 }), |user| {
        let user_too = user.clone();
        let panicked = std::thread::spawn(move || {
            user_too.update(|data| {
                data.clear();
                panic!("on purpose")
            })
        });
        assert!(panicked.join().is_err());
        user.increment("a", 1).map(drop)
    })
    .await;
    assert_eq!(after, json!({ "a": 2 }));
}

#[tokio::test]
async fn a_value_without_a_json_form_is_an_error() {
    struct Broken;
    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("secret"))
        }
    }
    with_data(json!({}), |user| {
        let error = user.set("a", Broken).unwrap_err();
        assert!(error.is_encode());
        assert!(!format!("{error:?}").contains("secret"));
        assert!(user.set("map", HashMap::from([(vec![1], 1)])).unwrap_err().is_encode());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn handles_work_from_tasks_and_are_sealed_with_the_reply() {
    let layer = PersistenceLayer::new(TestDb::default());
    let kept = Arc::new(Mutex::new(None));
    let app = app(&layer, {
        let kept = Arc::clone(&kept);
        move |user, _, _| {
            *kept.lock().unwrap() = Some(user.clone());
            async move {
                let tasks = (0..10).map(|_| {
                    let user = user.clone();
                    tokio::spawn(async move { user.increment("tasks", 1) })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap()?;
                }
                Ok(())
            }
        }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(stored(layer.database(), "user-1").await.unwrap()["user"]["data"]["tasks"], 10);
    let user = kept.lock().unwrap().take().unwrap();
    assert_eq!(user.get::<i64>("tasks").unwrap(), Some(10));
    for result in [
        user.set("late", 1),
        user.remove("tasks"),
        user.set_data(&json!({})),
        user.update(|_| ()),
        user.increment("tasks", 1).map(drop),
        user.forget(),
    ] {
        assert!(result.unwrap_err().is_turn_ended());
    }
    assert_eq!(user.data().len(), 1);
}

#[tokio::test]
async fn an_element_that_is_off_reads_empty_refuses_writes_and_stays_as_it_is() {
    let elements = StoredElements::new().user(false).created_at(false).updated_at(false);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let item = json!({
        "user": { "data": { "a": 1 } },
        "session": { "id": "session-1", "data": { "b": 2 }, "state": "S", "updatedAt": "2020-01-01T00:00:00.000Z" },
        "history": { "items": [{ "output": "o" }] },
        "metaData": { "sessionsCount": 4 },
        "updatedAt": "2020-01-01T00:00:00.000Z",
    });
    store(&layer.database().items, "user-1", &item).await;
    let app = sync_app(&layer, |user, session, history| {
        assert!(user.data().is_empty() && session.data().is_empty() && history.items().is_empty());
        assert_eq!((session.state(), history.previous(), user.meta_data()), (None, None, None));
        for (result, option) in [
            (user.set("a", 2), "StoredElements::user"),
            (user.remove("a"), "StoredElements::user"),
            (session.set("b", 2), "StoredElements::session"),
            (session.set_state("T"), "StoredElements::session"),
            (history.set_output("p"), "StoredElements::history"),
        ] {
            let error = result.unwrap_err();
            assert!(error.is_element_disabled());
            assert!(error.to_string().contains(option), "{error}");
        }
        Ok(())
    });
    send_json(&app, &google_business("user-1")).await.assert_ok();
    assert_eq!(stored(&layer.database().items, "user-1").await.unwrap(), item);
    assert_eq!(layer.database().calls().saves, 0);
}

#[tokio::test]
async fn the_users_times_are_those_of_the_item() {
    let layer = PersistenceLayer::new(TestDb::default());
    let item =
        json!({ "createdAt": "2021-06-30T05:50:04.034Z", "updatedAt": "2021-06-30T05:50:05Z" });
    store(&layer.database().items, "user-1", &item).await;
    let app = sync_app(&layer, |user, _, _| {
        let created_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_625_032_204_034);
        let expected = (user.id() == "user-1").then_some(created_at);
        assert_eq!(user.created_at(), expected);
        assert_eq!(user.updated_at().is_some(), expected.is_some());
        assert_eq!(user.platform(), "alexa");
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    send_json(&app, &alexa("user-2")).await.assert_ok();
}

#[tokio::test]
async fn fields_that_are_not_ours_stay_at_every_level_in_their_order() {
    let item = r#"{"zeta":1,"user":{"extra":"kept","data":{"z":1,"a":{"y":1,"b":2}},"more":[]},"session":{"id":"session-1","data":{"q":1},"mine":true,"state":[],"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z"},"history":{"items":[{"output":[],"custom":1}],"note":"n"},"createdAt":"2020-01-01T00:00:00.000Z","updatedAt":"2020-01-01T00:00:00.000Z","alpha":{"deep":1.50}}"#;
    let clock = Clock::new();
    let elements = StoredElements::new().session(true).history(true);
    let layer =
        PersistenceLayer::new(TestDb::default()).clock(clock.reader()).stored_elements(elements);
    store(&layer.database().items, "user-1", &serde_json::from_str(item).unwrap()).await;
    clock.advance(Duration::from_secs(60));
    let app = sync_app(&layer, |user, session, history| {
        user.increment("z", 1)?;
        session.set("q", 2)?;
        history.set_output(json!(["hi"]))
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let expected = item
        .replace(r#""z":1"#, r#""z":2"#)
        .replace(r#""q":1"#, r#""q":2"#)
        .replace(
            r#""items":["#,
            r#""items":[{"nlu":{"intent":{"name":"OrderIntent"},"entities":{"drink":{"value":"tea","resolved":"tea"}}},"output":["hi"]},"#,
        )
        .replace(r#""updatedAt":"2026-01-01T00:00:00.000Z""#, r#""updatedAt":"2026-01-01T00:01:00.000Z""#)
        .replace(r#""updatedAt":"2020-01-01T00:00:00.000Z""#, r#""updatedAt":"2026-01-01T00:01:00.000Z""#)
        .replace("1.50", "1.5");
    assert_eq!(stored(&layer.database().items, "user-1").await.unwrap().to_string(), expected);
}

/// Such a handle would wait for itself.
#[tokio::test]
async fn a_handle_inside_the_closure_of_an_update_is_an_error() {
    let layer = PersistenceLayer::new(TestDb::default());
    let layer = layer.stored_elements(StoredElements::new().session(true));
    let app = sync_app(&layer, |user, session, history| {
        user.set("a", 1)?;
        session.set("s", 1)?;
        let refused = |result: Result<(), Error>| assert!(result.unwrap_err().is_reentrant());
        user.update(|data| {
            refused(user.get::<i64>("a").map(drop));
            refused(user.data_as::<Value>().map(drop));
            refused(user.set("a", 2));
            refused(user.update(|_| ()));
            refused(user.forget());
            refused(session.get::<i64>("s").map(drop));
            refused(session.set_state("Quiz"));
            // Infallible methods return the state from before.
            assert_eq!(user.data()["a"], 1);
            assert_eq!((session.data()["s"].clone(), history.items().len()), (json!(1), 0));
            data["a"] = 3.into();
        })?;
        assert_eq!(user.get("a")?, Some(3));
        // A panic inside changes nothing, and the handles continue to work.
        let panics = std::panic::AssertUnwindSafe(|| user.update(|_| panic!("in the closure")));
        assert!(std::panic::catch_unwind(panics).is_err());
        user.set("b", 1)
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let record = stored(layer.database(), "user-1").await.unwrap();
    assert_eq!(record["user"]["data"], json!({ "a": 3, "b": 1 }));
}

#[tokio::test]
async fn another_thread_waits_for_an_update() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = sync_app(&layer, |user, _, _| {
        std::thread::scope(|scope| {
            user.update(|data| {
                scope.spawn(|| user.increment("n", 1).unwrap());
                data.insert("n".into(), 10.into());
            })
        })?;
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let record = stored(layer.database(), "user-1").await.unwrap();
    assert_eq!(record["user"]["data"], json!({ "n": 11 }));
}

#[tokio::test]
async fn increment_describes_a_number_beyond_64_bits_correctly() {
    let layer = PersistenceLayer::new(TestDb::default());
    let data = json!({ "big": u64::MAX, "most": i64::MAX });
    store(layer.database(), "user-1", &json!({ "user": { "data": data } })).await;
    let app = sync_app(&layer, |user, _, _| {
        let error = user.increment("big", 1).unwrap_err();
        assert!(error.is_decode() && error.to_string().contains("-2^63 to 2^63 - 1"), "{error}");
        assert!(user.increment("most", 1).unwrap_err().is_encode());
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
}
