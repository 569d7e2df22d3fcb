//! The table: created, waited for, checked.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription,
};
use libtest_mimic::Trial;
use serde_json::json;
use tower_persistence::Database;

use super::proxy::{Proxy, Rule};
use super::*;

pub(super) fn trials(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("creates_the_table_as_told", creates_the_table_as_told),
        servers.trial("waits_for_the_table_once", waits_for_the_table_once),
        servers.trial("goes_on_when_nobody_waits", goes_on_when_nobody_waits),
        servers.trial("tries_again_after_a_failure", tries_again_after_a_failure),
        servers.trial("creates_a_table_that_went", creates_a_table_that_went),
        servers.trial("checks_the_key", checks_the_key),
        servers.trial("says_which_table_is_missing", says_which_table_is_missing),
        servers.trial("needs_not_describe_the_table", needs_not_describe_the_table),
        servers.trial("needs_not_switch_expiry_on", needs_not_switch_expiry_on),
        servers.trial("projects_what_the_index_takes", projects_what_the_index_takes),
    ]
}

async fn described(raw: &Raw) -> TableDescription {
    let described = raw.client.describe_table().table_name(&raw.table).send().await.unwrap();
    described.table.unwrap()
}

async fn creates_the_table_as_told(endpoint: String) {
    let (_, raw) = ready(&endpoint).await;
    let table = described(&raw).await;
    let billing = table.billing_mode_summary().unwrap().billing_mode();
    assert_eq!(billing, Some(&BillingMode::PayPerRequest));
    assert_eq!(table.key_schema().len(), 1);
    assert_eq!(table.key_schema()[0].attribute_name(), "userId");

    let raw = Raw::new(&endpoint, &super::table());
    let db = builder(&raw.table, &endpoint).provisioned(3, 4).sort_key("kind", "user");
    db.build().await.unwrap().ensure_ready().await.unwrap();
    let table = described(&raw).await;
    let throughput = table.provisioned_throughput().unwrap();
    let units = (throughput.read_capacity_units(), throughput.write_capacity_units());
    assert_eq!(units, (Some(3), Some(4)));
    assert_eq!(table.key_schema()[1].attribute_name(), "kind");
    assert_eq!(table.key_schema()[1].key_type(), &KeyType::Range);
}

/// Sixteen first requests at a time while the table is being created: all succeed, and it is created once.
async fn waits_for_the_table_once(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |action, before| match action {
        "DescribeTable" if before < 8 => Rule::Replace("ACTIVE", "CREATING"),
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&super::table(), &proxy.endpoint).build().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..16 {
        let db = db.clone();
        tasks.spawn(async move {
            let id = user(&format!("first-{index}"));
            assert_eq!(db.load(&id).await.unwrap(), None);
            save(&db, &id, &Record::default(), None).await;
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let calls = proxy.calls();
    let count = |action: &str| calls.iter().filter(|call| *call == action).count();
    assert_eq!(count("CreateTable"), 1, "{calls:?}");
    assert_eq!(count("DescribeTable"), 9, "{calls:?}");
    assert_eq!((count("GetItem"), count("PutItem")), (16, 16));
    // Those about the time to live.
    assert_eq!((count("DescribeTimeToLive"), count("UpdateTimeToLive"), calls.len()), (1, 1, 44));
}

async fn goes_on_when_nobody_waits(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |action, before| match action {
        "DescribeTable" if (1..4).contains(&before) => Rule::Replace("ACTIVE", "CREATING"),
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&super::table(), &proxy.endpoint).build().await.unwrap();
    let loading = tokio::time::timeout(Duration::from_millis(5), db.load("nobody"));
    assert!(loading.await.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(proxy.calls().contains(&"CreateTable".to_owned()));
    assert_eq!(db.load("nobody").await.unwrap(), None);
    assert_eq!(proxy.calls(), ["GetItem"]);
}

async fn tries_again_after_a_failure(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |action, before| match action {
        "CreateTable" if before == 0 => Rule::Fail(
            "AccessDeniedException",
            "User: arn:aws:sts::1:assumed-role/app is not authorized to perform: dynamodb:CreateTable",
        ),
        _ => Rule::Forward,
    })
    .await;
    let table = super::table();
    let db = builder(&table, &proxy.endpoint).build().await.unwrap();
    let error = db.load(&user("early")).await.unwrap_err();
    assert!(error.is_database());
    let text = text(&error);
    let action = format!("CreateTable on table \"{table}\" failed: AccessDeniedException");
    for expected in [action.as_str(), "is not authorized to perform", "create the table beforehand"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(db.load(&user("early")).await.unwrap(), None);
}

async fn creates_a_table_that_went(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    raw.client.delete_table().table_name(&raw.table).send().await.unwrap();
    let error = db.load("nobody").await.unwrap_err();
    let expected = format!("GetItem on table \"{}\" failed: ResourceNotFoundException", raw.table);
    assert!(text(&error).contains(&expected), "{error:?}");
    assert_eq!(db.load("nobody").await.unwrap(), None);
}

async fn checks_the_key(endpoint: String) {
    let (_, raw) = ready(&endpoint).await;
    let plain = || builder(&raw.table, &endpoint);
    let sorted = super::table();
    let with_sort_key = builder(&sorted, &endpoint).sort_key("sk", "x").build().await.unwrap();
    with_sort_key.ensure_ready().await.unwrap();
    let cases = [
        (
            plain().partition_key("id"),
            "partition key",
            "`userId` (S), expected is `id` (S)",
            ".partition_key(\"userId\")",
        ),
        (
            plain().sort_key("sk", "x"),
            "sort key",
            "none, expected is `sk` (S)",
            "leave `.sort_key(…)` out",
        ),
        (
            builder(&sorted, &endpoint),
            "sort key",
            "`sk` (S), expected is none",
            ".sort_key(\"sk\", …)",
        ),
    ];
    for (builder, what, difference, advice) in cases {
        for create in [true, false] {
            let db = builder.clone().create_table(create).build().await.unwrap();
            let error = db.load(&user("key")).await.unwrap_err();
            let text = text(&error);
            assert!(error.is_configuration(), "{text}");
            for expected in [&format!("the {what} of table \""), difference, advice] {
                assert!(text.contains(expected), "{text}");
            }
            assert!(db.ensure_ready().await.unwrap_err().is_configuration());
        }
    }
}

async fn says_which_table_is_missing(endpoint: String) {
    let table = super::table();
    let db = builder(&table, &endpoint).create_table(false).build().await.unwrap();
    let expected = format!("there is no table \"{table}\" at {endpoint}");
    for error in [db.load("nobody").await.unwrap_err(), db.ensure_ready().await.unwrap_err()] {
        assert!(error.is_database() && text(&error).contains(&expected), "{error:?}");
    }
    // Created meanwhile, it is found.
    builder(&table, &endpoint).build().await.unwrap().ensure_ready().await.unwrap();
    assert_eq!(db.load("nobody").await.unwrap(), None);
}

async fn needs_not_describe_the_table(endpoint: String) {
    let (_, raw) = ready(&endpoint).await;
    for code in ["AccessDeniedException", "ThrottlingException"] {
        let proxy = Proxy::start(&endpoint, move |action, _| match action {
            "DescribeTable" => {
                Rule::Fail(code, "not authorized to perform: dynamodb:DescribeTable")
            }
            _ => Rule::Forward,
        })
        .await;
        let db = builder(&raw.table, &proxy.endpoint).create_table(false).build().await.unwrap();
        db.ensure_ready().await.unwrap();
        assert_eq!(db.load("nobody").await.unwrap(), None);
        // It is missing as well.
        let missing = super::table();
        let db = builder(&missing, &proxy.endpoint).create_table(false).build().await.unwrap();
        let error = db.load("nobody").await.unwrap_err();
        let expected = format!("GetItem on table \"{missing}\" failed: ResourceNotFoundException");
        assert!(text(&error).contains(&expected), "{error:?}");
        // Where it is to be created it has to be looked at.
        let db = builder(&raw.table, &proxy.endpoint).build().await.unwrap();
        let error = db.load("nobody").await.unwrap_err();
        let expected = format!("DescribeTable on table \"{}\" failed: {code}", raw.table);
        assert!(text(&error).contains(&expected), "{error:?}");
    }
}

async fn needs_not_switch_expiry_on(endpoint: String) {
    let raw = not_ours(&endpoint).await;
    for denied in ["DescribeTimeToLive", "UpdateTimeToLive"] {
        let proxy = Proxy::start(&endpoint, move |action, _| match action {
            _ if action == denied => Rule::Fail("AccessDeniedException", "not authorized"),
            _ => Rule::Forward,
        })
        .await;
        let db = builder(&raw.table, &proxy.endpoint).expire_users_after(Duration::from_secs(60));
        let error = db.clone().build().await.unwrap().load("nobody").await.unwrap_err();
        assert!(text(&error).contains(denied), "{error:?}");
        let db = db.create_table(false).build().await.unwrap();
        assert_eq!(db.load("nobody").await.unwrap(), None);
    }
}

async fn projects_what_the_index_takes(endpoint: String) {
    let raw = Raw::new(&endpoint, &super::table());
    let definition = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let key = |name: &str| {
        KeySchemaElement::builder().attribute_name(name).key_type(KeyType::Hash).build().unwrap()
    };
    let index = GlobalSecondaryIndex::builder()
        .index_name("by-score")
        .key_schema(key("score"))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build())
        .build()
        .unwrap();
    let request = raw.client.create_table().table_name(&raw.table).key_schema(key("userId"));
    let request = request
        .attribute_definitions(definition("userId", ScalarAttributeType::S))
        .attribute_definitions(definition("score", ScalarAttributeType::N))
        .global_secondary_indexes(index)
        .billing_mode(BillingMode::PayPerRequest);
    request.send().await.unwrap();
    let db = builder(&raw.table, &endpoint).project("score", "/user/data/score");
    let db = db.build().await.unwrap();
    for (score, expected) in [(json!(7), Some(n("7"))), (json!("seven"), None), (json!(""), None)] {
        let id = user("index");
        save(&db, &id, &with_data(&json!({ "score": score })), None).await;
        assert_eq!(raw.get(&id).await.unwrap().get("score"), expected.as_ref());
        assert_eq!(load(&db, &id).await.record, with_data(&json!({ "score": score })));
    }
}
