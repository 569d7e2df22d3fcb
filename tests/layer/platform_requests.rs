//! What a platform sees of a request: forms, the head, and conversations with threads.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use tower_persistence::platform::{Event, NewSession, Platform, PlatformRequest};
use tower_persistence::stored_elements::{SessionElement, StoredElements};
use tower_persistence::{MemoryDb, PersistenceLayer, User};

use crate::common::*;

/// Reads forms: `from`, `chat`, `thread`, and `direct` for direct messages.
struct Chat {
    reads_forms: bool,
}

impl Platform for Chat {
    fn name(&self) -> &str {
        "chat"
    }

    fn reads_forms(&self) -> bool {
        self.reads_forms
    }

    fn has_threads(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        assert!(self.reads_forms || request.form().is_none());
        let form = request.form()?;
        let event = Event::default().user_id(Some(form.get("from")?));
        let event = event.conversation(form.get("chat")).thread(form.get("thread"));
        Some(vec![match form.get("direct") {
            Some(_) => event.session(form.get("chat"), NewSession::Unknown),
            None => event,
        }])
    }
}

fn layer(reads_forms: bool) -> PersistenceLayer<MemoryDb> {
    let elements = StoredElements::new().session(true);
    let layer = PersistenceLayer::new(MemoryDb::new()).stored_elements(elements);
    layer.platforms(vec![Box::new(Chat { reads_forms })])
}

fn form(body: &str) -> HttpRequest {
    let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

/// Answers with user and session, and the handler's body.
async fn seen(layer: &PersistenceLayer<MemoryDb>, request: HttpRequest) -> (u16, String) {
    let app = serve(layer, |request| async move {
        let user = request.extensions().get::<User>().map(|user| user.id().to_owned());
        let session = handles(&request).and_then(|(_, session, _)| Some(session.id()?.to_owned()));
        let body = request.into_body().collect().await?.to_bytes();
        let body = String::from_utf8(body.to_vec())?;
        Ok(reply(200, &format!("{user:?} {session:?} {body}")))
    });
    let answer = send(&app, request).await;
    (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn forms_are_read_only_where_a_platform_takes_them() {
    let body = "from=a%20b&chat=C1";
    for (reads_forms, expected) in [(true, r#"Some("a b") Some("C1")"#), (false, "None None")] {
        let (status, answer) = seen(&layer(reads_forms), form(body)).await;
        assert_eq!((status, answer), (200, format!("{expected} {body}")));
    }
}

#[tokio::test]
async fn a_form_is_held_to_the_body_limit_where_it_is_read() {
    let body = format!("from=anna&text={}", "x".repeat(1000));
    let layer_of = |reads_forms| layer(reads_forms).body_limit(100);
    assert_eq!(seen(&layer_of(true), form(&body)).await.0, 413);
    assert_eq!(seen(&layer_of(false), form(&body)).await.0, 200);
}

#[tokio::test]
async fn a_form_is_not_json_and_json_not_a_form() {
    let layer = layer(true);
    let json = post(r#"{"from":"anna"}"#);
    assert_eq!(seen(&layer, json).await.1, r#"None None {"from":"anna"}"#);
    let (_, answer) = seen(&layer, form(r#"{"from":"anna"}"#)).await;
    assert_eq!(answer, r#"None None {"from":"anna"}"#);
}

#[tokio::test]
async fn a_thread_has_a_session_of_its_own_except_in_direct_messages() {
    let layer = layer(true);
    for (body, session) in [
        ("from=anna&chat=C1", r#"Some("C1")"#),
        ("from=anna&chat=C1&thread=17.5", r#"Some("C1/17.5")"#),
        ("from=anna&chat=C1&thread=17.5&direct=1", r#"Some("C1")"#),
        ("from=anna&thread=17.5", "None"),
    ] {
        let expected = format!(r#"Some("anna") {session} {body}"#);
        assert_eq!(seen(&layer, form(body)).await.1, expected);
    }
}

async fn kept(layer: &PersistenceLayer<MemoryDb>) -> usize {
    for thread in 0..20 {
        seen(layer, form(&format!("from=anna&chat=C1&thread={thread}"))).await;
    }
    let stored = layer.export("chat", "anna").await.unwrap().unwrap();
    1 + stored["otherSessions"].as_array().map_or(0, Vec::len)
}

#[tokio::test]
async fn sixteen_threads_are_kept_unless_another_number_is_set() {
    assert_eq!(kept(&layer(true)).await, 16);
    let elements = StoredElements::new().session(SessionElement::new().sessions_kept(3));
    assert_eq!(kept(&layer(true).stored_elements(elements)).await, 3);
}

/// Takes the user from a header, which a layer in front has set.
struct Headed;

impl Platform for Headed {
    fn name(&self) -> &str {
        "headed"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let id = request.head().headers.get("x-user")?.to_str().ok()?;
        Some(vec![Event::default().user_id(Some(id.into()))])
    }
}

#[tokio::test]
async fn a_platform_sees_the_head() {
    let layer = layer(true).platform(Headed);
    let mut request = post("{}");
    request.headers_mut().insert("x-user", "anna".parse().unwrap());
    assert_eq!(seen(&layer, request).await.1, r#"Some("anna") None {}"#);
}

#[tokio::test]
async fn a_handler_without_user_is_told_so_also_for_forms() {
    let app = axum::Router::new()
        .route(
            "/",
            axum::routing::post(|user: Option<User>| async move { user.is_some().to_string() }),
        )
        .layer(layer(false));
    let request = form("from=anna").map(axum::body::Body::new);
    let answer = tower::ServiceExt::oneshot(app, request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "false");
}
