//! The user's data as a type: reading, writing, and migrating older forms.

mod conflicts;
mod extractor;
mod properties;
mod quarantine;
mod unreadable;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_persistence::{
    Database, Error, FileDb, MemoryDb, Migrations, PersistenceLayer, Schema, StoredElements, User,
    UserData,
};

use crate::common::*;

/// The names of a user, in the first version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Name {
    name: String,
    score: u32,
}

impl Schema for Name {}

/// Two names since version 1, and since version 2 a nickname, in which nothing was a text.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
struct Names {
    first: String,
    last: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    nick: Option<String>,
    score: u32,
}

fn split_name(mut data: Value) -> Value {
    if let Some(Value::String(name)) = data.as_object_mut().and_then(|data| data.remove("name")) {
        let (first, last) = name.split_once(' ').unwrap_or((&name, ""));
        data["first"] = first.into();
        data["last"] = last.into();
    }
    data
}

fn clean_nick(mut data: Value) -> Result<Value, std::num::ParseIntError> {
    if let Some(score) = data["score"].as_str() {
        data["score"] = score.parse::<u32>()?.into();
    }
    if data["nick"] == "nothing" {
        data.as_object_mut().unwrap().shift_remove("nick");
    }
    Ok(data)
}

impl Schema for Names {
    fn migrations() -> Migrations {
        Migrations::new().add(1, split_name).add(2, |data| Ok(clean_nick(data)?))
    }
}

/// Runs `handler` in a turn of `user-1`.
async fn turn<D: Database>(
    layer: &PersistenceLayer<D>,
    handler: impl Fn(&User) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Answer {
    send_json(&sync_app(layer, move |user, _, _| handler(user)), &alexa("user-1")).await
}

/// Returns a layer over a user with this data.
async fn with_data(data: Value) -> PersistenceLayer<TestDb> {
    let layer = PersistenceLayer::new(TestDb::default());
    store(&layer.database().items, "user-1", &json!({ "user": { "data": data } })).await;
    layer
}

async fn data<D: Database>(layer: &PersistenceLayer<D>) -> Value {
    stored(layer.database(), "user-1").await.unwrap()["user"]["data"].take()
}

/// Returns the record after a turn with `handler`, which began as `before`.
async fn after(
    before: Value,
    handler: impl Fn(&User) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Value {
    let layer = with_data(before).await;
    turn(&layer, handler).await.assert_ok();
    data(&layer).await
}

async fn remembers_a_name<D: Database>(layer: PersistenceLayer<D>) {
    turn(&layer, |user| {
        let mut names = UserData::<Names>::from_user(user)?;
        assert_eq!(*names, Names::default());
        names.set(Names { first: "Anna".into(), score: 3, ..Names::default() })?;
        assert_eq!((names.first.as_str(), names.score), ("Anna", 3));
        Ok(())
    })
    .await
    .assert_ok();
    turn(&layer, |user| {
        let mut names = UserData::<Names>::from_user(user)?;
        assert_eq!(names.first, "Anna");
        let score = names.update(|names| {
            names.score += 1;
            names.nick = Some("An".into());
            names.score
        })?;
        assert_eq!((score, names.score, names.nick.as_deref()), (4, 4, Some("An")));
        Ok(())
    })
    .await
    .assert_ok();
    let expected = r#"{"_schemaVersion":2,"first":"Anna","last":"","score":4,"nick":"An"}"#;
    assert_eq!(data(&layer).await.to_string(), expected);
}

#[tokio::test]
async fn written_data_is_read_again_from_memory_and_from_a_file() {
    remembers_a_name(PersistenceLayer::new(MemoryDb::new())).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db.json");
    remembers_a_name(PersistenceLayer::new(FileDb::open(&path).await.unwrap())).await;
    let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(file[0]["user"]["data"]["_schemaVersion"], 2);
}

#[tokio::test]
async fn a_user_without_data_is_the_default_and_nothing_is_written() {
    let layer = PersistenceLayer::new(TestDb::default());
    let read = |user: &User| {
        let names = UserData::<Names>::from_user(user)?;
        assert_eq!((&*names, names.is_quarantined()), (&Names::default(), false));
        Ok(())
    };
    turn(&layer, read).await.assert_ok();
    assert_eq!(data(&layer).await, json!({}));
    turn(&layer, read).await.assert_ok();
    assert_eq!(layer.database().calls().saves, 1, "a new user's first request, and no other");
}

#[tokio::test]
async fn reading_migrates_in_memory_and_the_first_write_stores_it() {
    let before = json!({ "visits": 7, "name": "Anna Blume", "score": "12", "nick": "nothing" });
    let layer = with_data(before.clone()).await;
    turn(&layer, |user| {
        let names = UserData::<Names>::from_user(user)?;
        let expected = Names { first: "Anna".into(), last: "Blume".into(), nick: None, score: 12 };
        assert_eq!(*names, expected);
        Ok(())
    })
    .await
    .assert_ok();
    assert_eq!((data(&layer).await, layer.database().calls().saves), (before, 0));

    turn(&layer, |user| UserData::<Names>::from_user(user)?.update(|_| ())).await.assert_ok();
    let expected = r#"{"_schemaVersion":2,"visits":7,"score":12,"first":"Anna","last":"Blume"}"#;
    assert_eq!(data(&layer).await.to_string(), expected);
    turn(&layer, |user| UserData::<Names>::from_user(user)?.update(|_| ())).await.assert_ok();
    assert_eq!(data(&layer).await.to_string(), expected);
    assert_eq!(layer.database().calls().saves, 1, "what has not changed is not written");
}

#[tokio::test]
async fn migrations_start_at_the_version_that_is_stored() {
    // In version 1, the first migration must not touch `name` again.
    for version in [json!(1), json!(1.0)] {
        let before =
            json!({ "_schemaVersion": version, "name": "mine", "first": "Anna", "score": "5" });
        let data = after(before, |user| {
            UserData::<Names>::from_user(user)?.update(|names| names.score += 1)
        });
        let expected =
            json!({ "_schemaVersion": 2, "name": "mine", "first": "Anna", "last": "", "score": 6 });
        assert_eq!(data.await, expected);
    }
}

#[tokio::test]
async fn version_0_is_not_written_and_the_type_does_not_see_the_version() {
    let data = after(json!({ "name": "Anna" }), |user| {
        UserData::<Name>::from_user(user)?.update(|name| name.score = 1)
    });
    assert_eq!(data.await, json!({ "name": "Anna", "score": 1 }));

    #[derive(Default, Deserialize, Serialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        name: String,
    }
    impl Schema for Strict {
        fn migrations() -> Migrations {
            Migrations::new().add(1, |data| data)
        }
    }
    let data = after(json!({ "_schemaVersion": 1, "name": "Anna" }), |user| {
        UserData::<Strict>::from_user(user)?.update(|strict| strict.name.push('!'))
    });
    assert_eq!(data.await, json!({ "_schemaVersion": 1, "name": "Anna!" }));
}

#[tokio::test]
async fn keys_that_the_type_does_not_know_are_kept_and_its_own_go_when_it_drops_them() {
    let before = json!({ "a": [1], "nick": "An", "visits": 2, "first": "Anna", "z": null });
    let data = after(before, |user| {
        let mut names = UserData::<Names>::from_user(user)?;
        user.increment("visits", 1)?;
        names.set(Names { first: "Bea".into(), ..Names::default() })
    });
    let expected =
        r#"{"_schemaVersion":2,"a":[1],"visits":3,"first":"Bea","z":null,"last":"","score":0}"#;
    assert_eq!(data.await.to_string(), expected);
}

#[tokio::test]
async fn a_key_that_the_type_writes_without_reading_it_goes_as_well() {
    /// Has a medal from 10 points on.
    #[derive(Clone, Default, Deserialize, Serialize)]
    #[serde(into = "BTreeMap<String, u32>")]
    struct Player {
        score: u32,
    }
    impl From<Player> for BTreeMap<String, u32> {
        fn from(player: Player) -> Self {
            let medal = (player.score >= 10).then_some(("medal".into(), 1));
            [("score".into(), player.score)].into_iter().chain(medal).collect()
        }
    }
    impl Schema for Player {}
    let score = |score| {
        move |user: &User| {
            UserData::<Player>::from_user(user)?.update(|player| player.score = score)
        }
    };
    let data = after(json!({ "visits": 1, "score": 1 }), score(10)).await;
    assert_eq!(data, json!({ "visits": 1, "score": 10, "medal": 1 }));
    assert_eq!(after(data, score(9)).await, json!({ "visits": 1, "score": 9 }));
}

#[tokio::test]
async fn a_type_may_know_all_keys_or_be_an_enum() {
    #[derive(Default, Deserialize, Serialize)]
    struct All {
        name: String,
        #[serde(flatten)]
        rest: BTreeMap<String, Value>,
    }
    impl Schema for All {}
    let data = after(json!({ "name": "Anna", "a": 1, "b": 2 }), |user| {
        UserData::<All>::from_user(user)?.update(|all| drop(all.rest.remove("a")))
    });
    assert_eq!(data.await, json!({ "name": "Anna", "b": 2 }));

    #[derive(Default, Deserialize, Serialize)]
    struct Wrapped(BTreeMap<String, u32>);
    impl Schema for Wrapped {}
    let data = after(json!({ "a": 1 }), |user| {
        UserData::<Wrapped>::from_user(user)?.update(|wrapped| wrapped.0.extend([("b".into(), 2)]))
    });
    assert_eq!(data.await, json!({ "a": 1, "b": 2 }));

    #[derive(Default, Deserialize, Serialize)]
    enum Place {
        #[default]
        Lobby,
        Room {
            number: u32,
        },
        Corridor {
            floor: u32,
        },
    }
    impl Schema for Place {}
    let move_on = |user: &User| {
        UserData::<Place>::from_user(user)?.update(|place| *place = Place::Corridor { floor: 1 })
    };
    let data = after(json!({ "Room": { "number": 7 } }), move_on);
    assert_eq!(data.await, json!({ "Corridor": { "floor": 1 } }));
    // A unit variant is a text, not a JSON object.
    let data = after(json!({ "Room": { "number": 7 } }), |user| {
        let mut place = UserData::<Place>::from_user(user)?;
        assert!(place.set(Place::Lobby).unwrap_err().is_encode());
        assert!(matches!(*place, Place::Room { number: 7 }));
        Ok(())
    });
    assert_eq!(data.await, json!({ "Room": { "number": 7 } }));
}

#[tokio::test]
async fn the_other_name_of_a_key_is_gone_once_the_key_is_written() {
    #[derive(Default, Deserialize, Serialize)]
    #[serde(default)]
    struct Aliased {
        #[serde(alias = "beverage", skip_serializing_if = "String::is_empty")]
        drink: String,
        cups: u32,
    }
    impl Schema for Aliased {}
    let before = json!({ "visits": 1, "beverage": "tea" });
    let data = after(before.clone(), |user| {
        UserData::<Aliased>::from_user(user)?.update(|aliased| aliased.cups = 2)
    });
    assert_eq!(data.await, json!({ "visits": 1, "drink": "tea", "cups": 2 }));
    let data = after(before, |user| {
        UserData::<Aliased>::from_user(user)?.update(|aliased| aliased.drink.clear())
    });
    assert_eq!(data.await, json!({ "visits": 1, "cups": 0 }));
}

#[tokio::test]
async fn an_update_changes_what_other_handles_wrote_meanwhile() {
    let data = after(json!({ "name": "Anna", "score": 1 }), |user| {
        let (mut mine, mut other) =
            (UserData::<Name>::from_user(user)?, UserData::<Name>::from_user(user)?);
        user.increment("score", 10)?;
        other.update(|other| other.name.push('!'))?;
        assert_eq!((mine.name.as_str(), mine.score), ("Anna", 1), "as it was read");
        mine.update(|mine| mine.score *= 2)?;
        assert_eq!((mine.name.as_str(), mine.score), ("Anna!", 22));
        Ok(())
    });
    assert_eq!(data.await, json!({ "name": "Anna!", "score": 22 }));

    let data = after(json!({ "name": "Anna", "score": 1 }), |user| {
        let mut mine = UserData::<Name>::from_user(user)?;
        user.increment("score", 10)?;
        mine.set(Name { name: "Bea".into(), score: 5 })
    });
    assert_eq!(data.await, json!({ "name": "Bea", "score": 5 }), "`set` replaces them");
}

#[tokio::test]
async fn an_update_that_panics_changes_nothing() {
    let data = after(json!({ "score": 1 }), |user| {
        let mut name = UserData::<Name>::from_user(user)?;
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            name.update(|name| {
                name.score = 9;
                panic!("on purpose")
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(name.score, 1);
        name.update(|name| name.score += 1)
    });
    assert_eq!(data.await, json!({ "name": "", "score": 2 }));
}

#[tokio::test]
async fn writes_are_refused_as_those_of_other_handles() {
    let layer = with_data(json!({ "score": 1 })).await;
    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keep = std::sync::Arc::clone(&kept);
    turn(&layer, move |user| {
        *keep.lock().unwrap() = Some((user.clone(), UserData::<Name>::from_user(user)?));
        Ok(())
    })
    .await
    .assert_ok();
    let (user, mut name) = kept.lock().unwrap().take().unwrap();
    assert!(name.update(|name| name.score = 2).unwrap_err().is_turn_ended());
    assert!(name.set(Name::default()).unwrap_err().is_turn_ended());
    assert_eq!((name.score, UserData::<Name>::from_user(&user).unwrap().score), (1, 1));

    turn(&layer, |user| {
        let mut name = UserData::<Name>::from_user(user)?;
        user.forget()?;
        assert!(name.set(Name::default()).unwrap_err().is_turn_ended());
        assert_eq!(UserData::<Name>::from_user(user)?.score, 0);
        Ok(())
    })
    .await
    .assert_ok();
    assert_eq!(stored(&layer.database().items, "user-1").await, None);

    let layer = with_data(json!({ "score": 1 })).await;
    let layer = layer.stored_elements(StoredElements::new().user(false));
    turn(&layer, |user| {
        let mut name = UserData::<Name>::from_user(user)?;
        assert_eq!(*name, Name::default());
        assert!(name.update(|name| name.score = 2).unwrap_err().is_element_disabled());
        Ok(())
    })
    .await
    .assert_ok();
}
