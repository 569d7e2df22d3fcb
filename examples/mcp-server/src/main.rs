//! Runs the server: see the crate's documentation.

use std::error::Error;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{EncodingKey, Header, encode};
use mcp_server::{Claims, app};
use tokio::net::TcpListener;
use tower_persistence::{Database, FileDb};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = std::env::var("JWT_SECRET").unwrap_or_else(|_| "only for trying it".to_owned());
    let database = FileDb::open("db/db.json").await?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;

    // An app leaves tokens to its identity provider.
    let expiry = SystemTime::now() + Duration::from_secs(3600);
    let exp = expiry.duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = Claims { sub: "anna".to_owned(), exp };
    let key = EncodingKey::from_secret(secret.as_bytes());
    println!("Listening on http://{}/mcp", listener.local_addr()?);
    println!("A token for one hour: {}", encode(&Header::default(), &claims, &key)?);

    axum::serve(listener, app(database.clone(), secret.as_bytes()))
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    database.close().await?;
    Ok(())
}
