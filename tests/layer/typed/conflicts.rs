//! Another process saves the same user's record during a turn with typed data.

use super::quarantine::{AT, Lenient};
use super::*;
use crate::conflicts::with_conflicts;

/// Returns the user after a turn with `mine` of a user with `base`, during which another process
/// stored `theirs`; `None` for a conflict.
async fn merged(
    base: Value,
    theirs: Value,
    mine: impl Fn(&User) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Option<Value> {
    let layer = PersistenceLayer::new(TestDb::default()).clock(Clock::new().reader());
    store(&layer.database().items, "user-1", &json!({ "user": base })).await;
    let theirs = json!({ "user": theirs });
    let answer =
        with_conflicts(&layer, &alexa("user-1"), Some(&theirs), move |user, _, _| mine(user)).await;
    let mut item = stored(&layer.database().items, "user-1").await.unwrap();
    if answer.status == 409 {
        assert_eq!(item, theirs, "nothing was written");
        return None;
    }
    answer.assert_ok();
    Some(item["user"].take())
}

async fn merged_data(
    base: Value,
    theirs: Value,
    mine: impl Fn(&User) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Option<Value> {
    merged(json!({ "data": base }), json!({ "data": theirs }), mine)
        .await
        .map(|mut user| user["data"].take())
}

#[tokio::test]
async fn different_fields_and_unknown_keys_are_merged() {
    let base = json!({ "name": "Anna", "score": 1, "visits": 1 });
    let theirs = json!({ "name": "Bea", "score": 1, "visits": 2, "added": 1 });
    let play = |user: &User| {
        user.increment("visits", 1)?;
        UserData::<Name>::from_user(user)?.update(|name| name.score = 5)
    };
    let expected = json!({ "name": "Bea", "score": 5, "visits": 3, "added": 1 });
    assert_eq!(merged_data(base.clone(), theirs, play).await, Some(expected));
    let theirs = json!({ "name": "Anna", "score": 2, "visits": 1 });
    assert_eq!(merged_data(base, theirs, play).await, None, "both changed the score");
}

#[tokio::test]
async fn an_increment_of_a_field_still_adds_up() {
    let base = json!({ "name": "Anna", "score": 1 });
    let theirs = json!({ "name": "Anna", "score": 11 });
    let data = merged_data(base, theirs, |user| {
        let mut name = UserData::<Name>::from_user(user)?;
        user.increment("score", 1)?;
        name.update(|name| name.name.push('!'))
    });
    assert_eq!(data.await, Some(json!({ "name": "Anna!", "score": 12 })));
}

#[tokio::test]
async fn data_of_an_older_release_is_migrated_before_it_is_merged() {
    let base = json!({ "name": "Anna Blume", "score": "1", "visits": 1 });
    let play = |user: &User| UserData::<Names>::from_user(user)?.update(|names| names.score += 1);
    let theirs = json!({ "name": "Bea Blume", "score": "1", "visits": 2, "nick": "nothing" });
    let expected =
        json!({ "_schemaVersion": 2, "first": "Bea", "last": "Blume", "score": 2, "visits": 2 });
    assert_eq!(merged_data(base.clone(), theirs, play).await, Some(expected));
    // Both sides migrated.
    let theirs =
        json!({ "_schemaVersion": 2, "first": "Bea", "last": "Blume", "score": 1, "visits": 2 });
    let expected =
        json!({ "_schemaVersion": 2, "first": "Bea", "last": "Blume", "score": 2, "visits": 2 });
    assert_eq!(merged_data(base.clone(), theirs, play).await, Some(expected));
    // The two sides cannot be brought to one version.
    let theirs = json!({ "name": "Bea Blume", "score": "many", "visits": 1 });
    assert_eq!(merged_data(base.clone(), theirs, play).await, None);
    let theirs = json!({ "_schemaVersion": 3, "names": ["Bea"], "score": 1 });
    assert_eq!(merged_data(base.clone(), theirs, play).await, None, "of a newer release");
    // The other way round: this turn only counts, and the other process migrates.
    let theirs =
        json!({ "_schemaVersion": 2, "first": "Bea", "last": "", "score": 1, "visits": 1 });
    let data = merged_data(base.clone(), theirs, |user| {
        UserData::<Names>::from_user(user)?;
        user.increment("visits", 1).map(drop)
    });
    let expected =
        json!({ "_schemaVersion": 2, "first": "Bea", "last": "", "score": 1, "visits": 2 });
    assert_eq!(data.await, Some(expected));
}

#[tokio::test]
async fn a_merge_that_could_not_be_read_is_a_conflict() {
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
        Garden {
            trees: u32,
        },
    }
    impl Schema for Place {}
    let base = json!({ "Room": { "number": 7 } });
    let move_on = |user: &User| {
        UserData::<Place>::from_user(user)?.update(|place| *place = Place::Corridor { floor: 1 })
    };
    let theirs = json!({ "Room": { "number": 7 }, "visits": 1 });
    assert_eq!(merged_data(base.clone(), theirs, move_on).await, None);
    // Merged key by key, the data would be in two places.
    let theirs = json!({ "Garden": { "trees": 1 } });
    assert_eq!(merged_data(base.clone(), theirs, move_on).await, None);
    let moved = json!({ "Corridor": { "floor": 1 } });
    assert_eq!(merged_data(base, moved.clone(), move_on).await, Some(moved));
}

fn read(user: &User) -> Result<(), Error> {
    assert!(UserData::<Lenient>::from_user(user)?.is_quarantined());
    Ok(())
}

fn write(user: &User) -> Result<(), Error> {
    UserData::<Lenient>::from_user(user)?.update(|data| data.first = "Bea".into())
}

#[tokio::test]
async fn data_that_is_set_aside_survives_a_conflict() {
    let bad = json!({ "score": "many", "visits": 1 });
    let entry = json!({ "data": bad, "at": AT });
    let base = json!({ "data": bad });
    // The other process changed other fields, including the quarantine.
    let other = json!({ "data": { "x": 1 }, "at": "2020-01-01T00:00:00.000Z" });
    let theirs = json!({ "data": bad, "own": 1, "quarantine": [other] });
    let expected = json!({
        "data": { "_schemaVersion": 1, "first": "Bea", "score": 0 },
        "own": 1,
        "quarantine": [other, entry],
    });
    assert_eq!(merged(base.clone(), theirs, write).await, Some(expected));
    // The other process changed data that was set aside: it would be in neither place.
    let theirs = json!({ "data": { "score": "many", "visits": 2 } });
    assert_eq!(merged(base.clone(), theirs, write).await, None);
    // The other process repaired it.
    let theirs = json!({ "data": { "score": 5, "visits": 1 } });
    let expected = json!({
        "data": { "_schemaVersion": 1, "score": 5, "visits": 1 },
        "quarantine": [entry],
    });
    assert_eq!(merged(base.clone(), theirs.clone(), read).await, Some(expected));
    assert_eq!(merged(base, theirs, write).await, None);
}

#[tokio::test]
async fn an_increment_before_data_is_set_aside_is_set_aside_with_it() {
    let bad = json!({ "score": "many", "visits": 1 });
    let theirs = json!({ "data": bad, "own": 1 });
    let user = merged(json!({ "data": bad }), theirs, |user| {
        user.increment("visits", 1)?;
        read(user)
    });
    let entry = json!({ "data": { "score": "many", "visits": 2 }, "at": AT });
    let expected = json!({ "data": { "_schemaVersion": 1 }, "own": 1, "quarantine": [entry] });
    assert_eq!(user.await, Some(expected));
}

#[tokio::test]
async fn data_that_both_sides_set_aside_is_kept_once() {
    for bad in
        [json!({ "score": "many", "visits": 1 }), json!({ "_schemaVersion": 1, "score": -1 })]
    {
        let base = json!({ "data": bad });
        let theirs_entry = json!({ "data": bad, "at": "2025-12-31T23:59:59.000Z" });
        let theirs = json!({ "data": { "_schemaVersion": 1 }, "quarantine": [theirs_entry] });
        let expected = json!({
            "data": { "_schemaVersion": 1, "first": "Bea", "score": 0 },
            "quarantine": [theirs_entry],
        });
        assert_eq!(merged(base.clone(), theirs.clone(), write).await, Some(expected.clone()));
        assert_eq!(merged(base.clone(), theirs.clone(), read).await, Some(theirs));
        assert_eq!(merged(base, expected.clone(), read).await, Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_lose_neither_a_count_nor_data_that_is_set_aside() {
    let db = MemoryDb::new();
    let bad = json!({ "score": "many" });
    store(&db, "user-1", &json!({ "user": { "data": bad } })).await;
    let play = |layer: &PersistenceLayer<MemoryDb>| {
        app(layer, |user, _, _| async move {
            UserData::<Lenient>::from_user(&user)?;
            tokio::task::yield_now().await;
            user.increment("visits", 1).map(drop)
        })
    };
    let apps = [0, 1].map(|_| play(&PersistenceLayer::new(db.clone())));
    let tasks = (0..8).map(|number| {
        let app = apps[number % 2].clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                send_json(&app, &alexa("user-1")).await.assert_ok();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let user = &stored(&db, "user-1").await.unwrap()["user"];
    assert_eq!(user["data"], json!({ "_schemaVersion": 1, "visits": 400 }));
    assert_eq!(user["quarantine"].as_array().unwrap().len(), 1);
    assert_eq!(user["quarantine"][0]["data"], bad);
}
