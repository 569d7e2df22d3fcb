//! The requests that get a turn, and the handling of all others.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::platform::{Alexa, Event, Input, PlatformRequest};
use tower_persistence::{BoxError, MemoryDb, PersistenceLayer, Platform, User};

use crate::common::*;

/// Returns an app that answers with the body and the user id that it received.
fn echo(layer: &PersistenceLayer<TestDb>) -> App {
    serve(layer, |request| async move {
        let user = request.extensions().get::<User>().map(|user| user.id().to_owned());
        let response = Response::builder().header("x-user", user.unwrap_or_else(|| "none".into()));
        Ok(response.body(request.into_body()).unwrap())
    })
}

async fn passes_through(
    layer: &PersistenceLayer<TestDb>,
    request: HttpRequest,
    body: &[u8],
) -> bool {
    let response = echo(layer).oneshot(request).await.unwrap();
    let no_user = response.headers().get("x-user").is_some_and(|user| user == "none");
    let echoed = response.into_body().collect().await.unwrap().to_bytes();
    no_user && echoed == body && layer.database().calls() == Calls::default()
}

#[tokio::test]
async fn requests_without_a_user_reach_the_handler_byte_for_byte() {
    let layer = PersistenceLayer::new(TestDb::default());
    let claimed = alexa("user-1").to_string();
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let mut request = post(claimed.clone());
        *request.method_mut() = method;
        assert!(passes_through(&layer, request, claimed.as_bytes()).await);
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let mut request = post(claimed.clone());
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        assert!(passes_through(&layer, request, claimed.as_bytes()).await, "{content_type}");
    }
    let bodies = [
        "",
        "{",
        "\u{feff}{}",
        "[1, 2]",
        "7",
        " {\"a\" : 1.0e5,\n\t\"a\":2} ",
        "\"\u{1f600}\"",
        "nul",
    ];
    for body in bodies {
        assert!(passes_through(&layer, post(body), body.as_bytes()).await, "{body:?}");
    }
    // A platform's request without a user.
    let without_user = r#"{"version":"1.0","request":{"requestId":"r"},"context":{}}"#;
    assert!(passes_through(&layer, post(without_user), without_user.as_bytes()).await);
}

#[tokio::test]
async fn json_goes_by_many_names() {
    let layer = PersistenceLayer::new(TestDb::default());
    let types = [
        "application/json; charset=utf-8",
        "Application/JSON",
        "text/json",
        "application/vnd.api+json",
    ];
    for content_type in types {
        let mut request = post(alexa("user-1").to_string());
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        let response = echo(&layer).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["x-user"], "user-1", "{content_type}");
    }
    let mut request = post(alexa("user-1").to_string());
    request.headers_mut().remove("content-type");
    let response = echo(&layer).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["x-user"], "user-1");
}

#[tokio::test]
async fn a_claimed_request_reaches_the_handler_unchanged_too() {
    let body = format!(" {}\n", alexa("user-1"));
    let layer = PersistenceLayer::new(TestDb::default());
    let answer = send(&echo(&layer), post(body.clone())).await;
    assert_eq!(answer.body, body);
}

#[tokio::test]
async fn require_user_refuses_requests_without_a_user() {
    let layer = PersistenceLayer::new(TestDb::default()).require_user(true);
    let app = serve(&layer, |request| async move {
        assert!(handles(&request).is_some() || request.method() != Method::POST);
        Ok(reply(200, "{}"))
    });
    for body in ["", "{", "{}", "[]"] {
        let answer = send(&app, post(body)).await;
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(answer.error().is_missing_user());
    }
    let mut form = post(alexa("user-1").to_string());
    form.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&app, form).await.status, 400);
    assert_eq!(layer.database().calls(), Calls::default());

    send_json(&app, &alexa("user-1")).await.assert_ok();
    for method in [Method::GET, Method::CONNECT] {
        let request = Request::builder().method(method).uri("/");
        send(&app, request.body(Full::default()).unwrap()).await.assert_ok();
    }
}

/// Meta unsubscribes an app whose webhook keeps failing, and sends events that concern only the
/// page.
#[tokio::test]
async fn require_user_acknowledges_what_a_platform_sends_without_user() {
    let layer = PersistenceLayer::new(TestDb::default()).require_user(true);
    let app = serve(&layer, |request| async move {
        assert!(handles(&request).is_some());
        Ok(reply(200, "{}"))
    });
    let page_only = json!({ "id": "page-1", "time": 7, "changes": [{ "field": "feed" }] });
    for (request, body) in [
        (json!({ "object": "page", "entry": [page_only] }), ""),
        (json!({ "object": "page", "entry": [page_only, page_only] }), ""),
        (json!({ "object": "instagram", "entry": [page_only] }), ""),
        (
            json!({ "version": "1.0", "request": { "requestId": "r" } }),
            r#"{"version":"1.0","response":{}}"#,
        ),
    ] {
        let answer = send_json(&app, &request).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, body.as_bytes()), "{request}");
        assert!(answer.error.is_none());
    }
    // In a batch, the event is left out.
    let mut batch = messenger("anna", "m-1");
    batch["entry"].as_array_mut().unwrap().push(page_only);
    send_json(&app, &batch).await.assert_ok();
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_and_not_served() {
    let layer = PersistenceLayer::new(TestDb::default()).body_limit(300);
    let app = serve(&layer, |_| async { panic!("must not be called") });
    let mut long = alexa("user-1");
    long["padding"] = "x".repeat(300).into();
    let answer = send_json(&app, &long).await;
    assert_eq!(answer.status, 413);
    assert!(answer.error().is_body_too_large());
    assert_eq!(layer.database().calls(), Calls::default());

    // The announced length is refused before anything is read.
    let request = Request::post("/").header("content-type", "application/json");
    let request = request.header("content-length", "301");
    let request = request.body(Unread.boxed()).unwrap();
    let service = layer.layer(service_fn(|_: Request<BoxBody<Bytes, BoxError>>| async {
        panic!("must not be called") as Result<HttpResponse, BoxError>
    }));
    assert_eq!(service.oneshot(request).await.unwrap().status(), 413);
}

/// A body that must not be polled.
struct Unread;

impl Body for Unread {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        panic!("must not be read")
    }
}

#[tokio::test]
async fn exactly_the_limit_is_served() {
    let body = alexa("user-1").to_string();
    let layer = PersistenceLayer::new(TestDb::default()).body_limit(body.len());
    send(&echo(&layer), post(body.clone())).await.assert_ok();
    let layer = PersistenceLayer::new(TestDb::default()).body_limit(body.len() - 1);
    assert_eq!(send(&echo(&layer), post(body)).await.status, 413);
}

/// A platform whose requests list users, each of which is an event.
#[derive(Debug)]
struct Group {
    asked: Arc<Mutex<usize>>,
}

impl Platform for Group {
    fn name(&self) -> &str {
        "group"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let users: Vec<String> = serde_json::from_str(request.json()?.get("users")?.get()).ok()?;
        let event = |user: String| Event::default().user_id(Some(user.into()));
        Some(users.into_iter().map(event).collect())
    }

    fn input(&self, _: &PlatformRequest<'_>) -> Input {
        *self.asked.lock().unwrap() += 1;
        Input::of_type("GROUP")
    }
}

#[tokio::test]
async fn too_many_events_are_refused_and_those_without_user_do_not_count() {
    let asked = Arc::default();
    let layer =
        PersistenceLayer::new(TestDb::default()).platform(Group { asked: Arc::clone(&asked) });
    let app = echo(&layer);
    let answer = send_json(&app, &json!({ "users": vec!["anna"; 1001] })).await;
    assert_eq!(answer.status, 413);
    assert!(answer.error().is_too_many_events());
    assert_eq!(answer.error().platform(), Some("group"));
    assert_eq!(layer.database().calls(), Calls::default());

    let too_long = "x".repeat(2049);
    for (users, user) in [
        (json!(["anna", "", too_long]), "anna"),
        (json!([""]), "none"),
        (json!(["", ""]), "none"),
        (json!([too_long]), "none"),
        (json!(["x".repeat(2043)]), "none"),
        (json!(["x".repeat(2042)]), &*"x".repeat(2042)),
    ] {
        let response = app.clone().oneshot(post(json!({ "users": users }).to_string())).await;
        assert_eq!(response.unwrap().headers()["x-user"], user);
    }
    let answer = send_json(&app, &json!({ "users": [] })).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "nothing for the handler");
    assert_eq!(*asked.lock().unwrap(), 0, "input is for the history, which is off");
}

#[tokio::test]
async fn a_platform_that_is_added_is_asked_first_and_a_list_replaces_all() {
    struct Mine;
    impl Platform for Mine {
        fn name(&self) -> &str {
            "mine"
        }
        fn recognise<'a>(&self, _: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
            Some(vec![Event::default().user_id(Some("me".into()))])
        }
    }
    let platform = |layer: PersistenceLayer<MemoryDb>, body: Value| async move {
        let app = serve(&layer, |request| async move {
            let name = handles(&request).map(|(user, ..)| user.platform().to_owned());
            Ok(reply(200, &name.unwrap_or_default()))
        });
        send_json(&app, &body).await.body
    };
    let layer = PersistenceLayer::new(MemoryDb::new());
    assert_eq!(platform(layer.clone().platform(Mine), alexa("user-1")).await, "mine");
    assert_eq!(
        platform(layer.clone().platforms(vec![Box::new(Alexa)]), alexa("user-1")).await,
        "alexa"
    );
    assert_eq!(platform(layer.clone().platforms(Vec::new()), alexa("user-1")).await, "");
    assert_eq!(platform(layer, json!({})).await, "");
}

#[tokio::test]
async fn a_layer_around_the_layer_serves_the_request_once() {
    let layer = PersistenceLayer::new(TestDb::default());
    let inner = service_fn(|request: HttpRequest| async move {
        handles(&request).unwrap().0.increment("visits", 1)?;
        Ok::<_, BoxError>(reply(200, "{}"))
    });
    let service = layer
        .layer(tower::util::MapResponse::new(layer.layer(inner), |response: Response<_>| {
            response.map(|_| Full::<Bytes>::default())
        }));
    let response = service.oneshot(post(alexa("user-1").to_string())).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(layer.database().calls(), Calls { loads: 1, saves: 1, deletes: 0 });
}

#[tokio::test]
async fn users_can_be_stored_under_another_key() {
    let layer = PersistenceLayer::new(TestDb::default())
        .storage_key(|platform, _, user_id| format!("{platform}::{user_id}"));
    let visit = sync_app(&layer, |user, _, _| {
        assert_eq!(user.id(), "user-1");
        user.increment("visits", 1).map(drop)
    });
    send_json(&visit, &alexa("user-1")).await.assert_ok();
    send_json(&visit, &alexa("user-1")).await.assert_ok();
    assert_eq!(stored(layer.database(), "user-1").await, None);
    let item = stored(layer.database(), "alexa::user-1").await.unwrap();
    assert_eq!(item["user"]["data"]["visits"], 2);
    let forget = sync_app(&layer, |user, _, _| user.forget());
    send_json(&forget, &alexa("user-1")).await.assert_ok();
    assert!(layer.database().items.is_empty());
}
