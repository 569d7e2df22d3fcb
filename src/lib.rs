//! Middleware that gives voice and chat apps a memory.
//!
//! [`PersistenceLayer`] identifies the user behind each request from Alexa, Messenger, Slack or a
//! web chat, loads that user's data, and hands it to your handler as [`User`], [`Session`] and
//! [`History`]. Changes made by the handler are stored before the reply leaves.
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
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = PersistenceLayer::new(MemoryDb::new());
//! let app = Router::new().route("/", post(visit)).layer(layer);
//!
//! let from_alexa = r#"{"version":"1.0","context":{"System":{"user":{"userId":"user-1"}}},
//!     "request":{"type":"LaunchRequest","requestId":"request-1"}}"#;
//! for expected in ["This is visit 1", "This is visit 2"] {
//!     let request = Request::post("/").body(Body::from(from_alexa))?;
//!     let response = app.clone().oneshot(request).await?;
//!     let reply = axum::body::to_bytes(response.into_body(), 1024).await?;
//!     assert_eq!(reply, expected);
//! }
//! # Ok(()) }
//! ```
//!
//! **The user id comes from the request body, so anyone who reaches the service can claim any id.**
//! `VerifyLayer` (feature `verify`) checks that requests are genuine; the [verification
//! guide][_documentation::verify] has a section for each platform.
//!
//! # Request lifecycle
//!
#![doc = include_str!("../docs/lifecycle.svg")]
//!
//! The time limits and the answers to failures are options of [`PersistenceLayer`]; the statuses
//! are those of [`Error::status`].
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | reading and writing in a handler | [`User`], [`Session`], [`History`] |
//! | the user's data as a type of your own, with migrations | [`UserData`], [`Schema`] |
//! | answering at once and working later | [`AfterReply`] |
//! | a turn without a request: a job, a proactive message, a test | [`PersistenceLayer::turn`] |
//! | the options | [`PersistenceLayer`] |
//! | the elements that are stored | [`StoredElements`] |
//! | choosing and operating a database | the [databases guide][_documentation::databases] |
//! | choosing it at start, by a URL or Jovo's JSON | [`connect`], [`config`] |
//! | a database of your own | [`Database`], `testing::conformance` |
//! | platforms, and one of your own | the [platforms guide][_documentation::platforms], [`platform`] |
//! | checking that requests are genuine | the [verification guide][_documentation::verify], `VerifyLayer` |
//! | two processes that write the same user | [`OnConflict`] |
//! | replies that are streamed | [`TurnEnd`], [`StreamedTurn`] |
//! | requests while the database is down | [`OnOutage`], `CircuitBreaker` |
//! | logs, spans, metrics, alerts | the [operations guide][_documentation::operations] |
//! | errors | [`Error`] |
//! | a check of the raw body inside the layer | [`OriginalBody`] |
//! | hyper without axum | [`FromBuffered`] |
//! | coming from Jovo | the [Jovo guide][_documentation::jovo] |
//! | the reasons behind all this | the [design page][_documentation::design] |
//!
//! # Features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `file` | on | `FileDb`, the embedded database in a JSON file |
//! | `axum` | on | the handles as extractors, and [`Error`] as a response |
//! | `dynamodb` | | `DynamoDb`; requires Rust 1.94 |
//! | `aws-config` | | region and credentials of `DynamoDb` from the environment |
//! | `aws-login` | | the same, with the credentials of `aws login` (26 more packages) |
//! | `mongodb` | | `MongoDb` |
//! | `postgres` | | `PostgresDb` |
//! | `sqlite` | | `SqliteDb`, the embedded database in an SQLite file |
//! | `redis` | | `RedisDb`, for Redis and Valkey |
//! | `circuit-breaker` | | `CircuitBreaker` around any database, which fails fast while it is down |
//! | `lambda` | | `lambda_http::Body` as a request body, for functions without axum |
//! | `metrics` | | counters and histograms for the `metrics` crate |
//! | `user-hash` | | `PersistenceLayer::user_hash_key`, a keyed hash of the user id in spans |
//! | `verify` | | `VerifyLayer`, which checks that requests are genuine; needs a C compiler |
//! | `verify-http` | | `HttpFetcher`, with which it gets Alexa's certificates and the keys of tokens |
//! | `testing` | | the conformance suite for a database, and one that fails on purpose |
//!
//! # Requirements
//!
//! * Rust 1.89 or later, and a Tokio runtime with the time driver enabled.
//! * `serde_json`'s features are global to a program. This crate switches on `raw_value`,
//!   `preserve_order` and `float_roundtrip`. Do not enable `arbitrary_precision` beside them.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod body;
mod error;
mod fnv;
mod identify;
mod incoming;
mod inner;
mod layer;
mod length;
mod media_type;
mod observe;
mod options;
mod policy;
mod record;
mod service;
mod timestamp;
mod transaction;
mod turn;
mod under_way;
mod user_key;
mod verified;
mod within;

pub mod config;
pub mod database;
pub mod platform;
pub mod stored_elements;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "verify")]
pub mod verify;

#[doc(inline)]
pub use self::body::{FromBuffered, OriginalBody, ResponseBody};
#[doc(inline)]
pub use self::config::{PersistenceConfig, connect};
#[cfg(feature = "circuit-breaker")]
#[doc(inline)]
pub use self::database::CircuitBreaker;
#[cfg(all(feature = "sqlite", feature = "file"))]
#[doc(inline)]
pub use self::database::Imported;
#[doc(inline)]
pub use self::database::{
    AnyDatabase, Database, Expected, Loaded, MemoryDb, Saved, Version, VersionedRecord,
};
#[cfg(feature = "dynamodb")]
#[doc(inline)]
pub use self::database::{DynamoDb, DynamoDbBuilder};
#[cfg(feature = "file")]
#[doc(inline)]
pub use self::database::{FileDb, FileDbBuilder};
#[cfg(feature = "mongodb")]
#[doc(inline)]
pub use self::database::{MongoDb, MongoDbBuilder};
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use self::database::{PostgresDb, PostgresDbBuilder};
#[cfg(feature = "redis")]
#[doc(inline)]
pub use self::database::{RedisDb, RedisDbBuilder};
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use self::database::{SqliteDb, SqliteDbBuilder};
#[doc(inline)]
pub use self::error::{BoxError, Error};
#[doc(inline)]
pub use self::identify::Identify;
#[doc(inline)]
pub use self::layer::PersistenceLayer;
#[doc(inline)]
pub use self::platform::Platform;
#[doc(inline)]
pub use self::policy::{OnConflict, OnHangUp, OnOutage, TurnEnd};
#[doc(inline)]
pub use self::record::Record;
#[doc(inline)]
pub use self::service::{Persistence, ResponseFuture};
#[doc(inline)]
pub use self::stored_elements::StoredElements;
#[doc(inline)]
pub use self::turn::{
    AfterReply, Conversation, ConversationState, Handles, History, Message, MetaData, Migrated,
    Migrations, Schema, Session, StreamedTurn, User, UserData,
};
#[doc(inline)]
pub use self::user_key::UserId;
#[doc(inline)]
pub use self::verified::Verified;
#[cfg(feature = "verify")]
#[doc(inline)]
pub use self::verify::VerifyLayer;

/// Shows the guides as pages of this documentation.
///
/// The module exists only here, not in a build.
// The pages link to each other by file names, as GitHub needs it. A label that is defined in front
// of a page takes precedence over the page's own definition, so each link leads to the page here.
#[cfg(doc)]
pub mod _documentation {
    #[doc = "[operations guide]: operations"]
    #[doc = "[deleted users]: operations#deleted-users"]
    #[doc = "[Jovo guide]: jovo"]
    #[doc = ""]
    // As tests, the examples need every database.
    #[cfg_attr(
        any(not(doctest), all(feature = "dynamodb", feature = "mongodb")),
        doc = include_str!("../docs/databases.md")
    )]
    pub mod databases {}

    #[doc = "[platforms guide]: platforms"]
    #[doc = "[databases guide]: databases"]
    #[doc = "[operations guide]: operations"]
    #[doc = "[Jovo guide]: jovo"]
    #[doc = ""]
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = "[platforms guide]: platforms#keys-and-scopes"]
    #[doc = "[databases guide]: databases#erasure-and-tombstones"]
    #[doc = ""]
    #[doc = include_str!("../docs/jovo.md")]
    pub mod jovo {}

    #[doc = "[databases guide]: databases#erasure-and-tombstones"]
    #[doc = ""]
    #[doc = include_str!("../docs/operations.md")]
    pub mod operations {}

    #[doc = "[verification guide]: verify"]
    #[doc = ""]
    #[doc = include_str!("../docs/platforms.md")]
    pub mod platforms {}

    // As tests, the examples need the feature.
    #[cfg_attr(
        any(not(doctest), feature = "verify"),
        doc = include_str!("../docs/verify.md")
    )]
    pub mod verify {}
    #[doc = include_str!("../docs/scaling.md")]
    pub mod scaling {}
}

/// Runs the README's code with the tests.
#[cfg(all(doctest, feature = "axum", feature = "file"))]
#[doc = include_str!("../README.md")]
struct Readme;
