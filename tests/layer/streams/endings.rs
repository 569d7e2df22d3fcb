//! The end of a turn comes with the end of its reply, and reaches the client after the save.

use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio_test::{assert_pending, assert_ready};
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{MemoryDb, OnConflict, PersistenceLayer, StoredElements, TurnEnd};

use super::script::Step::*;
use super::script::*;
use crate::common::{Behaviour, TestDb, store, stored};

fn layer() -> PersistenceLayer<TestDb> {
    PersistenceLayer::new(TestDb::default()).turn_end(TurnEnd::Body)
}

#[tokio::test]
async fn frames_pass_as_they_come_and_the_end_comes_after_the_save() {
    let layer = layer();
    let db = layer.database().clone();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("a"), Say("a"), Wait, Write("b"), Say("b"), Write("c")]);
    let mut client = Client::ask(&app).await;
    assert_eq!(client.status, 200);
    assert_eq!(client.read(1).await, "a");
    let mut next = tokio_test::task::spawn(client.next());
    assert_pending!(next.poll());
    assert_eq!(db.calls().saves, 0);
    scene.go();
    assert!(next.is_woken());
    assert_eq!(assert_ready!(next.poll()).as_deref(), Some("b"));
    drop(next);

    db.on_save(Behaviour::Waits);
    let mut end = tokio_test::task::spawn(client.next());
    assert_pending!(end.poll());
    db.until_waiting().await;
    assert_pending!(end.poll());
    db.on_save(Behaviour::Works);
    db.go();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(end.is_woken());
    assert_eq!(assert_ready!(end.poll()), None);
    drop(end);
    assert!(client.body.is_end_stream());
    assert_eq!(said(&db.items).await.as_deref(), Some("abc"));
    assert_eq!(scene.notes(), "");
    assert!(!scene.turn().is_hung_up());
}

/// A client takes the last byte of an announced length, or trailers, for the end.
#[tokio::test]
async fn the_frame_that_ends_the_stream_for_the_client_is_kept_back() {
    for (steps, length, before, held) in [
        (&[Say("ab"), Say("cd"), Write("x")][..], Some(4), "ab", "cd"),
        (&[Say("ab"), Say(""), Say("cd"), Write("x"), Say("")], Some(4), "ab", "cd"),
        (&[Say("ab"), Write("x"), Trailers], None, "ab", "."),
        (&[Say("ab"), Say("cd"), Write("x"), Trailers], Some(4), "ab", "cd."),
        (&[Write("x"), Trailers], None, "", "."),
        (&[Say("abcd"), Write("x")], Some(4), "", "abcd"),
    ] {
        for fails in [false, true] {
            let layer = layer();
            let db = layer.database().clone();
            let scene = Scene::new();
            let (steps, inner) = (steps.to_vec(), scene.clone());
            let app = scene.serve(&layer, move |request| {
                let (user, turn) = inner.user_and_turn(&request);
                let mut response = Response::new(inner.stream(user, turn, steps.clone()));
                if let Some(length) = length {
                    response.headers_mut().insert(CONTENT_LENGTH, length.into());
                }
                response
            });
            db.on_save(Behaviour::Waits);
            let mut client = Client::ask(&app).await;
            let mut read = String::new();
            let mut rest = tokio_test::task::spawn(async {
                while let Some(frame) = client.next().await {
                    read += &frame;
                    if frame == "!" {
                        break;
                    }
                }
            });
            assert_pending!(rest.poll());
            db.until_waiting().await;
            assert_pending!(rest.poll());
            drop(rest);
            assert_eq!(read, before, "{length:?}");
            assert!(!client.body.is_end_stream());
            if fails {
                db.on_save(Behaviour::Fails);
                drop(client);
            } else {
                db.go();
                assert_eq!(client.rest().await, held, "{length:?}");
                assert!(client.body.is_end_stream());
                assert_eq!(said(&db.items).await.as_deref(), Some("x"));
            }
        }
    }
}

#[tokio::test]
async fn the_length_of_a_stream_stays_what_it_is() {
    let layer = layer();
    let scene = Scene::new();
    let inner = scene.clone();
    let app = scene.serve(&layer, move |request| {
        let (user, turn) = inner.user_and_turn(&request);
        let body = inner.stream(user, turn, words(&["ab", "cd"]));
        Response::new(Sized(body, 4).boxed_unsync())
    });
    let mut client = Client::ask(&app).await;
    assert_eq!(client.body.size_hint().exact(), Some(4));
    assert_eq!(client.read(1).await, "ab");
    assert_eq!(client.body.size_hint().exact(), Some(2));
    assert_eq!(client.rest().await, "cd");
    assert_eq!(client.body.size_hint().exact(), Some(0));
    assert_eq!(said(layer.database()).await.as_deref(), Some("abcd"));
}

/// A body that knows its length.
struct Sized(Body, u64);

impl http_body::Body for Sized {
    type Data = bytes::Bytes;
    type Error = tower_persistence::BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        let frame = std::task::ready!(std::pin::Pin::new(&mut self.0).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.1 -= frame.data_ref().map_or(0, bytes::Bytes::len) as u64;
        }
        std::task::Poll::Ready(frame)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}

/// With a body that is there as a whole, the client can still get a proper failure.
#[tokio::test]
async fn a_whole_body_is_not_a_stream() {
    for text in ["hello", ""] {
        let layer = layer();
        let scene = Scene::new();
        let inner = scene.clone();
        let app = scene.serve(&layer, move |request| {
            let (user, _) = inner.user_and_turn(&request);
            append(&user, "x").unwrap();
            Response::new(whole(text))
        });
        layer.database().on_save(Behaviour::Fails);
        let client = Client::ask(&app).await;
        assert_eq!(client.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(client.error.unwrap().is_database());
        layer.database().on_save(Behaviour::Works);
        let mut client = Client::ask(&app).await;
        assert_eq!(client.body.size_hint().exact(), Some(text.len() as u64));
        assert_eq!(client.rest().await, text);
        assert_eq!(said(&layer.database().items).await.as_deref(), Some("x"));
    }
}

#[tokio::test]
async fn an_empty_stream_ends_its_turn_at_once() {
    let layer = layer();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("x")]);
    let mut client = Client::ask(&app).await;
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("x"));
    assert_eq!(client.rest().await, "");
    let app = scene.app(&layer, &[Wait, Write("y")]);
    let mut client = Client::ask(&app).await;
    scene.go();
    assert_eq!(client.rest().await, "");
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("xy"));
    assert_eq!(scene.notes(), "");
}

#[tokio::test]
async fn the_handler_decides_for_one_reply() {
    for (of_layer, of_reply, is_stored) in [
        (TurnEnd::Head, None, false),
        (TurnEnd::Head, Some(TurnEnd::Body), true),
        (TurnEnd::Body, None, true),
        (TurnEnd::Body, Some(TurnEnd::Head), false),
    ] {
        let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(of_layer);
        let scene = Scene::new();
        let inner = scene.clone();
        let app = scene.serve(&layer, move |request| {
            let (user, turn) = inner.user_and_turn(&request);
            let response = Response::new(inner.stream(user, turn, words(&["a", "b"])));
            match of_reply {
                Some(end) => ending(response, end),
                None => response,
            }
        });
        assert_eq!(Client::ask(&app).await.rest().await, "ab");
        let expected = if is_stored { "ab" } else { "" };
        assert_eq!(said(layer.database()).await.as_deref(), Some(expected));
        let expected = if is_stored { "" } else { "turn_ended, turn_ended" };
        assert_eq!(scene.notes(), expected);
    }
}

#[tokio::test]
async fn a_4xx_or_5xx_ends_the_turn_at_the_head() {
    for status in [400, 404, 429, 500, 503] {
        for save_on_error in [false, true] {
            let layer = layer().save_on_error(save_on_error);
            let scene = Scene::new();
            let inner = scene.clone();
            let app = scene.serve(&layer, move |request| {
                let (user, turn) = inner.user_and_turn(&request);
                append(&user, "x").unwrap();
                let mut response = Response::new(inner.stream(user, turn, words(&["a"])));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                response
            });
            let mut client = Client::ask(&app).await;
            assert_eq!(client.status, status);
            // The next turn begins before the stream has ended.
            let mut second = Client::ask(&app).await;
            assert_eq!((client.rest().await, second.rest().await), ("a".into(), "a".into()));
            assert_eq!(scene.notes(), "turn_ended, turn_ended");
            let is_stored = status < 500 || save_on_error;
            let expected = is_stored.then_some("xx");
            assert_eq!(said(&layer.database().items).await.as_deref(), expected, "{status}");
        }
    }
}

/// The client has the beginning of the reply, so the handler cannot run again.
#[tokio::test]
async fn rerun_merges() {
    let layer = layer().on_conflict(OnConflict::Rerun { attempts: 3 });
    let scene = Scene::new();
    let app = scene.app(&layer, &words(&["a", "b"]));
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(2).await, "ab");
    let items = &layer.database().items;
    store(items, "user-1", &serde_json::json!({ "user": { "data": { "theirs": 1 } } })).await;
    assert_eq!(client.rest().await, "");
    let data = stored(items, "user-1").await.unwrap()["user"]["data"].take();
    assert_eq!(data, serde_json::json!({ "theirs": 1, "said": "ab" }));
    assert_eq!(layer.database().calls().loads, 1, "the handler ran once");
}

#[tokio::test]
async fn the_history_stores_the_output_and_the_request_but_not_the_response() {
    let history = HistoryElement::new().request(true).response(true).output(true);
    let elements = StoredElements::new().history(history);
    let layer = layer().stored_elements(elements);
    let scene = Scene::new();
    let inner = scene.clone();
    let app = scene.serve(&layer, move |request| {
        let (user, turn) = inner.user_and_turn(&request);
        let (_, _, history) = crate::common::handles(&request).unwrap();
        let body = inner.stream(user, turn, vec![Say("{\"text\":"), Wait, Say("\"hello\"}")]);
        let body = body.map_frame(move |frame| {
            history.set_output("hello").unwrap();
            frame
        });
        let mut response = Response::new(body.boxed_unsync());
        response.headers_mut().insert("content-type", "application/json".parse().unwrap());
        response
    });
    let mut client = Client::ask(&app).await;
    scene.go();
    assert_eq!(client.rest().await, r#"{"text":"hello"}"#);
    let stored = stored(&layer.database().items, "user-1").await.unwrap();
    let item = &stored["history"]["items"][0];
    assert_eq!(item["output"], "hello");
    assert_eq!(item["request"]["version"], "1.0");
    assert_eq!(item.get("response"), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_and_a_slow_model_are_not_cut_off() {
    let layer = layer();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Say("a"), Wait, Write("x"), Say("b"), Say("c")]);
    let mut client = Client::ask(&app).await;
    for frame in ["a", "b", "c"] {
        tokio::time::sleep(Duration::from_secs(29)).await;
        scene.go();
        assert_eq!(client.read(1).await, frame);
    }
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(client.rest().await, "");
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("x"));
}
