//! Streams that fail, and turns that cannot be stored.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use serde_json::json;
use tower_persistence::testing::{Fault, Faulty};
use tower_persistence::{
    Database, MemoryDb, OnConflict, PersistenceLayer, StoredElements, TurnEnd,
};

use super::script::Step::*;
use super::script::*;
use crate::common::{Behaviour, TestDb, alexa, store, stored};

fn layer<D: Database>(database: D) -> PersistenceLayer<D> {
    PersistenceLayer::new(database).turn_end(TurnEnd::Body)
}

#[tokio::test(start_paused = true)]
async fn a_save_that_fails_ends_the_stream_with_an_error() {
    let hours = std::time::Duration::from_secs(7200);
    for (fault, is_timeout, is_stored) in [
        (Fault::ErrorBefore, false, false),
        (Fault::ErrorAfter, false, true),
        (Fault::Delay(hours), true, false),
        (Fault::DelayAfter(hours), true, true),
    ] {
        let db = Faulty::new(MemoryDb::new());
        let layer = layer(db.clone());
        let scene = Scene::new();
        let app = scene.app(&layer, &words(&["a", "b"]));
        db.script([Fault::None, fault]);
        let mut client = Client::ask(&app).await;
        assert_eq!(client.status, 200);
        assert_eq!(client.rest().await, "ab!", "{fault:?}");
        let error = client.error.take().expect("an error of the layer");
        assert_eq!((error.is_timeout(), error.is_database()), (is_timeout, !is_timeout));
        assert_eq!(error.platform(), Some("alexa"));
        assert_eq!(client.next().await, None);
        assert_eq!(said(&db).await.is_some(), is_stored);
        // The user's place is free.
        let mut client = Client::ask(&app).await;
        assert_eq!(client.rest().await, "ab");
        let expected = if is_stored { "abab" } else { "ab" };
        assert_eq!(said(&db).await.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn a_conflict_that_cannot_be_merged_ends_the_stream_with_an_error() {
    for policy in [OnConflict::Merge, OnConflict::Rerun { attempts: 2 }] {
        let layer = layer(MemoryDb::new()).on_conflict(policy);
        let scene = Scene::new();
        let app = scene.app(&layer, &words(&["a", "b"]));
        let mut client = Client::ask(&app).await;
        assert_eq!(client.read(1).await, "a");
        let theirs = json!({ "user": { "data": { "said": "theirs" } } });
        store(layer.database(), "user-1", &theirs).await;
        assert_eq!(client.rest().await, "b!");
        assert!(client.error.unwrap().is_conflict());
        assert_eq!(said(layer.database()).await.as_deref(), Some("theirs"));
    }
}

#[tokio::test]
async fn a_stream_that_fails_stores_nothing_unless_told_to() {
    for save_on_error in [false, true] {
        for steps in [
            &[Write("x"), Say("a"), Fail, Say("never")][..],
            &[Write("x"), Fail],
            &[Say("a"), Wait, Write("x"), Fail],
        ] {
            let layer = layer(MemoryDb::new()).save_on_error(save_on_error);
            let scene = Scene::new();
            let app = scene.app(&layer, steps);
            let mut client = Client::ask(&app).await;
            scene.go();
            let read = client.rest().await;
            assert!(read.ends_with('!'), "{read}");
            assert!(client.error.is_none(), "the client gets the error of the stream itself");
            assert_eq!(said(layer.database()).await.as_deref(), save_on_error.then_some("x"));
            assert!(!scene.turn().is_hung_up());
            let result = scene.turn().finish().await;
            assert_eq!(result.is_ok(), save_on_error);
        }
    }
}

#[tokio::test]
async fn a_body_that_panics_stores_nothing_and_leaves_no_lock_held() {
    for steps in [&[Write("x"), Say("a"), Panic][..], &[Say("a"), Wait, Write("x"), Panic]] {
        let layer = layer(MemoryDb::new()).save_on_error(true);
        let scene = Scene::new();
        let app = scene.app(&layer, steps);
        let mut client = Client::ask(&app).await;
        assert_eq!(client.read(1).await, "a");
        scene.go();
        let panic = AssertUnwindSafe(client.next()).catch_unwind().await.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        // Read on by a client that takes no notice.
        assert_eq!(client.next().await.as_deref(), Some("!"));
        drop(client);
        assert!(scene.turn().finish().await.unwrap_err().is_turn_ended());
        assert_eq!(said(layer.database()).await, None);
        let app = scene.app(&layer, &words(&["b"]));
        assert_eq!(Client::ask(&app).await.rest().await, "b");
        assert_eq!(said(layer.database()).await.as_deref(), Some("b"));
    }
    let layer = layer(MemoryDb::new());
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("x"), Panic]);
    AssertUnwindSafe(Client::ask(&app)).catch_unwind().await.map(drop).unwrap_err();
    let app = scene.app(&layer, &words(&["b"]));
    assert_eq!(Client::ask(&app).await.rest().await, "b");
    assert_eq!(said(layer.database()).await.as_deref(), Some("b"));
}

#[test]
fn a_runtime_that_ends_stores_nothing_of_a_stream_under_way() {
    let layer = layer(MemoryDb::new());
    let scene = Scene::new();
    let app = scene.app(&layer, &[Write("x"), Say("a"), Hang]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut client = runtime.block_on(Client::ask(&app));
    assert_eq!(runtime.block_on(client.read(1)), "a");
    drop(runtime);
    drop(client);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(said(layer.database()).await, None);
        assert!(scene.turn().finish().await.unwrap_err().is_turn_ended());
        let app = scene.app(&layer, &words(&["b"]));
        assert_eq!(Client::ask(&app).await.rest().await, "b");
    });
}

#[tokio::test]
async fn a_degraded_turn_streams_and_stores_nothing() {
    let layer = layer(TestDb::default()).on_outage(tower_persistence::OnOutage::Degrade);
    let scene = Scene::new();
    let app = scene.app(&layer, &words(&["a", "b"]));
    layer.database().on_load(Behaviour::Fails);
    assert_eq!(Client::ask(&app).await.rest().await, "ab");
    assert_eq!(scene.notes(), "");
    assert_eq!(layer.database().calls().saves, 0);
}

#[tokio::test]
async fn a_user_who_is_forgotten_in_the_stream_is_gone() {
    let layer = layer(MemoryDb::new());
    let scene = Scene::new();
    store(layer.database(), "user-1", &json!({ "user": { "data": { "said": "x" } } })).await;
    let inner = scene.clone();
    let app = scene.serve(&layer, move |request| {
        let (user, turn) = inner.user_and_turn(&request);
        let body = inner.stream(user.clone(), turn, vec![Say("bye"), Wait]);
        let forget = move |frame| {
            user.forget().unwrap();
            frame
        };
        let body = http_body_util::BodyExt::map_frame(body, forget);
        http::Response::new(http_body_util::BodyExt::boxed_unsync(body))
    });
    let mut client = Client::ask(&app).await;
    assert_eq!(client.read(1).await, "bye");
    assert!(stored(layer.database(), "user-1").await.is_some());
    scene.go();
    assert_eq!(client.rest().await, "");
    assert_eq!(stored(layer.database(), "user-1").await, None);
}

/// A created id reaches the client only in a reply that can be written to.
#[tokio::test]
async fn a_user_with_a_created_id_is_not_stored_by_a_stream() {
    let request = include_str!("../../samples/googleassistant/new_user.json");
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    for is_whole in [true, false] {
        let layer = layer(MemoryDb::new());
        let scene = Scene::new();
        let inner = scene.clone();
        let app = scene.serve(&layer, move |request| {
            let (user, turn) = inner.user_and_turn(&request);
            match is_whole {
                true => http::Response::new(whole("{}")),
                false => http::Response::new(inner.stream(user, turn, words(&["{", "}"]))),
            }
        });
        let reply = Client::send(&app, &request).await.rest().await;
        assert_eq!(reply != "{}", is_whole, "{reply}");
        assert_eq!(layer.database().is_empty(), !is_whole);
        assert_eq!(scene.notes(), "");
    }
}

/// A client-side session goes back in a whole reply as ever, and cannot go back in a stream.
#[tokio::test]
async fn a_client_side_session_needs_a_whole_reply() {
    let layer = layer(MemoryDb::new()).stored_elements(StoredElements::new());
    let scene = Scene::new();
    let inner = scene.clone();
    let app = scene.serve(&layer, move |request| {
        let (_, session, _) = crate::common::handles(&request).unwrap();
        session.set("lives", 3).unwrap();
        let (user, turn) = inner.user_and_turn(&request);
        match user.id() {
            "whole" => http::Response::new(whole("{}")),
            _ => http::Response::new(inner.stream(user, turn, vec![Say("{"), Say("}")])),
        }
    });
    let reply = Client::send(&app, &alexa("whole")).await.rest().await;
    assert!(reply.contains(r#""lives":3"#), "{reply}");
    assert_eq!(Client::send(&app, &alexa("streamed")).await.rest().await, "{}");
}
