//! Spans, events and metrics of a request, none of which shows a user id or data.

mod recorder;
mod streams;

use std::time::Duration;

use serde_json::json;
use tower_persistence::{
    AfterReply, AnyDatabase, Database, Error, Handles, MemoryDb, Migrations, OnConflict, OnOutage,
    PersistenceLayer, Schema, Session, StoredElements, UserData,
};
use tracing::{Instrument, info_span};

use self::recorder::Recorder;
#[cfg(feature = "metrics")]
use self::recorder::assert_discreet;
use crate::common::*;

const USER: &str = "amzn1.ask.account.IDOFANNA";
const SESSION: &str = "amzn1.echo-api.session.IDOFSESSION";
const DATA: &str = "anna-likes-tea";

fn layer() -> PersistenceLayer<TestDb> {
    let elements = StoredElements::new().session(true).history(true);
    PersistenceLayer::new(TestDb::default()).stored_elements(elements)
}

async fn ask(app: &App) -> u16 {
    send_json(app, &alexa_session(USER, SESSION, false)).await.status.as_u16()
}

fn remembers(layer: &PersistenceLayer<TestDb>) -> App {
    sync_app(layer, |user, session, history| {
        user.set("likes", DATA)?;
        session.set("likes", DATA)?;
        history.set_output(DATA)
    })
}

#[tokio::test]
async fn each_step_has_a_span_that_says_what_became_of_it() {
    let (recorder, _guard) = Recorder::start();
    // Neither session nor history, so that a turn may have nothing to store.
    let layer = PersistenceLayer::new(AnyDatabase::new(MemoryDb::new()));
    let app = sync_app(&layer, |user, _, _| user.set("likes", DATA));
    assert_eq!(ask(&app).await, 200);
    let stored = layer.database().load(USER).await.unwrap().unwrap();
    let length = serde_json::to_string(&stored.record).unwrap().len() as f64;

    let recognise = recorder.span("recognise");
    recognise.assert("platform", "alexa");
    let request = alexa_session(USER, SESSION, false).to_string();
    assert_eq!(recognise.number("bytes"), request.len() as f64);
    recorder.span("call").assert("http.response.status_code", "200");
    let save = recorder.span("save");
    for (field, value) in [
        ("otel.kind", "client"),
        ("db.system.name", "memory"),
        ("db.operation.name", "save"),
        ("platform", "alexa"),
    ] {
        save.assert(field, value);
    }
    assert_eq!(save.number("bytes"), length);
    for name in ["recognise", "load", "call", "save"] {
        let seconds = recorder.span(name).number("duration_seconds");
        assert!((0.0..60.0).contains(&seconds), "{seconds}");
    }
    let expected = "recognise recognised, load new_user, call answered, save stored";
    assert_eq!(recorder.outcomes(), expected);

    assert_eq!(ask(&app).await, 200);
    assert_eq!(recorder.span("load").number("bytes"), length);
    let expected = "recognise recognised, load found, call answered, save unchanged";
    assert_eq!(recorder.outcomes(), expected);

    let app = sync_app(&layer, |user, _, _| user.forget());
    assert_eq!(ask(&app).await, 200);
    recorder.span("save").assert("db.operation.name", "delete");
    assert!(recorder.outcomes().ends_with("call answered, save deleted"));

    let app = serve(&layer, |_| async { Ok(reply(200, "{}")) });
    send(&app, post(r#"{"text":"anna-likes-tea"}"#)).await.assert_ok();
    assert_eq!(recorder.outcomes(), "recognise no_user");
    assert!(recorder.events().is_empty(), "what goes well is not logged");
}

#[tokio::test]
async fn a_turn_without_a_request_has_the_spans_of_one() {
    let (recorder, _guard) = Recorder::start();
    let layer = layer();
    layer.turn("alexa", USER, |turn| async move { turn.user.set("likes", DATA) }).await.unwrap();
    recorder.span("save").assert("platform", "alexa");
    assert_eq!(recorder.outcomes(), "load new_user, call answered, save stored");
    layer.turn_by_key(USER, |_| async { Ok::<_, Error>(()) }).await.unwrap();
    recorder.span("call").assert("platform", "none");
    assert_eq!(recorder.outcomes(), "load found, call answered, save unchanged");
    let failed = layer.turn("alexa", USER, |_| async { Err::<(), _>(Error::decode(DATA)) });
    assert!(failed.await.unwrap_err().is_decode());
    recorder.span("call").assert("error.type", "closure");
    assert_eq!(recorder.outcomes(), "load found, call failed, save failed");
    assert!(recorder.events().is_empty(), "an error is the caller's");
}

/// Returns a service whose handler starts work that ends so.
fn works<D: Database>(layer: &PersistenceLayer<D>, end: &'static str) -> App {
    serve(layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        let work = move |turn: Handles| async move {
            turn.user.set("likes", DATA)?;
            match end {
                "done" => Ok(()),
                "fails" => Err(DATA.into()),
                "fails with an error of the layer" => {
                    Ok(turn.user.increment("likes", 1).map(drop)?)
                }
                _ => panic!("{DATA}"),
            }
        };
        let started = after_reply.spawn(work);
        async move {
            match started {
                Ok(()) => Ok(reply(200, "{}")),
                Err(error) => Ok(reply(error.status().as_u16(), "{}")),
            }
        }
    })
}

#[tokio::test]
async fn work_after_the_reply_has_a_span_and_says_how_it_was_lost() {
    let (recorder, _guard) = Recorder::start();
    let layer = layer();
    let request = async { assert_eq!(ask(&works(&layer, "done")).await, 200) };
    request.instrument(info_span!("request", outcome = "none")).await;
    layer.drain().await;
    let span = recorder.span("after_reply");
    assert_eq!(span.parent, None, "the request's span does not last as long");
    span.assert("platform", "alexa");
    span.assert("outcome", "done");
    assert_eq!(recorder.span("load").parent, Some("after_reply"));
    let expected = "request none, recognise recognised, load new_user, call answered, save stored, \
                    after_reply done, load found, call answered, save stored";
    assert_eq!(recorder.outcomes(), expected);
    assert!(recorder.events().is_empty(), "what goes well is not logged");

    for (end, outcome, text) in [
        ("fails", "failed", "the work after the reply was lost: failed"),
        ("fails with an error of the layer", "decode", "lost: `likes` is"),
        ("panics", "panicked", "the work after the reply was lost: panicked"),
    ] {
        assert_eq!(ask(&works(&layer, end)).await, 200);
        layer.drain().await;
        recorder.span("after_reply").assert("outcome", outcome);
        recorder.span("after_reply").assert("error.type", outcome);
        recorder.outcomes();
        let [(level, event)] = &recorder.events()[..] else { panic!("one event") };
        assert_eq!((&**level, &*event["error.type"]), ("ERROR", outcome));
        assert!(event["message"].contains(text), "{event:?}");
        assert_eq!(event["in"], "after_reply");
    }
    // The database fails once the request's own turn is loaded.
    let db = layer.database().clone();
    let app = serve(&layer, move |request| {
        db.on_load(Behaviour::Fails);
        let after_reply = request.extensions().get::<AfterReply>().unwrap();
        after_reply.spawn(|_| async { Ok(()) }).unwrap();
        async { Ok(reply(200, "{}")) }
    });
    assert_eq!(ask(&app).await, 200);
    layer.drain().await;
    recorder.span("after_reply").assert("outcome", "database");
    let [(_, event)] = &recorder.events()[..] else { panic!("one event") };
    assert!(event["message"].contains("lost: the database failed"), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn failures_are_in_the_spans_and_in_the_log() {
    let (recorder, _guard) = Recorder::start();
    let layer = layer().on_outage(OnOutage::Reject);
    let db = layer.database().clone();
    let app = remembers(&layer);

    type Case = (fn(&TestDb, Behaviour), Behaviour, &'static str, &'static str);
    let cases: [Case; 4] = [
        (TestDb::on_load, Behaviour::Fails, "load failed", "database"),
        (TestDb::on_load, Behaviour::Hangs, "load timeout", "timeout"),
        (TestDb::on_save, Behaviour::Fails, "save failed", "database"),
        (TestDb::on_save, Behaviour::Hangs, "save timeout", "timeout"),
    ];
    for (set, behaviour, outcome, error_type) in cases {
        set(&db, behaviour);
        assert_eq!(ask(&app).await, 503);
        set(&db, Behaviour::Works);
        let failed = recorder.span(outcome.split(' ').next().unwrap());
        failed.assert("error.type", error_type);
        failed.assert("otel.status_code", "ERROR");
        if error_type == "timeout" {
            assert_eq!(failed.number("duration_seconds"), 2.0);
        }
        assert!(recorder.outcomes().ends_with(outcome));
        let [(level, event)] = &recorder.events()[..] else { panic!("one event") };
        assert_eq!((&**level, &*event["error.type"]), ("ERROR", error_type));
        assert!(event["message"].starts_with("request not served: "), "{event:?}");
    }

    let app = serve(&layer, |_| async { Ok(reply(500, "{}")) });
    assert_eq!(ask(&app).await, 500);
    recorder.span("call").assert("error.type", "500");
    assert!(recorder.outcomes().ends_with("call server_error, save server_error"));
    let app = serve(&layer, |_| async { Err(DATA.into()) });
    assert!(try_send(&app, post(alexa(USER).to_string())).await.is_err());
    assert!(recorder.outcomes().ends_with("call failed, save failed"));
    let app = serve(&layer, |_| async { panic!("{DATA}") });
    assert!(tokio::spawn(async move { ask(&app).await }).await.is_err());
    assert!(recorder.outcomes().ends_with("call panicked"));
    let app = serve(&layer, |_| std::future::pending());
    assert!(tokio::time::timeout(Duration::from_secs(9), ask(&app)).await.is_err());
    assert!(recorder.outcomes().ends_with("call cancelled"));
    assert!(recorder.events().is_empty());

    let layer = layer.body_limit(10);
    assert_eq!(ask(&remembers(&layer)).await, 413);
    assert_eq!(recorder.outcomes(), "recognise refused");
    assert_eq!(recorder.events()[0].0, "DEBUG");

    let layer = layer.body_limit(1000).on_outage(OnOutage::Degrade);
    db.on_load(Behaviour::Fails);
    assert_eq!(ask(&remembers(&layer)).await, 200);
    assert!(recorder.outcomes().ends_with("load failed, call answered, save degraded"));
    let [(level, event)] = &recorder.events()[..] else { panic!("one event") };
    assert_eq!((&**level, &*event["error.type"]), ("ERROR", "database"));
}

/// Each cause is named, with advice, and counted.
#[tokio::test(start_paused = true)]
async fn a_session_that_cannot_be_written_into_the_reply_is_a_warning() {
    let (recorder, _guard) = Recorder::start();
    let layer = PersistenceLayer::new(TestDb::default()).reply_limit(20);
    for (name, value, body, reason, remedy) in [
        ("content-encoding", "gzip", "{}", "compressed", "outside of this layer"),
        ("content-type", "text/html", "{}", "content_type", "application/json"),
        ("content-type", "text/plain", "hello", "not_object", "answer with one"),
        ("x-none", "", "[]", "not_object", "answer with one"),
        ("x-none", "", "{\"a\":\"0123456789012\"}", "too_long", "reply_limit"),
    ] {
        let app = serve(&layer, move |request| {
            let changed = request.extensions().get::<Session>().unwrap().set("likes", DATA);
            async move {
                changed?;
                let mut response = reply(200, body);
                response.headers_mut().remove("content-type");
                response.headers_mut().insert(name, value.parse()?);
                Ok(response)
            }
        });
        assert_eq!(ask(&app).await, 200);
        let [(level, event)] = &recorder.events()[..] else { panic!("one event for {reason}") };
        assert_eq!((&**level, &*event["reason"]), ("WARN", reason));
        assert!(event["message"].starts_with("the session could not be written"), "{event:?}");
        assert!(event["message"].contains(remedy), "{event:?}");

        let google = json!({ "handler": { "a": 1 }, "session": { "id": SESSION }, "device": { "a": 1 }, "user": { "verificationStatus": "VERIFIED" } });
        send_json(&app, &google).await.assert_ok();
        let [(level, event), _session] = &recorder.events()[..] else { panic!("two events") };
        assert_eq!((&**level, &*event["reason"]), ("WARN", reason));
        assert!(event["message"].contains("the user is not stored"), "{event:?}");
        assert!(recorder.outcomes().contains("save unreachable"));
    }
    // A platform does not look into such a reply.
    let app = serve(&layer, |request| {
        let changed = request.extensions().get::<Session>().unwrap().set("likes", DATA);
        async move {
            changed?;
            let mut response = reply(404, "not found");
            response.headers_mut().insert("content-type", "text/plain".parse()?);
            Ok(response)
        }
    });
    assert_eq!(ask(&app).await, 404);
    assert!(recorder.events().is_empty());
}

/// The names of members that cannot be read may be data.
#[tokio::test]
async fn a_session_that_cannot_be_read_is_a_warning_without_a_name() {
    let (recorder, _guard) = Recorder::start();
    let app = serve(&PersistenceLayer::new(TestDb::default()), |_| async { Ok(reply(200, "{}")) });
    let mut request = alexa_session(USER, SESSION, false);
    request["session"]["attributes"] = json!({ DATA: "x", "fine": 1 });
    let request = request.to_string().replace("\"x\"", "\"\\ud83d\"");
    send(&app, post(request)).await.assert_ok();
    let [(level, event)] = &recorder.events()[..] else { panic!("one event") };
    assert_eq!((&**level, &*event["members"]), ("WARN", "1"));
}

/// Returns an app in which another process writes `theirs` during every turn.
fn with_conflicts(on_conflict: OnConflict, theirs: &'static str) -> App {
    let layer = layer().on_conflict(on_conflict);
    let db = layer.database().items.clone();
    app(&layer, move |user, _, _| {
        let db = db.clone();
        async move {
            user.set("likes", DATA)?;
            store(&db, USER, &json!({ "user": { "data": { theirs: "coffee" } } })).await;
            Ok::<_, Error>(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn conflicts_are_seen() {
    let (recorder, _guard) = Recorder::start();
    for (on_conflict, theirs, status, outcome, level) in [
        (OnConflict::Merge, "eats", 200, "save stored", None),
        (OnConflict::Overwrite, "likes", 200, "save stored", None),
        (OnConflict::Merge, "likes", 409, "save conflict", Some("WARN")),
        (OnConflict::Rerun { attempts: 1 }, "eats", 409, "save overtaken", Some("WARN")),
    ] {
        assert_eq!(ask(&with_conflicts(on_conflict, theirs)).await, status);
        recorder.span("save").assert("conflicts", "1");
        assert!(recorder.outcomes().ends_with(outcome), "{on_conflict:?}");
        let events = recorder.events();
        assert_eq!((&*events[0].0, &*events[0].1["in"]), ("DEBUG", "save"));
        let answered = events.last().filter(|event| event.0 != "DEBUG");
        assert_eq!(answered.map(|event| &*event.0), level, "{events:?}");
    }
}

#[tokio::test]
async fn a_save_that_goes_on_alone_stays_in_the_span_of_the_request() {
    let (recorder, _guard) = Recorder::start();
    let layer = layer();
    let db = layer.database().clone();
    db.on_save(Behaviour::Waits);
    let app = remembers(&layer);
    let request = tokio::spawn(async move { ask(&app).instrument(info_span!("request")).await });
    db.until_waiting().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    db.go();
    while !recorder.span("save").fields.contains_key("outcome") {
        tokio::task::yield_now().await;
    }
    recorder.span("save").assert("outcome", "stored");
    for name in ["recognise", "load", "call", "save"] {
        assert_eq!(recorder.span(name).parent, Some("request"), "{name}");
    }
}

#[cfg(feature = "user-hash")]
#[tokio::test]
async fn a_keyed_hash_distinguishes_users_without_revealing_them() {
    let (recorder, _guard) = Recorder::start();
    let mut hashes = Vec::new();
    for (key, user) in [("key", USER), ("key", USER), ("key", "bert"), ("another", USER)] {
        let layer = layer().user_hash_key(key);
        layer.database().on_save(Behaviour::Fails);
        let status = send_json(&remembers(&layer), &alexa(user)).await.status;
        assert_eq!(status, 503);
        let hash = recorder.span("load").fields["user.hash"].clone();
        assert!(hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        for name in ["call", "save"] {
            recorder.span(name).assert("user.hash", &hash);
        }
        assert_eq!(recorder.events()[0].1["user.hash"], hash);
        recorder.outcomes();
        hashes.push(hash);
    }
    assert_eq!(hashes[0], hashes[1]);
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 3);

    for layer in [layer(), layer().user_hash_key("")] {
        ask(&remembers(&layer)).await;
        assert_eq!(recorder.span("load").fields.get("user.hash"), None);
    }
}

#[derive(Default, serde::Deserialize, serde::Serialize)]
struct Strict {
    likes: u32,
}

impl Schema for Strict {}

#[derive(Default, serde::Deserialize, serde::Serialize)]
struct Lenient {
    likes: u32,
}

impl Schema for Lenient {
    fn migrations() -> Migrations {
        Migrations::new().quarantine_unreadable(true)
    }
}

#[tokio::test]
async fn user_data_that_cannot_be_read_is_logged_without_it() {
    use axum::routing::post;
    use tower::ServiceExt;

    let (recorder, _guard) = Recorder::start();
    let app = axum::Router::new()
        .route("/strict", post(|_: UserData<Strict>| async {}))
        .route("/lenient", post(|_: UserData<Lenient>| async {}))
        .layer(layer_with_data().await);
    for (path, status, level, message) in [
        ("/strict", 500, "ERROR", "request not served: "),
        ("/lenient", 200, "WARN", "data is set aside as `user.quarantine`: "),
    ] {
        let body = alexa_session(USER, SESSION, false).to_string();
        let request = http::Request::post(path).header("content-type", "application/json");
        let response =
            app.clone().oneshot(request.body(axum::body::Body::from(body)).unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
        let [(found, event)] = &recorder.events()[..] else { panic!("one event") };
        assert_eq!(found, level);
        assert_eq!((event["platform"].as_str(), event["error.type"].as_str()), ("alexa", "decode"));
        assert!(event["message"].starts_with(message), "{event:?}");
        assert!(event["message"].contains("of version 0"), "{event:?}");
    }
}

async fn layer_with_data() -> PersistenceLayer<TestDb> {
    let layer = layer();
    let item = json!({ "user": { "data": { "likes": DATA } } });
    store(&layer.database().items, USER, &item).await;
    layer
}

#[cfg(feature = "metrics")]
#[tokio::test(start_paused = true)]
async fn numbers_are_counted_by_database_platform_and_outcome() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let metrics = DebuggingRecorder::new();
    let snapshotter = metrics.snapshotter();
    let _guard = metrics::set_default_local_recorder(&metrics);
    let layer = layer().on_outage(OnOutage::Degrade);
    let db = layer.database().clone();
    let app = remembers(&layer);
    ask(&app).await;
    ask(&app).await;
    db.on_load(Behaviour::Hangs);
    ask(&app).await;
    db.on_load(Behaviour::Works);
    db.on_save(Behaviour::Fails);
    ask(&app).await;
    ask(&serve(&layer, |_| async { Ok(reply(500, "{}")) })).await;
    ask(&with_conflicts(OnConflict::Merge, "likes")).await;
    ask(&with_conflicts(OnConflict::Overwrite, "likes")).await;
    ask(&remembers(&layer.body_limit(10))).await;
    let carrying = PersistenceLayer::new(MemoryDb::new());
    ask(&sync_app(&carrying, |_, _, _| Ok(()))).await;
    let unwritten = serve(&carrying, |request| {
        let changed = request.extensions().get::<Session>().unwrap().set("likes", DATA);
        async move {
            changed?;
            Ok(reply(200, "[]"))
        }
    });
    ask(&unwritten).await;
    ask(&works(&carrying, "done")).await;
    carrying.drain().await;

    let snapshot = snapshotter.snapshot().into_vec();
    assert_discreet(&snapshot);
    let mut counted = Vec::new();
    let mut measured = Vec::new();
    for (key, _, description, value) in snapshot {
        assert!(description.is_some(), "{key:?}");
        let (_, key) = key.into_parts();
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        let line =
            format!("{} {}", key.name().trim_start_matches("tower_persistence."), labels.join(" "));
        match value {
            DebugValue::Counter(count) => counted.push(format!("{line} {count}")),
            DebugValue::Histogram(values) => measured.push((line, values)),
            DebugValue::Gauge(_) => panic!("{line}"),
        }
    }
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            "conflicts other alexa merge 1",
            "conflicts other alexa overwrite 1",
            "degraded other alexa timeout 1",
            "detached memory alexa done 1",
            "loads memory alexa found 3",
            "loads memory alexa new_user 1",
            "loads other alexa found 3",
            "loads other alexa new_user 3",
            "loads other alexa timeout 1",
            "refused other alexa conflict 1",
            "refused other alexa database 1",
            "refused other none body_too_large 1",
            "replies_unwritten memory alexa not_object 1",
            "saves memory alexa stored 2",
            "saves other alexa conflict 1",
            "saves other alexa failed 1",
            "saves other alexa stored 3",
            "saves.skipped memory alexa unchanged 2",
            "saves.skipped other alexa degraded 1",
            "saves.skipped other alexa server_error 1",
        ]
    );
    let values = |name: &str| {
        let (_, values) = measured.iter().find(|(line, _)| line == name).expect(name);
        values.iter().map(|value| value.into_inner()).collect::<Vec<_>>()
    };
    assert_eq!(values("duration other alexa timeout load"), [2.0]);
    assert_eq!(values("duration other alexa stored save").len(), 3);
    assert!(values("bytes other alexa found load").iter().all(|bytes| *bytes > 100.0));
}

#[tokio::test]
async fn sessions_that_are_kept_nowhere_are_reported_once() {
    for (elements, expected) in
        [(StoredElements::new(), 1), (StoredElements::new().session(true), 0)]
    {
        let (recorder, _guard) = Recorder::start();
        let layer = PersistenceLayer::new(TestDb::default()).stored_elements(elements);
        let app = sync_app(&layer, |_, _, _| Ok(()));
        for request in [alexa("anna"), messenger("anna", "m-1"), messenger("bert", "m-2")] {
            send_json(&app, &request).await.assert_ok();
        }
        let warnings = recorder.events().into_iter().map(|(_, fields)| format!("{fields:?}"));
        let warnings: Vec<_> =
            warnings.filter(|text| text.contains("StoredElements::session")).collect();
        assert_eq!(warnings.len(), expected, "{warnings:?}");
        assert!(warnings.iter().all(|text| text.contains("facebookmessenger")));
    }
}

#[tokio::test]
async fn a_layer_inside_another_says_once_that_it_stores_nothing() {
    for (is_same, expected) in [(false, 1), (true, 0)] {
        let (recorder, _guard) = Recorder::start();
        let outer = layer();
        let inner = if is_same { outer.clone() } else { layer() };
        let database = inner.database().clone();
        let handler = tower::service_fn(async |_: HttpRequest| {
            Ok::<_, tower_persistence::BoxError>(reply(200, "{}"))
        });
        let boxed = tower::util::MapResponse::new(
            tower::Layer::layer(&inner, handler),
            |response: http::Response<_>| {
                response.map(|_| http_body_util::Full::<bytes::Bytes>::default())
            },
        );
        let service = tower::Layer::layer(&outer, boxed);
        for _ in 0..2 {
            let request = post(alexa("user-1").to_string());
            tower::ServiceExt::oneshot(service.clone(), request).await.unwrap();
        }
        assert!(is_same || database.items.is_empty());
        let warnings = recorder.events();
        let warnings = warnings.iter().filter(|(level, _)| level == "WARN");
        assert_eq!(warnings.count(), expected);
    }
}
