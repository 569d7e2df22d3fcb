//! Keys of users in the database, and requests that two platforms may claim.

use serde_json::{Value, json};
use tower_persistence::platform::{Alexa, Event, JsonPlatform, Platform, PlatformRequest, Web};
use tower_persistence::{MemoryDb, PersistenceLayer};

use crate::common::*;

fn web(user: &str) -> Value {
    json!({
        "version": "4.0", "platform": "web", "timestamp": "2026-01-01T00:00:00.000Z",
        "input": { "type": "LAUNCH" }, "context": { "user": { "id": user } },
    })
}

/// A platform with teams, whose ids are unique only within them.
struct Teams;

impl Platform for Teams {
    fn name(&self) -> &str {
        "teams"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let text = |name| serde_json::from_str::<String>(request.json()?.get(name)?.get()).ok();
        let event = Event::default().user_id(Some(text("member")?.into()));
        Some(vec![event.scope(text("team").map(Into::into))])
    }
}

fn layer(db: &MemoryDb) -> PersistenceLayer<MemoryDb> {
    PersistenceLayer::new(db.clone())
        .platform(Teams)
        .platform(JsonPlatform::new("shop").detect("/shop").user_id("/shop/customer"))
}

async fn visit(layer: &PersistenceLayer<MemoryDb>, request: &Value) -> i64 {
    let app = serve(layer, |request| async move {
        let visits = handles(&request).unwrap().0.increment("visits", 1)?;
        Ok(reply(200, &visits.to_string()))
    });
    let answer = send_json(&app, request).await;
    answer.assert_ok();
    // The reply may hold the client-side session.
    serde_json::from_slice(&answer.body).unwrap()
}

#[tokio::test]
async fn equal_ids_of_two_platforms_and_scopes_are_different_users() {
    let db = MemoryDb::new();
    let layer = layer(&db);
    let shop = json!({ "shop": { "customer": "U1" } });
    let team = |team: &str| json!({ "team": team, "member": "U1" });
    // A client of Jovo Web may claim any id.
    let disguised = ["shop:U1", "teams:T1:U1", "alexa:U1"].map(web);
    let requests = [alexa("U1"), shop, team("T1"), team("T2"), json!({ "member": "U1" })];
    for request in requests.iter().chain(&disguised) {
        assert_eq!(visit(&layer, request).await, 1, "{request}");
    }
    assert_eq!(db.len(), 8);
    for key in ["U1", "shop:U1", "teams:T1:U1", "teams:T2:U1", "teams:U1", "web:shop%3AU1"] {
        assert!(stored(&db, key).await.is_some(), "{key}");
    }
    // Alexa and Web are Jovo's platforms, on which equal ids are one user.
    assert_eq!(visit(&layer, &web("U1")).await, 2);
    let prefixed = layer.platform_keys(true);
    for request in [web("U1"), alexa("U1")] {
        assert_eq!(visit(&prefixed, &request).await, 1);
    }
    assert!(stored(&db, "alexa:U1").await.is_some() && stored(&db, "web:U1").await.is_some());
}

#[tokio::test]
async fn export_and_forget_make_the_key_as_requests_do() {
    let db = MemoryDb::new();
    for layer in [layer(&db), layer(&db).platform_keys(true)] {
        for (platform, request) in [
            ("alexa", alexa("U1")),
            ("web", web("shop:U1")),
            ("teams", json!({ "team": "T1", "member": "U1" })),
        ] {
            visit(&layer, &request).await;
            let id = match platform {
                "teams" => tower_persistence::UserId::from(("T1", "U1")),
                "web" => "shop:U1".into(),
                _ => "U1".into(),
            };
            let export = layer.export(platform, id.clone()).await.unwrap().unwrap();
            assert_eq!(export["user"]["data"], json!({ "visits": 1 }));
            assert_eq!(export["id"], id.id(), "the platform's, not the key");
            layer.forget(platform, id.clone()).await.unwrap();
            assert_eq!(layer.export(platform, id.clone()).await.unwrap(), None);
            layer.forget(platform, id).await.unwrap();
        }
        assert!(db.is_empty());
    }
    let layer = layer(&db);
    for (platform, id) in [("slack", "U1"), ("Alexa", "U1"), ("alexa", "")] {
        let error = layer.forget(platform, id).await.unwrap_err();
        assert!(error.is_configuration(), "{platform}: {error}");
        assert!(layer.export(platform, id).await.unwrap_err().is_configuration());
    }
}

/// A turn in progress must not write after the deletion.
#[tokio::test]
async fn forget_waits_for_the_users_turn() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
    layer.database().on_save(Behaviour::Waits);
    let visit = tokio::spawn(async move { send_json(&app, &alexa("U1")).await.status });
    layer.database().until_waiting().await;
    let mut forget = tokio_test::task::spawn(layer.forget("alexa", "U1"));
    assert!(forget.poll().is_pending());
    assert_eq!(layer.database().calls().deletes, 0);
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    assert_eq!(visit.await.unwrap(), 200);
    forget.await.unwrap();
    assert!(layer.database().items.is_empty());
}

#[tokio::test]
async fn a_key_that_is_too_long_has_no_user() {
    let db = MemoryDb::new();
    let layer = layer(&db).storage_key(|platform, scope, id| {
        format!("{platform}/{}/{id}", scope.unwrap_or_default())
    });
    let key_check = serve(&layer, |request| async move {
        Ok(reply(200, if handles(&request).is_some() { "1" } else { "0" }))
    });
    for (length, is_user) in [(2040, true), (2048, false)] {
        let answer =
            send_json(&key_check, &json!({ "team": "", "member": "u".repeat(length) })).await;
        assert_eq!(answer.body == "1", is_user, "{length}");
    }
    assert_eq!(db.len(), 1);
}

/// A request that is Jovo Web to a check in front of the layer, and Alexa to the layer.
fn disguised() -> Value {
    let mut both = alexa("U1");
    for (name, value) in web("U2").as_object().unwrap() {
        both[name] = match name.as_str() {
            "context" => json!({ "user": value["user"], "System": both["context"]["System"] }),
            _ => value.clone(),
        };
    }
    both
}

#[tokio::test]
async fn a_request_of_two_built_in_platforms_is_refused() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = serve(&layer, async |_| panic!("must not be called"));
    for _ in 0..2 {
        let answer = send_json(&app, &disguised()).await;
        assert_eq!(answer.status, 400);
        assert!(answer.error().is_ambiguous());
        assert_eq!(answer.error().platform(), None);
    }
    assert_eq!(layer.database().calls(), Calls::default());
    // A platform that is enabled alone may serve it.
    for (platforms, key) in [
        (vec![Box::new(Alexa) as Box<dyn Platform>], "U1"),
        (vec![Box::new(Web) as Box<dyn Platform>], "U2"),
    ] {
        let db = MemoryDb::new();
        let layer = PersistenceLayer::new(db.clone()).platforms(platforms);
        let app = sync_app(&layer, |_, _, _| Ok(()));
        send_json(&app, &disguised()).await.assert_ok();
        assert!(stored(&db, key).await.is_some());
    }
}

#[tokio::test]
async fn a_custom_platform_comes_first_and_replaces_one_of_the_same_name() {
    let own = JsonPlatform::new("alexa").detect("/version").user_id("/own");
    let db = MemoryDb::new();
    let layer = PersistenceLayer::new(db.clone()).platform(own);
    let app = sync_app(&layer, |user, _, _| {
        assert_eq!((user.platform(), user.id()), ("alexa", "mine"));
        Ok(())
    });
    let mut request = disguised();
    request["own"] = "mine".into();
    send_json(&app, &request).await.assert_ok();
    assert_eq!(format!("{layer:?}").matches("\"alexa\"").count(), 1, "{layer:?}");
}
