//! Turns that are ended before their stream, for the end markers of clients.

use std::time::Duration;

use http::Response;
use http::header::CONTENT_LENGTH;
use tokio::time::{Instant, sleep};
use tokio_test::{assert_pending, assert_ready};
use tower_persistence::{MemoryDb, PersistenceLayer, TurnEnd};

use super::script::Step::*;
use super::script::*;
use crate::common::{Behaviour, TestDb};

fn layer() -> PersistenceLayer<TestDb> {
    PersistenceLayer::new(TestDb::default()).turn_end(TurnEnd::Body)
}

#[tokio::test]
async fn the_marker_comes_after_the_save_and_the_next_turn_before_the_end() {
    let layer = layer();
    let db = layer.database().clone();
    let scene = Scene::new();
    let steps = [Write("a"), Say("a"), Finish, Say("[DONE]"), Write("b"), Wait, Say("tail")];
    let app = scene.app(&layer, &steps);
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "a");
    db.on_save(Behaviour::Waits);
    let mut marker = tokio_test::task::spawn(client.next());
    assert_pending!(marker.poll());
    db.until_waiting().await;
    assert_pending!(marker.poll());
    db.on_save(Behaviour::Works);
    db.go();
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(marker.is_woken());
    assert_eq!(assert_ready!(marker.poll()).as_deref(), Some("[DONE]"));
    drop(marker);
    assert_eq!(said(&db.items).await.as_deref(), Some("a"));

    // The first stream goes on while the second turn is served.
    let second = scene.app(&layer, &words(&["c"]));
    assert_eq!(Client::ask(&second).await.rest().await, "c");
    scene.go();
    assert_eq!(client.rest().await, "tail");
    assert_eq!(scene.notes(), "turn_ended", "written after the end");
    assert_eq!(said(&db.items).await.as_deref(), Some("ac"));
    assert_eq!(db.calls().saves, 2);
}

#[tokio::test]
async fn a_save_that_fails_is_told_to_the_handler_and_to_the_client() {
    for length in [None, Some(7)] {
        let layer = layer();
        let scene = Scene::new();
        let inner = scene.clone();
        let app = scene.serve(&layer, move |request| {
            let (user, turn) = inner.user_and_turn(&request);
            let steps = vec![Write("a"), Say("a"), Finish, Say("[DONE]")];
            let mut response = Response::new(inner.stream(user, turn, steps));
            if let Some(length) = length {
                response.headers_mut().insert(CONTENT_LENGTH, length.into());
            }
            response
        });
        layer.database().on_save(Behaviour::Fails);
        let mut client = Client::ask(&app).await;
        let read = client.rest().await;
        // The last frame of a known length would look like a clean end.
        assert_eq!(read, if length.is_none() { "a[DONE]!" } else { "a!" });
        assert_eq!(scene.notes(), "database");
        assert!(client.error.as_ref().unwrap().is_database());
        assert_eq!(client.next().await, None);
        assert!(scene.turn().finish().await.unwrap_err().is_database());
    }
}

#[tokio::test]
async fn it_is_called_from_tasks_and_more_than_once() {
    let layer = layer();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("a"), Say("a"), Finish, Finish, Wait, Say("b"), Finish]);
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "a");
    let turn = scene.turn();
    let finish = tokio::spawn(async move { turn.finish().await });
    let rest = tokio::spawn(async move { client.rest().await });
    finish.await.unwrap().unwrap();
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("a"));
    scene.go();
    assert_eq!(rest.await.unwrap(), "b");
    scene.turn().finish().await.unwrap();
    assert_eq!(scene.notes(), "");
    assert_eq!(layer.database().calls().saves, 1);
}

/// A task asks for the end while the stream waits for the model.
#[tokio::test]
async fn a_stream_that_waits_is_woken() {
    let layer = layer();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("a"), Say("a"), Wait, Say("b")]);
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "a");
    let mut next = tokio_test::task::spawn(client.next());
    assert_pending!(next.poll());
    let turn = scene.turn();
    let mut finish = tokio_test::task::spawn(turn.finish());
    assert_pending!(finish.poll());
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert!(finish.is_woken());
    assert_ready!(finish.poll()).unwrap();
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("a"));
    scene.go();
    assert_eq!(assert_ready!(next.poll()).as_deref(), Some("b"));
}

/// A caller that gives up leaves the turn open.
#[tokio::test]
async fn a_request_that_is_dropped_does_not_end_the_turn() {
    let layer = layer();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Say("a"), Wait, Write("b"), Say("b")]);
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "a");
    let turn = scene.turn();
    let mut finish = tokio_test::task::spawn(turn.finish());
    assert_pending!(finish.poll());
    drop(finish);
    scene.go();
    assert_eq!(client.rest().await, "b");
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("b"));
}

#[tokio::test(start_paused = true)]
async fn called_before_the_reply_begins_it_waits_for_that_but_not_for_ever() {
    let layer = layer();
    let scene = Scene::new();
    // The task that feeds the stream is done before the handler has answered.
    let inner = scene.clone();
    let slow = scene.app(&layer, &[Write("a"), Say("a"), Wait]);
    let early = tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        inner.turn().finish().await
    });
    let mut client = Client::ask(&slow).await;
    assert_eq!(client.read(1).await, "a");
    let rest = tokio::spawn(async move { client.rest().await });
    early.await.unwrap().unwrap();
    scene.go();
    assert_eq!(rest.await.unwrap(), "");

    // A handler that awaits it before it answers waits for itself.
    use tower::{Layer, ServiceExt, service_fn};
    let service = layer.layer(service_fn(|request: crate::common::HttpRequest| async move {
        let (_, session, _) = crate::common::handles(&request).unwrap();
        let begun = Instant::now();
        let error = tower_persistence::StreamedTurn::from_session(&session).finish().await;
        let error = error.unwrap_err();
        assert!(error.is_timeout() && error.to_string().contains("from the stream"), "{error}");
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        Ok::<_, tower_persistence::BoxError>(Response::new(whole("late")))
    }));
    let request = crate::common::post(crate::common::alexa("user-2").to_string());
    assert_eq!(service.oneshot(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_turn_that_ended_with_the_head_says_so() {
    let layer = PersistenceLayer::new(MemoryDb::new());
    let scene = Scene::new();
    let app = scene.app(&layer, &[Say("a"), Finish, Say("b")]);
    assert_eq!(Client::ask(&app).await.rest().await, "ab");
    assert_eq!(scene.notes(), "turn_ended");
    let error = scene.turn().finish().await.unwrap_err();
    assert!(error.to_string().contains("`TurnEnd::Body`"), "{error}");
    assert!(!scene.turn().hung_up().await);
}
