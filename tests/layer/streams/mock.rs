//! Streams of an inner service that is a mock.

use http::Response;
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower_persistence::{MemoryDb, PersistenceLayer, TurnEnd};
use tower_test::mock;

use super::script::Step::*;
use super::script::*;
use crate::common::{HttpRequest, alexa, post};

#[tokio::test]
async fn the_head_passes_at_once_and_the_next_turn_after_the_end() {
    let layer = PersistenceLayer::new(MemoryDb::new()).turn_end(TurnEnd::Body);
    let (mut service, mut handle) =
        mock::spawn_layer::<HttpRequest, Response<Body>, _>(layer.clone());
    handle.allow(2);
    let scene = Scene::new();
    let request = || post(alexa("user-1").to_string());

    assert_ready_ok!(service.poll_ready());
    let mut call = tokio_test::task::spawn(service.call(request()));
    assert_pending!(call.poll());
    let (first, respond) = handle.next_request().await.unwrap();
    let (user, turn) = scene.user_and_turn(&first);
    let steps = vec![Write("a"), Say("a"), Wait, Write("b"), Say("b")];
    respond.send_response(Response::new(scene.stream(user, turn, steps)));
    let mut body = assert_ready_ok!(call.poll()).into_body();
    let mut frames = tokio_test::task::spawn(async move {
        let mut read = Vec::new();
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            read.extend(frame.unwrap().into_data().unwrap());
        }
        read
    });
    assert_pending!(frames.poll());

    assert_ready_ok!(service.poll_ready());
    let mut second = tokio_test::task::spawn(service.call(request()));
    assert_pending!(second.poll());
    let mut called = tokio_test::task::spawn(handle.next_request());
    assert_pending!(called.poll());

    scene.go();
    assert!(frames.is_woken());
    assert_eq!(assert_ready!(frames.poll()), b"ab");
    assert!(second.is_woken(), "the place is free as soon as the stream has ended");
    assert_pending!(second.poll());
    let (request, respond) = assert_ready!(called.poll()).unwrap();
    let (user, _) = scene.user_and_turn(&request);
    assert_eq!(user.get::<String>("said").unwrap().as_deref(), Some("ab"));
    respond.send_response(Response::new(whole("")));
    assert_ready_ok!(second.poll());
}
