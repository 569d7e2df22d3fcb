//! `UserData` as an axum extractor.

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;

async fn play(mut names: UserData<Names>) -> Result<String, Error> {
    names.update(|names| names.score += 1)?;
    Ok(format!("{} {}", names.first, names.score))
}

async fn maybe(names: Option<UserData<Names>>) -> String {
    names.map_or("no user".to_owned(), |names| format!("a user {}", names.score))
}

async fn careful(names: Result<UserData<Names>, Error>) -> String {
    names.map_or_else(|error| format!("decode: {}", error.is_decode()), |names| names.first.clone())
}

fn router() -> Router {
    Router::new()
        .route("/", post(play))
        .route("/maybe", post(maybe))
        .route("/careful", post(careful))
}

async fn ask(app: Router, path: &str, body: String) -> (StatusCode, String, Option<Error>) {
    let request = Request::post(path).header("content-type", "application/json");
    let response = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let error = parts.extensions.get::<Error>().cloned();
    (parts.status, String::from_utf8(body.to_vec()).unwrap(), error)
}

#[tokio::test]
async fn a_handler_gets_the_data_and_changes_it() {
    let layer = with_data(json!({ "name": "Anna Blume", "score": 1 })).await;
    let app = router().layer(layer.clone());
    let request = alexa("user-1").to_string();
    let (status, text, _) = ask(app.clone(), "/", request.clone()).await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "Anna 2"));
    let expected = json!({ "_schemaVersion": 2, "first": "Anna", "last": "Blume", "score": 2 });
    assert_eq!(data(&layer).await, expected);
    assert_eq!(ask(app.clone(), "/maybe", request.clone()).await.1, "a user 2");
    assert_eq!(ask(app, "/careful", request).await.1, "Anna");
}

#[tokio::test]
async fn data_that_cannot_be_read_is_the_rejection_and_stays() {
    let before = json!({ "score": "Anna" });
    let layer = with_data(before.clone()).await;
    let app = router().layer(layer.clone());
    let request = alexa("user-1").to_string();
    for path in ["/", "/maybe"] {
        let (status, text, error) = ask(app.clone(), path, request.clone()).await;
        assert_eq!((status.as_u16(), text.as_str()), (500, "the request could not be served"));
        assert!(error.unwrap().is_decode());
    }
    let (status, text, _) = ask(app, "/careful", request).await;
    assert_eq!((status.as_u16(), text.as_str()), (200, "decode: true"));
    assert_eq!((data(&layer).await, layer.database().calls().saves), (before, 0));
}

#[tokio::test]
async fn without_a_user_or_a_layer_the_rejection_says_so() {
    let app = router().layer(PersistenceLayer::new(MemoryDb::new()));
    let (status, _, error) = ask(app.clone(), "/", "{}".into()).await;
    assert_eq!(status, 400);
    let error = error.unwrap();
    assert!(error.is_missing_user() && error.to_string().contains("UserData"), "{error}");
    assert_eq!(ask(app, "/maybe", "{}".into()).await.1, "no user");
    for path in ["/", "/maybe"] {
        let (status, _, error) = ask(router(), path, alexa("user-1").to_string()).await;
        assert!(status == 500 && error.unwrap().is_layer_missing());
    }
}
