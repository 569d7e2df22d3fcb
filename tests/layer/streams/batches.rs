//! Events of a batch whose replies are streamed: no client reads them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use tokio::time::Instant;
use tower_persistence::{MemoryDb, OnHangUp, PersistenceLayer, TurnEnd};

use super::script::Step::*;
use super::script::*;
use crate::common::{messenger_batch, stored};

type Plays = Arc<Mutex<HashMap<&'static str, Vec<Step>>>>;

/// Returns a service that streams the steps of each user, one play after the other.
fn app(layer: &PersistenceLayer<MemoryDb>, scene: &Scene, plays: &Plays) -> App {
    let (inner, plays) = (scene.clone(), Arc::clone(plays));
    scene.serve(layer, move |request| {
        let (user, turn) = inner.user_and_turn(&request);
        let steps = plays.lock().unwrap()[user.id()].clone();
        Response::new(inner.stream(user, turn, steps))
    })
}

fn plays<const N: usize>(plays: [(&'static str, &[Step]); N]) -> Plays {
    Arc::new(Mutex::new(plays.into_iter().map(|(user, steps)| (user, steps.to_vec())).collect()))
}

async fn said_by(layer: &PersistenceLayer<MemoryDb>, user: &str) -> Option<String> {
    let stored = stored(layer.database(), user).await?;
    Some(stored["user"]["data"]["said"].as_str()?.to_owned())
}

#[tokio::test]
async fn the_stream_is_read_to_its_end_before_the_batch_is_answered() {
    let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    let scene = Scene::new();
    let streamed = [&words(&["a", "b"])[..], &[Finish, Say("[DONE]")]].concat();
    let app = app(&layer, &scene, &plays([("anna", &streamed), ("bert", &words(&["c"]))]));
    let batch = messenger_batch(&[("anna", "m-1"), ("bert", "m-2"), ("anna", "m-3")]);
    let mut client = Client::send(&app, &batch).await;
    assert_eq!(client.status, 200);
    assert_eq!(client.rest().await, "");
    assert_eq!(said_by(&layer, "anna").await.as_deref(), Some("abab"));
    assert_eq!(said_by(&layer, "bert").await.as_deref(), Some("c"));
    assert_eq!(scene.notes(), "");
}

#[tokio::test]
async fn a_stream_that_fails_fails_the_batch_and_is_repeated() {
    let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    let scene = Scene::new();
    let plays = plays([("anna", &[Write("a"), Say("a"), Fail]), ("bert", &words(&["c"]))]);
    let app = app(&layer, &scene, &plays);
    let batch = messenger_batch(&[("anna", "m-1"), ("bert", "m-2"), ("anna", "m-3")]);
    assert_eq!(Client::send(&app, &batch).await.status, 500);
    assert_eq!(said_by(&layer, "anna").await, None);
    plays.lock().unwrap().insert("anna", words(&["a"]));
    assert_eq!(Client::send(&app, &batch).await.status, 200);
    assert_eq!(said_by(&layer, "anna").await.as_deref(), Some("aa"));
    assert_eq!(said_by(&layer, "bert").await.as_deref(), Some("c"), "served once");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_yields_nothing_does_not_hold_up_the_batch_for_ever() {
    for (on_hang_up, status, expected) in
        [(OnHangUp::Save, 200, Some("a")), (OnHangUp::Discard, 500, None)]
    {
        let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
        let layer = layer.on_hang_up(on_hang_up);
        let scene = Scene::new();
        let app = app(&layer, &scene, &plays([("anna", &[Write("a"), Say("a"), Hang])]));
        let begun = Instant::now();
        let batch = messenger_batch(&[("anna", "m-1"), ("anna", "m-2")]);
        assert_eq!(Client::send(&app, &batch).await.status, status);
        let limit = if status == 200 { 60 } else { 30 };
        assert_eq!(begun.elapsed(), Duration::from_secs(limit));
        assert_eq!(said_by(&layer, "anna").await.as_deref().map(|said| &said[..1]), expected);
        assert!(scene.turn().is_hung_up());
    }
    // After the end of the turn, too.
    let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    let scene = Scene::new();
    let app = app(&layer, &scene, &plays([("anna", &[Write("a"), Say("a"), Finish, Hang])]));
    let batch = messenger_batch(&[("anna", "m-1"), ("anna", "m-2")]);
    assert_eq!(Client::send(&app, &batch).await.status, 200);
    assert_eq!(said_by(&layer, "anna").await.as_deref(), Some("aa"));
    assert!(!scene.turn().is_hung_up());
}
