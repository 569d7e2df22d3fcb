//! Creating the table, waiting for it, and checking it.

use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType, TableDescription,
};
use libtest_mimic::Trial;
use serde_json::json;
use tower_persistence::{Database, Expected, PersistenceLayer};

use super::proxy::{Proxy, Rule};
use super::*;
use crate::common::{alexa, post, send, sync_app};

pub(super) fn trials(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("creates_the_table_as_told", creates_the_table_as_told),
        servers.trial("waits_for_the_table_once", waits_for_the_table_once),
        servers.trial("goes_on_when_its_caller_gives_up", goes_on_when_its_caller_gives_up),
        servers.trial("tries_again_after_a_failure", tries_again_after_a_failure),
        servers.trial(
            "a_table_that_disappears_is_not_recreated",
            a_table_that_disappears_is_not_recreated,
        ),
        servers.trial("checks_the_key", checks_the_key),
        servers.trial("says_which_table_is_missing", says_which_table_is_missing),
        servers.trial("works_without_describe_table", works_without_describe_table),
        servers.trial("works_without_access_to_other_keys", works_without_access_to_other_keys),
        servers.trial("works_without_update_time_to_live", works_without_update_time_to_live),
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

/// Sixteen concurrent first requests while the table is being created: all succeed, and the table
/// is created once.
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
    // One read detects the missing table.
    assert_eq!((count("GetItem"), count("PutItem")), (17, 16), "{calls:?}");
    assert_eq!((count("DescribeTimeToLive"), count("UpdateTimeToLive")), (1, 1));
}

async fn goes_on_when_its_caller_gives_up(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |action, before| match action {
        "DescribeTable" if (1..4).contains(&before) => Rule::Replace("ACTIVE", "CREATING"),
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&super::table(), &proxy.endpoint).build().await.unwrap();
    let loading = tokio::time::timeout(Duration::from_millis(5), db.load("absent"));
    assert!(loading.await.is_err());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(proxy.calls().contains(&"CreateTable".to_owned()));
    assert_eq!(db.load("absent").await.unwrap(), None);
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

/// A new table would be empty. A restored one is used again.
async fn a_table_that_disappears_is_not_recreated(endpoint: String) {
    for is_only_read in [false, true] {
        let (_, raw) = ready(&endpoint).await;
        let db = builder(&raw.table, &endpoint).build().await.unwrap();
        let id = user("gone");
        if is_only_read {
            assert_eq!(db.load(&id).await.unwrap(), None);
        } else {
            save(&db, &id, &with_data(&json!({})), None).await;
        }
        raw.client.delete_table().table_name(&raw.table).send().await.unwrap();
        let expected = format!("table \"{}\" at {endpoint} was there and is gone", raw.table);
        for error in [
            db.load(&id).await.unwrap_err(),
            db.save(&id, &with_data(&json!({})), Expected::Absent).await.unwrap_err(),
            db.delete(&id).await.unwrap_err(),
            db.ensure_ready().await.unwrap_err(),
        ] {
            assert!(error.is_database() && text(&error).contains(&expected), "{error:?}");
        }
        // A process that never saw the table creates it.
        builder(&raw.table, &endpoint).build().await.unwrap().ensure_ready().await.unwrap();
        assert_eq!(db.load(&id).await.unwrap(), None);
        db.ensure_ready().await.unwrap();
    }
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
    for error in [db.load("absent").await.unwrap_err(), db.ensure_ready().await.unwrap_err()] {
        assert!(error.is_database() && text(&error).contains(&expected), "{error:?}");
    }
    // A table that was created meanwhile is found.
    builder(&table, &endpoint).build().await.unwrap().ensure_ready().await.unwrap();
    assert_eq!(db.load("absent").await.unwrap(), None);
}

/// Neither a cold start nor a later request needs more than the table's data.
async fn works_without_describe_table(endpoint: String) {
    let (_, raw) = ready(&endpoint).await;
    let id = user("undescribed");
    for code in [Some("AccessDeniedException"), Some("ThrottlingException"), None] {
        let proxy = Proxy::start(&endpoint, move |action, _| match (action, code) {
            ("DescribeTable", Some(code)) => Rule::Fail(code, "on: dynamodb:DescribeTable"),
            ("DescribeTable", None) => Rule::Hang,
            _ => Rule::Forward,
        })
        .await;
        for create in [true, false] {
            let db = builder(&raw.table, &proxy.endpoint).create_table(create);
            let db = db.build().await.unwrap();
            let app = sync_app(&PersistenceLayer::new(db.clone()), |user, _, _| {
                user.increment("visits", 1).map(drop)
            });
            let began = Instant::now();
            assert_eq!(send(&app, post(alexa(&id).to_string())).await.status, 200);
            db.delete(&id).await.unwrap();
            assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        }
        let calls = proxy.calls();
        assert!(!calls.contains(&"DescribeTable".to_owned()), "{calls:?}");
        let Some(code) = code else { continue };
        // The same for a missing table.
        let missing = super::table();
        let db = builder(&missing, &proxy.endpoint).create_table(false).build().await.unwrap();
        for error in [db.load(&id).await.unwrap_err(), db.ensure_ready().await.unwrap_err()] {
            let expected =
                format!("GetItem on table \"{missing}\" failed: ResourceNotFoundException");
            assert!(text(&error).contains(&expected), "{error:?}");
        }
        // A table that may have to be created must be described.
        let db = builder(&missing, &proxy.endpoint).build().await.unwrap();
        let error = db.load(&id).await.unwrap_err();
        let expected = format!("DescribeTable on table \"{missing}\" failed: {code}");
        assert!(text(&error).contains(&expected), "{error:?}");
    }
}

/// A policy may permit only the users' keys.
async fn works_without_access_to_other_keys(endpoint: String) {
    let (_, raw) = ready(&endpoint).await;
    for code in ["AccessDeniedException", "ProvisionedThroughputExceededException"] {
        let proxy = Proxy::start(&endpoint, move |action, before| match action {
            "GetItem" if before < 3 => Rule::Fail(code, "not now"),
            _ => Rule::Forward,
        })
        .await;
        let db = builder(&raw.table, &proxy.endpoint).build().await.unwrap();
        db.ensure_ready().await.unwrap();
        if code == "AccessDeniedException" {
            assert!(db.load("absent").await.is_err() && db.load("absent").await.is_err());
        }
        assert_eq!(db.load("absent").await.unwrap(), None);
    }
}

/// The time to live is enabled in the background.
async fn works_without_update_time_to_live(endpoint: String) {
    let raw = not_ours(&endpoint).await;
    for denied in ["DescribeTimeToLive", "UpdateTimeToLive"] {
        for create in [true, false] {
            let proxy = Proxy::start(&endpoint, move |action, _| match action {
                _ if action == denied => Rule::Fail("AccessDeniedException", "not authorized"),
                _ => Rule::Forward,
            })
            .await;
            let db = builder(&raw.table, &proxy.endpoint).create_table(create);
            let db = db.expire_users_after(Duration::from_secs(60)).build().await.unwrap();
            db.ensure_ready().await.unwrap();
            save(&db, &user("expiring"), &with_data(&json!({})), None).await;
        }
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
