//! The messages of the conversation: appended, read within a budget, merged, and bounded.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{
    History, MemoryDb, Message, OnConflict, PersistenceLayer, StoredElements, User,
};

use crate::common::*;

fn contents(messages: &[Message]) -> Vec<Value> {
    messages.iter().map(|message| message.content.clone()).collect()
}

async fn stored_history(items: &MemoryDb) -> Value {
    stored(items, "user-1").await.unwrap_or_default()["history"].take()
}

fn pushing(layer: &PersistenceLayer<TestDb>, texts: &[&str]) -> App {
    let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
    sync_app(layer, move |_, _, history| {
        texts.iter().try_for_each(|text| history.push_message("user", text).map(drop))
    })
}

#[tokio::test]
async fn messages_are_appended_and_read_without_any_setting() {
    let clock = Clock::new();
    let layer = PersistenceLayer::new(TestDb::default()).clock(clock.reader());
    let clock_of_handler = clock.clone();
    let app = sync_app(&layer, move |user, _, history| {
        let before = history.messages();
        assert_eq!(before.len(), if user.is_new() { 0 } else { 2 });
        let id = history.push_message("user", "Hello \u{1f600}")?;
        clock_of_handler.advance(Duration::from_secs(20));
        history.push_message("assistant", json!([{ "type": "text", "text": "Hi" }, null]))?;
        let messages = history.messages();
        assert_eq!(messages[..before.len()], before);
        let [question, answer] = &messages[before.len()..] else { panic!("two more") };
        assert_eq!((&question.id, question.role.as_str()), (&id, "user"));
        assert_eq!(answer.created_at.duration_since(question.created_at).unwrap().as_secs(), 20);
        assert!(!format!("{question:?}{history:?}").contains("Hello"));
        Ok(())
    });
    for _ in 0..2 {
        send_json(&app, &alexa("user-1")).await.assert_ok();
    }
    let history = stored_history(&layer.database().items).await;
    assert_eq!(history.get("items"), None);
    let messages = history["messages"].as_array().unwrap();
    let ids: HashSet<_> = messages.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| id.len() == 36), "{ids:?}");
    let [question, answer, ..] = &messages[..] else { panic!("four") };
    assert_eq!(
        (&question["createdAt"], &question["role"], &question["content"]),
        (&json!("2026-01-01T00:00:00.000Z"), &json!("user"), &json!("Hello \u{1f600}"))
    );
    assert_eq!(answer["content"], json!([{ "type": "text", "text": "Hi" }, null]));
}

#[tokio::test]
async fn the_newest_are_read_by_number_bytes_or_tokens() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = sync_app(&layer, |_, _, history| {
        for text in ["one", "two", "three four", "five"] {
            history.push_message("user", text)?;
        }
        let last = |count| contents(&history.last_messages(count));
        assert_eq!(last(0), [""; 0]);
        assert_eq!(last(2), ["three four", "five"]);
        assert_eq!(last(9).len(), 4);
        let one = history.last_messages(1)[0].bytes();
        let bytes = |budget| contents(&history.messages_within(budget, Message::bytes)).len();
        assert_eq!([bytes(0), bytes(one - 1), bytes(one), bytes(usize::MAX)], [0, 0, 1, 4]);
        let words = |message: &Message| {
            // The handles can be used meanwhile.
            assert_eq!(history.messages().len(), 4);
            message.content.as_str().unwrap().split(' ').count()
        };
        // The second to last does not fit, so the ones before it are left out as well.
        assert_eq!(contents(&history.messages_within(2, words)), ["five"]);
        assert_eq!(contents(&history.messages_within(3, words)), ["three four", "five"]);
        assert_eq!(history.messages_within(usize::MAX, |_| usize::MAX).len(), 1);
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let history = stored_history(&layer.database().items).await;
    let stored = history["messages"][3].to_string().len();
    let app = sync_app(&layer, move |_, _, history| {
        assert_eq!(history.last_messages(1)[0].bytes(), stored + 1, "with its comma");
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
}

#[tokio::test]
async fn items_and_messages_do_not_depend_on_each_other() {
    for (items, messages) in [(true, true), (true, false), (false, true), (false, false)] {
        let elements = StoredElements::new().history(items).messages(messages);
        let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
        let theirs = json!({ "history": { "messages": [{ "by": "another program" }] } });
        store(&layer.database().items, "user-1", &theirs).await;
        let app = sync_app(&layer, move |user, _, history| {
            let pushed = history.push_message("user", "Hello");
            assert_eq!(pushed.is_ok(), messages);
            if let Err(error) = pushed {
                assert!(error.is_element_disabled(), "{error}");
                assert!(error.to_string().contains("StoredElements::messages"), "{error}");
            }
            assert_eq!(history.messages().len(), usize::from(messages));
            assert_eq!(history.set_output("o").is_ok(), items);
            user.increment("visits", 1).map(drop)
        });
        send_json(&app, &alexa("user-1")).await.assert_ok();
        let history = stored_history(&layer.database().items).await;
        assert_eq!(history.get("items").is_some(), items);
        let stored = history["messages"].as_array().unwrap();
        assert_eq!(stored.len(), 1 + usize::from(messages));
        assert_eq!(stored[0], json!({ "by": "another program" }), "it stays");
    }
}

#[tokio::test]
async fn a_refused_turn_keeps_its_messages_and_a_failed_one_does_not() {
    for (status, expected) in [(400, 1), (500, 0)] {
        let layer = PersistenceLayer::new(TestDb::default());
        let app = serve(&layer, move |request| {
            let pushed = handles(&request).unwrap().2.push_message("user", "Hello");
            async move {
                pushed?;
                Ok(reply(status, "{}"))
            }
        });
        assert_eq!(send_json(&app, &alexa("user-1")).await.status, status);
        let history = stored_history(&layer.database().items).await;
        assert_eq!(history["messages"].as_array().map_or(0, Vec::len), expected);
    }
}

#[tokio::test]
async fn something_else_in_the_place_of_the_messages_is_not_overwritten() {
    let layer = PersistenceLayer::new(TestDb::default());
    let theirs = json!({ "history": { "messages": "a text" } });
    store(&layer.database().items, "user-1", &theirs).await;
    let answer = send_json(&pushing(&layer, &["Hello"]), &alexa("user-1")).await;
    assert_eq!(answer.status, 503);
    assert!(answer.error().to_string().contains("`history.messages`"), "{}", answer.error());
    assert_eq!(stored(&layer.database().items, "user-1").await.unwrap(), theirs);
}

#[tokio::test]
async fn a_message_longer_than_the_budget_is_refused_and_zero_is_a_mistake() {
    let elements = StoredElements::new().history_budget(200);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let app = sync_app(&layer, |_, _, history| {
        let error = history.push_message("user", "x".repeat(200)).unwrap_err();
        assert!(error.is_encode() && error.to_string().contains("history_budget"), "{error}");
        history.push_message("user", "short").map(drop)
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let elements = StoredElements::new().history_budget(0);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let answer = send_json(&pushing(&layer, &[]), &alexa("user-1")).await;
    assert!(answer.error().is_configuration(), "{}", answer.error());
    let elements: StoredElements =
        serde_json::from_value(json!({ "messages": false, "historyBudget": 50 })).unwrap();
    assert!(format!("{elements:?}").contains("messages: false, history_budget: 50"));
    for json in [json!({ "historyBudget": 0 }), json!({ "messages": 1 })] {
        assert!(serde_json::from_value::<StoredElements>(json).is_err());
    }
}

#[tokio::test]
async fn the_oldest_of_the_longer_list_go_first() {
    let history = HistoryElement::new().nlu(false).size(100);
    let elements = StoredElements::new().history(history).history_budget(4_000);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let app = sync_app(&layer, |user, _, history| {
        let number = user.increment("number", 1)?;
        history.push_message("user", format!("{number} {}", "m".repeat(150)))?;
        history.set_output(format!("{number} {}", "o".repeat(if number > 20 { 10 } else { 200 })))
    });
    for _ in 0..40 {
        send_json(&app, &alexa("user-1")).await.assert_ok();
        let history = stored_history(&layer.database().items).await;
        let bytes = |name: &str| {
            let elements = history[name].as_array().unwrap().iter();
            elements.map(|element| element.to_string().len() + 1).sum::<usize>()
        };
        assert!(bytes("items") + bytes("messages") <= 4_000);
    }
    let history = stored_history(&layer.database().items).await;
    let numbers = |name: &str, of: fn(&Value) -> &Value| {
        let numbers = history[name].as_array().unwrap().iter();
        let number = |it| of(it).as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
        numbers.map(number).collect::<Vec<u32>>()
    };
    let items = numbers("items", |item| &item["output"]);
    let messages = numbers("messages", |message| &message["content"]);
    assert!(items.len() > 20 && messages.len() >= 7, "{items:?} {messages:?}");
    assert_eq!(items, (0..items.len() as u32).map(|age| 40 - age).collect::<Vec<_>>());
    let ages = (0..messages.len() as u32).rev();
    assert_eq!(messages, ages.map(|age| 40 - age).collect::<Vec<_>>());
}

/// "Nobody touched it" includes the budget: another program may keep more.
#[tokio::test]
async fn a_history_to_which_a_turn_adds_nothing_is_not_cut() {
    let elements = StoredElements::new().history_budget(100);
    let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
    let theirs = json!({ "items": [{ "output": "x".repeat(500) }], "messages": [1, 2, 3] });
    store(&layer.database().items, "user-1", &json!({ "history": theirs })).await;
    let app = sync_app(&layer, |user: &User, _, _| user.increment("visits", 1).map(drop));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(stored_history(&layer.database().items).await, theirs);
}

/// The default keeps a record below DynamoDB's limit, whatever is said.
#[tokio::test]
async fn a_long_conversation_stays_below_100_kib() {
    let layer = PersistenceLayer::new(TestDb::default());
    let app = sync_app(&layer, |_, _, history| {
        (0..10)
            .try_for_each(|_| history.push_message("user", "\u{1f600}\"\n".repeat(600)).map(drop))
    });
    for _ in 0..5 {
        send_json(&app, &alexa("user-1")).await.assert_ok();
    }
    let history = stored_history(&layer.database().items).await.to_string();
    assert!((90 * 1024..101 * 1024).contains(&history.len()), "{}", history.len());
}

/// A transcript in the user's data, an array, is a conflict in the same place.
#[tokio::test]
async fn two_processes_that_push_at_once_lose_nothing() {
    let (both, _) = at_once(OnConflict::Merge, &["a"], &["b", "c"], &["d"], 0).await;
    assert_eq!(both, ["a", "d", "b", "c"]);
    let (both, _) = at_once(OnConflict::Merge, &["a"], &["b", "c"], &["d"], 1).await;
    assert_eq!(both, ["a", "b", "c", "d"], "by their times");
    let rerun = OnConflict::Rerun { attempts: 1 };
    let (both, _) = at_once(rerun, &["a"], &["b", "c"], &["d"], 1).await;
    assert_eq!(both, ["a", "d", "b", "c"], "the second run comes after");
}

/// Pushes `before`, and then `mine` and `theirs` in two processes at once, of which the first saves
/// last. Each message of `theirs` is `later` seconds later than that of `mine` in its place.
/// Returns the contents of all messages, and their ids.
async fn at_once(
    policy: OnConflict,
    before: &[&str],
    mine: &[&str],
    theirs: &[&str],
    later: u64,
) -> (Vec<String>, HashSet<String>) {
    let (items, clock) = (MemoryDb::new(), Clock::new());
    let layers: [_; 2] = std::array::from_fn(|_| {
        let mut database = TestDb::default();
        database.items = items.clone();
        PersistenceLayer::new(database).on_conflict(policy).clock(clock.reader())
    });
    send_json(&pushing(&layers[1], before), &alexa("user-1")).await.assert_ok();
    clock.advance(Duration::from_secs(60));
    layers[0].database().on_save(Behaviour::Waits);
    let app = pushing(&layers[0], mine);
    let waiting = tokio::spawn(async move { send_json(&app, &alexa("user-1")).await });
    layers[0].database().until_waiting().await;
    clock.advance(Duration::from_secs(later));
    send_json(&pushing(&layers[1], theirs), &alexa("user-1")).await.assert_ok();
    layers[0].database().on_save(Behaviour::Works);
    layers[0].database().go();
    waiting.await.unwrap().assert_ok();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let messages = Arc::clone(&seen);
    let app = sync_app(&layers[0], move |_, _, history: &History| {
        *messages.lock().unwrap() = history.messages();
        Ok(())
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let messages = std::mem::take(&mut *seen.lock().unwrap());
    let text = |message: &Message| message.content.as_str().unwrap().to_owned();
    let ids = messages.iter().map(|message| message.id.clone()).collect();
    (messages.iter().map(text).collect(), ids)
}

/// A message with a time of its own, in seconds.
fn message(id: &str, seconds: u64) -> Value {
    let created_at = format!("2026-01-01T00:{:02}:{:02}.000Z", seconds / 60, seconds % 60);
    json!({ "id": id, "createdAt": created_at, "role": "user", "content": id })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Both sides' messages are there once, each side's in its order, those from before in front,
    /// and across the sides by their times where each side's times are in order.
    #[test]
    fn a_merge_keeps_both_sides_messages_once_and_in_order(
        before in prop::collection::vec(0_u64..9, 0..4),
        mine in prop::collection::vec(10_u64..20, 0..5),
        mut theirs in prop::collection::vec(5_u64..25, 0..5),
        is_sorted in any::<bool>(),
        shared in 0_usize..2,
    ) {
        if is_sorted {
            theirs.sort_unstable();
        }
        let mut mine = mine;
        mine.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let name = |side: &str, number: usize| format!("{side}-{number}");
        let list = |side: &str, times: &[u64]| -> Vec<Value> {
            times.iter().enumerate().map(|(at, time)| message(&name(side, at), *time)).collect()
        };
        let (base, other) = (list("before", &before), list("theirs", &theirs));
        let result = runtime.block_on(async {
            let clock = Clock::new();
            let layer = PersistenceLayer::new(TestDb::default()).clock(clock.reader());
            let items = layer.database().items.clone();
            let record = |messages: Vec<Value>| json!({ "history": { "messages": messages } });
            store(&items, "user-1", &record(base.clone())).await;
            let times = mine.clone();
            let now = clock.clone();
            let app = sync_app(&layer, move |_, _, history| {
                let mut passed = 0;
                for (at, time) in times.iter().enumerate() {
                    now.advance(Duration::from_secs(time - passed));
                    passed = *time;
                    history.push_message("user", name("mine", at))?;
                }
                Ok(())
            });
            layer.database().on_save(Behaviour::Waits);
            let pushes = !mine.is_empty();
            let waiting = tokio::spawn(async move {
                let request = alexa("user-1");
                send_json(&app, &request).await.status
            });
            if pushes {
                layer.database().until_waiting().await;
                // The other process may have dropped the oldest meanwhile.
                let kept = base[shared.min(base.len())..].iter();
                let all = kept.cloned().chain(other.clone()).collect();
                store(&items, "user-1", &record(all)).await;
            }
            layer.database().on_save(Behaviour::Works);
            layer.database().go();
            assert_eq!(waiting.await.unwrap(), 200);
            stored_history(&items).await["messages"].take()
        });
        if mine.is_empty() {
            return Ok(());
        }
        let result = result.as_array().unwrap().clone();
        let contents: Vec<_> = result.iter().map(|it| it["content"].as_str().unwrap()).collect();
        let of = |side: &str| contents.iter().filter(|it| it.starts_with(side)).count();
        let expected = (before.len() - shared.min(before.len()), mine.len(), theirs.len());
        prop_assert_eq!((of("before"), of("mine"), of("theirs")), expected);
        let unique: HashSet<_> = result.iter().map(|it| it["id"].as_str().unwrap()).collect();
        prop_assert_eq!(unique.len(), result.len());
        for side in ["before", "mine", "theirs"] {
            let order: Vec<_> = contents.iter().filter(|it| it.starts_with(side)).collect();
            prop_assert!(order.is_sorted(), "{contents:?}");
        }
        let first_new = contents.iter().position(|it| !it.starts_with("before")).unwrap();
        prop_assert!(contents[first_new..].iter().all(|it| !it.starts_with("before")));
        let times = result[first_new..].iter().map(|it| it["createdAt"].as_str().unwrap());
        prop_assert!(!is_sorted || times.is_sorted(), "{contents:?}");
    }
}
