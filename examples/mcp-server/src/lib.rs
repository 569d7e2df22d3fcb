//! An MCP server whose tools remember their user, and a web chat in which the same person finds the
//! same notes.
//!
//! A JWT layer in front identifies the user, `PersistenceLayer` loads the user's data, and rmcp's
//! service or axum's handler finds it in the request.

mod jwt;
mod tools;

use axum::middleware::from_fn_with_state;
use axum::routing::post;
use axum::{Json, Router};
use jsonwebtoken::DecodingKey;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use tower_persistence::platform::{Mcp, UseChat};
use tower_persistence::{Database, Error, Identify, PersistenceLayer, User};

pub use self::jwt::Claims;
use self::tools::Notes;

/// Returns the app: `/mcp` for MCP clients, `/chat` for a web chat.
pub fn app<D: Database>(database: D, secret: &[u8]) -> Router {
    // Each message is a request and a response, so that a tool's turn ends with its answer. MCP has
    // no sessions any more (since 2026-07-28), and memory does not need them.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true);
    let mcp: StreamableHttpService<Notes, LocalSessionManager> =
        StreamableHttpService::new(|| Ok(Notes), Default::default(), config);
    let persistence = PersistenceLayer::new(database)
        .platforms(vec![Box::new(Mcp), Box::new(UseChat)])
        .identify(Identify::by_extension(|claims: &Claims| claims.sub.clone()));
    Router::new()
        .route_service("/mcp", mcp)
        .route("/chat", post(chat))
        .layer(persistence)
        // Outside of the layer above, so that it runs first.
        .layer(from_fn_with_state(DecodingKey::from_secret(secret), jwt::authenticate))
}

/// Answers the web chat with the user's notes.
async fn chat(user: User) -> Result<Json<Value>, Error> {
    let notes: Vec<String> = user.get("notes")?.unwrap_or_default();
    Ok(Json(json!({ "notes": notes })))
}
