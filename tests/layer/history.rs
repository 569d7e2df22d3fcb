//! The history: one item for each turn, newest first.

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{PersistenceLayer, StoredElements};

use crate::common::*;

fn layer(history: HistoryElement) -> PersistenceLayer<TestDb> {
    let elements = StoredElements::new().session(true).history(history);
    PersistenceLayer::new(TestDb::default()).stored_elements(elements)
}

async fn items(layer: &PersistenceLayer<TestDb>) -> Value {
    stored(layer.database(), "user-1").await.unwrap()["history"]["items"].take()
}

fn nothing() -> HistoryElement {
    HistoryElement::new().nlu(false).output(false)
}

#[tokio::test]
async fn the_last_three_newest_first() {
    let layer = layer(HistoryElement::new().nlu(false));
    let app = sync_app(&layer, |user, _, history| {
        let number = user.increment("number", 1)?;
        let outputs = |item: Value| item["output"].as_i64().unwrap();
        let seen: Vec<i64> = history.items().into_iter().map(outputs).collect();
        let expected: Vec<i64> = (1..number).rev().take(3).collect();
        assert_eq!(seen, expected);
        assert_eq!(history.previous().map(outputs), expected.first().copied());
        history.set_output("replaced by the next")?;
        history.set_output(number)
    });
    for _ in 0..6 {
        send_json(&app, &alexa("user-1")).await.assert_ok();
    }
    assert_eq!(items(&layer).await, json!([{ "output": 6 }, { "output": 5 }, { "output": 4 }]));
}

#[tokio::test]
async fn a_longer_history_of_another_app_is_cut() {
    let layer = layer(HistoryElement::new().size(2));
    let old: Vec<Value> = (0..9).map(|number| json!({ "output": number })).collect();
    store(&layer.database().items, "user-1", &json!({ "history": { "items": old } })).await;
    let app = sync_app(&layer, |_, _, history| history.set_output("new"));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let items = items(&layer).await;
    assert_eq!((items.as_array().unwrap().len(), &items[1]["output"]), (2, &json!(0)));
}

#[tokio::test]
async fn each_element_is_its_own_switch() {
    let body = alexa("user-1");
    let nlu = json!({
        "intent": { "name": "OrderIntent" },
        "entities": { "drink": { "value": "tea", "resolved": "tea" } },
    });
    let input = json!({ "type": "INTENT", "intent": "OrderIntent", "entities": nlu["entities"] });
    for (element, expected) in [
        (nothing().input(true), json!({ "input": input })),
        (nothing().nlu(true), json!({ "nlu": nlu })),
        (nothing().output(true), json!({ "output": "o" })),
        (nothing().state(true), json!({ "state": "S" })),
        (nothing().request(true), json!({ "request": body })),
        (nothing().response(true), json!({ "response": { "text": "hello" } })),
        (
            nothing().custom("topic", |user, session| Some(json!([user.id(), session.id()]))),
            json!({ "topic": ["user-1", "session-1"] }),
        ),
    ] {
        let keeps_output = element_keeps_output(&expected);
        let layer = layer(element);
        let app = sync_app(&layer, move |_, session, history| {
            session.set_state("S")?;
            match history.set_output("o") {
                Err(error) if !keeps_output => {
                    assert!(error.to_string().contains("HistoryElement::output"), "{error}");
                    assert!(error.is_element_disabled());
                    Ok(())
                }
                result => result,
            }
        });
        send_json(&app, &body).await.assert_ok();
        assert_eq!(items(&layer).await, json!([expected]));
    }
}

fn element_keeps_output(item: &Value) -> bool {
    item.get("output").is_some()
}

#[tokio::test]
async fn an_empty_history_item_is_not_added() {
    let element = nothing().asr(true).state(true).custom("none", |_, _| None);
    let layer = layer(element);
    send_json(&sync_app(&layer, |_, _, _| Ok(())), &alexa("user-1")).await.assert_ok();
    assert_eq!(items(&layer).await, Value::Null);
}

#[tokio::test]
async fn custom_elements_see_what_the_handler_did() {
    let layer = layer(nothing().custom("score", |user, _| user.get("score").ok().flatten()));
    let app = sync_app(&layer, |user, _, _| user.increment("score", 10).map(drop));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    send_json(&app, &alexa("user-1")).await.assert_ok();
    assert_eq!(items(&layer).await, json!([{ "score": 20 }, { "score": 10 }]));
}

/// Answers with these headers and this body, and returns the stored `response`.
async fn capture(limit: usize, header: (&'static str, &'static str), body: &'static str) -> Value {
    let layer = layer(nothing().response(true)).reply_limit(limit);
    let app = serve(&layer, move |_| async move {
        let response = Response::builder().header(header.0, header.1);
        let response = response.header("content-type", "application/json");
        Ok(response.body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap())
    });
    let answer = send_json(&app, &alexa("user-1")).await;
    answer.assert_ok();
    assert_eq!(answer.body, body, "the reply goes out as it was");
    items(&layer).await
}

#[tokio::test]
async fn a_reply_is_captured_if_it_is_plain_json_within_the_limit() {
    let json = r#"{"text": "a reply that is a little longer", "n": [1, 2]}"#;
    let expected = json!([{ "response": serde_json::from_str::<Value>(json).unwrap() }]);
    assert_eq!(capture(1000, ("x-any", "header"), json).await, expected);
    assert_eq!(capture(1000, ("content-encoding", "gzip"), json).await, Value::Null);
    assert_eq!(capture(1000, ("x-any", "header"), "no json").await, Value::Null);
    assert_eq!(capture(1000, ("x-any", "header"), "").await, Value::Null);
    let text = capture(1000, ("content-type", "text/plain"), json).await;
    assert_eq!(text, Value::Null, "the first content type counts");
    let long: &'static str = Box::leak(format!("\"{}\"", "x".repeat(2000)).into_boxed_str());
    assert_eq!(capture(2001, ("x-any", "header"), long).await, Value::Null);
    assert_eq!(
        capture(2002, ("x-any", "header"), long).await,
        json!([{ "response": "x".repeat(2000) }])
    );
}
