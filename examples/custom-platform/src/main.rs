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
use tower_persistence::platform::{Event, JsonPlatform, Platform, PlatformRequest};
use tower_persistence::{Error, MemoryDb, PersistenceLayer, User};

/// Terminals at a shop's counters, which send their customers' card numbers with a check digit.
struct Terminal;

impl Platform for Terminal {
    fn name(&self) -> &str {
        "terminal"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let card: &str = serde_json::from_str(request.json()?.get("card")?.get()).ok()?;
        // A card that was misread is not a customer: the request has no user.
        let digits = card.bytes().filter(u8::is_ascii_digit).map(|digit| u32::from(digit - b'0'));
        let is_valid = !card.is_empty() && digits.sum::<u32>() % 10 == 0;
        // The layer stores the user as `terminal:91`, apart from those of other platforms.
        Some(vec![Event::default().user_id(is_valid.then(|| card.into()))])
    }
}

async fn visit(user: User) -> Result<String, Error> {
    let visits = user.increment("visits", 1)?;
    Ok(format!("{} {}: visit {visits}", user.platform(), user.id()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chat = JsonPlatform::new("chat")
        .detect("/message")
        .user_scope("/shop")
        .user_id("/from/id")
        .numeric_ids(true)
        .conversation_id("/room");
    let layer = PersistenceLayer::new(MemoryDb::new()).platform(chat).platform(Terminal);
    let app = Router::new().route("/", post(visit)).layer(layer);

    let from_chat = r#"{"shop":"S1","room":"R1","from":{"id":42},"message":"hi"}"#;
    let from_terminal = r#"{"card":"91"}"#;
    for body in [from_chat, from_terminal, from_chat] {
        let request = Request::post("/").header("content-type", "application/json");
        let response = app.clone().oneshot(request.body(Body::from(body))?).await?;
        let text = to_bytes(response.into_body(), usize::MAX).await?;
        println!("{}", String::from_utf8_lossy(&text));
    }
    Ok(())
}
