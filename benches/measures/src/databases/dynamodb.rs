//! `DynamoDb` beside `aws-sdk-dynamodb`, which answers from within the process: the client signs,
//! writes and reads as it does over a network, and nothing waits.

use std::collections::HashMap;
use std::hint::black_box;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use serde_json::{Value, json};
use tower_persistence::{DynamoDb, Record};

use super::{Store, id};

/// Answers every read with the same item, and every write with success.
#[derive(Clone, Debug)]
struct Answers {
    item: Bytes,
}

impl HttpConnector for Answers {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let body = match target.ends_with("GetItem") {
            true => SdkBody::from(self.item.clone()),
            false => SdkBody::from("{}"),
        };
        let response = HttpResponse::new(200.try_into().expect("a status"), body);
        HttpConnectorFuture::ready(Ok(response))
    }
}

/// Makes a client whose reads return this record, whoever is asked for.
fn client(record: &Record) -> Client {
    let mut item = serde_json::Map::new();
    item.insert("userId".to_owned(), json!({ "S": id(0) }));
    item.insert("persistenceVersion".to_owned(), json!({ "S": "0123456789abcdef" }));
    item.extend(record.fields().iter().map(|(name, value)| (name.clone(), attribute(value))));
    let item = json!({ "Item": item }).to_string();
    let answers = SharedHttpConnector::new(Answers { item: item.into() });
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("id", "secret", None, None, "benches"))
        .http_client(http_client_fn(move |_, _| answers.clone()));
    Client::from_conf(config.build())
}

/// Writes a value as the service does.
fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({ "NULL": true }),
        Value::Bool(value) => json!({ "BOOL": value }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        Value::String(text) => json!({ "S": text }),
        Value::Array(array) => json!({ "L": array.iter().map(attribute).collect::<Vec<_>>() }),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), attribute(value)));
            json!({ "M": fields.collect::<serde_json::Map<_, _>>() })
        }
    }
}

/// Makes the database over a client whose reads return this record.
pub async fn database(record: &Record) -> DynamoDb {
    DynamoDb::builder("Users").client(client(record)).build().await.expect("a database")
}

/// The client alone.
#[derive(Clone, Debug)]
pub struct Bare(Client);

impl Bare {
    /// Makes a client whose reads return this record.
    #[must_use]
    pub fn new(record: &Record) -> Self {
        Self(client(record))
    }

    async fn find(&self, key: AttributeValue) -> HashMap<String, AttributeValue> {
        let read = self.0.get_item().table_name("Users").key("userId", key);
        read.consistent_read(true).send().await.expect("read").item.expect("an item")
    }
}

impl Store for Bare {
    async fn load(&self, id: &str) {
        black_box(self.find(AttributeValue::S(id.to_owned())).await);
    }

    /// Writes the changed attributes, as Jovo's fields are attributes, if the version and the times
    /// are still the same.
    async fn visit(&self, id: &str, _: usize) {
        let key = AttributeValue::S(id.to_owned());
        let mut item = self.find(key.clone()).await;
        let text = |value: Option<AttributeValue>| value.expect("an attribute");
        let before = [
            (":version", text(item.remove("persistenceVersion"))),
            (":created", text(item.remove("createdAt"))),
            (":updated", text(item.remove("updatedAt"))),
        ];
        let mut user = item.remove("user").expect("a user");
        visit(&mut user);
        let mut write = self.0.update_item().table_name("Users").key("userId", key);
        for (name, value) in before {
            write = write.expression_attribute_values(name, value);
        }
        let now = AttributeValue::S("2026-01-02T00:00:00.000Z".into());
        let written = write
            .update_expression("SET #user = :user, #updated = :now, #version = :next")
            .condition_expression(
                "#version = :version AND #created = :created AND #updated = :updated",
            )
            .expression_attribute_names("#user", "user")
            .expression_attribute_names("#version", "persistenceVersion")
            .expression_attribute_names("#created", "createdAt")
            .expression_attribute_names("#updated", "updatedAt")
            .expression_attribute_values(":user", user)
            .expression_attribute_values(":now", now)
            .expression_attribute_values(":next", AttributeValue::S("fedcba9876543210".into()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        written.send().await.expect("written");
    }
}

fn visit(user: &mut AttributeValue) {
    fn map(value: &mut AttributeValue) -> &mut HashMap<String, AttributeValue> {
        match value {
            AttributeValue::M(map) => map,
            _ => panic!("not a map"),
        }
    }
    let data = map(map(user).get_mut("data").expect("data"));
    let visits = data.get_mut("visits").expect("visits");
    let count: i64 = visits.as_n().expect("a number").parse().expect("an integer");
    *visits = AttributeValue::N((count + 1).to_string());
}
