//! The number of requests to the server, and its possible answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use serde_json::json;
use tower_persistence::{Database, Expected, PersistenceLayer, Saved};

use super::proxy::{Proxy, Rule};
use super::*;
use crate::common::{App, alexa, post, send, sync_app};
use crate::erasure::patient;

pub(super) fn trials(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("reads_once_and_writes_once", reads_once_and_writes_once),
        servers.trial("a_conflict_needs_no_second_read", a_conflict_needs_no_second_read),
        servers.trial("recognises_its_own_write", recognises_its_own_write),
        servers.trial("applies_no_turn_twice", applies_no_turn_twice),
        servers.trial("a_refused_attempt_has_had_no_effect", a_refused_attempt_has_had_no_effect),
        servers
            .trial("throttling_is_retried_within_the_time", throttling_is_retried_within_the_time),
        servers.trial("errors_quote_aws", errors_quote_aws),
        servers.trial("gives_up_in_time", gives_up_in_time),
        servers.trial("takes_a_client", takes_a_client),
        servers.trial("shows_no_credentials", shows_no_credentials),
        servers.trial("settings_are_checked", settings_are_checked),
    ]
}

async fn reads_once_and_writes_once(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |_, _| Rule::Forward).await;
    let db = builder(&super::table(), &proxy.endpoint).build().await.unwrap();
    db.ensure_ready().await.unwrap();
    let app = sync_app(&PersistenceLayer::new(db), |user, _, _| {
        if user.get::<u64>("visits")?.unwrap_or(0) < 2 {
            user.increment("visits", 1).map(drop)
        } else {
            Ok(())
        }
    });
    proxy.calls();
    let body = alexa(&user("counted")).to_string();
    let expected: [&[&str]; 3] =
        [&["GetItem", "PutItem"], &["GetItem", "UpdateItem"], &["GetItem"]];
    for expected in expected {
        assert_eq!(send(&app, post(body.clone())).await.status, 200);
        assert_eq!(proxy.calls(), expected);
    }
}

async fn a_conflict_needs_no_second_read(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |_, _| Rule::Forward).await;
    let db = builder(&super::table(), &proxy.endpoint).build().await.unwrap();
    let id = user("conflict");
    let first = save(&db, &id, &with_data(&json!({ "a": 1 })), None).await;
    let second = save(&db, &id, &with_data(&json!({ "a": 2 })), Some(&first)).await;
    proxy.calls();
    for (expected, call) in [(None, "PutItem"), (Some(&first), "UpdateItem")] {
        let saved =
            db.save(&id, &with_data(&json!({ "a": 3 })), Expected::from(expected)).await.unwrap();
        let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
        assert_eq!(current.record, with_data(&json!({ "a": 2 })));
        assert_eq!(current.version, second);
        assert_eq!(proxy.calls(), [call]);
    }
    db.delete(&id).await.unwrap();
    let saved =
        db.save(&id, &with_data(&json!({ "a": 3 })), Expected::Version(&second)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(None));
    // The table's time to live is looked up once.
    assert_eq!(proxy.calls(), ["DescribeTimeToLive", "PutItem", "UpdateItem"]);
    db.delete(&id).await.unwrap();
    assert_eq!(proxy.calls(), ["PutItem"]);
}

/// The client repeats a write, and its condition fails on the first attempt's own effect.
async fn recognises_its_own_write(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |action, before| match action {
        "PutItem" | "UpdateItem" if before == 0 => Rule::LoseAnswer,
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&super::table(), &proxy.endpoint).build().await.unwrap();
    let id = user("lost");
    let version = save(&db, &id, &with_data(&json!({ "a": 1 })), None).await;
    assert_eq!(load(&db, &id).await.version, version);
    let version = save(&db, &id, &with_data(&json!({ "a": 2 })), Some(&version)).await;
    assert_eq!(load(&db, &id).await.version, version);
    let calls = proxy.calls();
    let writes = calls.iter().filter(|call| ["PutItem", "UpdateItem"].contains(&call.as_str()));
    assert_eq!(writes.count(), 4, "{calls:?}");
}

/// The answer to the first attempt is lost, another writer saves after it, and the client repeats
/// the write: adding to the other writer's record would apply the turn twice.
async fn applies_no_turn_twice(endpoint: String) {
    let table = super::table();
    let elsewhere = builder(&table, &endpoint).build().await.unwrap();
    for (is_new, is_given) in [(true, false), (false, false), (false, true)] {
        let id = user("twice");
        let mut count = 0;
        if !is_new {
            save(&elsewhere, &id, &with_data(&json!({ "count": 7 })), None).await;
            count = 7;
        }
        let action = if is_new { "PutItem" } else { "UpdateItem" };
        let overtaking = (elsewhere.clone(), id.clone());
        let proxy = Proxy::start(&endpoint, move |called, before| {
            if called != action || before > 0 {
                return Rule::Forward;
            }
            let (elsewhere, id) = overtaking.clone();
            Rule::LoseAnswerAfter(Box::pin(async move {
                let app = counting(elsewhere);
                assert_eq!(send(&app, post(alexa(&id).to_string())).await.status, 200);
            }))
        })
        .await;
        let db = match is_given {
            true => DynamoDb::builder(&table).client(Raw::new(&proxy.endpoint, &table).client),
            false => builder(&table, &proxy.endpoint),
        };
        let app = counting(db.build().await.unwrap());
        let answer = send(&app, post(alexa(&id).to_string())).await;
        assert_eq!(answer.status, 503, "this app does not know that it was stored");
        assert!(text(answer.error()).contains("is not known"), "{:?}", answer.error());
        // The record holds this turn and the other writer's.
        let stored = json_of(&load(&elsewhere, &id).await);
        assert_eq!(stored["user"]["data"]["count"], json!(count + 2));
        let writes = proxy.calls().into_iter().filter(|call| call == action).count();
        assert_eq!(writes, 2, "tried again by the client, and not by the layer");
    }
}

/// A throttled attempt has had no effect, so a conflict after it is a plain conflict.
async fn a_refused_attempt_has_had_no_effect(endpoint: String) {
    let table = super::table();
    let elsewhere = builder(&table, &endpoint).build().await.unwrap();
    let id = user("throttled");
    let version = save(&elsewhere, &id, &with_data(&json!({ "count": 7 })), None).await;
    let proxy = Proxy::start(&endpoint, |called, before| match called {
        "UpdateItem" if before == 0 => {
            Rule::Fail("ProvisionedThroughputExceededException", "The level of configured…")
        }
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&table, &proxy.endpoint).build().await.unwrap();
    save(&elsewhere, &id, &with_data(&json!({ "count": 8 })), Some(&version)).await;
    let saved = db
        .save(&id, &with_data(&json!({ "count": 9 })), Expected::Version(&version))
        .await
        .unwrap();
    assert!(matches!(saved, Saved::Conflict(Some(_))), "{saved:?}");
    let writes = proxy.calls().into_iter().filter(|call| call == "UpdateItem").count();
    assert_eq!(writes, 2);
}

/// Throttled calls are retried for most of the time limit, and then fail as throttled.
async fn throttling_is_retried_within_the_time(endpoint: String) {
    let (_, raw) = ready(&endpoint).await;
    let id = user("throttled long");
    let is_over = Arc::new(AtomicBool::new(false));
    let ended = is_over.clone();
    let proxy = Proxy::start(&endpoint, move |called, _| match called {
        "GetItem" | "PutItem" if !ended.load(Ordering::Relaxed) => {
            Rule::Fail("ProvisionedThroughputExceededException", "The level of configured…")
        }
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&raw.table, &proxy.endpoint).timeout(Duration::from_secs(2));
    let db = db.build().await.unwrap();
    let began = Instant::now();
    let error = db.load(&id).await.unwrap_err();
    let took = began.elapsed();
    assert!(text(&error).contains("ProvisionedThroughputExceededException"), "{error:?}");
    assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&took), "{took:?}");
    assert!(proxy.calls().len() > 9, "more than the client itself");

    let ends = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        is_over.store(true, Ordering::Relaxed);
    });
    save(&db, &id, &with_data(&json!({})), None).await;
    assert!(ends.is_finished());
    assert!(load(&db, &id).await.record == with_data(&json!({})));
}

fn counting(database: DynamoDb) -> App {
    sync_app(&patient(database), |user, _, _| user.increment("count", 1).map(drop))
}

async fn errors_quote_aws(endpoint: String) {
    let cases = [
        ("ProvisionedThroughputExceededException", "The level of configured…", "The level"),
        ("ValidationException", "invalid value: SECRET", "no further explanation"),
        (
            "ValidationException",
            "The provided key element does not match the schema",
            "The provided key",
        ),
        ("AccessDeniedException", "not authorized to perform: dynamodb:GetItem", "not authorized"),
        ("UnrecognizedClientException", "The security token is invalid", "security token"),
    ];
    for (code, message, shown) in cases {
        let proxy = Proxy::start(&endpoint, move |action, _| match action {
            "GetItem" | "PutItem" => Rule::Fail(code, message),
            _ => Rule::Forward,
        })
        .await;
        let table = super::table();
        let db = builder(&table, &proxy.endpoint).timeout(Duration::from_secs(4));
        let db = db.build().await.unwrap();
        let id = user("error");
        let errors = [
            ("GetItem", db.load(&id).await.unwrap_err()),
            (
                "PutItem",
                db.save(&id, &with_data(&json!("SECRET")), Expected::Absent).await.unwrap_err(),
            ),
            ("PutItem", db.delete(&id).await.unwrap_err()),
        ];
        for (action, error) in errors {
            let expected = format!("{action} on table \"{table}\" failed: {code}");
            assert_eq!(error.to_string(), expected);
            assert!(error.is_database() && text(&error).contains(shown), "{error:?}");
        }
    }
}

async fn gives_up_in_time(endpoint: String) {
    let hanging = Proxy::start(&endpoint, |_, _| Rule::Hang).await.endpoint;
    let refused = "http://127.0.0.1:9".to_owned();
    // Once with an existing table, and once with one that has to be described.
    for (endpoint, create) in [(&hanging, true), (&refused, true), (&refused, false)] {
        // Uses the default time-out.
        let db = builder(&super::table(), endpoint).timeout(Duration::from_secs(2));
        let db = db.create_table(create).build().await.unwrap();
        let app = sync_app(&PersistenceLayer::new(db.clone()), |_, _, _| Ok(()));
        let began = Instant::now();
        assert_eq!(send(&app, post(alexa(&user("unreachable")).to_string())).await.status, 503);
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
    for rule in [|| Rule::Hang, || Rule::Stall] {
        let late = Proxy::start(&endpoint, move |action, before| match action {
            "GetItem" if before > 0 => rule(),
            _ => Rule::Forward,
        })
        .await;
        let db = builder(&super::table(), &late.endpoint).timeout(Duration::from_millis(400));
        let db = db.build().await.unwrap();
        db.ensure_ready().await.unwrap();
        let began = Instant::now();
        let error = db.load(&user("late")).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(text(&error).contains("failed: no answer in time"), "{error:?}");
    }
    let db = builder(&super::table(), &refused).build().await.unwrap();
    let error = db.load(&user("refused")).await.unwrap_err();
    assert!(text(&error).contains("failed: the request could not be sent"), "{error:?}");
}

async fn takes_a_client(endpoint: String) {
    for rule in [|| Rule::Hang, || Rule::Stall] {
        let late = Proxy::start(&endpoint, move |action, _| match action {
            "GetItem" => rule(),
            _ => Rule::Forward,
        })
        .await;
        let raw = Raw::new(&late.endpoint, &super::table());
        let db = DynamoDb::builder(&raw.table).client(raw.client.clone());
        let db = db.timeout(Duration::from_millis(300)).build().await.unwrap();
        save(&db, &user("client"), &Record::default(), None).await;
        let began = Instant::now();
        assert!(db.load(&user("client")).await.is_err());
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

async fn shows_no_credentials(endpoint: String) {
    let builder = builder("Users", &endpoint.replace("://", "://name:SECRET@"));
    for debug in [format!("{builder:?}"), format!("{builder:#?}")] {
        assert!(debug.contains("Users") && !debug.contains("SECRET"), "{debug}");
    }
    let db = builder.build().await.unwrap();
    let debug = format!("{db:?}");
    assert!(debug.starts_with("DynamoDb { table: \"Users\", region: \""), "{debug}");
    assert!(debug.contains(&endpoint) && !debug.contains("SECRET"), "{debug}");
}

async fn settings_are_checked(endpoint: String) {
    let plain = || builder("Users", &endpoint);
    let cases = [
        (builder("no", &endpoint), "is not a table name"),
        (plain().endpoint_url("localhost:8000"), "begin with `http://`"),
        (plain().expire_users_after(Duration::ZERO), "after no time"),
        (plain().timeout(Duration::ZERO), "time-out is zero"),
        (plain().sort_key("sk", ""), "1 to 1024 bytes"),
        (plain().partition_key("user"), "in the attribute `user`"),
        (plain().sort_key("userId", "x"), "in the attribute `userId`"),
        (plain().project("score", "score"), "does not begin with `/`"),
        (plain().project("updatedAt", "/x"), "in the attribute `updatedAt`"),
        (plain().project("", "/x"), "1 to 255 bytes"),
    ];
    for (builder, expected) in cases {
        let error = builder.build().await.unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains(expected), "{error}");
    }
    #[cfg(not(feature = "aws-config"))]
    {
        let error = DynamoDb::builder("Users").build().await.unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains(".region(…)"), "{error}");
    }
}
