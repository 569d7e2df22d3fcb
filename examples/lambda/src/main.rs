//! The axum app on AWS Lambda, its users in DynamoDB: a table name is all that it needs.
//!
//! ```text
//! TABLE_NAME=voice-app cargo lambda watch --package lambda
//! ```
//!
//! Region and credentials come from the function's role; the table is created at the first request.

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tower_persistence::{DynamoDb, Error, PersistenceLayer, User};

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    tracing_subscriber::fmt().without_time().init();
    let table = std::env::var("TABLE_NAME").map_err(|_| "TABLE_NAME is not set")?;
    let layer = PersistenceLayer::new(DynamoDb::builder(table).build().await?);
    let app = Router::new().route("/", post(visit)).layer(layer);
    lambda_http::run(app).await
}

async fn visit(user: User) -> Result<Json<Value>, Error> {
    let greeting = if user.is_new() { "Nice to meet you" } else { "Welcome back" };
    let text = format!("{greeting}. This is visit {}.", user.increment("visits", 1)?);
    let speech = json!({ "type": "PlainText", "text": text });
    Ok(Json(json!({ "version": "1.0", "response": { "outputSpeech": speech } })))
}
