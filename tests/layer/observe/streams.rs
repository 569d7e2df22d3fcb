//! Spans and logs of turns that end with the body of their reply.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::{BoxError, OnHangUp, PersistenceLayer, Session, StreamedTurn, TurnEnd};
use tracing::{Instrument, info_span};

use super::recorder::Recorder;
use super::{SESSION, USER};
use crate::common::*;

#[tokio::test(start_paused = true)]
async fn a_stream_has_a_span_that_says_how_it_ended() {
    let (recorder, _guard) = Recorder::start();
    for (kind, on_hang_up, expected) in [
        ("complete", OnHangUp::Save, "stream complete, save stored"),
        ("finished", OnHangUp::Save, "stream finished, save stored"),
        ("failed", OnHangUp::Save, "stream failed, save stream_failed"),
        ("hung up", OnHangUp::Save, "stream hung_up, save stored"),
        ("hung up", OnHangUp::Discard, "stream hung_up, save hung_up"),
        ("idle", OnHangUp::Save, "stream idle, save stored"),
    ] {
        let layer = PersistenceLayer::new(TestDb::default()).turn_end(TurnEnd::Body);
        let layer = layer.on_hang_up(on_hang_up);
        let service = layer.layer(service_fn(move |request: HttpRequest| async move {
            let turn = request.extensions().get::<Session>().map(StreamedTurn::from_session);
            let first = stream::once(async { Ok(Frame::data(Bytes::from_static(b"a"))) });
            let rest = stream::once(async move {
                match kind {
                    "failed" => return Err(BoxError::from("broken")),
                    "finished" => turn.unwrap().finish().await?,
                    "complete" => {}
                    _ => std::future::pending().await,
                }
                Ok(Frame::data(Bytes::new()))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(first.chain(rest))))
        }));
        let request = post(alexa_session(USER, SESSION, false).to_string());
        let asked = service.oneshot(request).instrument(info_span!("request", outcome = "here"));
        let mut body = Box::pin(asked.await.unwrap().into_body());
        body.frame().await.unwrap().unwrap();
        if kind != "hung up" {
            while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
        }
        drop(body);
        layer.close().await.unwrap();
        let stream = recorder.span("stream");
        assert_eq!(stream.parent, Some("request"));
        assert_eq!(recorder.span("save").parent, Some("request"), "{kind}");
        let limit = Duration::from_secs(30).as_secs_f64();
        assert_eq!(stream.number("duration_seconds"), if kind == "idle" { limit } else { 0.0 });
        let outcomes = recorder.outcomes();
        assert!(outcomes.ends_with(&format!("call answered, {expected}")), "{outcomes}");
        assert!(recorder.events().is_empty());
    }
}

#[tokio::test]
async fn a_streamed_turn_that_cannot_be_stored_is_logged_as_any_other() {
    let (recorder, _guard) = Recorder::start();
    let layer = PersistenceLayer::new(TestDb::default()).turn_end(TurnEnd::Body);
    layer.database().on_save(Behaviour::Fails);
    let service = layer.layer(service_fn(|_: HttpRequest| async {
        let frames = ["a", "b"].map(|text| Ok::<_, BoxError>(Frame::data(Bytes::from(text))));
        Ok::<_, BoxError>(Response::new(StreamBody::new(stream::iter(frames))))
    }));
    let request = post(alexa_session(USER, SESSION, false).to_string());
    let body = service.oneshot(request).await.unwrap().into_body();
    let error = Box::pin(body).collect().await.unwrap_err();
    assert!(error.downcast_ref::<tower_persistence::Error>().unwrap().is_database());
    let [(level, event)] = &recorder.events()[..] else { panic!("one event") };
    assert_eq!((&**level, &*event["error.type"]), ("ERROR", "database"));
}
