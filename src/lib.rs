//! A Tower middleware that gives voice and chat apps a memory.
//!
//! [`PersistenceLayer`] finds out from the request's body whose request it is, loads what is stored of that user, and puts it
//! where the handler reaches it: as [`User`], [`Session`] and [`History`]. What the handler changes is stored before the
//! reply leaves. It is the persistence layer of [Jovo](https://www.jovo.tech) for Rust.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::post};
//! use tower::ServiceExt;
//! use tower_persistence::{Error, MemoryDb, PersistenceLayer, User};
//!
//! async fn visit(user: User) -> Result<String, Error> {
//!     let visits = user.increment("visits", 1)?;
//!     Ok(format!("This is visit {visits}"))
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = PersistenceLayer::new(MemoryDb::new());
//! let app = Router::new().route("/", post(visit)).layer(layer);
//!
//! let from_alexa = r#"{"version":"1.0","context":{"System":{"user":{"userId":"user-1"}}},
//!     "request":{"type":"LaunchRequest","requestId":"request-1"}}"#;
//! for expected in ["This is visit 1", "This is visit 2"] {
//!     let response = app.clone().oneshot(Request::post("/").body(Body::from(from_alexa))?).await?;
//!     let reply = axum::body::to_bytes(response.into_body(), 1024).await?;
//!     assert_eq!(reply, expected);
//! }
//! # Ok(()) }
//! ```
//!
//! **The user id is data from outside.** Whether a request is genuine has to be checked in front of the layer, for instance by
//! Alexa's signature; the README says for each platform by what.
//!
//! # The way of a request
//!
//! 1. *Recognise.* A body that is JSON is buffered up to
//!    [`body_limit`](PersistenceLayer::body_limit) and the [`platform`]s are asked in turn. GET, HEAD
//!    and OPTIONS requests and other bodies pass through unread, and what no platform claims byte for
//!    byte.
//! 2. *Order.* Two requests of one user run one after the other.
//! 3. *Load.* If that fails, the handler does not run, and nothing can be saved over what was not read.
//! 4. *Call.* The handler gets the same bytes and, in the request's extensions, the handles.
//! 5. *Seal.* From here on writing through a handle is an error. No change, no write.
//! 6. *Save*, on the condition that what was loaded is still what is stored. Only then does the reply go out; a client that hangs up
//!    meanwhile changes nothing about it.
//!
//! A handler that panics, fails or answers with a 5xx stores nothing.
//!
//! # Where to look
//!
//! * What a handler holds: [`User`], [`Session`], [`History`]; the user's data as a type of yours: [`UserData`].
//! * The options: [`PersistenceLayer`]; what is stored: [`StoredElements`].
//! * Where it is stored, and a database of your own: [`database`]; choosing at start: [`connect`], [`config`].
//! * What happens when two processes or an outage meet: [`OnConflict`], [`OnOutage`].
//! * Whose request it is, and a platform of your own: [`platform`].
//! * What can go wrong, and what is answered then: [`Error`].
//! * A check of the raw body inside the layer: [`OriginalBody`].
//! * Without axum: [`FromBuffered`], and `examples/hyper_server.rs`.
//!
//! # Features
//!
//! | feature | default | |
//! | --- | --- | --- |
//! | `file` | on | the database in a JSON file, `FileDb` |
//! | `axum` | on | the handles as extractors, [`Error`] as a response |
//! | `dynamodb`, `aws-config` | | `DynamoDb`, and its region and credentials from the environment |
//! | `mongodb` | | `MongoDb` |
//! | `sqlite` | | `SqliteDb`, the embedded database SQLite |
//! | `circuit-breaker` | | `CircuitBreaker` around any database: one that is dead is not waited for |
//! | `lambda` | | `lambda_http::Body` as a request body |
//! | `testing` | | `testing`: what a database of your own has to pass |
//! | `metrics` | | counters and histograms for the `metrics` crate |
//! | `user-hash` | | [`PersistenceLayer`]'s `user_hash_key`: a keyed hash of the user id in spans and failures |
//!
//! A tokio runtime with its time enabled is needed.

mod body;
mod error;
mod fnv;
mod incoming;
mod layer;
mod observe;
mod options;
mod policy;
mod record;
mod service;
mod timestamp;
mod transaction;
mod turn;
mod user_key;

pub mod config;
pub mod database;
pub mod platform;
pub mod stored_elements;
#[cfg(feature = "testing")]
pub mod testing;

pub use self::body::{FromBuffered, OriginalBody, ResponseBody};
pub use self::config::{PersistenceConfig, connect};
#[cfg(feature = "circuit-breaker")]
pub use self::database::CircuitBreaker;
#[cfg(all(feature = "sqlite", feature = "file"))]
pub use self::database::Imported;
pub use self::database::{
    AnyDatabase, Database, Expected, Loaded, MemoryDb, Saved, Version, VersionedRecord,
};
#[cfg(feature = "dynamodb")]
pub use self::database::{DynamoDb, DynamoDbBuilder};
#[cfg(feature = "file")]
pub use self::database::{FileDb, FileDbBuilder};
#[cfg(feature = "mongodb")]
pub use self::database::{MongoDb, MongoDbBuilder};
#[cfg(feature = "sqlite")]
pub use self::database::{SqliteDb, SqliteDbBuilder};
pub use self::error::{BoxError, Error};
pub use self::layer::PersistenceLayer;
pub use self::platform::Platform;
pub use self::policy::{OnConflict, OnOutage};
pub use self::record::Record;
pub use self::service::{Persistence, ResponseFuture};
pub use self::stored_elements::StoredElements;
pub use self::turn::{History, MetaData, Migrated, Migrations, Schema, Session, User, UserData};
pub use self::user_key::UserId;

/// Runs the README's code with the tests.
#[cfg(all(doctest, feature = "axum", feature = "file"))]
#[doc = include_str!("../README.md")]
struct Readme;
