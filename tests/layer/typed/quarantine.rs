//! Data that cannot be read and is set aside on request.

use super::*;

/// Like `Names`, but data that cannot be read is set aside.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Lenient {
    pub(super) first: String,
    pub(super) score: u32,
}

impl Schema for Lenient {
    fn migrations() -> Migrations {
        Migrations::new().quarantine_unreadable(true).add(1, |data| Ok(clean_nick(data)?))
    }
}

pub(super) const AT: &str = "2026-01-01T00:00:00.000Z";

async fn with_item(item: Value) -> PersistenceLayer<TestDb> {
    let layer = PersistenceLayer::new(TestDb::default()).clock(Clock::new().reader());
    store(&layer.database().items, "user-1", &item).await;
    layer
}

fn quarantined(user: &User) -> Result<bool, Error> {
    UserData::<Lenient>::from_user(user).map(|data| data.is_quarantined())
}

async fn item(layer: &PersistenceLayer<TestDb>) -> Value {
    stored(&layer.database().items, "user-1").await.unwrap()
}

#[tokio::test]
async fn unreadable_data_is_set_aside_and_the_user_continues() {
    for bad in [
        json!({ "first": ["Anna"], "visits": 3 }),
        json!({ "first": "Anna", "score": "many" }),
        json!({ "_schemaVersion": 1, "score": -1 }),
        json!({ "_schemaVersion": "none" }),
    ] {
        let other = json!({ "data": { "x": 1 }, "at": "2020-01-01T00:00:00.000Z" });
        let layer =
            with_item(json!({ "user": { "data": bad, "quarantine": [other], "own": 1 } })).await;
        turn(&layer, |user| {
            let mut data = UserData::<Lenient>::from_user(user)?;
            assert_eq!((&*data, data.is_quarantined()), (&Lenient::default(), true));
            assert!(!quarantined(user)?, "it is gone by now");
            data.update(|data| data.first = "Bea".into())?;
            assert!(data.is_quarantined());
            user.increment("visits", 1).map(drop)
        })
        .await
        .assert_ok();
        let expected = json!({
            "data": { "_schemaVersion": 1, "first": "Bea", "score": 0, "visits": 1 },
            "quarantine": [other, { "data": bad, "at": AT }],
            "own": 1,
        });
        assert_eq!(item(&layer).await["user"], expected);

        let export = layer.export("alexa", "user-1").await.unwrap().unwrap();
        assert_eq!(export["user"]["quarantine"][1]["data"], bad);
        turn(&layer, |user| {
            assert_eq!(UserData::<Lenient>::from_user(user)?.first, "Bea");
            assert!(!quarantined(user)?);
            user.forget()
        })
        .await
        .assert_ok();
        assert_eq!(layer.export("alexa", "user-1").await.unwrap(), None);
    }
}

#[tokio::test]
async fn reading_alone_sets_data_aside_once() {
    let bad = json!({ "score": "many" });
    let layer = with_item(json!({ "user": { "data": bad } })).await;
    for first in [true, false] {
        turn(&layer, move |user| {
            assert_eq!(quarantined(user)?, first);
            Ok(())
        })
        .await
        .assert_ok();
        let expected =
            json!({ "data": { "_schemaVersion": 1 }, "quarantine": [{ "data": bad, "at": AT }] });
        assert_eq!(item(&layer).await["user"], expected);
    }
    assert_eq!(layer.database().calls().saves, 1);
}

#[tokio::test]
async fn a_second_case_is_kept_beside_the_first_and_the_same_data_once() {
    let layer = with_item(json!({ "user": { "data": { "score": "many" } } })).await;
    turn(&layer, |user| {
        assert!(quarantined(user)?);
        user.set("score", "few")?;
        assert!(quarantined(user)?);
        Ok(())
    })
    .await
    .assert_ok();
    let two = json!([
        { "data": { "score": "many" }, "at": AT },
        { "data": { "_schemaVersion": 1, "score": "few" }, "at": AT },
    ]);
    assert_eq!(item(&layer).await["user"]["quarantine"], two);
    turn(&layer, |user| user.set_data(&json!({ "score": "many" }))).await.assert_ok();
    turn(&layer, |user| quarantined(user).map(|is| assert!(is))).await.assert_ok();
    assert_eq!(item(&layer).await["user"]["quarantine"], two);
    assert_eq!(item(&layer).await["user"]["data"], json!({ "_schemaVersion": 1 }));
}

#[tokio::test]
async fn data_of_a_newer_version_is_never_set_aside() {
    let newer = json!({ "user": { "data": { "_schemaVersion": 2, "first": ["Anna"] } } });
    let layer = with_item(newer.clone()).await;
    let answer = turn(&layer, |user| quarantined(user).map(drop)).await;
    assert_eq!(answer.status, 500);
    turn(&layer, |user| {
        assert!(quarantined(user).unwrap_err().is_decode());
        Ok(())
    })
    .await
    .assert_ok();
    assert_eq!((item(&layer).await, layer.database().calls().saves), (newer, 0));
}

#[tokio::test]
async fn nothing_is_set_aside_where_the_handler_fails_or_the_turn_is_over() {
    let before = json!({ "user": { "data": { "score": "many" } } });
    let layer = with_item(before.clone()).await;
    let answer = turn(&layer, |user| {
        assert!(quarantined(user)?);
        user.set("visits", "none")?;
        user.get::<u32>("visits").map(drop)
    })
    .await;
    assert_eq!((answer.status.as_u16(), item(&layer).await), (500, before.clone()));

    let kept = std::sync::Arc::new(std::sync::Mutex::new(None));
    let keep = std::sync::Arc::clone(&kept);
    turn(&layer, move |user| {
        *keep.lock().unwrap() = Some(user.clone());
        Ok(())
    })
    .await
    .assert_ok();
    let user = kept.lock().unwrap().take().unwrap();
    assert!(quarantined(&user).unwrap_err().is_turn_ended());
    assert_eq!(
        (user.data(), item(&layer).await),
        (json!({ "score": "many" }).as_object().unwrap().clone(), before)
    );
}

#[tokio::test]
async fn a_record_with_a_malformed_quarantine_is_not_loaded() {
    let before = json!({ "user": { "data": {}, "quarantine": { "mine": 1 } } });
    let layer = with_item(before.clone()).await;
    let answer = turn(&layer, |_| panic!("the handler does not run")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().is_decode());
    assert!(answer.error().to_string().contains("`user.quarantine`"));
    assert_eq!(item(&layer).await, before);
    let layer =
        with_item(json!({ "user": { "data": { "score": "many" }, "quarantine": null } })).await;
    turn(&layer, |user| quarantined(user).map(|is| assert!(is))).await.assert_ok();
    assert_eq!(item(&layer).await["user"]["quarantine"].as_array().unwrap().len(), 1);
}
