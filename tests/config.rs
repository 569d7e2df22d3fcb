//! Jovo's JSON configuration.

#![cfg(feature = "file")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use serde_json::{Value, json};
use tower_persistence::{Database, Expected, PersistenceConfig, PersistenceLayer, Record, Saved};

fn read(json: &Value) -> Result<PersistenceConfig, String> {
    serde_json::from_value(json.clone()).map_err(|error| error.to_string())
}

fn shown(json: &Value) -> String {
    format!("{:?}", read(json).unwrap_or_else(|error| panic!("{json}: {error}")))
}

#[test]
fn each_form_names_its_database() {
    for (json, parts) in [
        (json!({}), &["File(\"db/db.json\")"][..]),
        (json!({ "type": "file", "localDbFilename": "db" }), &["File(\"db/db.json\")"]),
        (json!({ "type": "file", "localDbFilename": "users" }), &["File(\"db/users.json\")"]),
        (json!({ "pathToFile": "../db/db.json" }), &["File(\"../db/db.json\")"]),
        (json!({ "type": "memory" }), &["Memory"]),
        (
            json!({ "type": "dynamodb", "tableName": "T", "awsConfig": {
                "accessKeyId": "secret-1", "secretAccessKey": "secret-2", "region": "eu-west-1",
                "endpoint": "http://localhost:8000" } }),
            &[
                "table: \"T\"",
                "region: Some(\"eu-west-1\")",
                "localhost:8000",
                "credentials: Some(",
            ],
        ),
        (
            json!({ "tableName": "T", "createTableOnInit": false, "primaryKeyColumn": "key",
                "primaryKeyPrefix": "USER#", "sortKeyColumn": "sort" }),
            &[
                "create_table: Some(false)",
                "partition_key: Some(\"key\")",
                "key_prefix: Some(\"USER#\")",
                "(\"sort\", \"USER#jovo.user.data\")",
            ],
        ),
        (
            json!({ "tableName": "T", "timeoutMs": 5000, "readyTimeoutMs": 60000 }),
            &["timeout: Some(5s)", "ready_timeout: Some(60s)"],
        ),
        (
            json!({ "table": { "name": "T", "primaryKeyColumn": "userId" } }),
            &["table: \"T\"", "partition_key: Some(\"userId\")", "provisioned: None"],
        ),
        (
            json!({ "table": { "name": "T", "billingMode": "PROVISIONED", "readCapacityUnits": 7 } }),
            &["provisioned: Some((7, 2))"],
        ),
        (
            json!({ "table": { "name": "T", "billingMode": "PAY_PER_REQUEST" } }),
            &["provisioned: None"],
        ),
        (
            json!({ "connectionString": "mongodb://anna:secret@host", "databaseName": "D",
                "collectionName": "C" }),
            &["MongoDb", "database: Some(\"D\")", "collection: Some(\"C\")"],
        ),
        (
            json!({ "type": "redis", "url": "redis://anna:secret@host", "prefix": "app:",
                "timeoutMs": 3000, "waitReplicas": 2, "waitTimeoutMs": 200 }),
            &["Redis", "prefix: Some(\"app:\")", "timeout: Some(3s)", "Some((2, 200ms))"],
        ),
    ] {
        let elements = json!({ "session": true, "user": false });
        let mut with_elements = json.clone();
        with_elements["storedElements"] = elements;
        for config in [&json, &json!({ "db": json }), &with_elements] {
            let text = shown(config);
            for part in parts {
                assert!(text.contains(part), "{config}: {text}");
            }
            assert!(!text.contains("secret"), "{text}");
        }
        assert!(shown(&with_elements).contains("user: false, session: Some("));
    }
}

#[test]
fn an_invalid_setting_is_an_error_that_names_it_and_shows_no_secret() {
    for (json, name) in [
        (json!({ "path": "db.json" }), "`path`"),
        (json!({ "type": "cassandra" }), "`type`"),
        (json!({ "type": 7 }), "`type`"),
        (json!({ "db": [] }), "`db`"),
        (json!({ "db": {}, "port": 3000 }), "`port`"),
        (json!({ "type": "memory", "pathToFile": "x" }), "`pathToFile`"),
        (json!({ "pathToFile": "x", "localDbFilename": "y" }), "`localDbFilename`"),
        (json!({ "tableName": "T", "dax": {} }), "`dax`"),
        (json!({ "tableName": "T", "timeoutMs": "secret-key" }), "another type"),
        (json!({ "tableName": "T", "awsConfig": { "secret": "x" } }), "`secret`"),
        (json!({ "tableName": "T", "awsConfig": "secret-key" }), "another type"),
        (
            json!({ "tableName": "T", "awsConfig": { "accessKeyId": "secret-key" } }),
            "`secretAccessKey`",
        ),
        (json!({ "tableName": "T", "table": { "name": "T" } }), "`table`"),
        (json!({ "table": { "name": "T", "billingMode": "FREE" } }), "`billingMode`"),
        (json!({ "table": {} }), "`name`"),
        (json!({ "type": "dynamodb" }), "`tableName`"),
        (json!({ "connectionString": ["secret-key"] }), "another type"),
        (json!({ "type": "mongodb" }), "`connectionString`"),
        (json!({ "type": "redis" }), "`url`"),
        (json!({ "type": "redis", "url": "x", "waitTimeoutMs": 1 }), "`waitReplicas`"),
        (json!({ "storedElements": { "history": { "size": 0 } } }), "`size`"),
        (json!({ "storedElements": { "sessions": true } }), "`sessions`"),
    ] {
        let error = read(&json).expect_err(&json.to_string());
        assert!(error.contains(name), "{json}: {error}");
        assert!(!error.contains("secret-key"), "{error}");
    }
}

#[tokio::test]
async fn a_layer_is_made_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own/users.json");
    let config = json!({ "db": { "pathToFile": path, "storedElements": { "history": true } } });
    let layer = PersistenceLayer::from_config(read(&config).unwrap()).await.unwrap();
    assert!(format!("{layer:?}").contains("history: Some("));
    let saved =
        layer.database().save("user-1", &Record::default(), Expected::Absent).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)));
    assert!(std::fs::read_to_string(path).unwrap().contains("user-1"));
}
