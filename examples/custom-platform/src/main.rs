//! Two platforms of your own: one declared with JSON pointers, one written by hand.
//!
//! ```text
//! cargo run -p custom-platform
//! ```

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::routing::post;
use tower::ServiceExt;
use tower_persistence::platform::{Event, JsonPlatform, NewSession, Platform, PlatformRequest};
use tower_persistence::{Error, MemoryDb, PersistenceLayer, User};

/// Telegram, whose user ids are numbers: a declared platform takes text only.
struct Telegram;

impl Platform for Telegram {
    fn name(&self) -> &str {
        "telegram"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        request.get("update_id")?;
        // The layer stores the user as `telegram:42`, apart from those of other platforms.
        let id = |pointer| Some(request.pointer(pointer)?.get().into());
        let event = Event::default().user_id(id("/message/from/id"));
        Some(vec![event.session(id("/message/chat/id"), NewSession::Unknown)])
    }
}

async fn visit(user: User) -> Result<String, Error> {
    let visits = user.increment("visits", 1)?;
    Ok(format!("{} {}: visit {visits}", user.platform(), user.id()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let slack = JsonPlatform::new("slack")
        .detect_value("/type", "event_callback")
        .user_scope("/team_id")
        .user_id("/event/user")
        .session_id("/event/channel");
    let layer = PersistenceLayer::new(MemoryDb::new()).platform(slack).platform(Telegram);
    let app = Router::new().route("/", post(visit)).layer(layer);

    let from_slack =
        r#"{"type":"event_callback","team_id":"T1","event":{"user":"U1","channel":"C1"}}"#;
    let from_telegram = r#"{"update_id":7,"message":{"from":{"id":42},"chat":{"id":42}}}"#;
    for body in [from_slack, from_telegram, from_slack] {
        let request = Request::post("/").header("content-type", "application/json");
        let response = app.clone().oneshot(request.body(Body::from(body))?).await?;
        let text = to_bytes(response.into_body(), usize::MAX).await?;
        println!("{}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
