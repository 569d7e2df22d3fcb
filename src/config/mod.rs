//! Configuring at startup: the database from a url, or the database and the stored elements from
//! Jovo's JSON.
//!
//! ```
//! use tower_persistence::config::PersistenceConfig;
//! use tower_persistence::PersistenceLayer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: PersistenceConfig = serde_json::from_str(
//!     r#"{ "db": { "type": "memory", "storedElements": { "session": true } } }"#,
//! )?;
//! let layer = PersistenceLayer::from_config(config).await?;
//! # Ok(()) }
//! ```

mod connect;
mod json;
mod open;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::connect::connect;
use crate::stored_elements::StoredElements;

/// The database and the stored elements, read from Jovo's JSON configuration (v1 to v4).
///
/// It deserializes from the configuration of the database, with or without the object `db` around
/// it. Either `type` or the other keys identify the database:
///
/// | database | JSON |
/// | --- | --- |
/// | file `db/db.json` | `{}`, `{"type": "file"}` |
/// | file `db/users.json` | `{"type": "file", "localDbFilename": "users"}` |
/// | file, relative to the working directory | `{"pathToFile": "../db/db.json"}` |
/// | memory | `{"type": "memory"}` |
/// | SQLite `db/users.sqlite` | `{"type": "sqlite"}`, also with `pathToFile` and `timeoutMs` |
/// | DynamoDB | `{"table": {"name": "…"}}`, `{"tableName": "…"}` |
/// | MongoDB | `{"connectionString": "…", "databaseName": "…", "collectionName": "…"}` |
/// | PostgreSQL | `{"type": "postgres", "connectionString": "…", "tableName": "…"}`, also with `createTableOnInit`, `maxConnections`, `timeoutMs` and `readyTimeoutMs` |
/// | Redis | `{"type": "redis", "url": "redis://…"}`, also with `prefix`, `timeoutMs`, `waitReplicas` and `waitTimeoutMs` |
///
/// Every database accepts `storedElements`: see [`StoredElements`]. An unknown key is an error that
/// names it.
///
/// DynamoDB accepts the keys of each version of Jovo:
///
/// * v1: `tableName`, and `awsConfig` with `accessKeyId`, `secretAccessKey` and `region`.
/// * v3: also `createTableOnInit`, `primaryKeyColumn`, `primaryKeyPrefix`,
///   `prefixPrimaryKeyWithPlatform`, `sortKeyColumn` and `sortKey`.
/// * v4: `table` with `name`, `primaryKeyColumn`, `createTableOnInit`, `billingMode`,
///   `readCapacityUnits` and `writeCapacityUnits`. Without `billingMode` or capacity units, a table
///   is created with on-demand billing.
///
/// In addition, `awsConfig` accepts `endpoint`, and `timeoutMs` and `readyTimeoutMs` set time-outs
/// in milliseconds. Without `awsConfig`, region and credentials come from the environment.
///
/// ```
/// use tower_persistence::config::PersistenceConfig;
///
/// let config: PersistenceConfig = serde_json::from_str(
///     r#"{ "table": { "name": "Users" }, "storedElements": { "history": { "size": 5 } } }"#,
/// )?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PersistenceConfig {
    pub(crate) database: DatabaseConfig,
    pub(crate) stored_elements: StoredElements,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DatabaseConfig {
    File(PathBuf),
    Memory,
    DynamoDb(Box<DynamoDbConfig>),
    MongoDb(MongoDbConfig),
    Postgres(PostgresConfig),
    Sqlite(SqliteConfig),
    Redis(RedisConfig),
}

impl DatabaseConfig {
    /// Returns whether keys begin with the platform's type, as with Jovo v3's
    /// `prefixPrimaryKeyWithPlatform`.
    pub(crate) fn has_platform_prefix(&self) -> bool {
        matches!(self, Self::DynamoDb(config) if config.has_platform_prefix)
    }
}

/// Returns the key under Jovo v3's `prefixPrimaryKeyWithPlatform`: v3's class for the platform, and
/// the user id.
pub(crate) fn jovo_v3_key(platform: &str, user_id: &str) -> String {
    let class = match platform {
        "alexa" => "AlexaSkill",
        "core" => "CorePlatformApp",
        "web" => "WebApp",
        "googleassistant" | "dialogflow-google" => "GoogleAction",
        "dialogflow" => "DialogflowAgent",
        "facebookmessenger" => "MessengerBot",
        "googlebusiness" => "GoogleBusinessBot",
        "lex" => "LexBot",
        own => own,
    };
    format!("{class}::{user_id}")
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DynamoDbConfig {
    pub(crate) table: String,
    pub(crate) region: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) credentials: Option<(Secret, Secret)>,
    pub(crate) partition_key: Option<String>,
    pub(crate) sort_key: Option<(String, String)>,
    pub(crate) key_prefix: Option<String>,
    pub(crate) has_platform_prefix: bool,
    pub(crate) create_table: Option<bool>,
    pub(crate) provisioned: Option<(u32, u32)>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ready_timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MongoDbConfig {
    /// Includes the user name and password.
    pub(crate) uri: Secret,
    pub(crate) database: Option<String>,
    pub(crate) collection: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PostgresConfig {
    /// Includes the user name and password.
    pub(crate) url: Secret,
    pub(crate) table: Option<String>,
    pub(crate) create_table: Option<bool>,
    pub(crate) max_connections: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) ready_timeout: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SqliteConfig {
    pub(crate) path: PathBuf,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RedisConfig {
    /// Includes the user name and password.
    pub(crate) url: Secret,
    pub(crate) prefix: Option<String>,
    pub(crate) timeout: Option<Duration>,
    /// The number of replicas that have to confirm a save, and the time limit.
    pub(crate) wait_replicas: Option<(u32, Duration)>,
}

impl RedisConfig {
    /// The time for which replicas are waited for where only their number is set.
    pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(1);
}

/// Text that `Debug` does not show.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
