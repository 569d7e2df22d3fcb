//! Client-side sessions: read from the request, written into the reply.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{
    BoxError, MemoryDb, OnConflict, OnOutage, PersistenceLayer, Session, StoredElements, User,
};

use crate::common::*;

/// Returns an Alexa request in a session with these attributes.
fn alexa_with(attributes: Value) -> Value {
    let mut request = alexa("user-1");
    request["session"]["attributes"] = attributes;
    request
}

fn session_of(request: &HttpRequest) -> Session {
    request.extensions().get::<Session>().expect("a session").clone()
}

fn layer() -> (PersistenceLayer<TestDb>, Clock) {
    let clock = Clock::new();
    (PersistenceLayer::new(TestDb::default()).clock(clock.reader()), clock)
}

/// Returns a handler that changes the session and answers with `body`.
fn answering(
    layer: &PersistenceLayer<TestDb>,
    body: &'static str,
    change: impl Fn(&Session) -> Result<(), tower_persistence::Error> + Clone + Send + Sync + 'static,
) -> App {
    serve(layer, move |request| {
        let changed = change(&session_of(&request));
        async move {
            changed?;
            Ok(reply(200, body))
        }
    })
}

/// Returns the reply that leaves the layer.
async fn replied(app: &App, request: &Value) -> String {
    let answer = send_json(app, request).await;
    answer.assert_ok();
    String::from_utf8(answer.body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_session_goes_to_the_platform_and_comes_back() {
    let (layer, clock) = layer();
    let app = answering(&layer, r#"{"version":"1.0"}"#, |session| {
        let lives = session.increment("lives", 1)?;
        assert_eq!(session.is_new(), lives == 1);
        assert_eq!(session.state(), (lives > 1).then(|| json!([{ "component": "Game" }])));
        session.set_state([json!({ "component": "Game" })])
    });
    let reply = replied(&app, &alexa_session("user-1", "session-1", true)).await;
    assert_eq!(
        reply,
        r#"{"version":"1.0","sessionAttributes":{"id":"session-1","data":{"lives":1},"state":[{"component":"Game"}],"isNew":true,"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:00.000Z"}}"#
    );
    clock.advance(std::time::Duration::from_secs(5));
    let reply: Value = serde_json::from_str(&reply).unwrap();
    let reply = replied(&app, &alexa_with(reply["sessionAttributes"].clone())).await;
    assert_eq!(
        reply,
        r#"{"version":"1.0","sessionAttributes":{"id":"session-1","data":{"lives":2},"state":[{"component":"Game"}],"isNew":false,"createdAt":"2026-01-01T00:00:00.000Z","updatedAt":"2026-01-01T00:00:05.000Z"}}"#
    );
    let item = stored(&layer.database().items, "user-1").await.unwrap();
    assert!(item.get("session").is_none(), "{item}");
}

#[tokio::test]
async fn plain_attributes_come_and_go_as_they_are() {
    let (layer, _) = layer();
    let app = answering(&layer, "{}", |session| {
        assert_eq!(session.state(), Some(json!("Game")));
        session.increment("lives", -1).map(drop)
    });
    let attributes = json!({ "lives": 3, "_JOVO_STATE_": "Game", "data": "the app's own", "deep": { "a": [1.0] } });
    let reply = replied(&app, &alexa_with(attributes)).await;
    assert_eq!(
        reply,
        r#"{"sessionAttributes":{"lives":2,"data":"the app's own","deep":{"a":[1.0]},"_JOVO_STATE_":"Game"}}"#
    );
}

/// Alexa forgets attributes that a reply does not repeat.
#[tokio::test]
async fn unchanged_members_are_sent_back_and_removed_ones_are_not() {
    let (layer, _) = layer();
    let untouched = answering(&layer, "{}", |_| Ok(()));
    let attributes = json!({ "lives": 3 });
    assert_eq!(
        replied(&untouched, &alexa_with(attributes.clone())).await,
        r#"{"sessionAttributes":{"lives":3}}"#
    );
    let emptied = answering(&layer, "{}", |session| session.remove("lives"));
    assert_eq!(replied(&emptied, &alexa_with(attributes)).await, r#"{"sessionAttributes":{}}"#);
    assert_eq!(layer.database().calls().saves, 1, "the new user's");
}

#[tokio::test]
async fn a_reply_without_a_client_side_session_is_not_changed() {
    let (layer, _) = layer();
    let body = r#" { "version" : "1.0" } "#;
    for request in [alexa("user-1"), alexa_with(json!({})), alexa_with(json!(7))] {
        assert_eq!(replied(&answering(&layer, body, |_| Ok(())), &request).await, body);
    }
}

#[tokio::test]
async fn a_new_session_does_not_see_the_last_one() {
    let (layer, _) = layer();
    let app = answering(&layer, "{}", |session| {
        assert!(session.is_new() && session.data().is_empty() && session.state().is_none());
        Ok(())
    });
    let mut request = alexa_with(json!({ "lives": 3, "_JOVO_STATE_": "Game" }));
    request["session"]["new"] = json!(true);
    assert_eq!(replied(&app, &request).await, r#"{"sessionAttributes":{}}"#);
}

#[tokio::test]
async fn the_session_ends_with_should_end_session() {
    let (layer, _) = layer();
    for (body, has_session) in [
        (r#"{"response":{"shouldEndSession":true}}"#, false),
        (r#"{"response":{"shouldEndSession":false}}"#, true),
        (r#"{"response":{}}"#, true),
    ] {
        let app = answering(&layer, body, |session| session.set("lives", 3));
        let reply = replied(&app, &alexa("user-1")).await;
        assert_eq!(reply.contains("lives"), has_session, "{reply}");
        assert!(has_session || reply == body);
    }
}

#[tokio::test]
async fn the_handlers_own_attributes_win() {
    let (layer, _) = layer();
    for (body, has_session) in [
        (r#"{"sessionAttributes":{"mine":1}}"#, false),
        (r#"{"sessionAttributes":"mine"}"#, false),
        (r#"{"sessionAttributes":{ }}"#, true),
        (r#"{"sessionAttributes":null,"version":"1.0"}"#, true),
    ] {
        let app = answering(&layer, body, |session| session.set("lives", 3));
        let reply = replied(&app, &alexa("user-1")).await;
        assert_eq!(reply.contains(r#""lives":3"#), has_session, "{reply}");
        assert!(has_session || reply == body);
    }
}

#[tokio::test]
async fn nothing_else_in_the_reply_is_touched() {
    let (layer, _) = layer();
    let body = "{ \"zeta\" : 1.50, \"a\":12345678901234567890123, \"version\": \"1.0\\u0021\",\n\t\"response\":{\"b\":1e2,\"a\":[ ]}\n}\n";
    let app = answering(&layer, body, |session| session.set("lives", 3));
    let reply = replied(&app, &alexa_with(json!({ "lives": 2 }))).await;
    assert_eq!(reply, body.replace("\n}\n", ",\"sessionAttributes\":{\"lives\":3}\n}\n"));
}

#[tokio::test]
async fn a_reply_that_is_not_a_json_object_is_left_alone() {
    let (layer, _) = layer();
    let html = HeaderValue::from_static("text/html");
    let gzip = HeaderValue::from_static("gzip");
    for (body, header) in [
        ("[1]", None),
        ("{\"broken\":", None),
        ("", None),
        ("{}", Some((CONTENT_TYPE, html))),
        ("{}", Some((CONTENT_ENCODING, gzip))),
    ] {
        let app = serve(&layer, move |request| {
            let (changed, header) = (session_of(&request).set("lives", 3), header.clone());
            async move {
                changed?;
                let mut response = reply(200, body);
                if let Some((name, value)) = header {
                    response.headers_mut().insert(name, value);
                }
                Ok(response)
            }
        });
        assert_eq!(replied(&app, &alexa("user-1")).await, body);
    }
}

#[tokio::test]
async fn a_handler_that_fails_changes_no_session() {
    let (layer, _) = layer();
    let app = serve(&layer, |request| {
        let changed = session_of(&request).set("lives", 0);
        async move {
            changed?;
            Ok(reply(500, "{}"))
        }
    });
    let answer = send_json(&app, &alexa_with(json!({ "lives": 3 }))).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (500, &b"{}"[..]));
}

#[tokio::test]
async fn content_length_is_right_afterwards_and_trailers_stay() {
    let (layer, _) = layer();
    let service = layer.layer(service_fn(async |request: HttpRequest| {
        session_of(&request).set("lives", 3)?;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("7"));
        let frames = [
            Ok(http_body::Frame::data(Bytes::from_static(b"{\"a\":"))),
            Ok(http_body::Frame::data(Bytes::from_static(b"1}"))),
            Ok::<_, BoxError>(http_body::Frame::trailers(trailers)),
        ];
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Ok::<_, BoxError>(response.header(CONTENT_LENGTH, 7).body(body)?)
    }));
    let response =
        service.oneshot(post(alexa_with(json!({ "old": 1 })).to_string())).await.unwrap();
    let length = response.headers()[CONTENT_LENGTH].to_str().unwrap().to_owned();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-sum"], "7");
    let body = collected.to_bytes();
    assert_eq!(body, r#"{"a":1,"sessionAttributes":{"old":1,"lives":3}}"#);
    assert_eq!(length, body.len().to_string());
}

/// A reply that never ends is passed on unread if there is no session to write.
#[tokio::test]
async fn a_streaming_reply_is_not_buffered_without_a_session() {
    let (layer, _) = layer();
    let service = layer.layer(service_fn(async |request: HttpRequest| {
        assert!(session_of(&request).data().is_empty());
        let endless = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>();
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        Ok::<_, BoxError>(response.body(StreamBody::new(endless))?)
    }));
    let response = service.oneshot(post(alexa("user-1").to_string())).await.unwrap();
    let mut body = tokio_test::task::spawn(response.into_body());
    assert!(body.enter(|cx, body| http_body::Body::poll_frame(body, cx)).is_pending());
}

/// Beyond the limit, or after the time-out, the reply is sent unchanged.
#[tokio::test(start_paused = true)]
async fn a_reply_that_is_too_long_or_too_slow_goes_out_as_it_is() {
    let (layer, _) = layer();
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(2000));
    let sent = long.clone();
    let app = serve(&layer.clone().reply_limit(1000), move |request| {
        let (changed, long) = (session_of(&request).set("lives", 3), long.clone());
        async move {
            changed?;
            Ok(reply(200, &long))
        }
    });
    assert_eq!(replied(&app, &alexa("user-1")).await, sent);

    let service = layer.layer(service_fn(async |request: HttpRequest| {
        session_of(&request).set("lives", 3)?;
        let slow = futures_util::stream::pending::<Result<http_body::Frame<Bytes>, BoxError>>();
        let response = Response::builder().header(CONTENT_TYPE, "application/json");
        Ok::<_, BoxError>(response.body(StreamBody::new(slow))?)
    }));
    let response = service.oneshot(post(alexa("user-1").to_string())).await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_session_in_the_database_is_not_written_into_the_reply() {
    let elements = StoredElements::new().session(true);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let app = answering(&layer, "{}", |session| {
        assert!(session.get::<i64>("lives")?.is_none());
        session.set("steps", 1)
    });
    assert_eq!(replied(&app, &alexa_with(json!({ "lives": 3 }))).await, "{}");
    let item = stored(&layer.database().items, "user-1").await.unwrap();
    assert_eq!(item["session"]["data"], json!({ "steps": 1 }));
}

#[tokio::test]
async fn a_sessionless_event_has_no_client_side_session() {
    let (layer, _) = layer();
    let app = answering(&layer, "{}", |session| {
        assert!(session.set("lives", 3).unwrap_err().is_element_disabled());
        assert!(session.data().is_empty() && session.id().is_none());
        Ok(())
    });
    assert_eq!(replied(&app, &alexa_audio("user-1")).await, "{}");
}

#[tokio::test]
async fn without_the_database_the_session_goes_on() {
    let (layer, _) = layer();
    layer.database().on_load(Behaviour::Fails);
    let app = answering(&layer.on_outage(OnOutage::Degrade), "{}", |session| {
        session.increment("lives", -1).map(drop)
    });
    let reply = replied(&app, &alexa_with(json!({ "lives": 3 }))).await;
    assert_eq!(reply, r#"{"sessionAttributes":{"lives":2}}"#);
}

#[tokio::test]
async fn after_the_turn_and_after_forgetting_nothing_is_written() {
    let (layer, _) = layer();
    let app = serve(&layer, |request| async move {
        let session = session_of(&request);
        request.extensions().get::<User>().unwrap().forget()?;
        assert!(session.data().is_empty());
        assert!(session.set("lives", 3).unwrap_err().is_turn_ended());
        Ok(reply(200, "{}"))
    });
    let reply = replied(&app, &alexa_with(json!({ "lives": 3 }))).await;
    assert_eq!(reply, r#"{"sessionAttributes":{}}"#);
}

/// The session changes of the first run are discarded.
#[tokio::test]
async fn a_handler_that_runs_again_finds_the_session_as_it_came() {
    let items = MemoryDb::new();
    let mut database = TestDb::default();
    database.items = items.clone();
    let layer = PersistenceLayer::new(database).on_conflict(OnConflict::Rerun { attempts: 3 });
    store(&items, "user-1", &json!({ "user": { "data": {} } })).await;
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = runs.clone();
    let app = serve(&layer, move |request| {
        let (items, count) = (items.clone(), count.clone());
        async move {
            session_of(&request).increment("lives", 1)?;
            request.extensions().get::<User>().unwrap().increment("visits", 1)?;
            if count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                store(&items, "user-1", &json!({ "user": { "data": { "visits": 9 } } })).await;
            }
            Ok(reply(200, "{}"))
        }
    });
    let reply = replied(&app, &alexa_with(json!({ "lives": 3 }))).await;
    assert_eq!(reply, r#"{"sessionAttributes":{"lives":4}}"#);
    assert_eq!(runs.load(std::sync::atomic::Ordering::Relaxed), 2);
}

#[tokio::test]
async fn the_history_has_the_state_of_a_client_side_session() {
    let history = tower_persistence::stored_elements::HistoryElement::new().state(true);
    let (layer, _) = layer();
    let layer = layer.stored_elements(StoredElements::new().history(history));
    let app = answering(&layer, "{}", |session| session.set_state("Quiz"));
    replied(&app, &alexa("user-1")).await;
    let item = stored(&layer.database().items, "user-1").await.unwrap();
    assert_eq!(item["history"]["items"][0]["state"], "Quiz");
}

#[tokio::test]
async fn a_custom_platform_has_client_side_sessions() {
    let platform = JsonPlatform::new("kiosk").detect("/kiosk").user_id("/user");
    let platform = platform.session_id("/session/id").session_data("/session/data");
    let (layer, _) = layer();
    let layer = layer.platform(platform.reply_session_data("/session/data"));
    let app = answering(&layer, r#"{"text":"hi"}"#, |session| {
        session.set("data", json!({ "of": "the app's" }))?;
        session.increment("steps", 1).map(drop)
    });
    let mut request = json!({ "kiosk": 1, "user": "user-1", "session": { "id": "s" } });
    for steps in 1..4 {
        let reply: Value = serde_json::from_str(&replied(&app, &request).await).unwrap();
        let data = json!({ "data": { "of": "the app's" }, "steps": steps });
        assert_eq!(reply, json!({ "text": "hi", "session": { "data": data } }));
        request["session"]["data"] = data;
    }
}

/// The contents of a body are not needed for this: an empty body passes through.
#[tokio::test]
async fn a_handler_without_a_body_in_its_reply_is_left_alone() {
    let (layer, _) = layer();
    let service = layer.layer(service_fn(async |request: HttpRequest| {
        session_of(&request).set("lives", 3)?;
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
    }));
    let response = service.oneshot(post(alexa("user-1").to_string())).await.unwrap();
    assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
}
