//! Turns that go on after the head of their reply do not hold the conversation's place.

use tower_persistence::{AfterReply, TurnEnd};

use super::*;

#[tokio::test]
async fn work_after_the_reply_changes_the_conversation_and_holds_up_nobody() {
    let layer = layer(MemoryDb::new());
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, goes) = (Arc::clone(&began), Arc::clone(&go));
    let slow = serve(&layer, move |request| {
        let (begins, goes) = (Arc::clone(&begins), Arc::clone(&goes));
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        async move {
            after_reply.spawn(|turn| async move {
                let state = turn.conversation.unwrap().load().await?;
                begins.notify_one();
                goes.notified().await;
                state.increment("count", 1)?;
                Ok(())
            })?;
            Ok(reply(200, "{}"))
        }
    });
    send_json(&slow, &message(Some("anna"), None)).await.assert_ok();
    began.notified().await;
    send_json(&visits(&layer), &message(Some("bert"), None)).await.assert_ok();
    assert_eq!(count(layer.database()).await, json!({ "count": 1 }));
    go.notify_one();
    layer.drain().await;
    assert_eq!(count(layer.database()).await, json!({ "count": 2 }));
}

#[tokio::test]
async fn a_streamed_reply_does_not_hold_up_the_conversation() {
    use bytes::Bytes;
    use http::Response;
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use tower::{Layer, ServiceExt, service_fn};

    let layer = layer(MemoryDb::new()).turn_end(TurnEnd::Body);
    let go = Arc::new(Notify::new());
    let goes = Arc::clone(&go);
    let app = layer.layer(service_fn(move |request: HttpRequest| {
        let goes = Arc::clone(&goes);
        async move {
            let conversation = request.extensions().get::<Conversation>().unwrap().clone();
            let state = conversation.load().await?;
            let frames = futures_util::stream::unfold(0, move |at| {
                let (goes, state) = (Arc::clone(&goes), state.clone());
                async move {
                    if at == 1 {
                        goes.notified().await;
                        state.increment("count", 1).unwrap();
                    }
                    let frame = Frame::data(Bytes::from_static(b"token"));
                    (at < 2).then_some((Ok::<_, std::io::Error>(frame), at + 1))
                }
            });
            Ok::<_, tower_persistence::BoxError>(Response::new(StreamBody::new(Box::pin(frames))))
        }
    }));
    let request = post(message(Some("anna"), None).to_string());
    let mut response = app.oneshot(request).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    let quick = visits(&layer);
    send_json(&quick, &message(Some("bert"), None)).await.assert_ok();
    go.notify_one();
    response.into_body().collect().await.unwrap();
    assert_eq!(count(layer.database()).await, json!({ "count": 2 }));
}
