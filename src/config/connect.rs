//! Opening a database from a url.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{
    DatabaseConfig, DynamoDbConfig, MongoDbConfig, PostgresConfig, RedisConfig, Secret,
    SqliteConfig,
};
use crate::database::AnyDatabase;
use crate::error::{Error, Kind};

const KNOWN: &str = "`file:` followed by a path, as in `file:db/db.json`, `memory:`, `sqlite:` \
                     followed by a path, `dynamodb://` followed by a table, `mongodb://`, \
                     `postgres://`, or `redis://`";

/// Opens the database that `url` names, so that one program can use a file in development and
/// another database in production.
///
/// | url | database | feature |
/// | --- | --- | --- |
/// | `file:db/db.json` | `FileDb` | `file` |
/// | `memory:` | [`MemoryDb`](crate::MemoryDb) | |
/// | `sqlite:db/users.sqlite` | `SqliteDb` | `sqlite` |
/// | `dynamodb://Table?region=eu-west-1` | `DynamoDb` | `dynamodb` |
/// | `mongodb://host/database?collection=users` | `MongoDb`, also with `mongodb+srv:` | `mongodb` |
/// | `postgres://host/database?table=users` | `PostgresDb`, also with `postgresql:` | `postgres` |
/// | `redis://host:6379/0?prefix=app:` | `RedisDb`, also with `rediss:`, `valkey:`, `valkeys:` | `redis` |
///
/// * `file:` and `sqlite:` are followed by the path, absolute or relative. Nothing in it is
///   decoded.
/// * `dynamodb:` has the options `region`, `endpoint`, `create_table=false`, and in milliseconds
///   `timeout_ms` and `ready_timeout_ms`. To take credentials from the environment, enable the
///   feature `aws-config`.
/// * `mongodb:` has the option `collection`. The rest of the url is passed to the driver.
/// * `postgres:` has the options `table`, `create_table=false`, `max_connections`, and in
///   milliseconds `timeout_ms` and `ready_timeout_ms`. The rest of the url is passed to the client.
/// * `redis:` has the options `prefix`, `timeout_ms`, `wait_replicas` with `wait_timeout_ms` (1,000
///   by default), and the client's own `protocol`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_persistence::Error> {
/// let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| "memory:".to_owned());
/// let db = tower_persistence::connect(&url).await?;
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// * The url is none of these, or the feature is off
///   ([`is_configuration`](Error::is_configuration)). The error shows only the scheme of the url
///   and the names of its options, because the rest may hold a password.
/// * The database cannot be opened.
pub async fn connect(url: &str) -> Result<AnyDatabase, Error> {
    parse(url).map_err(|message| Error::new(Kind::Configuration, message))?.open().await
}

type Message = Cow<'static, str>;

fn parse(url: &str) -> Result<DatabaseConfig, Message> {
    let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return Err(format!(
            "the database url does not begin with a scheme such as `file:`; use {KNOWN}"
        )
        .into());
    };
    match scheme.to_ascii_lowercase().as_str() {
        "file" => path("file", rest, "db.json").map(DatabaseConfig::File),
        "sqlite" => path("sqlite", rest, "users.sqlite")
            .map(|path| DatabaseConfig::Sqlite(SqliteConfig { path, ..SqliteConfig::default() })),
        "memory" if rest.is_empty() => Ok(DatabaseConfig::Memory),
        "memory" => Err("unexpected text after `memory:` in the database url; remove it".into()),
        "dynamodb" => dynamodb(rest),
        "mongodb" | "mongodb+srv" => Ok(mongodb(url)),
        "postgres" | "postgresql" => postgres(url),
        "redis" | "rediss" | "valkey" | "valkeys" => redis(url),
        _ => Err(format!("unknown scheme `{scheme}` in the database url; use {KNOWN}").into()),
    }
}

fn path(scheme: &str, path: &str, example: &str) -> Result<PathBuf, Message> {
    if path.is_empty() {
        return Err(format!(
            "the path after `{scheme}:` in the database url is empty; write it as in \
             `{scheme}:db/{example}`"
        )
        .into());
    }
    // Such a path is probably meant to be relative, but would be taken as absolute.
    if path.starts_with("//") && !path.starts_with("///") {
        return Err(format!(
            "a host after `{scheme}://` in the database url is not supported; write \
             `{scheme}:db/{example}`, or `{scheme}:/srv/{example}` for an absolute path"
        )
        .into());
    }
    Ok(path.into())
}

fn dynamodb(rest: &str) -> Result<DatabaseConfig, Message> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (table, options) = rest.split_once('?').unwrap_or((rest, ""));
    let table = decode(table.trim_end_matches('/'));
    if table.is_empty() {
        return Err("the table after `dynamodb://` in the database url is missing; add it".into());
    }
    let mut config = DynamoDbConfig { table, ..DynamoDbConfig::default() };
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decode(value);
        match (name, value.as_str()) {
            ("region", _) => config.region = Some(value),
            ("endpoint", _) => config.endpoint = Some(value),
            ("create_table", "true") => config.create_table = Some(true),
            ("create_table", "false") => config.create_table = Some(false),
            ("create_table", _) => {
                return Err("`create_table` in the database url is not a boolean; \
                            set it to `true` or `false`"
                    .into());
            }
            ("timeout_ms", _) => config.timeout = Some(milliseconds(name, &value)?),
            ("ready_timeout_ms", _) => config.ready_timeout = Some(milliseconds(name, &value)?),
            _ => {
                return Err(format!(
                    "unknown option `{name}` in the database url; use `region`, `endpoint`, \
                     `create_table`, `timeout_ms` or `ready_timeout_ms`"
                )
                .into());
            }
        }
    }
    Ok(DatabaseConfig::DynamoDb(Box::new(config)))
}

fn milliseconds(name: &str, value: &str) -> Result<Duration, Message> {
    value.parse().map(Duration::from_millis).map_err(|_| {
        format!(
            "`{name}` in the database url is not a number of milliseconds; write it as in \
             `{name}=5000`"
        )
        .into()
    })
}

/// Returns the configuration of a MongoDB url, without `collection`: the driver rejects options
/// that it does not know.
fn mongodb(url: &str) -> DatabaseConfig {
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let is_ours = |option: &&str| option.starts_with("collection=");
    let collection = options.split('&').find(is_ours);
    let collection = collection.and_then(|option| option.split_once('=')).map(|(_, it)| decode(it));
    let others: Vec<&str> =
        options.split('&').filter(|it| !it.is_empty() && !is_ours(it)).collect();
    let uri = match others.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", others.join("&")),
    };
    DatabaseConfig::MongoDb(MongoDbConfig { uri: Secret(uri), database: None, collection })
}

/// Returns the configuration of a PostgreSQL url, without the options that the client does not
/// know.
fn postgres(url: &str) -> Result<DatabaseConfig, Message> {
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let (mut config, mut others) = (PostgresConfig::default(), Vec::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decode(value);
        match (name, value.as_str()) {
            ("table", _) => config.table = Some(value),
            ("create_table", "true") => config.create_table = Some(true),
            ("create_table", "false") => config.create_table = Some(false),
            ("create_table", _) => {
                return Err("`create_table` in the database url is not a boolean; \
                            set it to `true` or `false`"
                    .into());
            }
            ("max_connections", number) => {
                let number = number.parse().map_err(|_| {
                    "`max_connections` in the database url is not a number; write it as in \
                     `max_connections=10`"
                })?;
                config.max_connections = Some(number);
            }
            ("timeout_ms", _) => config.timeout = Some(milliseconds(name, &value)?),
            ("ready_timeout_ms", _) => config.ready_timeout = Some(milliseconds(name, &value)?),
            _ => others.push(option),
        }
    }
    let url = match others.is_empty() {
        true => address.to_owned(),
        false => format!("{address}?{}", others.join("&")),
    };
    Ok(DatabaseConfig::Postgres(PostgresConfig { url: Secret(url), ..config }))
}

/// Returns the configuration of a Redis url, which keeps the options of the client.
fn redis(url: &str) -> Result<DatabaseConfig, Message> {
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, it)| (url, Some(it)));
    let (address, options) = url.split_once('?').unwrap_or((url, ""));
    let mut config = RedisConfig {
        url: Secret(String::new()),
        prefix: None,
        timeout: None,
        wait_replicas: None,
    };
    let (mut replicas, mut wait_timeout, mut own) = (None, None, Vec::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decode(value);
        match name {
            "prefix" => config.prefix = Some(value),
            "timeout_ms" => config.timeout = Some(milliseconds(name, &value)?),
            "wait_timeout_ms" => wait_timeout = Some(milliseconds(name, &value)?),
            "wait_replicas" => {
                let count = value.parse().map_err(|_| {
                    "`wait_replicas` in the database url is not a number; write it as in \
                     `wait_replicas=1`"
                })?;
                replicas = Some(count);
            }
            "protocol" => own.push(option),
            // The rest of a password that contains a `?` would be taken for options.
            _ if option.contains('@') => {
                return Err("an `@` follows the `?` of the database url; in a password write \
                            `%3F` for a `?`"
                    .into());
            }
            _ => {
                return Err(format!(
                    "unknown option `{name}` in the database url; use `prefix`, `timeout_ms`, \
                     `wait_replicas`, `wait_timeout_ms` or `protocol`"
                )
                .into());
            }
        }
    }
    if wait_timeout.is_some() && replicas.is_none() {
        return Err("`wait_timeout_ms` in the database url needs `wait_replicas`; set both, or \
                    neither"
            .into());
    }
    let wait_timeout = wait_timeout.unwrap_or(RedisConfig::WAIT_TIMEOUT);
    config.wait_replicas = replicas.map(|count| (count, wait_timeout));
    let mut url = address.to_owned();
    if !own.is_empty() {
        url = format!("{url}?{}", own.join("&"));
    }
    if let Some(fragment) = fragment {
        url = format!("{url}#{fragment}");
    }
    config.url = Secret(url);
    Ok(DatabaseConfig::Redis(config))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|each| each.is_ascii_alphanumeric() || "+-.".contains(each))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamodb_url_has_a_table_and_options() {
        let url = "dynamodb://My-Table?region=eu-west-1&endpoint=http%3A%2F%2Flocalhost%3A8000&create_table=false&timeout_ms=5000&ready_timeout_ms=60000";
        let expected = DynamoDbConfig {
            table: "My-Table".to_owned(),
            region: Some("eu-west-1".to_owned()),
            endpoint: Some("http://localhost:8000".to_owned()),
            create_table: Some(false),
            timeout: Some(Duration::from_secs(5)),
            ready_timeout: Some(Duration::from_secs(60)),
            ..DynamoDbConfig::default()
        };
        assert_eq!(parse(url), Ok(DatabaseConfig::DynamoDb(Box::new(expected))));
        let expected = DynamoDbConfig { table: "T".to_owned(), ..DynamoDbConfig::default() };
        assert_eq!(parse("dynamodb://T"), Ok(DatabaseConfig::DynamoDb(Box::new(expected))));
        for (url, why) in [
            ("dynamodb://", "the table"),
            ("dynamodb://T?tabel=SECRET", "`tabel`"),
            ("dynamodb://T?create_table=SECRET", "`create_table`"),
            ("dynamodb://T?timeout_ms=SECRET", "`timeout_ms`"),
            ("dynamodb://T?ready_timeout_ms=-1", "`ready_timeout_ms`"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(why) && !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_mongodb_url_is_the_drivers_but_for_the_collection() {
        for (url, uri, collection) in [
            ("mongodb://a:b@h1,h2/db", "mongodb://a:b@h1,h2/db", None),
            ("mongodb://h/db?collection=my%20users", "mongodb://h/db", Some("my users")),
            (
                "mongodb+srv://h/?w=1&collection=u&tls=true",
                "mongodb+srv://h/?w=1&tls=true",
                Some("u"),
            ),
        ] {
            let expected = MongoDbConfig {
                uri: Secret(uri.to_owned()),
                database: None,
                collection: collection.map(str::to_owned),
            };
            assert_eq!(parse(url), Ok(DatabaseConfig::MongoDb(expected)));
        }
    }

    #[test]
    fn a_postgres_url_is_the_clients_but_for_its_own_options() {
        let url = "postgres://a:b@h1,h2/db?table=app.users&sslmode=require&create_table=false&max_connections=4&timeout_ms=900&ready_timeout_ms=9000";
        let expected = PostgresConfig {
            url: Secret("postgres://a:b@h1,h2/db?sslmode=require".to_owned()),
            table: Some("app.users".to_owned()),
            create_table: Some(false),
            max_connections: Some(4),
            timeout: Some(Duration::from_millis(900)),
            ready_timeout: Some(Duration::from_secs(9)),
        };
        assert_eq!(parse(url), Ok(DatabaseConfig::Postgres(expected)));
        let url = "postgresql://h/db".to_owned();
        let expected = PostgresConfig { url: Secret(url.clone()), ..PostgresConfig::default() };
        assert_eq!(parse(&url), Ok(DatabaseConfig::Postgres(expected)));
        for option in ["create_table", "max_connections", "timeout_ms"] {
            let error = parse(&format!("postgres://u:SECRET@h/db?{option}=SECRET")).unwrap_err();
            assert!(error.contains(option) && !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn a_redis_url_has_options_and_the_rest_is_the_clients() {
        let parsed = |url| match parse(url) {
            Ok(DatabaseConfig::Redis(config)) => config,
            other => panic!("{other:?}"),
        };
        let config = parsed(
            "rediss://anna:p%3Fw@h:6380/2?prefix=app%3A&timeout_ms=3000&protocol=resp3\
             &wait_replicas=2&wait_timeout_ms=200",
        );
        let expected = RedisConfig {
            url: Secret("rediss://anna:p%3Fw@h:6380/2?protocol=resp3".to_owned()),
            prefix: Some("app:".to_owned()),
            timeout: Some(Duration::from_secs(3)),
            wait_replicas: Some((2, Duration::from_millis(200))),
        };
        assert_eq!(config, expected);
        assert!(!format!("{config:?}").contains("anna"));
        for url in ["redis://h", "valkey://h", "valkeys://h:1/#insecure"] {
            let config = parsed(url);
            assert_eq!((config.url.0.as_str(), config.wait_replicas), (url, None));
        }
        let config = parsed("redis://h?wait_replicas=1");
        assert_eq!(config.wait_replicas, Some((1, RedisConfig::WAIT_TIMEOUT)));
        for (url, why) in [
            ("redis://h?prefx=SECRET", "`prefx`"),
            ("redis://h?timeout_ms=SECRET", "`timeout_ms`"),
            ("redis://h?wait_replicas=SECRET", "`wait_replicas`"),
            ("redis://h?wait_timeout_ms=1", "`wait_replicas`"),
            ("redis://anna:a?SECRET@h", "%3F"),
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.contains(why) && !error.contains("SECRET"), "{error}");
        }
    }

    #[cfg(not(feature = "file"))]
    #[tokio::test]
    async fn a_database_without_its_feature_says_which_to_add() {
        let error = connect("file:SECRET").await.unwrap_err();
        assert!(error.is_configuration());
        assert!(error.to_string().contains("the feature `file` is off"), "{error}");
        assert!(!format!("{error:?}").contains("SECRET"));
    }

    #[cfg(not(feature = "mongodb"))]
    #[tokio::test]
    async fn a_driver_without_its_feature_says_which_to_add() {
        let error = connect("mongodb://anna:SECRET@host").await.unwrap_err();
        assert!(error.is_configuration());
        assert!(error.to_string().contains("the feature `mongodb` is off"), "{error}");
        assert!(!format!("{error:?}").contains("SECRET"));
    }
}
