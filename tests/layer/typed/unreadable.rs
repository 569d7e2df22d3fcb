//! Data of another type: it is reported, and stays as it is.

use super::*;

/// Checks that neither the message nor `Debug` quotes the data.
#[track_caller]
fn assert_reports(error: &Error, parts: &[&str]) {
    assert!(error.is_decode());
    let text = format!("{error} {error:?}");
    assert!(!text.contains("Anna"), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part} in {text}");
    }
}

async fn is_reported(before: Value, parts: &'static [&'static str]) {
    let layer = with_data(before.clone()).await;
    turn(&layer, move |user| {
        assert_reports(&UserData::<Names>::from_user(user).unwrap_err(), parts);
        Ok(())
    })
    .await
    .assert_ok();
    assert_eq!((data(&layer).await, layer.database().calls().saves), (before, 0));
    let answer =
        turn(&layer, |user| UserData::<Names>::from_user(user)?.set(Names::default())).await;
    assert_eq!((answer.status.as_u16(), layer.database().calls().saves), (500, 0));
}

#[tokio::test]
async fn data_of_another_form() {
    let parts = &["version 0", "version 2", "Names"];
    is_reported(json!({ "first": ["Anna"] }), parts).await;
    is_reported(json!({ "_schemaVersion": 2, "score": -1, "first": "Anna" }), &["of version 2"])
        .await;
    is_reported(
        json!({ "_schemaVersion": "Anna" }),
        &["`_schemaVersion`", "not a version", "Names"],
    )
    .await;
    is_reported(json!({ "_schemaVersion": -1 }), &["not a version"]).await;
    is_reported(json!({ "_schemaVersion": 0.5 }), &["not a version"]).await;
}

#[tokio::test]
async fn a_migration_that_fails() {
    let parts = &["version 0", "the migration to version 2 fails", "Names", "of version 2"];
    is_reported(json!({ "first": "Anna", "score": "Anna" }), parts).await;

    #[derive(Debug, Default, Deserialize, Serialize)]
    struct NoObject {}
    impl Schema for NoObject {
        fn migrations() -> Migrations {
            Migrations::new().add(1, |_| json!(["Anna"]))
        }
    }
    let layer = with_data(json!({ "name": "Anna" })).await;
    turn(&layer, |user| {
        let error = UserData::<NoObject>::from_user(user).unwrap_err();
        assert_reports(&error, &["the migration to version 1 fails"]);
        Ok(())
    })
    .await
    .assert_ok();
}

#[tokio::test]
async fn data_of_a_newer_version() {
    let parts = &["version 3", "newer release", "Names", "version 2"];
    is_reported(json!({ "_schemaVersion": 3, "first": "Anna" }), parts).await;
    is_reported(json!({ "_schemaVersion": 3 }), parts).await;
    is_reported(json!({ "_schemaVersion": 5_000_000_000_u64 }), &["version 5000000000"]).await;
}

#[tokio::test]
async fn data_that_another_handle_made_unreadable_is_not_overwritten() {
    let data = after(json!({ "first": "Anna" }), |user| {
        let mut names = UserData::<Names>::from_user(user)?;
        user.set("first", 7)?;
        assert_reports(&names.update(|_| ()).unwrap_err(), &["Names"]);
        assert_reports(&names.set(Names::default()).unwrap_err(), &["Names"]);
        assert_eq!(names.first, "Anna");
        Ok(())
    });
    assert_eq!(data.await, json!({ "first": 7 }));
}

#[tokio::test]
async fn data_that_could_not_be_read_again_is_not_written() {
    #[derive(Default, Deserialize, Serialize)]
    struct Mood {
        level: f64,
    }
    impl Schema for Mood {}
    let data = after(json!({ "level": 1.5, "visits": 1 }), |user| {
        let mut mood = UserData::<Mood>::from_user(user)?;
        // JSON has no NaN: it would be stored as null.
        assert!(mood.update(|mood| mood.level = f64::NAN).unwrap_err().is_encode());
        assert_eq!(mood.level, 1.5);
        Ok(())
    });
    assert_eq!(data.await, json!({ "level": 1.5, "visits": 1 }));

    #[derive(Default, Deserialize, Serialize)]
    struct Own {
        #[serde(default, rename = "_schemaVersion")]
        version: u32,
    }
    impl Schema for Own {}
    let data = after(json!({}), |user| {
        assert!(UserData::<Own>::from_user(user)?.set(Own { version: 1 }).unwrap_err().is_encode());
        Ok(())
    });
    assert_eq!(data.await, json!({}));
}

#[tokio::test]
async fn migrations_out_of_order_are_reported_for_a_new_user_already() {
    macro_rules! assert_misnumbered {
        ($migrations:expr, $parts:expr) => {{
            #[derive(Debug, Default, Deserialize, Serialize)]
            struct Misnumbered {}
            impl Schema for Misnumbered {
                fn migrations() -> Migrations {
                    $migrations
                }
            }
            turn(&PersistenceLayer::new(MemoryDb::new()), |user| {
                let error = UserData::<Misnumbered>::from_user(user).unwrap_err();
                assert!(error.is_configuration());
                assert!(error.to_string().contains("Misnumbered"), "{error}");
                assert!(error.to_string().contains($parts), "{error}");
                Ok(())
            })
            .await
            .assert_ok();
        }};
    }
    assert_misnumbered!(Migrations::new().add(2, |data| data), "2 stands in place of 1");
    assert_misnumbered!(Migrations::new().add(0, |data| data), "0 stands in place of 1");
    assert_misnumbered!(Migrations::new().add(1, |d| d).add(1, |d| d), "1 stands in place of 2");
    assert_misnumbered!(Migrations::new().add(1, |d| d).add(3, |d| d), "3 stands in place of 2");
}
