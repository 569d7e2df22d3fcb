//! Clients that hang up, do not read, or wait for nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::{Instant, sleep};
use tokio_test::assert_pending;
use tower_persistence::{MemoryDb, OnHangUp, PersistenceLayer, TurnEnd, User};

use super::script::Step::*;
use super::script::*;
use crate::common::{Behaviour, TestDb};

fn layer() -> PersistenceLayer<TestDb> {
    PersistenceLayer::new(TestDb::default()).turn_end(TurnEnd::Body)
}

#[tokio::test]
async fn at_each_frame_what_was_written_until_then_is_saved_or_discarded() {
    for on_hang_up in [OnHangUp::Save, OnHangUp::Discard] {
        for frames in 0..=3 {
            let layer = layer().on_hang_up(on_hang_up);
            let scene = Scene::new();
            let steps = [&[Wait][..], &words(&["a", "b", "c"]), &[Wait]].concat();
            let app = scene.app(&layer, &steps);
            let mut client = Client::ask(&app).await;
            let turn = scene.turn();
            let noticed = tokio::spawn(async move { turn.hung_up().await });
            if frames > 0 {
                scene.go();
            }
            let read = client.read(frames).await;
            assert_eq!(read, &"abc"[..frames]);
            assert!(!scene.turn().is_hung_up());
            drop(client);
            assert!(scene.turn().is_hung_up());
            assert!(noticed.await.unwrap());
            let result = scene.turn().finish().await;
            assert_eq!(result.is_ok(), on_hang_up == OnHangUp::Save);

            let second = scene.app(&layer, &words(&["z"]));
            assert_eq!(Client::ask(&second).await.rest().await, "z");
            let expected = match on_hang_up {
                OnHangUp::Save => format!("{read}z"),
                _ => "z".to_owned(),
            };
            assert_eq!(said(&layer.database().items).await, Some(expected));
            assert_eq!(scene.notes(), "");
        }
    }
}

/// After the stream has ended, or the turn was finished, no client is missed.
#[tokio::test]
async fn after_the_end_it_changes_nothing() {
    for steps in [&[Write("a"), Say("a")][..], &[Write("a"), Say("a"), Finish, Say("b"), Wait]] {
        let layer = layer().on_hang_up(OnHangUp::Discard);
        let db = layer.database().clone();
        let scene = Scene::new();
        let app = scene.app(&layer, steps);
        let mut client = Client::ask(&app).await;
        assert_eq!(client.read(1).await, "a");
        db.on_save(Behaviour::Waits);
        let mut next = tokio_test::task::spawn(client.next());
        assert_pending!(next.poll());
        db.until_waiting().await;
        drop(next);
        drop(client);
        db.go();
        scene.turn().finish().await.unwrap();
        assert!(!scene.turn().is_hung_up());
        assert_eq!(said(&db.items).await.as_deref(), Some("a"));
    }
}

#[tokio::test]
async fn close_waits_for_the_save() {
    let layer = layer();
    let db = layer.database().clone();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("a"), Say("a"), Hang]);
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "a");
    db.on_save(Behaviour::Waits);
    drop(client);
    let mut close = tokio_test::task::spawn(layer.close());
    assert_pending!(close.poll());
    db.until_waiting().await;
    assert_pending!(close.poll());
    db.go();
    close.await.unwrap();
    assert_eq!(said(&db.items).await.as_deref(), Some("a"));
}

/// What a stream writes when it is dropped is part of the turn.
#[tokio::test(start_paused = true)]
async fn destructors_of_the_stream_can_write() {
    struct Interrupted(User);

    impl Drop for Interrupted {
        fn drop(&mut self) {
            append(&self.0, " (interrupted)").unwrap();
        }
    }

    for is_idle in [false, true] {
        let layer = layer();
        let scene = Scene::new();
        let inner = scene.clone();
        let app = scene.serve(&layer, move |request| {
            let (user, turn) = inner.user_and_turn(&request);
            let interrupted = Interrupted(user.clone());
            let body = inner.stream(user, turn, vec![Write("a"), Say("a"), Hang]);
            let body = body.map_frame(move |frame| {
                let _interrupted = &interrupted;
                frame
            });
            Response::new(body.boxed_unsync())
        });
        let mut client = Client::ask(&app).await;
        assert_eq!(client.read(1).await, "a");
        if is_idle {
            assert_eq!(client.rest().await, "!");
        }
        drop(client);
        scene.turn().finish().await.unwrap();
        let said = said(&layer.database().items).await;
        assert_eq!(said.as_deref(), Some("a (interrupted)"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_yields_nothing_counts_as_hung_up() {
    for on_hang_up in [OnHangUp::Save, OnHangUp::Discard] {
        let limit = Duration::from_secs(10);
        let layer = layer().on_hang_up(on_hang_up).stream_idle_timeout(limit);
        let scene = Scene::new();
        let app = scene.app(&layer, &[Write("a"), Say("a"), Write("b"), Hang]);
        let mut client = Client::ask(&app).await;
        assert_eq!(client.read(1).await, "a");
        let begun = Instant::now();
        assert_eq!(client.rest().await, "!");
        assert_eq!(begun.elapsed(), limit);
        let error = client.error.unwrap();
        assert!(error.is_timeout() && error.to_string().contains("`stream_idle_timeout`"));
        assert!(scene.turn().is_hung_up());
        let expected = (on_hang_up == OnHangUp::Save).then_some("ab");
        assert_eq!(said(&layer.database().items).await.as_deref(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_counts_as_hung_up() {
    for frames in 0..=2 {
        let layer = layer();
        let scene = Scene::new();
        let app = scene.app(&layer, &words(&["a", "b", "c"]));
        let mut client = Client::ask(&app).await;
        client.read(frames).await;
        let begun = Instant::now();
        assert!(scene.turn().hung_up().await);
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        scene.turn().finish().await.unwrap();
        // The first frame is polled together with the head.
        let expected = &"abc"[..frames.max(1)];
        assert_eq!(said(&layer.database().items).await.as_deref(), Some(expected));
        // The user's next turn does not wait for the client.
        let second = scene.app(&layer, &words(&["z"]));
        assert_eq!(Client::ask(&second).await.rest().await, "z");
        assert_eq!(client.rest().await, "!", "a client that reads on gets an error");
        assert!(client.error.unwrap().is_timeout());
    }
}

/// The save is done, but its client does not ask for the end.
#[tokio::test(start_paused = true)]
async fn a_client_that_stops_reading_at_the_end_does_not_hold_the_users_place() {
    let layer = layer().queue_timeout(Duration::from_secs(60));
    let db = layer.database().clone();
    let scene = Scene::new();
    let app = scene.app(&layer, &words(&["a"]));
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "a");
    db.on_save(Behaviour::Waits);
    let mut end = tokio_test::task::spawn(client.next());
    assert_pending!(end.poll());
    db.until_waiting().await;
    db.on_save(Behaviour::Works);
    db.go();
    let second = scene.app(&layer, &words(&["b"]));
    assert_eq!(Client::ask(&second).await.rest().await, "b");
    assert_eq!(said(&db.items).await.as_deref(), Some("ab"));
    assert!(end.is_woken());
    drop(end);
    assert_eq!(client.rest().await, "", "the turn was stored");
    assert!(!scene.turn().is_hung_up());
}

#[tokio::test(start_paused = true)]
async fn no_limit_is_no_limit() {
    let layer = layer().stream_idle_timeout(Duration::MAX);
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("a"), Say("a"), Wait]);
    let mut client = Client::ask(&app).await;
    sleep(Duration::from_secs(100_000)).await;
    assert_eq!(client.read(1).await, "a");
    scene.go();
    assert_eq!(client.rest().await, "");
    assert_eq!(said(&layer.database().items).await.as_deref(), Some("a"));
}

/// The client hangs up at every poll at which the request or its stream waits.
#[tokio::test(start_paused = true)]
async fn at_every_point_where_it_waits() {
    let mut points = 0;
    loop {
        let db = Slow::default();
        let layer = PersistenceLayer::new(db.clone()).turn_end(TurnEnd::Body);
        let scene = Scene::new();
        let app = scene.app(&layer, &words(&["a", "b", "c", "d"]));
        let read = Arc::new(Mutex::new(None));
        let mut client = tokio_test::task::spawn({
            let read = Arc::clone(&read);
            async move {
                let mut client = Client::ask(&app).await;
                *read.lock().unwrap() = Some(String::new());
                while let Some(frame) = client.next().await {
                    *read.lock().unwrap().as_mut().unwrap() += &frame;
                    tokio::task::yield_now().await;
                }
            }
        });
        let mut has_ended = false;
        for _ in 0..points {
            has_ended = has_ended || client.poll().is_ready();
            tokio::task::yield_now().await;
        }
        drop(client);
        let layer = layer.clone();
        let second = scene.app(&layer, &words(&["z"]));
        assert_eq!(Client::ask(&second).await.rest().await, "z");
        let said = said(&db.0).await.unwrap();
        let said = said.strip_suffix('z').unwrap();
        match &*read.lock().unwrap() {
            None => assert_eq!(said, "", "after {points} polls"),
            Some(read) => {
                assert!(said.starts_with(&**read), "{said} of {read} after {points} polls");
            }
        }
        assert_eq!(scene.notes(), "");
        if has_ended {
            assert_eq!(said, "abcd");
            break;
        }
        points += 1;
    }
    assert!(points > 6, "{points}");
}

/// A database that waits in each call.
#[derive(Clone, Debug, Default)]
struct Slow(MemoryDb);

impl tower_persistence::Database for Slow {
    async fn load(
        &self,
        id: &str,
    ) -> Result<Option<tower_persistence::VersionedRecord>, tower_persistence::Error> {
        tokio::task::yield_now().await;
        self.0.load(id).await
    }

    async fn save(
        &self,
        id: &str,
        record: &tower_persistence::Record,
        expected: tower_persistence::Expected<'_>,
    ) -> Result<tower_persistence::Saved, tower_persistence::Error> {
        tokio::task::yield_now().await;
        let saved = self.0.save(id, record, expected).await;
        tokio::task::yield_now().await;
        saved
    }

    async fn delete(&self, id: &str) -> Result<(), tower_persistence::Error> {
        self.0.delete(id).await
    }
}

/// A task that feeds the stream stops the model.
#[tokio::test]
async fn a_task_that_feeds_the_stream_can_tell() {
    let layer = layer();
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("a"), Say("a"), Hang]);
    let mut client = Client::ask(&app).await;
    let turn = scene.turn();
    let model = tokio::spawn(async move {
        tokio::select! {
            is_hung_up = turn.hung_up() => Value::from(is_hung_up),
            () = std::future::pending() => Value::Null,
        }
    });
    assert_eq!(client.read(1).await, "a");
    drop(client);
    assert_eq!(model.await.unwrap(), true);
}
