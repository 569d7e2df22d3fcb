//! Another process saves the same user's record between load and save.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{
    Database, Error, History, MemoryDb, OnConflict, PersistenceLayer, Session, StoredElements, User,
};

use crate::common::*;

/// Serves a request with `handler`; another process has stored `theirs` before its save.
pub(crate) async fn with_conflicts(
    layer: &PersistenceLayer<TestDb>,
    request: &Value,
    theirs: Option<&Value>,
    handler: impl Fn(&User, &Session, &History) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Answer {
    let app = sync_app(layer, handler);
    let items = layer.database().items.clone();
    layer.database().on_save(Behaviour::Waits);
    let request = request.clone();
    let request = tokio::spawn(async move { send_json(&app, &request).await });
    layer.database().until_waiting().await;
    match theirs {
        Some(theirs) => store(&items, "user-1", theirs).await,
        None => items.delete("user-1").await.unwrap(),
    }
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    request.await.unwrap()
}

async fn item(layer: &PersistenceLayer<TestDb>) -> Value {
    stored(&layer.database().items, "user-1").await.unwrap_or_default()
}

/// Returns the user data after `mine` changed `base` while another process stored `theirs`; `None`
/// for a conflict.
async fn merged(
    base: Value,
    theirs: Value,
    mine: impl Fn(&User) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Option<Value> {
    let layer = PersistenceLayer::new(TestDb::default());
    let of_user = |data: &Value| json!({ "user": { "data": data } });
    store(&layer.database().items, "user-1", &of_user(&base)).await;
    let theirs_item = of_user(&theirs);
    let answer =
        with_conflicts(&layer, &alexa("user-1"), Some(&theirs_item), move |user, _, _| mine(user))
            .await;
    if answer.status == 200 {
        return Some(item(&layer).await["user"]["data"].take());
    }
    assert_eq!(answer.status, 409);
    assert!(answer.error().is_conflict());
    assert_eq!(item(&layer).await, theirs_item, "nothing was written");
    None
}

#[tokio::test]
async fn changes_of_different_keys_are_both_kept() {
    let base =
        json!({ "a": 1, "b": 2, "gone": 3, "address": { "city": "Berlin", "zip": "10115" } });
    let theirs = json!({ "a": 10, "b": 2, "gone": 3, "new": [1], "address": { "city": "Bonn", "zip": "10115" } });
    let data = merged(base, theirs, |user| {
        user.set("b", 20)?;
        user.remove("gone")?;
        user.set("own", true)?;
        user.update(|data| data["address"]["zip"] = "53111".into())
    })
    .await;
    let expected = json!({
        "a": 10, "b": 20, "new": [1], "address": { "city": "Bonn", "zip": "53111" }, "own": true,
    });
    assert_eq!(data, Some(expected));
}

#[tokio::test]
async fn increments_add_up() {
    let increment = |user: &User| user.increment("n", 2).map(drop);
    let n = |value: Value| json!({ "n": value });
    assert_eq!(merged(n(json!(1)), n(json!(5)), increment).await, Some(n(json!(7))));
    // Also if both arrive at the same number, or start from none.
    assert_eq!(merged(n(json!(1)), n(json!(3)), increment).await, Some(n(json!(5))));
    assert_eq!(merged(n(json!(1)), json!({}), increment).await, None, "removed there");
    assert_eq!(merged(json!({}), n(json!(4)), increment).await, Some(n(json!(6))));
    assert_eq!(merged(n(json!(1)), n(json!("text")), increment).await, None);
    assert_eq!(merged(n(json!(1)), n(json!(i64::MAX)), increment).await, None);
}

#[tokio::test]
async fn an_increment_after_a_value_of_its_own_is_part_of_that_value() {
    let n = |value: i64| json!({ "n": value });
    let set = |user: &User| {
        user.set("n", 10)?;
        user.increment("n", 1).map(drop)
    };
    assert_eq!(merged(n(1), n(1), set).await, Some(n(11)));
    assert_eq!(merged(n(1), n(5), set).await, None);
    let update = |user: &User| {
        user.increment("n", 1)?;
        user.update(|data| data["n"] = 10.into())?;
        user.increment("n", 1).map(drop)
    };
    assert_eq!(merged(n(1), n(5), update).await, None);
    assert_eq!(merged(n(1), n(11), update).await, Some(n(11)), "the same value is not a conflict");
}

#[tokio::test]
async fn a_key_that_both_sides_change_is_a_conflict() {
    let list = |list: Value| json!({ "k": list });
    let set = |user: &User| user.set("k", json!([2]));
    assert_eq!(merged(list(json!([1])), list(json!([3])), set).await, None);
    assert_eq!(merged(list(json!([1])), list(json!([2])), set).await, Some(list(json!([2]))));
    assert_eq!(merged(list(json!([1])), json!({}), set).await, None, "removed there, changed here");
    let remove = |user: &User| user.remove("k");
    assert_eq!(merged(list(json!(1)), list(json!(2)), remove).await, None);
    assert_eq!(merged(list(json!(1)), json!({}), remove).await, Some(json!({})));
    let deep = |user: &User| user.update(|data| data["k"]["x"] = 2.into());
    let both = merged(list(json!({ "x": 1 })), list(json!({ "x": 3 })), deep).await;
    assert_eq!(both, None, "inside an object as well");
}

#[tokio::test]
async fn the_error_names_no_key_below_the_top_level() {
    let layer = PersistenceLayer::new(TestDb::default());
    let item = |n: i64| json!({ "user": { "data": { "list": { "n": n } } } });
    store(&layer.database().items, "user-1", &item(1)).await;
    let answer = with_conflicts(&layer, &alexa("user-1"), Some(&item(2)), |user, _, _| {
        user.update(|data| data["list"]["n"] = 3.into())
    })
    .await;
    assert!(answer.error().to_string().contains("`user.data.list` was"), "{}", answer.error());
}

#[tokio::test]
async fn two_first_requests_make_one_user() {
    let layer = PersistenceLayer::new(TestDb::default());
    let theirs =
        json!({ "user": { "data": { "visits": 1 } }, "createdAt": "2020-01-01T00:00:00.000Z" });
    let answer = with_conflicts(&layer, &alexa("user-1"), Some(&theirs), |user, _, _| {
        user.increment("visits", 1).map(drop)
    })
    .await;
    answer.assert_ok();
    let item = item(&layer).await;
    assert_eq!(item["user"]["data"]["visits"], 2);
    assert_eq!(item["createdAt"], "2020-01-01T00:00:00.000Z", "the earlier");
}

#[tokio::test]
async fn a_user_deleted_in_the_meantime_stays_deleted_and_the_reply_is_sent() {
    for policy in [OnConflict::Merge, OnConflict::Rerun { attempts: 3 }, OnConflict::Overwrite] {
        let layer = PersistenceLayer::new(TestDb::default()).on_conflict(policy);
        store(&layer.database().items, "user-1", &json!({})).await;
        let visit = |user: &User, _: &Session, _: &History| user.increment("visits", 1).map(drop);
        with_conflicts(&layer, &alexa("user-1"), None, visit).await.assert_ok();
        assert!(layer.database().items.is_empty(), "{policy:?}");
    }
}

#[tokio::test]
async fn unknown_fields_are_taken_from_the_stored_record() {
    let layer = PersistenceLayer::new(TestDb::default());
    store(&layer.database().items, "user-1", &json!({ "own": 1, "user": { "note": 1 } })).await;
    let theirs = json!({ "own": 2, "user": { "note": 2 }, "added": true });
    let visit = |user: &User, _: &Session, _: &History| user.set("a", 1);
    with_conflicts(&layer, &alexa("user-1"), Some(&theirs), visit).await.assert_ok();
    let item = item(&layer).await;
    assert_eq!((&item["own"], &item["added"]), (&json!(2), &json!(true)));
    assert_eq!(item["user"], json!({ "note": 2, "data": { "a": 1 } }));
}

#[tokio::test]
async fn history_meta_data_and_times_never_conflict() {
    let clock = Clock::new();
    let elements =
        StoredElements::new().history(HistoryElement::new().nlu(false).size(3)).meta_data(true);
    let layer =
        PersistenceLayer::new(TestDb::default()).stored_elements(elements).clock(clock.reader());
    let item = |outputs: Value, count: i64, at: &str| {
        json!({
            "user": { "data": {} },
            "history": { "items": outputs },
            "metaData": { "createdAt": "2020-01-01T00:00:00.000Z", "lastUsedAt": at, "sessionsCount": count },
            "createdAt": "2020-01-01T00:00:00.000Z",
            "updatedAt": at,
        })
    };
    let outputs = json!([{ "output": 2 }, { "output": 1 }]);
    store(&layer.database().items, "user-1", &item(outputs, 4, "2025-01-01T00:00:00.000Z")).await;
    // The other process's clock is ahead.
    let outputs = json!([{ "output": 3 }, { "output": 2 }, { "output": 1 }]);
    let theirs = item(outputs, 5, "2026-01-01T00:00:05.000Z");
    let request = alexa_session("user-1", "session-9", true);
    let handler = |_: &User, _: &Session, history: &History| history.set_output("mine");
    with_conflicts(&layer, &request, Some(&theirs), handler).await.assert_ok();
    let outputs = json!([{ "output": "mine" }, { "output": 3 }, { "output": 2 }]);
    let expected = item(outputs, 6, "2026-01-01T00:00:05.000Z");
    assert_eq!(stored(&layer.database().items, "user-1").await.unwrap(), expected);
}

fn session_item(id: &str, data: Value, state: Value, created_at: &str) -> Value {
    let session = json!({
        "id": id, "data": data, "state": state,
        "createdAt": created_at, "updatedAt": "2026-01-01T00:00:00.000Z",
    });
    json!({ "session": session })
}

const EARLIER: &str = "2025-12-31T23:59:00.000Z";

/// Returns the session after a conflicting turn in session `request`; `None` for a conflict that
/// remains.
async fn merged_session(
    base: Value,
    theirs: Value,
    request: Value,
    handler: impl Fn(&Session) -> Result<(), Error> + Clone + Send + Sync + 'static,
) -> Option<Value> {
    let clock = Clock::new();
    clock.advance(Duration::from_secs(7));
    let elements = StoredElements::new().session(true);
    let layer =
        PersistenceLayer::new(TestDb::default()).stored_elements(elements).clock(clock.reader());
    store(&layer.database().items, "user-1", &base).await;
    let answer =
        with_conflicts(&layer, &request, Some(&theirs), move |_, session, _| handler(session))
            .await;
    if answer.status == 409 {
        return None;
    }
    answer.assert_ok();
    Some(item(&layer).await["session"].take())
}

#[tokio::test]
async fn two_requests_of_one_session_merge_its_data() {
    let base = session_item("session-1", json!({ "n": 1, "a": 1 }), json!("S"), EARLIER);
    let theirs = session_item("session-1", json!({ "n": 2, "a": 1, "b": 1 }), json!("T"), EARLIER);
    let session = merged_session(base.clone(), theirs.clone(), alexa("user-1"), |session| {
        session.increment("n", 1)?;
        session.remove("a")
    })
    .await
    .unwrap();
    assert_eq!(session["data"], json!({ "n": 3, "b": 1 }));
    assert_eq!(session["state"], "T", "theirs, since this turn set none");
    assert_eq!(session["updatedAt"], "2026-01-01T00:00:07.000Z");
    assert_eq!(session["createdAt"], EARLIER);

    let session = merged_session(base, theirs, alexa("user-1"), |session| session.set_state("U"));
    assert_eq!(session.await.unwrap()["state"], "U", "the later save's");
}

#[tokio::test]
async fn two_first_requests_of_one_session_merge_its_data() {
    let base = session_item("old", json!({ "n": 9 }), json!("S"), EARLIER);
    let theirs =
        session_item("session-1", json!({ "n": 1 }), json!(null), "2026-01-01T00:00:06.000Z");
    let request = alexa_session("user-1", "session-1", true);
    let session =
        merged_session(base, theirs, request, |session| session.increment("n", 1).map(drop));
    let session = session.await.unwrap();
    assert_eq!(session["data"], json!({ "n": 2 }));
    assert_eq!(session["createdAt"], "2026-01-01T00:00:06.000Z");
}

#[tokio::test]
async fn a_session_that_this_turn_starts_ends_theirs_and_the_other_way_round() {
    let base = session_item("old", json!({ "n": 9 }), json!("S"), EARLIER);
    let theirs = session_item("old", json!({ "n": 10 }), json!("S"), EARLIER);
    let request = alexa_session("user-1", "session-1", true);
    let count = |session: &Session| session.increment("n", 1).map(drop);
    let session = merged_session(base, theirs, request, count).await.unwrap();
    assert_eq!((&session["id"], &session["data"]), (&json!("session-1"), &json!({ "n": 1 })));

    let base = session_item("session-1", json!({ "n": 9 }), json!("S"), EARLIER);
    let theirs = session_item("next", json!({ "n": 1 }), json!(null), "2026-01-01T00:00:06.000Z");
    let session = merged_session(base.clone(), theirs.clone(), alexa("user-1"), |_| Ok(()));
    assert_eq!(session.await.unwrap(), theirs["session"]);
    let session = merged_session(base, theirs, alexa("user-1"), count).await;
    assert_eq!(session, None, "what was written to the ended session would be lost");
}

#[tokio::test]
async fn rerun_calls_the_handler_again_on_fresh_data() {
    let layer = PersistenceLayer::new(TestDb::default());
    let layer = layer.on_conflict(OnConflict::Rerun { attempts: 1 });
    store(&layer.database().items, "user-1", &json!({ "user": { "data": { "n": 1 } } })).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let theirs = json!({ "user": { "data": { "n": 10 } } });
    let answer =
        with_conflicts(&layer, &alexa("user-1"), Some(&theirs), move |user, session, _| {
            counted.fetch_add(1, Ordering::Relaxed);
            assert_eq!(session.id(), Some("session-1"));
            let n: i64 = user.get("n")?.unwrap_or(0);
            user.set("n", n * 2)
        })
        .await;
    answer.assert_ok();
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    assert_eq!(item(&layer).await["user"]["data"]["n"], 20);
    assert_eq!(layer.database().calls().loads, 1, "the failed save brought what is stored now");
}

#[tokio::test]
async fn rerun_gives_up_after_its_attempts() {
    for attempts in [0, 2] {
        let layer = PersistenceLayer::new(TestDb::default());
        let layer = layer.on_conflict(OnConflict::Rerun { attempts });
        store(&layer.database().items, "user-1", &json!({})).await;
        let items = layer.database().items.clone();
        let runs = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&runs);
        // Another process saves the record during each run.
        let app = app(&layer, move |user, _, _| {
            let (items, counted) = (items.clone(), Arc::clone(&counted));
            async move {
                let run = counted.fetch_add(1, Ordering::Relaxed);
                store(&items, "user-1", &json!({ "run": run })).await;
                user.set("mine", true)
            }
        });
        let answer = send_json(&app, &alexa("user-1")).await;
        assert_eq!(answer.status, 409);
        assert!(answer.error().is_conflict());
        assert_eq!(runs.load(Ordering::Relaxed), attempts as usize + 1);
        assert!(item(&layer).await.get("user").is_none(), "nothing was written");
    }
}

#[tokio::test]
async fn overwrite_overwrites() {
    let layer = PersistenceLayer::new(TestDb::default()).on_conflict(OnConflict::Overwrite);
    store(&layer.database().items, "user-1", &json!({ "user": { "data": { "n": 1 } } })).await;
    let theirs = json!({ "user": { "data": { "n": 10, "theirs": true } } });
    let increment = |user: &User, _: &Session, _: &History| user.increment("n", 1).map(drop);
    with_conflicts(&layer, &alexa("user-1"), Some(&theirs), increment).await.assert_ok();
    assert_eq!(item(&layer).await["user"]["data"], json!({ "n": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_count_exactly() {
    // Two layers do not order each other's turns, like two processes.
    let db = MemoryDb::new();
    let visit = |layer: &PersistenceLayer<MemoryDb>| {
        app(layer, |user, _, _| async move {
            tokio::task::yield_now().await;
            user.increment("visits", 1).map(drop)
        })
    };
    let apps = [0, 1].map(|_| visit(&PersistenceLayer::new(db.clone())));
    let tasks = (0..16).map(|number| {
        let app = apps[number % 2].clone();
        tokio::spawn(async move {
            for _ in 0..125 {
                send_json(&app, &alexa("user-1")).await.assert_ok();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(stored(&db, "user-1").await.unwrap()["user"]["data"]["visits"], 2000);
}

#[derive(Clone, Debug)]
enum Step {
    Set(&'static str, i64),
    Put(&'static str, &'static str, i64),
    Remove(&'static str),
    Increment(&'static str, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::sample::select(vec!["a", "b", "c"]);
    // Never a value that is already there: writing it again is not a change.
    let value = 100_i64..1_000_000_000;
    let step = prop_oneof![
        (key(), value.clone()).prop_map(|(key, value)| Step::Set(key, value)),
        (prop::sample::select(vec!["o", "p"]), key(), value)
            .prop_map(|(object, key, value)| Step::Put(object, key, value)),
        key().prop_map(Step::Remove),
        (key(), 1_i64..4).prop_map(|(key, by)| Step::Increment(key, by)),
    ];
    prop::collection::vec(step, 0..4)
}

fn run(steps: &[Step], data: &mut Map<String, Value>) {
    for step in steps {
        match step {
            Step::Set(key, value) => drop(data.insert((*key).into(), json!(value))),
            Step::Put(object, key, value) => {
                let object = data.entry(*object).or_insert_with(|| json!({}));
                object[*key] = json!(value);
            }
            Step::Remove(key) => drop(data.shift_remove(*key)),
            Step::Increment(key, by) => {
                let number = data.get(*key).and_then(Value::as_i64).unwrap_or(0);
                data.insert((*key).into(), json!(number + by));
            }
        }
    }
}

fn run_on(steps: &[Step], user: &User) -> Result<(), Error> {
    for step in steps {
        match *step {
            Step::Set(key, value) => user.set(key, value)?,
            Step::Put(object, key, value) => user.update(|data| {
                data.entry(object).or_insert_with(|| json!({}))[key] = json!(value);
            })?,
            Step::Remove(key) => user.remove(key)?,
            Step::Increment(key, by) => drop(user.increment(key, by)?),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_two_turns_is_running_one_after_the_other(
        before in steps(), theirs in steps(), mine in steps(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let after = |turns: &[&[Step]]| {
            let mut data = Map::new();
            turns.iter().for_each(|steps| run(steps, &mut data));
            data
        };
        let base = after(&[&before]);
        let stored = after(&[&before, &theirs]);
        // A turn without a change saves nothing, and has no conflict.
        prop_assume!(after(&[&before, &mine]) != base);
        let orders = [after(&[&before, &theirs, &mine]), after(&[&before, &mine, &theirs])];
        let merged = runtime.block_on(merged(base.into(), stored.into(), move |user| {
            run_on(&mine, user)
        }));
        if let Some(merged) = merged {
            let merged = merged.as_object().unwrap();
            for key in ["a", "b", "c", "o", "p"] {
                let found = merged.get(key);
                prop_assert!(
                    orders.iter().any(|order| order.get(key) == found),
                    "{key}: {found:?}, {orders:?}"
                );
            }
        }
    }
}
