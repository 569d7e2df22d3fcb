//! Opening the configured database.

use super::DatabaseConfig;
use crate::database::{AnyDatabase, MemoryDb};
use crate::error::Error;

impl DatabaseConfig {
    pub(crate) async fn open(self) -> Result<AnyDatabase, Error> {
        match self {
            Self::Memory => Ok(AnyDatabase::new(MemoryDb::new())),
            #[cfg(feature = "file")]
            Self::File(path) => crate::database::FileDb::open(path).await.map(AnyDatabase::new),
            #[cfg(not(feature = "file"))]
            Self::File(_) => Err(without("file")),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(config) => config.open().await,
            #[cfg(not(feature = "dynamodb"))]
            Self::DynamoDb(_) => Err(without("dynamodb")),
            #[cfg(feature = "mongodb")]
            Self::MongoDb(config) => config.open().await,
            #[cfg(not(feature = "mongodb"))]
            Self::MongoDb(_) => Err(without("mongodb")),
            #[cfg(feature = "postgres")]
            Self::Postgres(config) => config.open().await,
            #[cfg(not(feature = "postgres"))]
            Self::Postgres(_) => Err(without("postgres")),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(config) => config.open().await,
            #[cfg(not(feature = "sqlite"))]
            Self::Sqlite(_) => Err(without("sqlite")),
            #[cfg(feature = "redis")]
            Self::Redis(config) => config.open().await,
            #[cfg(not(feature = "redis"))]
            Self::Redis(_) => Err(without("redis")),
        }
    }
}

#[cfg(feature = "dynamodb")]
impl super::DynamoDbConfig {
    async fn open(self) -> Result<AnyDatabase, Error> {
        let mut builder = crate::database::DynamoDb::builder(self.table);
        if let Some(region) = self.region {
            builder = builder.region(region);
        }
        if let Some(endpoint) = self.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        if let Some((access_key_id, secret_access_key)) = self.credentials {
            builder = builder.credentials(access_key_id.0, secret_access_key.0);
        }
        if let Some(partition_key) = self.partition_key {
            builder = builder.partition_key(partition_key);
        }
        if let Some((name, value)) = self.sort_key {
            builder = builder.sort_key(name, value);
        }
        if let Some(prefix) = self.key_prefix {
            builder = builder.key_prefix(prefix);
        }
        if let Some(create) = self.create_table {
            builder = builder.create_table(create);
        }
        if let Some((read, write)) = self.provisioned {
            builder = builder.provisioned(read, write);
        }
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(ready_timeout) = self.ready_timeout {
            builder = builder.ready_timeout(ready_timeout);
        }
        builder.build().await.map(AnyDatabase::new)
    }
}

#[cfg(feature = "mongodb")]
impl super::MongoDbConfig {
    async fn open(self) -> Result<AnyDatabase, Error> {
        let mut builder = crate::database::MongoDb::builder().uri(self.uri.0);
        if let Some(database) = self.database {
            builder = builder.database(database);
        }
        if let Some(collection) = self.collection {
            builder = builder.collection(collection);
        }
        builder.connect().await.map(AnyDatabase::new)
    }
}

#[cfg(feature = "postgres")]
impl super::PostgresConfig {
    async fn open(self) -> Result<AnyDatabase, Error> {
        let mut builder = crate::database::PostgresDb::builder().url(self.url.0);
        if let Some(table) = self.table {
            builder = builder.table(table);
        }
        if let Some(create) = self.create_table {
            builder = builder.create_table(create);
        }
        if let Some(connections) = self.max_connections {
            builder = builder.max_connections(connections);
        }
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(ready_timeout) = self.ready_timeout {
            builder = builder.ready_timeout(ready_timeout);
        }
        builder.connect().await.map(AnyDatabase::new)
    }
}

#[cfg(feature = "sqlite")]
impl super::SqliteConfig {
    async fn open(self) -> Result<AnyDatabase, Error> {
        let mut builder = crate::database::SqliteDb::builder(self.path);
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        builder.open().await.map(AnyDatabase::new)
    }
}

#[cfg(feature = "redis")]
impl super::RedisConfig {
    async fn open(self) -> Result<AnyDatabase, Error> {
        let mut builder = crate::database::RedisDb::builder().url(self.url.0);
        if let Some(prefix) = self.prefix {
            builder = builder.prefix(prefix);
        }
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some((count, timeout)) = self.wait_replicas {
            builder = builder.wait_replicas(count, timeout);
        }
        builder.connect().await.map(AnyDatabase::new)
    }
}

#[cfg(not(all(
    feature = "file",
    feature = "dynamodb",
    feature = "mongodb",
    feature = "postgres",
    feature = "sqlite",
    feature = "redis"
)))]
fn without(feature: &str) -> Error {
    let message = format!(
        "the feature `{feature}` is off; enable it in tower-persistence to use this database"
    );
    Error::new(crate::error::Kind::Configuration, message)
}
