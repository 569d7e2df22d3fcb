//! A dialog in two turns: the session remembers the drink, the user the orders, the history both.
//!
//! ```text
//! cargo run --example order
//! ```

use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::{Router, routing::post};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{
    Error, History, MemoryDb, PersistenceLayer, Session, StoredElements, User,
};

async fn order(user: User, session: Session, history: History) -> Result<String, Error> {
    let text = if let Some(drink) = session.get::<String>("drink")? {
        let orders = user.increment("orders", 1)?;
        user.set("lastOrder", &drink)?;
        session.remove("drink")?;
        format!("One {drink} it is. This is order {orders}.")
    } else {
        let usual = user.get("lastOrder")?.unwrap_or_else(|| "tea".to_owned());
        session.set("drink", &usual)?;
        session.set_state("confirming")?;
        format!("Would you like a {usual}?")
    };
    if let Some(previous) = history.previous() {
        println!("(the turn before: {})", previous["output"]);
    }
    history.set_output(json!([{ "message": text }]))?;
    Ok(text)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stored = StoredElements::new().session(true).history(HistoryElement::new().size(1));
    let layer = PersistenceLayer::new(MemoryDb::new()).stored_elements(stored);
    let app = Router::new().route("/", post(order)).layer(layer);
    for turn in 1..=4 {
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.body(Body::from(messenger(turn).to_string()))?;
        let reply = app.clone().oneshot(request).await?.into_body();
        println!("{}", String::from_utf8_lossy(&to_bytes(reply, 1024).await?));
    }
    Ok(())
}

/// A message as Messenger sends it.
fn messenger(turn: u32) -> Value {
    let message = json!({ "mid": format!("message-{turn}"), "text": "Yes" });
    let event = json!({ "sender": { "id": "user-1" }, "message": message });
    json!({ "object": "page", "entry": [{ "id": "page-1", "messaging": [event] }] })
}
