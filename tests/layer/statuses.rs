//! Turns that are answered with a 4xx: by a router, by a check, by a handler.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post as on_post};
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_persistence::stored_elements::{HistoryElement, StoredElements};
use tower_persistence::{MemoryDb, PersistenceLayer, Session, User};

use crate::common::*;

/// Returns a selection of all elements.
fn elements() -> StoredElements {
    let history = HistoryElement::new().request(true);
    StoredElements::new().session(true).history(history).meta_data(true)
}

async fn status(app: &Router, path: &str, content_type: &str, body: &Value) -> StatusCode {
    let request = Request::post(path).header("content-type", content_type);
    let request = request.body(Body::from(body.to_string())).unwrap();
    app.clone().oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn a_request_refused_by_a_router_creates_starts_and_counts_nothing() {
    let db = MemoryDb::new();
    let layer = PersistenceLayer::new(db.clone()).stored_elements(elements());
    let visit = async |user: User| user.is_new().to_string();
    let numbers = async |_: User, _: axum::Json<Vec<u8>>| "";
    let app = Router::new()
        .route("/", on_post(visit))
        .route("/page", get(async || ""))
        .route("/numbers", on_post(numbers))
        .layer(layer);
    for (path, content_type, expected) in [
        ("/elsewhere", "application/json", 404),
        ("/page", "application/json", 405),
        ("/numbers", "application/json", 422),
    ] {
        let status = status(&app, path, content_type, &alexa("user-1")).await;
        assert_eq!((status.as_u16(), db.len()), (expected, 0), "{path}");
    }
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.body(Body::from(alexa("user-1").to_string())).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(body, "true", "none of them was a turn of the user");
}

#[tokio::test]
async fn a_check_inside_the_layer_that_refuses_leaves_everything_as_it_was() {
    for touched in [Duration::ZERO, Duration::from_secs(60)] {
        let clock = Clock::new();
        let layer = PersistenceLayer::new(TestDb::default()).clock(clock.reader());
        let layer = layer.stored_elements(elements());
        let app = serve(&layer, |request| async move {
            let (user, session, _) = handles(&request).unwrap();
            if request.headers().contains_key("x-forged") {
                return Ok(reply(401, "{}"));
            }
            user.increment("visits", 1)?;
            session.increment("steps", 1)?;
            Ok(reply(200, "{}"))
        });
        send_json(&app, &alexa_session("user-1", "session-1", true)).await.assert_ok();
        let before = stored(layer.database(), "user-1").await;
        clock.advance(touched);
        for request in [alexa("user-1"), alexa_session("user-1", "session-2", true)] {
            let mut request = post(request.to_string());
            request.headers_mut().insert("x-forged", "1".parse().unwrap());
            assert_eq!(send(&app, request).await.status, 401);
        }
        assert_eq!(stored(layer.database(), "user-1").await, before);
        assert_eq!(layer.database().calls().saves, 1);
    }
}

#[tokio::test]
async fn a_handler_that_wrote_before_it_refused_has_its_turn_stored_whole_but_for_the_history() {
    for writes in ["user", "session", "state"] {
        let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements());
        let app = serve(&layer, move |request| async move {
            let (user, session, history) = handles(&request).unwrap();
            history.set_output("sorry")?;
            match writes {
                "user" => user.increment("refused", 1).map(drop)?,
                "session" => session.set("refused", true)?,
                _ => session.set_state("Refused")?,
            }
            Ok(reply(409, "{}"))
        });
        let batch = messenger_batch(&[("anna", "m-1"), ("bert", "m-2")]);
        assert_eq!(send_json(&app, &batch).await.status, 409);
        let record = stored(layer.database(), "anna").await.unwrap();
        assert!(record["session"]["createdAt"].is_string(), "{record}");
        assert_eq!(record["metaData"]["sessionsCount"], 1);
        assert_eq!(handled(&record), ["facebookmessenger:m-1"]);
        assert_eq!(record.get("history"), None, "{record}");
    }
}

#[tokio::test]
async fn forgetting_counts_and_what_the_history_would_hold_does_not() {
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements());
    store(layer.database(), "user-1", &json!({ "user": { "data": {} } })).await;
    let forget = serve(&layer, |request| async move {
        handles(&request).unwrap().0.forget()?;
        Ok(reply(410, "{}"))
    });
    assert_eq!(send_json(&forget, &alexa("user-1")).await.status, 410);
    assert_eq!(stored(layer.database(), "user-1").await, None);

    let output = serve(&layer, |request| async move {
        handles(&request).unwrap().2.set_output("sorry")?;
        Ok(reply(400, "{}"))
    });
    assert_eq!(send_json(&output, &alexa("user-1")).await.status, 400);
    assert_eq!(stored(layer.database(), "user-1").await, None);
}

#[tokio::test]
async fn a_refused_turn_writes_no_session_into_the_reply() {
    let layer = PersistenceLayer::new(TestDb::default());
    let mut request = alexa("user-1");
    request["session"]["attributes"] = json!({ "steps": 1 });
    let refused = serve(&layer, |_| async { Ok(reply(404, "{}")) });
    assert_eq!(send_json(&refused, &request).await.body, "{}");
    let written = serve(&layer, |request| async move {
        request.extensions().get::<Session>().unwrap().increment("steps", 1)?;
        Ok(reply(404, "{}"))
    });
    let answer = send_json(&written, &request).await;
    assert_eq!(answer.body, r#"{"sessionAttributes":{"steps":2}}"#);
}
