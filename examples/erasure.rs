//! Requests under data protection law: a copy of a user's data, and its deletion.
//!
//! ```text
//! cargo run --example erasure
//! ```

use serde_json::json;
use tower_persistence::{Database, Expected, MemoryDb, PersistenceLayer, Record};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let layer = PersistenceLayer::new(MemoryDb::new());
    let record: Record = serde_json::from_value(json!({ "user": { "data": { "visits": 7 } } }))?;
    layer.database().save("user-1", &record, Expected::Absent).await?;

    let copy = layer.export("alexa", "user-1").await?;
    println!("stored: {}", serde_json::to_string_pretty(&copy)?);
    layer.forget("alexa", "user-1").await?;
    println!("stored afterwards: {:?}", layer.export("alexa", "user-1").await?);

    // Waits for saves under way.
    layer.close().await?;
    Ok(())
}
