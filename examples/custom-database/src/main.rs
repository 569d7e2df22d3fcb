//! A database of your own: a map here, anything that can write on the condition that nothing changed.
//!
//! ```text
//! cargo run -p custom-database
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::post;
use tokio::sync::Mutex;
use tower::ServiceExt;
use tower_persistence::{
    Database, Error, Expected, PersistenceLayer, Record, Saved, User, Version, VersionedRecord,
};

/// The last version is one for all users: counted for each, it would come round again after a deletion.
#[derive(Debug, Default)]
struct MapDb(Mutex<(BTreeMap<String, VersionedRecord>, u64)>);

impl Database for MapDb {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        Ok(self.0.lock().await.0.get(id).cloned())
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let (records, last_version) = &mut *self.0.lock().await;
        let current = records.get(id);
        if current.map(|stored| &stored.version) != expected.version() {
            return Ok(Saved::Conflict(current.cloned()));
        }
        *last_version += 1;
        let stored =
            VersionedRecord { record: record.clone(), version: Version::from(*last_version) };
        records.insert(id.to_owned(), stored.clone());
        Ok(Saved::Written(stored.version))
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.0.lock().await.0.remove(id);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let visit = async |user: User| user.increment("visits", 1).map(|visits| visits.to_string());
    let app = Router::new().route("/", post(visit)).layer(PersistenceLayer::new(MapDb::default()));
    for _ in 0..2 {
        let request = r#"{"agent":"agent-1","conversationId":"user-1","requestId":"request-1"}"#;
        let response = app.clone().oneshot(Request::post("/").body(Body::from(request))?).await?;
        let text = axum::body::to_bytes(response.into_body(), usize::MAX).await?;
        println!("visit {}", String::from_utf8_lossy(&text));
    }
    // Two handles to one store, as two processes have them.
    let db = Arc::new(MapDb::default());
    tower_persistence::testing::conformance(async || Arc::clone(&db)).await;
    Ok(())
}
