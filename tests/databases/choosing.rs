//! Databases that are chosen at start, by a URL or by Jovo's configuration.

use std::sync::atomic::{AtomicU64, Ordering};

use libtest_mimic::Trial;
use serde_json::{Value, json};
use tower_persistence::{AnyDatabase, Database, PersistenceConfig, PersistenceLayer, connect};

use crate::common::*;
use crate::layer::user;
use crate::servers::Servers;

/// Serves two requests of one user, and checks that the second one remembers.
async fn assert_remembers(layer: &PersistenceLayer<AnyDatabase>) {
    let user = user("choosing");
    let app = sync_app(layer, |user, session, _| {
        session.increment("count", 1)?;
        user.increment("visits", 1).map(drop)
    });
    send_json(&app, &alexa(&user)).await.assert_ok();
    send_json(&app, &alexa(&user)).await.assert_ok();
    let item = stored(layer.database(), &user).await.unwrap();
    assert_eq!(item["user"]["data"]["visits"], 2);
    assert_eq!(item["session"]["data"]["count"], 2);
    layer.database().delete(&user).await.unwrap();
    layer.database().close().await.unwrap();
}

async fn assert_config_remembers(mut config: Value, is_shown: &str) {
    config["storedElements"] = json!({ "session": true });
    let config: PersistenceConfig = serde_json::from_value(json!({ "db": config })).unwrap();
    let layer = PersistenceLayer::from_config(config).await.unwrap();
    let shown = format!("{layer:?}");
    assert!(shown.contains(is_shown) && !shown.contains("secret"), "{shown}");
    assert_remembers(&layer).await;
}

/// Makes a name that no other test and no other run uses.
fn name() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("choosing-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(feature = "dynamodb")]
pub(crate) fn on_dynamodb(servers: &Servers) -> Vec<Trial> {
    let aws = |endpoint: &str| json!({ "accessKeyId": "local", "secretAccessKey": "secret", "region": "eu-west-1", "endpoint": endpoint });
    vec![
        servers.trial("config_of_jovo_v1", async move |endpoint| {
            let (table, aws) = (name(), aws(&endpoint));
            let config = json!({ "type": "dynamodb", "tableName": table, "awsConfig": aws });
            assert_config_remembers(config, &table).await;
        }),
        servers.trial("config_of_jovo_v3", async move |endpoint| {
            let (table, aws) = (name(), aws(&endpoint));
            let config = json!({ "tableName": table, "primaryKeyColumn": "key", "sortKeyColumn": "sort",
                "primaryKeyPrefix": "USER#", "awsConfig": aws });
            assert_config_remembers(config.clone(), &table).await;

            let mut with_platform = config;
            with_platform["prefixPrimaryKeyWithPlatform"] = true.into();
            let config: PersistenceConfig = serde_json::from_value(with_platform).unwrap();
            let layer = PersistenceLayer::from_config(config).await.unwrap();
            let user = user("platform");
            let app = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
            send_json(&app, &alexa(&user)).await.assert_ok();
            assert_eq!(stored(layer.database(), &user).await, None);
            let key = format!("AlexaSkill::{user}");
            let item = stored(layer.database(), &key).await.unwrap();
            assert_eq!(item["user"]["data"]["visits"], 1);
        }),
        servers.trial("config_of_jovo_v4", async move |endpoint| {
            let (table, aws) = (name(), aws(&endpoint));
            let config = json!({ "table": { "name": table, "billingMode": "PROVISIONED" }, "awsConfig": aws });
            assert_config_remembers(config, &table).await;
        }),
        #[cfg(feature = "aws-config")]
        servers.trial("url", async move |endpoint| {
            let table = name();
            let url = format!("dynamodb://{table}?region=eu-west-1&endpoint={endpoint}&create_table=false");
            // The credentials are those of the environment, which may have none, so nothing is
            // sent.
            let database = connect(&url).await.unwrap();
            assert!(format!("{database:?}").contains(&table));
        }),
    ]
}

#[cfg(feature = "mongodb")]
pub(crate) fn on_mongodb(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("config_of_jovo_v4", async |endpoint| {
            let collection = name();
            let config = json!({ "connectionString": endpoint, "databaseName": "choosing", "collectionName": collection });
            assert_config_remembers(config, &collection).await;
        }),
        servers.trial("url", async |endpoint| {
            let collection = name();
            let (address, options) = endpoint.split_once('?').unwrap_or((&endpoint, ""));
            let address = address.trim_end_matches('/');
            let url = format!("{address}/choosing?collection={collection}&{options}");
            let database = connect(&url).await.unwrap();
            let shown = format!("{database:?}");
            assert!(shown.contains("choosing") && shown.contains(&collection), "{shown}");
            let elements = tower_persistence::StoredElements::new().session(true);
            assert_remembers(&PersistenceLayer::new(database).stored_elements(elements)).await;
        }),
    ]
}

#[cfg(feature = "postgres")]
pub(crate) fn on_postgres(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("config", async |endpoint| {
            let (url, table) = (crate::postgres::of_user(&endpoint), name());
            let config = json!({ "type": "postgres", "connectionString": url, "tableName": table,
                "maxConnections": 2, "timeoutMs": 60000, "readyTimeoutMs": 60000 });
            assert_config_remembers(config.clone(), &table).await;
            crate::postgres::drop_table(&url, &table).await;

            let mut without = config;
            without["createTableOnInit"] = false.into();
            let config: PersistenceConfig = serde_json::from_value(without).unwrap();
            let layer = PersistenceLayer::from_config(config).await.unwrap();
            let error = layer.database().ensure_ready().await.unwrap_err();
            assert!(error.is_configuration() && error.to_string().contains("table_sql"), "{error}");
        }),
        servers.trial("url", async |endpoint| {
            let (url, table) = (crate::postgres::of_user(&endpoint), name());
            let database = connect(&crate::postgres::with(&url, "table", &table)).await.unwrap();
            let shown = format!("{database:?}");
            assert!(shown.contains("PostgresDb") && shown.contains(&table), "{shown}");
            let elements = tower_persistence::StoredElements::new().session(true);
            assert_remembers(&PersistenceLayer::new(database).stored_elements(elements)).await;
            crate::postgres::drop_table(&url, &table).await;
        }),
    ]
}

#[cfg(feature = "redis")]
pub(crate) fn on_redis(servers: &Servers) -> Vec<Trial> {
    vec![servers.trial("config", async |endpoint| {
        let prefix = format!("{}:", name());
        let config = json!({ "type": "redis", "url": endpoint, "prefix": prefix });
        assert_config_remembers(config, &prefix).await;

        let prefix = format!("{}:", name());
        let url = format!("prefix={prefix}&timeout_ms=60000");
        let url = crate::redis::with_option(&endpoint, &url);
        let database = connect(&url).await.unwrap();
        assert!(format!("{database:?}").contains(&prefix));
        let elements = tower_persistence::StoredElements::new().session(true);
        assert_remembers(&PersistenceLayer::new(database).stored_elements(elements)).await;
    })]
}

#[cfg(feature = "sqlite")]
pub(crate) fn on_sqlite() -> Vec<Trial> {
    let case = crate::bounded::case("sqlite::config".to_owned(), async || {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db/users.sqlite");
        let config = json!({ "type": "sqlite", "pathToFile": path, "timeoutMs": 60000 });
        assert_config_remembers(config, "users.sqlite").await;
        let elements = tower_persistence::StoredElements::new().session(true);
        let database = connect(&format!("sqlite:{}", path.display())).await.unwrap();
        assert_remembers(&PersistenceLayer::new(database).stored_elements(elements)).await;
    });
    vec![case.trial()]
}
