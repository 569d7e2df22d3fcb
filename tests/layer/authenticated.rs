//! Users whom an authentication layer has identified.

use http::HeaderName;
use serde_json::{Value, json};
use tower_persistence::platform::JsonPlatform;
use tower_persistence::{Identify, MemoryDb, PersistenceLayer, User};

use crate::common::*;

#[derive(Clone)]
struct Claims {
    sub: String,
}

fn layer(identify: Identify) -> PersistenceLayer<MemoryDb> {
    let chat = JsonPlatform::new("chat").detect("/chat").user_id("/user");
    PersistenceLayer::new(MemoryDb::new()).platform(chat).identify(identify)
}

fn claims() -> Identify {
    Identify::by_extension(|claims: &Claims| claims.sub.clone())
}

fn authenticated(body: &Value, subject: &str) -> HttpRequest {
    let mut request = post(body.to_string());
    request.extensions_mut().insert(Claims { sub: subject.to_owned() });
    request
}

fn counting(layer: &PersistenceLayer<MemoryDb>) -> App {
    serve(layer, |request| async move {
        let user = request.extensions().get::<User>();
        let Some(user) = user else { return Ok(reply(204, "")) };
        user.increment("visits", 1)?;
        Ok(reply(200, &json!({ "id": user.id() }).to_string()))
    })
}

#[tokio::test]
async fn one_person_is_one_user_on_every_platform() {
    let layer = layer(claims());
    let app = counting(&layer);
    for body in [json!({ "chat": 1 }), json!({ "chat": 1, "user": "u" }), alexa("amzn1.A")] {
        let answer = send(&app, authenticated(&body, "an:na")).await;
        assert_eq!(&answer.body[..], br#"{"id":"an:na"}"#);
    }
    assert_eq!(layer.database().len(), 1);
    let anna = stored(layer.database(), "identity:an%3Ana").await.unwrap();
    assert_eq!(anna["user"]["data"]["visits"], 3);
}

#[tokio::test]
async fn without_a_subject_the_platform_names_the_user_or_there_is_none() {
    let layer = layer(claims());
    let app = counting(&layer);
    assert_eq!(send_json(&app, &json!({ "chat": 1 })).await.status, 204);
    send_json(&app, &alexa("amzn1.A")).await.assert_ok();
    assert!(stored(layer.database(), "amzn1.A").await.is_some());
    let empty = authenticated(&json!({ "chat": 1 }), "");
    assert_eq!(send(&app, empty).await.status, 204);
}

#[tokio::test]
async fn a_body_that_names_another_user_is_refused() {
    let layer = layer(claims().against_body(true));
    let app = counting(&layer);
    let body = json!({ "chat": 1, "user": "anna" });
    send(&app, authenticated(&body, "anna")).await.assert_ok();
    send(&app, authenticated(&json!({ "chat": 1 }), "anna")).await.assert_ok();
    for request in [authenticated(&body, "bert"), post(body.to_string())] {
        let answer = send(&app, request).await;
        assert_eq!(answer.status, 403);
        assert!(answer.error().is_other_user());
        assert!(!format!("{:?}", answer.error()).contains("anna"));
    }
    let anna = stored(layer.database(), "identity:anna").await.unwrap();
    assert_eq!(anna["user"]["data"]["visits"], 2);
    assert_eq!(layer.database().len(), 1);
}

#[tokio::test]
async fn a_header_counts_only_if_the_proxy_alone_has_set_it() {
    let name = HeaderName::from_static("x-forwarded-user");
    let layer = layer(Identify::by_proxy_header(name));
    let app = counting(&layer);
    let request = |values: &[&str]| {
        let mut request = post(json!({ "chat": 1 }).to_string());
        for value in values {
            request.headers_mut().append("x-forwarded-user", value.parse().unwrap());
        }
        request
    };
    send(&app, request(&["anna"])).await.assert_ok();
    assert_eq!(send(&app, request(&["anna", "bert"])).await.status, 204);
    assert_eq!(send(&app, request(&[])).await.status, 204);
    // A header that nothing was said of is only a header.
    let app = counting(&self::layer(claims()));
    assert_eq!(send(&app, request(&["anna"])).await.status, 204);
}

#[tokio::test]
async fn an_identity_is_no_users_bare_id() {
    let layer = layer(claims());
    let app = counting(&layer);
    send(&app, authenticated(&json!({ "chat": 1 }), "anna")).await.assert_ok();
    send_json(&app, &alexa("identity:anna")).await.assert_ok();
    assert_eq!(layer.database().len(), 2);
}

#[tokio::test]
async fn an_authenticated_user_counts_as_verified() {
    let layer = layer(claims()).require_verified(true);
    let app = counting(&layer);
    send(&app, authenticated(&json!({ "chat": 1 }), "anna")).await.assert_ok();
    let answer = send_json(&app, &json!({ "chat": 1, "user": "anna" })).await;
    assert!(answer.error().is_unverified());
}
