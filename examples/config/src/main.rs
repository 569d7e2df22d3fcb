//! One program, two databases: `config.dev.json` or `config.prod.json`, by the environment variable `STAGE`.
//!
//! ```text
//! cargo run -p config
//! STAGE=prod cargo run -p config --features dynamodb
//! ```

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_persistence::{Database, Error, PersistenceConfig, PersistenceLayer, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = std::env::var("STAGE").unwrap_or_else(|_| "dev".to_owned());
    let path = format!("{}/config.{stage}.json", env!("CARGO_MANIFEST_DIR"));
    let config = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let config: PersistenceConfig = serde_json::from_str(&config)?;
    let layer = PersistenceLayer::from_config(config).await?;
    // Taken out of the first request: a database that cannot be used is known at start.
    layer.database().ensure_ready().await?;
    println!("Listening on http://127.0.0.1:3000, database: {:?}", layer.database());

    let app = Router::new().route("/", post(visit)).layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}

async fn visit(user: User) -> Result<Json<Value>, Error> {
    let text = format!("This is visit {}.", user.increment("visits", 1)?);
    Ok(Json(json!({ "text": text })))
}
