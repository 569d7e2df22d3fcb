//! Users with several ids have one record, whichever of them an event names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower_persistence::platform::{Event, Platform, PlatformRequest};
use tower_persistence::{
    Database, Error, Expected, Loaded, MemoryDb, OnConflict, PersistenceLayer, Record, Saved,
    VersionedRecord,
};

use crate::common::*;

/// A messenger whose events name several ids of their user, the first one first.
struct Pager;

impl Platform for Pager {
    fn name(&self) -> &str {
        "pager"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let pages = request.json()?.get("pages")?.get();
        let pages: Vec<Vec<&'a str>> = serde_json::from_str(pages).ok()?;
        let event = |ids: &Vec<&'a str>| {
            let (first, further) = ids.split_first()?;
            let event = Event::default().user_id(Some((*first).into()));
            let event = further.iter().fold(event, |event, id| event.also_known_as(*id));
            Some(event.body(json!({ "pages": [ids] }).to_string()))
        };
        pages.iter().map(event).collect()
    }
}

fn page(ids: &[&str]) -> Value {
    pages(&[ids])
}

fn pages(pages: &[&[&str]]) -> Value {
    json!({ "pages": pages })
}

fn layer<D: Database>(database: D) -> PersistenceLayer<D> {
    PersistenceLayer::new(database).platform(Pager)
}

fn counting<D: Database>(layer: &PersistenceLayer<D>) -> App {
    sync_app(layer, |user, _, _| user.increment("pages", 1).map(drop))
}

async fn pages_of(database: &impl Database, id: &str) -> Value {
    let record = stored(database, &format!("pager:{id}")).await;
    record.map_or(Value::Null, |record| record["user"]["data"]["pages"].clone())
}

async fn target(database: &impl Database, id: &str) -> Option<Value> {
    let record = stored(database, &format!("pager:{id}")).await?;
    (record.as_object()?.len() == 1).then(|| record["aliasOf"].clone())
}

#[tokio::test]
async fn a_second_id_leads_to_the_record_of_the_first() {
    let layer = layer(TestDb::default());
    let app = counting(&layer);
    let database = layer.database();
    send_json(&app, &page(&["anna", "555"])).await.assert_ok();
    assert_eq!(target(database, "555").await, Some("pager:anna".into()));
    send_json(&app, &page(&["555"])).await.assert_ok();
    send_json(&app, &page(&["anna"])).await.assert_ok();
    assert_eq!(pages_of(database, "anna").await, 3);
    assert_eq!(database.items.len(), 2);
}

#[tokio::test]
async fn a_record_under_the_second_id_moves_to_the_first() {
    let layer = layer(MemoryDb::new());
    let app = counting(&layer);
    let database = layer.database();
    send_json(&app, &page(&["555"])).await.assert_ok();
    let before = stored(database, "pager:555").await.unwrap();
    for expected in 2..4 {
        send_json(&app, &page(&["anna", "555"])).await.assert_ok();
        assert_eq!(pages_of(database, "anna").await, expected);
        assert_eq!(target(database, "555").await, Some("pager:anna".into()));
    }
    let after = stored(database, "pager:anna").await.unwrap();
    assert_eq!(after["createdAt"], before["createdAt"]);
}

#[tokio::test]
async fn records_that_were_never_seen_together_stay_two_and_are_joined_once_they_are() {
    let layer = layer(MemoryDb::new());
    let app = counting(&layer);
    let database = layer.database();
    let items = |name: &str| json!({ "items": [{ "output": name }] });
    let a = json!({ "user": { "data": { "a": 1, "b": 1 } }, "history": items("555"), "x": 1 });
    store(database, "pager:555", &a).await;
    let b = json!({ "user": { "data": { "b": 2 } }, "history": items("anna") });
    store(database, "pager:anna", &b).await;
    send_json(&app, &page(&["anna"])).await.assert_ok();
    send_json(&app, &page(&["555"])).await.assert_ok();
    assert_eq!(pages_of(database, "anna").await, 1);
    assert_eq!(pages_of(database, "555").await, 1);
    send_json(&app, &page(&["anna", "555"])).await.assert_ok();
    let anna = stored(database, "pager:anna").await.unwrap();
    assert_eq!(anna["user"]["data"], json!({ "b": 2, "pages": 2, "a": 1 }));
    assert_eq!(anna["x"], 1);
    assert_eq!(anna["history"]["items"], json!([{ "output": "anna" }, { "output": "555" }]));
    assert_eq!(target(database, "555").await, Some("pager:anna".into()));
}

#[tokio::test]
async fn an_id_that_the_platform_gives_to_another_user_does_not_lead_to_the_first_ones_data() {
    let layer = layer(MemoryDb::new());
    let app = counting(&layer);
    let database = layer.database();
    send_json(&app, &page(&["anna", "555"])).await.assert_ok();
    send_json(&app, &page(&["bert", "555"])).await.assert_ok();
    assert_eq!(pages_of(database, "anna").await, 1);
    assert_eq!(pages_of(database, "bert").await, 1);
    assert_eq!(target(database, "555").await, Some("pager:bert".into()));
    layer.forget("pager", "anna").await.unwrap();
    assert_eq!(target(database, "555").await, Some("pager:bert".into()));
    assert_eq!(pages_of(database, "bert").await, 1);
}

#[tokio::test]
async fn whoever_is_forgotten_is_forgotten_under_every_id() {
    for id in ["anna", "555", "anna@home"] {
        let layer = layer(MemoryDb::new());
        let app = counting(&layer);
        send_json(&app, &page(&["anna", "555", "anna@home"])).await.assert_ok();
        let exported = layer.export("pager", id).await.unwrap().unwrap();
        assert_eq!(exported["user"]["data"]["pages"], 1);
        layer.forget("pager", id).await.unwrap();
        assert!(layer.database().is_empty());
    }
    let layer = layer(MemoryDb::new());
    send_json(&counting(&layer), &page(&["anna", "555"])).await.assert_ok();
    let forgetting = sync_app(&layer, |user, _, _| user.forget());
    send_json(&forgetting, &page(&["555"])).await.assert_ok();
    assert!(layer.database().is_empty());
}

#[tokio::test]
async fn a_user_who_is_deleted_during_a_turn_leaves_no_alias() {
    let database = TestDb::default();
    let layer = layer(database.clone());
    let app = counting(&layer);
    store(&database.items, "pager:555", &json!({ "user": { "data": { "pages": 1 } } })).await;
    store(&database.items, "pager:anna", &json!({ "user": { "data": { "pages": 1 } } })).await;
    database.on_save(Behaviour::Waits);
    let turn = tokio::spawn(async move { send_json(&app, &page(&["anna", "555"])).await });
    database.until_waiting().await;
    for id in ["pager:anna", "pager:555"] {
        database.items.delete(id).await.unwrap();
    }
    database.on_save(Behaviour::Works);
    database.go();
    turn.await.unwrap().assert_ok();
    assert!(database.items.is_empty());
}

#[tokio::test]
async fn a_turn_waits_for_those_under_the_users_other_ids() {
    let layer = layer(MemoryDb::new());
    send_json(&counting(&layer), &page(&["anna", "555"])).await.assert_ok();
    for (first, second) in [(["anna", "555"].as_slice(), ["555"].as_slice()), (&["555"], &["anna"])]
    {
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, goes) = (Arc::clone(&began), Arc::clone(&go));
        let slow = app(&layer, move |user, _, _| {
            let (begins, goes) = (Arc::clone(&begins), Arc::clone(&goes));
            async move {
                begins.notify_one();
                goes.notified().await;
                user.increment("pages", 1).map(drop)
            }
        });
        let quick = counting(&layer);
        let (first, second) = (page(first), page(second));
        let first = tokio::spawn(async move { send_json(&slow, &first).await });
        began.notified().await;
        let second = tokio::spawn(async move { send_json(&quick, &second).await });
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(!second.is_finished());
        go.notify_one();
        first.await.unwrap().assert_ok();
        second.await.unwrap().assert_ok();
    }
    assert_eq!(pages_of(layer.database(), "anna").await, 5);
}

#[tokio::test]
async fn one_users_ids_in_a_batch_are_one_user() {
    let layer = layer(MemoryDb::new());
    let app = counting(&layer);
    let batch = pages(&[&["anna", "555"], &["555"], &["bert"], &["anna"]]);
    send_json(&app, &batch).await.assert_ok();
    assert_eq!(pages_of(layer.database(), "anna").await, 3);
    assert_eq!(pages_of(layer.database(), "bert").await, 1);
}

#[tokio::test]
async fn a_known_alias_costs_no_load_and_is_written_anew_after_a_day() {
    let clock = Clock::new();
    let layer = layer(TestDb::default()).clock(clock.reader());
    let app = counting(&layer);
    let calls = |loads, saves| Calls { loads, saves, deletes: 0 };
    // The first turn writes both records, the second one notes that the alias is there.
    for expected in [calls(2, 2), calls(4, 4), calls(5, 5)] {
        send_json(&app, &page(&["anna", "555"])).await.assert_ok();
        assert_eq!(layer.database().calls(), expected);
    }
    clock.advance(Duration::from_secs(24 * 60 * 60));
    for expected in [calls(7, 7), calls(8, 8)] {
        send_json(&app, &page(&["anna", "555"])).await.assert_ok();
        assert_eq!(layer.database().calls(), expected);
    }
}

#[tokio::test]
async fn aliases_in_a_circle_are_an_error() {
    let layer = layer(MemoryDb::new());
    store(layer.database(), "pager:a", &json!({ "aliasOf": "pager:b" })).await;
    store(layer.database(), "pager:b", &json!({ "aliasOf": "pager:a" })).await;
    let answer = send_json(&counting(&layer), &page(&["a"])).await;
    assert!(answer.error().is_decode());
    assert!(layer.export("pager", "a").await.unwrap_err().is_decode());
}

/// A database in which something happens before an alias is saved.
#[derive(Clone, Debug)]
struct AtAlias {
    items: MemoryDb,
    /// The number of aliases that are not saved, as if the process had died.
    deaths: Arc<AtomicU32>,
    /// The number of times that another process counts in the record that becomes an alias.
    counts: Arc<AtomicU32>,
}

impl AtAlias {
    fn new(deaths: u32, counts: u32) -> Self {
        let (deaths, counts) = (Arc::new(deaths.into()), Arc::new(counts.into()));
        Self { items: MemoryDb::new(), deaths, counts }
    }
}

fn take(count: &AtomicU32) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| count.checked_sub(1)).is_ok()
}

impl Database for AtAlias {
    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.items.load(id).await
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        self.items.load_for_update(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        if record.fields().contains_key("aliasOf") {
            if take(&self.deaths) {
                return Err(Error::database("the disk is on fire"));
            }
            let current = stored(&self.items, id).await;
            if let Some(mut current) = current.filter(|_| take(&self.counts)) {
                let data = &mut current["user"]["data"];
                data["pages"] = (data["pages"].as_u64().unwrap() + 1).into();
                store(&self.items, id, &current).await;
            }
        }
        self.items.save(id, record, expected).await
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.items.delete(id).await
    }
}

#[tokio::test]
async fn a_move_that_was_interrupted_is_finished_by_the_next_turn() {
    let database = AtAlias::new(1, 0);
    let layer = layer(database.clone());
    let app = counting(&layer);
    send_json(&app, &page(&["555"])).await.assert_ok();
    send_json(&app, &page(&["anna", "555"])).await.assert_ok();
    // Both are readable.
    assert_eq!(pages_of(&database, "anna").await, 2);
    assert_eq!(pages_of(&database, "555").await, 1);
    let reading = sync_app(&layer, |_, _, _| Ok(()));
    send_json(&reading, &page(&["anna", "555"])).await.assert_ok();
    assert_eq!(pages_of(&database, "anna").await, 2);
    assert_eq!(target(&database, "555").await, Some("pager:anna".into()));
}

#[tokio::test]
async fn what_another_process_stores_during_a_move_is_carried_over() {
    let database = AtAlias::new(0, 3);
    let app = counting(&layer(database.clone()));
    send_json(&app, &page(&["555"])).await.assert_ok();
    send_json(&app, &page(&["anna", "555"])).await.assert_ok();
    assert_eq!(pages_of(&database, "anna").await, 5);
    assert_eq!(target(&database, "555").await, Some("pager:anna".into()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each event names some of three ids, in their order, and each attempt to write an alias may
    /// fail: no page is lost, and none counts twice, once a turn has seen all ids together.
    #[test]
    fn no_page_is_lost_however_the_ids_come(
        events in proptest::collection::vec(1..8_u8, 1..12),
        deaths in 0..4_u32,
        reruns: bool,
    ) {
        const IDS: [&str; 3] = ["anna", "555", "anna@home"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = AtAlias::new(deaths, 0);
            let policy = if reruns { OnConflict::Rerun { attempts: 2 } } else { OnConflict::Merge };
            let app = counting(&layer(database.clone()).on_conflict(policy));
            let mut apart = false;
            let mut seen = 0_u8;
            // Moves that are interrupted one within the other may count a page twice.
            let all = if deaths == 0 { 0b111 } else { 0b011 };
            for ids in events.iter().map(|ids| (ids & all).max(1)) {
                let named: Vec<_> =
                    (0..3).filter(|bit| ids & (1 << bit) != 0).map(|bit| IDS[bit]).collect();
                send_json(&app, &page(&named)).await.assert_ok();
                // Records that began apart keep the number of the one that comes first. An alias of
                // another user's does not lead a new first id there.
                let first = 1 << ids.trailing_zeros();
                let is_new = seen != 0 && seen & first == 0;
                apart |= is_new && (seen.count_ones() > 1 || seen & ids == 0);
                seen |= ids;
            }
            // The turns that see all ids finish what was interrupted.
            for _ in 0..=deaths {
                send_json(&app, &page(&IDS)).await.assert_ok();
            }
            for id in &IDS[1..] {
                assert!(target(&database, id).await.is_some());
            }
            if !apart {
                let count = pages_of_any(&database, &IDS).await;
                assert_eq!(count, events.len() as u64 + u64::from(deaths) + 1);
            }
        });
    }
}

/// Returns the pages in the only record that is no alias.
async fn pages_of_any(database: &impl Database, ids: &[&str]) -> u64 {
    let mut counts = Vec::new();
    for id in ids {
        counts.extend(pages_of(database, id).await.as_u64());
    }
    assert_eq!(counts.len(), 1);
    counts[0]
}
