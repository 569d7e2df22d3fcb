//! A second message, which waits until the reply to the first has ended.

use std::time::Duration;

use tokio::time::Instant;
use tower_persistence::{MemoryDb, PersistenceLayer, TurnEnd};

use super::script::Step::*;
use super::script::*;

#[tokio::test(start_paused = true)]
async fn it_waits_and_is_then_asked_to_come_again() {
    let own = Duration::from_secs(7);
    type Set = fn(PersistenceLayer<MemoryDb>, Duration) -> PersistenceLayer<MemoryDb>;
    let cases: [(Set, u64); 5] = [
        (|layer, _| layer.turn_end(TurnEnd::Body), 30),
        (|layer, own| layer.turn_end(TurnEnd::Body).queue_timeout(own), 7),
        (|layer, own| layer.queue_timeout(own).turn_end(TurnEnd::Body), 7),
        (|layer, _| layer, 2),
        (|layer, _| layer.turn_end(TurnEnd::Body).turn_end(TurnEnd::Head), 2),
    ];
    for (set, seconds) in cases {
        let layer = set(PersistenceLayer::new(MemoryDb::new()), own);
        let layer = layer.stream_idle_timeout(Duration::from_secs(3600));
        let scene = Scene::new();
        let inner = scene.clone();
        let app = scene.serve(&layer, move |request| {
            let (user, turn) = inner.user_and_turn(&request);
            let body = inner.stream(user, turn, vec![Write("a"), Say("a"), Wait, Write("b")]);
            ending(http::Response::new(body), TurnEnd::Body)
        });
        let mut client = Client::ask(&app).await;
        assert_eq!(client.read(1).await, "a");

        let begun = Instant::now();
        let refused = Client::ask(&app).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(seconds));
        assert_eq!(refused.status, 503);
        assert_eq!(refused.headers["retry-after"], "1");
        let error = refused.error.unwrap();
        assert!(error.is_timeout());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
        // Another user is served meanwhile.
        let mut other = Client::ask_as(&app, "user-2").await;
        assert_eq!(other.read(1).await, "a");

        let second = tokio::spawn({
            let app = app.clone();
            async move { Client::ask(&app).await.read(1).await }
        });
        tokio::task::yield_now().await;
        scene.go();
        scene.go();
        scene.go();
        drop(other);
        assert_eq!(client.rest().await, "");
        assert_eq!(said(layer.database()).await.as_deref(), Some("ab"));
        assert_eq!(second.await.unwrap(), "a");
    }
}

/// Only a wait for the user's earlier requests ends so soon that it is worth another try.
#[tokio::test]
async fn other_failures_do_not_name_a_time() {
    let layer = PersistenceLayer::new(crate::common::TestDb::default());
    layer.database().on_load(crate::common::Behaviour::Fails);
    let app = Scene::new().app(&layer, &[Say("a")]);
    let client = Client::ask(&app).await;
    assert_eq!(client.status, 503);
    assert!(!client.headers.contains_key("retry-after"));
    assert_eq!(client.error.unwrap().retry_after(), None);
}
