//! `DynamoDb` on DynamoDB Local, or on the server at `DYNAMODB_ENDPOINT`.

mod answers;
mod items;
mod proxy;
mod tables;
mod tombstones;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{self, BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use libtest_mimic::Trial;
use serde_json::{Value, json};
use tower_persistence::testing::conformance;
use tower_persistence::{
    Database, DynamoDb, DynamoDbBuilder, Error, Expected, Record, Saved, Version, VersionedRecord,
};

use crate::layer::user;
use crate::servers::Servers;

/// The defaults for variables that the environment does not set.
pub(crate) const ENVIRONMENT: [(&str, &str); 3] = [
    ("AWS_REGION", REGION),
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
    ("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
];
const REGION: &str = "eu-central-1";
const ACCESS_KEY_ID: &str = "AKIASECRETID";
const SECRET_ACCESS_KEY: &str = "SECRETKEY";

type Item = HashMap<String, AttributeValue>;

pub(crate) fn trials(servers: &Servers) -> Vec<Trial> {
    let mut trials = servers.trials(async |endpoint: String| {
        builder("tower-persistence-shared", &endpoint).build().await.unwrap()
    });
    trials.push(servers.trial("conformance_in_a_shared_table", async |endpoint| {
        let db = builder(&table(), &endpoint)
            .partition_key("pk")
            .sort_key("sk", "USER#data")
            .key_prefix("")
            .project("score", "/user/data/score")
            .expire_users_after(Duration::from_secs(3600));
        conformance(async || db.clone().build().await.unwrap()).await;
    }));
    trials.extend(items::trials(servers));
    trials.extend(tables::trials(servers));
    trials.extend(answers::trials(servers));
    trials.extend(tombstones::trials(servers));
    trials
}

fn builder(table: &str, endpoint: &str) -> DynamoDbBuilder {
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    DynamoDb::builder(table)
        .endpoint_url(endpoint)
        // Many tests run at a time, and DynamoDB Local writes one item after the other.
        .timeout(Duration::from_secs(20))
        .region(variable("AWS_REGION", REGION))
        .credentials(
            variable("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            variable("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
        )
}

/// Makes a table name that no other test uses.
fn table() -> String {
    user("table")
}

/// Returns a table for one app, and the URL by which the app reaches it.
pub(crate) async fn of_app(endpoint: &str) -> (DynamoDb, String) {
    let (table, region) = (table(), std::env::var("AWS_REGION").unwrap_or(REGION.to_owned()));
    let url = format!("dynamodb://{table}?region={region}&endpoint={endpoint}");
    (builder(&table, endpoint).build().await.unwrap(), url)
}

/// The table as other programs see it.
struct Raw {
    client: Client,
    table: String,
}

impl Raw {
    fn new(endpoint: &str, table: &str) -> Self {
        let variable =
            |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
        let credentials = Credentials::new(
            variable("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID),
            variable("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
            None,
            None,
            "test",
        );
        let config = config::Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(variable("AWS_REGION", REGION)))
            .credentials_provider(credentials)
            .endpoint_url(endpoint)
            .build();
        Self { client: Client::from_conf(config), table: table.to_owned() }
    }

    async fn put(&self, item: Item) {
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.unwrap();
    }

    async fn get(&self, user: &str) -> Option<Item> {
        self.get_by(Item::from([("userId".to_owned(), s(user))])).await
    }

    async fn get_by(&self, key: Item) -> Option<Item> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key));
        request.consistent_read(true).send().await.unwrap().item
    }

    async fn update(&self, user: &str, expression: &str, value: AttributeValue) {
        let request = self.client.update_item().table_name(&self.table).key("userId", s(user));
        let request =
            request.update_expression(expression).expression_attribute_values(":v", value);
        request.send().await.unwrap();
    }
}

/// Makes a database ready in a table of its own, and returns it with the raw table.
async fn ready(endpoint: &str) -> (DynamoDb, Raw) {
    let table = table();
    let db = builder(&table, endpoint).build().await.unwrap();
    db.ensure_ready().await.unwrap();
    (db, Raw::new(endpoint, &table))
}

/// Creates a table as another program would, with our key and without a time to live.
async fn not_ours(endpoint: &str) -> Raw {
    let raw = Raw::new(endpoint, &table());
    let key = KeySchemaElement::builder().attribute_name("userId").key_type(KeyType::Hash);
    let definition = AttributeDefinition::builder().attribute_name("userId");
    let request = raw
        .client
        .create_table()
        .table_name(&raw.table)
        .key_schema(key.build().unwrap())
        .attribute_definitions(definition.attribute_type(ScalarAttributeType::S).build().unwrap())
        .billing_mode(BillingMode::PayPerRequest);
    request.send().await.unwrap();
    raw
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn n(digits: &str) -> AttributeValue {
    AttributeValue::N(digits.to_owned())
}

fn m<const N: usize>(fields: [(&str, AttributeValue); N]) -> AttributeValue {
    AttributeValue::M(item(fields))
}

fn item<const N: usize>(fields: [(&str, AttributeValue); N]) -> Item {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn record(fields: &Value) -> Record {
    serde_json::from_value(fields.clone()).unwrap()
}

fn json_of(stored: &VersionedRecord) -> Value {
    serde_json::to_value(&stored.record).unwrap()
}

fn with_data(data: &Value) -> Record {
    record(&json!({ "user": { "data": data } }))
}

async fn load(db: &DynamoDb, user: &str) -> VersionedRecord {
    db.load(user).await.unwrap().unwrap()
}

async fn save(db: &DynamoDb, user: &str, record: &Record, expected: Option<&Version>) -> Version {
    match db.save(user, record, Expected::from(expected)).await.unwrap() {
        Saved::Written(version) => version,
        Saved::Conflict(_) => panic!("a conflict"),
    }
}

/// Joins the error with its causes, which must show neither users nor credentials.
fn text(error: &Error) -> String {
    let text = format!("{error:?}");
    for secret in ["layer-test-user", ACCESS_KEY_ID, SECRET_ACCESS_KEY, "SECRET"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}
