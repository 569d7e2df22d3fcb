//! Tombstones in the table.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use libtest_mimic::Trial;
use serde_json::json;
use tower_persistence::{Database, Expected, Loaded, Saved};

use super::proxy::{Proxy, Rule};
use super::*;

const LIFETIME: u64 = 15 * 60;

pub(super) fn trials(servers: &Servers) -> Vec<Trial> {
    vec![
        servers.trial("a_tombstone_holds_nothing_of_the_user", holds_nothing_of_the_user),
        servers.trial("an_expired_tombstone_does_not_count", counts_until_its_end),
        servers.trial("a_tombstone_written_over_is_an_item", a_tombstone_written_over_is_an_item),
        servers.trial("no_tombstone_where_it_would_stay", leaves_none_that_would_stay),
        servers.trial("a_tombstone_ends_by_the_tables_attribute", ends_by_the_tables_attribute),
        servers.trial("a_table_without_time_to_live_is_usable", works_without_a_time_to_live),
    ]
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn number(item: &Item, name: &str) -> u64 {
    item[name].as_n().unwrap().parse().unwrap()
}

async fn tombstone(db: &DynamoDb, user: &str) -> Option<Version> {
    let nothing = nothing(db).await;
    match db.load_for_update(user).await.unwrap() {
        Loaded::Absent(version) => version.filter(|version| *version != nothing),
        found => panic!("{found:?}"),
    }
}

/// Returns the version of a turn that finds neither an item nor a tombstone.
async fn nothing(db: &DynamoDb) -> Version {
    db.load_for_update("never stored").await.unwrap().expected().version().unwrap().clone()
}

async fn holds_nothing_of_the_user(endpoint: String) {
    let table = table();
    let db = builder(&table, &endpoint).project("score", "/user/data/score");
    let (db, raw) = (db.build().await.unwrap(), Raw::new(&endpoint, &table));
    let (id, unknown) = (user("deleted"), user("unknown"));
    let data = json!({ "score": 7, "name": "Zoë" });
    save(&db, &id, &with_data(&data), None).await;
    for id in [&id, &unknown] {
        let before = now();
        db.delete(id).await.unwrap();
        let item = raw.get(id).await.unwrap();
        let mut names: Vec<_> = item.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            ["persistenceExpiresAt", "persistenceTombstone", "persistenceVersion", "userId"]
        );
        let end = number(&item, "persistenceExpiresAt");
        assert!((before + LIFETIME..=now() + LIFETIME).contains(&end), "{end}");
        assert_eq!(number(&item, "persistenceTombstone"), end);
        assert_eq!(db.load(id).await.unwrap(), None);
    }
    // DynamoDB removes the tombstone by it.
    let described = raw.client.describe_time_to_live().table_name(&table).send().await.unwrap();
    let described = described.time_to_live_description.unwrap();
    assert_eq!(described.attribute_name(), Some("persistenceExpiresAt"));
    assert!(described.time_to_live_status().unwrap().as_str().starts_with("ENABL"));

    // Nothing of the tombstone stays in the item that replaces it.
    let expected = tombstone(&db, &id).await;
    save(&db, &id, &with_data(&json!({})), expected.as_ref()).await;
    let item = raw.get(&id).await.unwrap();
    assert_eq!(item.len(), 3, "{item:?}");
}

async fn counts_until_its_end(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("ended");
    for shown in [true, false] {
        db.delete(&id).await.unwrap();
        let before = tombstone(&db, &id).await;
        let nothing = nothing(&db).await;
        let saved =
            db.save(&id, &with_data(&json!({})), Expected::Version(&nothing)).await.unwrap();
        assert_eq!(saved, Saved::Conflict(None));
        let mut item = raw.get(&id).await.unwrap();
        for name in ["persistenceExpiresAt", "persistenceTombstone"] {
            item.insert(name.to_owned(), n(&now().to_string()));
        }
        raw.put(item).await;
        assert_eq!(tombstone(&db, &id).await, None);
        let expected = if shown { before.unwrap() } else { nothing };
        save(&db, &id, &with_data(&json!({ "new": true })), Some(&expected)).await;
        assert_eq!(load(&db, &id).await.record, with_data(&json!({ "new": true })));
    }
    // A tombstone that was removed meanwhile holds no save back, and does not cause an item to be
    // removed.
    db.delete(&id).await.unwrap();
    let before = tombstone(&db, &id).await;
    let removed = raw.client.delete_item().table_name(&raw.table).key("userId", s(&id));
    removed.send().await.unwrap();
    let version = save(&db, &id, &with_data(&json!({})), before.as_ref()).await;
    let saved =
        db.save(&id, &with_data(&json!({})), Expected::from(before.as_ref())).await.unwrap();
    let Saved::Conflict(Some(current)) = saved else { panic!("{saved:?}") };
    assert_eq!(current.version, version);
}

async fn a_tombstone_written_over_is_an_item(endpoint: String) {
    let (db, raw) = ready(&endpoint).await;
    let id = user("written over");
    db.delete(&id).await.unwrap();
    let before = tombstone(&db, &id).await;
    // Written once as Jovo v4 does, and once by a writer that keeps the existing attributes.
    for keeps in [false, true] {
        if keeps {
            db.delete(&id).await.unwrap();
            raw.update(&id, "SET score = :v", n("1")).await;
        } else {
            raw.put(item([("userId", s(&id)), ("score", n("1"))])).await;
        }
        let stored = load(&db, &id).await;
        assert_eq!(json_of(&stored), json!({ "score": 1 }));
        for expected in [None, before.as_ref()] {
            let saved =
                db.save(&id, &with_data(&json!({})), Expected::from(expected)).await.unwrap();
            assert_eq!(saved, Saved::Conflict(Some(stored.clone())));
        }
        // Nothing is left of the tombstone by which DynamoDB would remove the user.
        save(&db, &id, &with_data(&json!({ "a": 2 })), Some(&stored.version)).await;
        let item = raw.get(&id).await.unwrap();
        assert_eq!(item.len(), 3, "{item:?}");
        assert_eq!(load(&db, &id).await.record, with_data(&json!({ "a": 2 })));
    }
}

async fn switch_on(raw: &Raw, attribute: &str) {
    let on = TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build();
    let request = raw.client.update_time_to_live().table_name(&raw.table);
    request.time_to_live_specification(on.unwrap()).send().await.unwrap();
}

async fn leaves_none_that_would_stay(endpoint: String) {
    let off = not_ours(&endpoint).await;
    let clashing = not_ours(&endpoint).await;
    switch_on(&clashing, "updatedAt").await;
    let on = not_ours(&endpoint).await;
    switch_on(&on, "ttl").await;
    for (raw, denied) in [(off, false), (clashing, false), (on, true)] {
        let proxy = Proxy::start(&endpoint, move |action, _| match action {
            "DescribeTimeToLive" if denied => Rule::Fail("AccessDeniedException", "not authorized"),
            _ => Rule::Forward,
        })
        .await;
        let db = builder(&raw.table, &proxy.endpoint).build().await.unwrap();
        let id = user("plain");
        for _ in 0..2 {
            save(&db, &id, &with_data(&json!({})), None).await;
            db.delete(&id).await.unwrap();
            assert_eq!(raw.get(&id).await, None);
            assert_eq!(tombstone(&db, &id).await, None);
        }
        let calls = proxy.calls();
        let asked = calls.iter().filter(|call| call.ends_with("TimeToLive")).count();
        assert_eq!(asked, 1, "once, and nothing is switched on: {calls:?}");
    }
}

async fn ends_by_the_tables_attribute(endpoint: String) {
    let raw = not_ours(&endpoint).await;
    switch_on(&raw, "ttl").await;
    let db = builder(&raw.table, &endpoint).create_table(false).build().await.unwrap();
    let id = user("ttl");
    let version = save(&db, &id, &with_data(&json!({})), None).await;
    db.delete(&id).await.unwrap();
    let item = raw.get(&id).await.unwrap();
    assert_eq!((item.len(), number(&item, "ttl")), (4, number(&item, "persistenceTombstone")));
    // A process that has deleted nothing recognises it as well.
    let other = builder(&raw.table, &endpoint).build().await.unwrap();
    let expected = tombstone(&other, &id).await;
    assert!(expected.is_some());
    for expected in [&nothing(&other).await, &version] {
        let saved =
            other.save(&id, &with_data(&json!({})), Expected::Version(expected)).await.unwrap();
        assert_eq!(saved, Saved::Conflict(None));
    }
    save(&other, &id, &with_data(&json!({})), expected.as_ref()).await;
    // A caller that does not ask for tombstones is not held back by them.
    other.delete(&id).await.unwrap();
    save(&other, &id, &with_data(&json!({})), None).await;
}

/// A role that may create the table need not be allowed to enable its time to live.
async fn works_without_a_time_to_live(endpoint: String) {
    let proxy = Proxy::start(&endpoint, |action, _| match action {
        "DescribeTimeToLive" | "UpdateTimeToLive" => {
            Rule::Fail("AccessDeniedException", "not authorized")
        }
        _ => Rule::Forward,
    })
    .await;
    let db = builder(&table(), &proxy.endpoint).build().await.unwrap();
    let id = user("no time to live");
    save(&db, &id, &with_data(&json!({})), None).await;
    db.delete(&id).await.unwrap();
    assert_eq!(tombstone(&db, &id).await, None);
    save(&db, &id, &with_data(&json!({})), None).await;
}
