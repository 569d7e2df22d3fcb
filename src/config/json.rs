//! Deserializing the configuration from Jovo's JSON.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::{
    DatabaseConfig, DynamoDbConfig, MongoDbConfig, PersistenceConfig, PostgresConfig, RedisConfig,
    Secret, SqliteConfig,
};
use crate::stored_elements::StoredElements;

type Settings = Map<String, Value>;

impl<'de> Deserialize<'de> for PersistenceConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let settings = Settings::deserialize(deserializer)?;
        read(settings).map_err(D::Error::custom)
    }
}

fn read(mut settings: Settings) -> Result<PersistenceConfig, String> {
    if let Some(db) = settings.shift_remove("db") {
        if let Some(name) = settings.keys().next() {
            return Err(format!(
                "unknown key `{name}` beside `db`; move it into `db`, or remove it"
            ));
        }
        settings = match db {
            Value::Object(db) => db,
            _ => {
                return Err(
                    "`db` is not an object; set it to the settings of the database".to_owned()
                );
            }
        };
    }
    let stored_elements = match settings.shift_remove("storedElements") {
        Some(elements) => StoredElements::deserialize(elements)
            .map_err(|error| format!("`storedElements`: {error}"))?,
        None => StoredElements::default(),
    };
    let database = match kind(&mut settings)?.as_str() {
        "file" => DatabaseConfig::File(parse::<File>(settings)?.path()?),
        "memory" => {
            let Nothing {} = parse(settings)?;
            DatabaseConfig::Memory
        }
        "dynamodb" => DatabaseConfig::DynamoDb(Box::new(parse::<DynamoDb>(settings)?.config()?)),
        "mongodb" => DatabaseConfig::MongoDb(parse::<MongoDb>(settings)?.config()),
        "postgres" | "postgresql" => {
            DatabaseConfig::Postgres(parse::<Postgres>(settings)?.config())
        }
        "sqlite" => DatabaseConfig::Sqlite(parse::<Sqlite>(settings)?.config()),
        "redis" => DatabaseConfig::Redis(parse::<Redis>(settings)?.config()?),
        _ => {
            return Err("`type` is not a known database; set it to `file`, `memory`, `sqlite`, \
                        `dynamodb`, `mongodb`, `postgres` or `redis`"
                .to_owned());
        }
    };
    Ok(PersistenceConfig { database, stored_elements })
}

/// Returns the database that `type` names, or that the other keys imply.
fn kind(settings: &mut Settings) -> Result<String, String> {
    if let Some(kind) = settings.shift_remove("type") {
        let kind = kind.as_str().ok_or("`type` is not text; set it to the name of a database")?;
        return Ok(kind.to_ascii_lowercase());
    }
    let has = |names: &[&str]| names.iter().any(|name| settings.contains_key(*name));
    let kind = if has(&["table", "tableName"]) {
        "dynamodb"
    } else if has(&["connectionString", "uri"]) {
        "mongodb"
    } else {
        "file"
    };
    Ok(kind.to_owned())
}

/// Parses the settings of a database. serde's own errors quote values, which may be passwords.
fn parse<T: DeserializeOwned>(settings: Settings) -> Result<T, String> {
    T::deserialize(Value::Object(settings)).map_err(|error| {
        let error = error.to_string();
        let names_a_key = ["unknown field", "missing field"].iter().any(|it| error.starts_with(it));
        if names_a_key {
            error
        } else {
            "a setting of the database has another type than expected; compare the settings with \
             the docs of `PersistenceConfig`"
                .to_owned()
        }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    local_db_filename: Option<String>,
    path_to_file: Option<PathBuf>,
}

impl File {
    fn path(self) -> Result<PathBuf, String> {
        match (self.path_to_file, self.local_db_filename) {
            (Some(_), Some(_)) => {
                Err("`pathToFile` and `localDbFilename` both name a file; remove one".to_owned())
            }
            (Some(path), None) => Ok(path),
            (None, name) => Ok(format!("db/{}.json", name.as_deref().unwrap_or("db")).into()),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DynamoDb {
    table: Option<Table>,
    // Versions 1 and 3 have the table's settings here.
    table_name: Option<String>,
    create_table_on_init: Option<bool>,
    primary_key_column: Option<String>,
    primary_key_prefix: Option<String>,
    #[serde(default)]
    prefix_primary_key_with_platform: bool,
    sort_key_column: Option<String>,
    sort_key: Option<String>,
    aws_config: Option<AwsConfig>,
    timeout_ms: Option<u64>,
    ready_timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Table {
    name: String,
    create_table_on_init: Option<bool>,
    primary_key_column: Option<String>,
    read_capacity_units: Option<u32>,
    write_capacity_units: Option<u32>,
    billing_mode: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AwsConfig {
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    region: Option<String>,
    endpoint: Option<String>,
}

impl DynamoDb {
    fn config(self) -> Result<DynamoDbConfig, String> {
        let mut config = DynamoDbConfig {
            partition_key: self.primary_key_column,
            key_prefix: self.primary_key_prefix.filter(|prefix| !prefix.is_empty()),
            has_platform_prefix: self.prefix_primary_key_with_platform,
            create_table: self.create_table_on_init,
            timeout: self.timeout_ms.map(Duration::from_millis),
            ready_timeout: self.ready_timeout_ms.map(Duration::from_millis),
            // Version 3 always uses this value.
            sort_key: self.sort_key_column.map(|name| {
                (name, self.sort_key.unwrap_or_else(|| "USER#jovo.user.data".to_owned()))
            }),
            ..DynamoDbConfig::default()
        };
        match (self.table_name, self.table) {
            (Some(name), None) => config.table = name,
            (None, Some(table)) => table.put_into(&mut config)?,
            _ => {
                return Err(
                    "the table is not named exactly once; set either `table` or `tableName`"
                        .to_owned(),
                );
            }
        }
        if let Some(aws) = self.aws_config {
            config.region = aws.region;
            config.endpoint = aws.endpoint;
            config.credentials = match (aws.access_key_id, aws.secret_access_key) {
                (Some(id), Some(secret)) => Some((Secret(id), Secret(secret))),
                (None, None) => None,
                _ => {
                    return Err(
                        "only one of `accessKeyId` and `secretAccessKey` is set; set both, \
                                or neither"
                            .to_owned(),
                    );
                }
            };
        }
        Ok(config)
    }
}

impl Table {
    fn put_into(self, config: &mut DynamoDbConfig) -> Result<(), String> {
        config.table = self.name;
        config.partition_key = self.primary_key_column.or(config.partition_key.take());
        config.create_table = self.create_table_on_init.or(config.create_table);
        let units = (self.read_capacity_units, self.write_capacity_units);
        config.provisioned = match (self.billing_mode.as_deref(), units) {
            (Some("PAY_PER_REQUEST"), _) | (None, (None, None)) => None,
            // Version 4 defaults to 2 of each.
            (Some("PROVISIONED") | None, (read, write)) => {
                Some((read.unwrap_or(2), write.unwrap_or(2)))
            }
            (Some(_), _) => {
                return Err("`billingMode` is not a known mode; set it to `PAY_PER_REQUEST` or \
                            `PROVISIONED`"
                    .to_owned());
            }
        };
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MongoDb {
    #[serde(alias = "uri")]
    connection_string: String,
    database_name: Option<String>,
    collection_name: Option<String>,
}

impl MongoDb {
    fn config(self) -> MongoDbConfig {
        MongoDbConfig {
            uri: Secret(self.connection_string),
            database: self.database_name,
            collection: self.collection_name,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Postgres {
    #[serde(alias = "uri")]
    connection_string: String,
    table_name: Option<String>,
    create_table_on_init: Option<bool>,
    max_connections: Option<usize>,
    timeout_ms: Option<u64>,
    ready_timeout_ms: Option<u64>,
}

impl Postgres {
    fn config(self) -> PostgresConfig {
        PostgresConfig {
            url: Secret(self.connection_string),
            table: self.table_name,
            create_table: self.create_table_on_init,
            max_connections: self.max_connections,
            timeout: self.timeout_ms.map(Duration::from_millis),
            ready_timeout: self.ready_timeout_ms.map(Duration::from_millis),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sqlite {
    path_to_file: Option<PathBuf>,
    timeout_ms: Option<u64>,
}

impl Sqlite {
    fn config(self) -> SqliteConfig {
        SqliteConfig {
            path: self.path_to_file.unwrap_or_else(|| "db/users.sqlite".into()),
            timeout: self.timeout_ms.map(Duration::from_millis),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Redis {
    url: String,
    prefix: Option<String>,
    timeout_ms: Option<u64>,
    wait_replicas: Option<u32>,
    wait_timeout_ms: Option<u64>,
}

impl Redis {
    fn config(self) -> Result<RedisConfig, String> {
        let wait_timeout = self.wait_timeout_ms.map(Duration::from_millis);
        if wait_timeout.is_some() && self.wait_replicas.is_none() {
            return Err(
                "`waitTimeoutMs` is set without `waitReplicas`; set both, or neither".to_owned()
            );
        }
        let timeout = wait_timeout.unwrap_or(RedisConfig::WAIT_TIMEOUT);
        Ok(RedisConfig {
            url: Secret(self.url),
            prefix: self.prefix,
            timeout: self.timeout_ms.map(Duration::from_millis),
            wait_replicas: self.wait_replicas.map(|count| (count, timeout)),
        })
    }
}
