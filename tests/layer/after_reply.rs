//! Work after the reply.

use std::future::pending;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::routing::post as post_to;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};
use tower_persistence::platform::{Event, Platform, PlatformRequest};
use tower_persistence::stored_elements::HistoryElement;
use tower_persistence::{
    AfterReply, BoxError, Error, Handles, OnConflict, OnOutage, PersistenceLayer, StoredElements,
    User,
};

use crate::common::*;

fn layer() -> PersistenceLayer<TestDb> {
    let elements = StoredElements::new().session(true).meta_data(true);
    PersistenceLayer::new(TestDb::default()).stored_elements(elements)
}

/// Returns a service whose handler starts work and answers with this status.
fn starting<F, R>(
    layer: &PersistenceLayer<TestDb>,
    status: u16,
    work: impl Fn() -> F + Clone + Send + Sync + 'static,
) -> App
where
    F: FnOnce(Handles) -> R + Send + 'static,
    R: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    serve(layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        let (user, ..) = handles(&request).unwrap();
        let started = user.increment("visits", 1).and_then(|_| after_reply.spawn(work()));
        async move {
            Ok(match started {
                Ok(()) => reply(status, "{}"),
                Err(error) => reply(error.status().as_u16(), &format!("{error:?}")),
            })
        }
    })
}

/// Counts its runs, and in the record those that were stored.
fn counting(runs: &Arc<AtomicUsize>) -> impl FnOnce(Handles) -> Work + Send + 'static + use<> {
    let runs = Arc::clone(runs);
    move |turn| {
        Box::pin(async move {
            runs.fetch_add(1, Ordering::Relaxed);
            turn.user.increment("works", 1)?;
            Ok(())
        })
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

async fn data(layer: &PersistenceLayer<TestDb>, user: &str) -> Value {
    stored(&layer.database().items, user).await.unwrap_or_default()["user"]["data"].take()
}

/// Work that says when it has begun, and waits until it may go on.
#[derive(Clone)]
struct Gate {
    begun: Arc<Semaphore>,
    go: Arc<Notify>,
}

impl Gate {
    fn new() -> Self {
        Self { begun: Arc::new(Semaphore::new(0)), go: Arc::default() }
    }

    async fn pass(&self) {
        self.begun.add_permits(1);
        self.go.notified().await;
    }

    async fn until_begun(&self) {
        self.begun.acquire().await.unwrap().forget();
    }

    fn has_begun(&self) -> bool {
        self.begun.available_permits() > 0
    }
}

/// Returns a service that starts work which waits at the gate and then writes `key`.
fn gated(layer: &PersistenceLayer<TestDb>, gate: &Gate, key: &'static str) -> App {
    let gate = gate.clone();
    starting(layer, 200, move || {
        let gate = gate.clone();
        move |turn: Handles| async move {
            gate.pass().await;
            turn.user.set(key, "work")?;
            Ok(())
        }
    })
}

#[tokio::test]
async fn it_begins_when_the_turn_is_stored_and_nobody_waits_for_it() {
    let layer = layer();
    let gate = Gate::new();
    let waits = gate.clone();
    let app = starting(&layer, 200, move || {
        let gate = waits.clone();
        move |turn: Handles| async move {
            gate.pass().await;
            assert!(!turn.user.is_new());
            turn.user.increment("visits", 10)?;
            Ok(())
        }
    });
    layer.database().on_save(Behaviour::Waits);
    let request = tokio::spawn(async move { send_json(&app, &alexa("user-1")).await });
    layer.database().until_waiting().await;
    assert!(!gate.has_begun(), "the request's turn is not stored");
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    request.await.unwrap().assert_ok();
    gate.until_begun().await;

    // A later request is acknowledged meanwhile.
    let visit = sync_app(&layer, |user, _, _| user.increment("visits", 1).map(drop));
    send_json(&visit, &alexa("user-1")).await.assert_ok();
    let mut drain = tokio_test::task::spawn(layer.drain());
    let mut close = tokio_test::task::spawn(layer.close());
    assert!(drain.poll().is_pending() && close.poll().is_pending());
    gate.go.notify_one();
    drain.await;
    close.await.unwrap();
    assert_eq!(data(&layer, "user-1").await["visits"], 12);
}

#[tokio::test]
async fn it_begins_only_after_an_answer_below_400_that_is_stored() {
    let runs = Arc::new(AtomicUsize::new(0));
    let work = |runs: &Arc<AtomicUsize>| {
        let runs = Arc::clone(runs);
        move || counting(&runs)
    };
    let layer = layer();
    for (status, expected) in [(200, 1), (204, 2), (302, 3), (400, 3), (404, 3), (500, 3)] {
        let app = starting(&layer, status, work(&runs));
        assert_eq!(send_json(&app, &alexa("user-1")).await.status, status);
        layer.drain().await;
        assert_eq!(runs.load(Ordering::Relaxed), expected, "{status}");
    }
    let app = starting(&layer.clone().save_on_error(true), 503, work(&runs));
    send_json(&app, &alexa("user-1")).await;
    let app = starting(&layer, 200, work(&runs));
    layer.database().on_save(Behaviour::Fails);
    assert_eq!(send_json(&app, &alexa("user-1")).await.status, 503);
    layer.database().on_save(Behaviour::Works);
    layer.database().on_load(Behaviour::Fails);
    assert_eq!(send_json(&app, &alexa("user-1")).await.status, 503);
    layer.database().on_load(Behaviour::Works);
    layer.drain().await;
    assert_eq!(runs.load(Ordering::Relaxed), 3);
    // What was stored of the 4xx, and of the 5xx by `save_on_error`, was stored without it.
    assert_eq!(data(&layer, "user-1").await, json!({ "visits": 6, "works": 3 }));
}

#[tokio::test]
async fn it_does_not_begin_if_the_handler_does_not_answer() {
    let layer = layer();
    let runs = Arc::new(AtomicUsize::new(0));
    for failure in ["fails", "panics", "hangs"] {
        let counted = Arc::clone(&runs);
        let app = serve(&layer, move |request| {
            let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
            after_reply.spawn(counting(&counted)).unwrap();
            async move {
                match failure {
                    "fails" => Err("as it must".into()),
                    "panics" => panic!("as it must"),
                    _ => pending().await,
                }
            }
        });
        let request = tokio::spawn(async move {
            let answer = try_send(&app, post(alexa("user-1").to_string()));
            timeout(Duration::from_millis(50), answer).await
        });
        assert!(!matches!(request.await, Ok(Ok(Ok(_)))), "{failure}");
        layer.drain().await;
    }
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert!(layer.database().items.is_empty());
}

#[tokio::test]
async fn it_goes_on_when_the_caller_gives_up() {
    let layer = layer();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let app = starting(&layer, 200, move || counting(&counted));
    layer.database().on_save(Behaviour::Waits);
    let request = async { send_json(&app, &alexa("user-1")).await };
    let mut request = tokio_test::task::spawn(request);
    assert!(request.poll().is_pending());
    layer.database().until_waiting().await;
    drop(request);
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    layer.drain().await;
    assert_eq!(data(&layer, "user-1").await, json!({ "visits": 1, "works": 1 }));
}

#[tokio::test]
async fn a_handler_that_runs_again_starts_it_once() {
    let layer = layer().on_conflict(OnConflict::Rerun { attempts: 3 });
    let items = layer.database().items.clone();
    let started = Arc::new(AtomicUsize::new(0));
    let runs = Arc::new(Mutex::new(Vec::new()));
    let (counted, noted) = (Arc::clone(&started), Arc::clone(&runs));
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        let (user, ..) = handles(&request).unwrap();
        let (items, noted) = (items.clone(), Arc::clone(&noted));
        let run = counted.fetch_add(1, Ordering::Relaxed);
        async move {
            after_reply.spawn(move |_| async move {
                noted.lock().unwrap().push(run);
                Ok(())
            })?;
            user.increment("visits", 1)?;
            if run < 2 {
                store(&items, "user-1", &json!({ "run": run })).await;
            }
            Ok(reply(200, "{}"))
        }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(started.load(Ordering::Relaxed), 3);
    assert_eq!(*runs.lock().unwrap(), [2], "that of the run that was stored");
}

/// Work and a later request write the same user's data; returns the data, the status of the request,
/// and how often its handler ran.
async fn beside_a_request(
    on_conflict: OnConflict,
    work: &'static str,
    request: &'static str,
) -> (Value, u16, usize) {
    let layer = layer().on_conflict(on_conflict);
    let gate = Gate::new();
    send_json(&gated(&layer, &gate, work), &alexa("user-1")).await.assert_ok();
    gate.until_begun().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let later = sync_app(&layer, move |user, _, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        user.set(request, "request")
    });
    let answer = send_json(&later, &alexa("user-1")).await;
    gate.go.notify_one();
    layer.drain().await;
    (data(&layer, "user-1").await, answer.status.as_u16(), runs.load(Ordering::Relaxed))
}

#[tokio::test]
async fn it_merges_with_later_requests_whatever_the_policy_is() {
    for on_conflict in [OnConflict::Merge, OnConflict::Rerun { attempts: 2 }, OnConflict::Overwrite]
    {
        let (data, status, runs) = beside_a_request(on_conflict, "a", "b").await;
        assert_eq!(data, json!({ "visits": 1, "a": "work", "b": "request" }), "{on_conflict:?}");
        assert_eq!((status, runs), (200, 1));
        let (data, ..) = beside_a_request(on_conflict, "a", "a").await;
        assert_eq!(data, json!({ "visits": 1, "a": "request" }), "nothing of the work is stored");
    }
}

/// The work ends while a later request is in its handler.
#[tokio::test]
async fn a_request_that_meets_it_resolves_that_as_the_layer_is_told() {
    for (on_conflict, key, expected, runs) in [
        (OnConflict::Merge, "b", Some(json!({ "visits": 1, "a": "work", "b": 1 })), 1),
        (OnConflict::Merge, "a", None, 1),
        (OnConflict::Rerun { attempts: 1 }, "a", Some(json!({ "visits": 1, "a": 2 })), 2),
        (OnConflict::Overwrite, "b", Some(json!({ "visits": 1, "b": 1 })), 1),
    ] {
        let layer = layer().on_conflict(on_conflict);
        let (gate, ran) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
        send_json(&gated(&layer, &gate, "a"), &alexa("user-1")).await.assert_ok();
        gate.until_begun().await;
        let (own, counted, go) = (layer.clone(), Arc::clone(&ran), Arc::clone(&gate.go));
        let later = app(&layer, move |user, _, _| {
            let (layer, go) = (own.clone(), Arc::clone(&go));
            let run = counted.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                go.notify_one();
                layer.drain().await;
                user.set(key, run)
            }
        });
        let answer = send_json(&later, &alexa("user-1")).await;
        assert_eq!(answer.status == 200, expected.is_some(), "{on_conflict:?}");
        let expected = expected.unwrap_or(json!({ "visits": 1, "a": "work" }));
        assert_eq!(data(&layer, "user-1").await, expected, "{on_conflict:?}");
        assert_eq!(ran.load(Ordering::Relaxed), runs);
    }
}

#[tokio::test]
async fn a_users_work_runs_in_the_order_of_the_requests() {
    let layer = layer();
    let gates = [Gate::new(), Gate::new()];
    for gate in &gates {
        send_json(&gated(&layer, gate, "a"), &alexa("user-1")).await.assert_ok();
    }
    let other = Gate::new();
    send_json(&gated(&layer, &other, "a"), &alexa("user-2")).await.assert_ok();
    gates[0].until_begun().await;
    other.until_begun().await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!gates[1].has_begun());
    gates[0].go.notify_one();
    gates[1].until_begun().await;
    gates[1].go.notify_one();
    other.go.notify_one();
    layer.drain().await;
}

#[tokio::test]
async fn one_handler_may_start_several() {
    let layer = layer();
    let order = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&order);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        for number in 0..3 {
            let noted = Arc::clone(&noted);
            let work = move |turn: Handles| async move {
                noted.lock().unwrap().push(number);
                turn.user.increment("works", 1)?;
                Ok(())
            };
            after_reply.spawn(work).unwrap();
        }
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
    assert_eq!(data(&layer, "user-1").await, json!({ "works": 3 }));
}

#[tokio::test]
async fn over_the_limit_it_is_a_503() {
    let layer = layer().detached_limit(2);
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    for (gate, user) in gates.iter().zip(["user-1", "user-2"]) {
        send_json(&gated(&layer, gate, "a"), &alexa(user)).await.assert_ok();
    }
    let third = gated(&layer, &gates[2], "a");
    let answer = send_json(&third, &alexa("user-1")).await;
    assert_eq!(answer.status, 503);
    assert!(String::from_utf8_lossy(&answer.body).contains("raise `detached_limit`"));
    assert_eq!(data(&layer, "user-1").await["visits"], 1, "the platform sends it again");
    gates[1].go.notify_one();
    gates[1].until_begun().await;
    while send_json(&third, &alexa("user-1")).await.status != 200 {
        tokio::task::yield_now().await;
    }
    gates[0].go.notify_one();
    gates[2].go.notify_one();
    layer.drain().await;

    // Work that is dropped does not count, nor does a handle that is kept.
    let kept = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        for _ in 0..2 {
            after_reply.spawn(|_| async { Ok(()) }).unwrap();
        }
        let error = after_reply.spawn(|_| async { Ok(()) }).unwrap_err();
        assert!(error.is_detached_limit() && error.status() == 503, "{error:?}");
        *keeps.lock().unwrap() = Some(after_reply);
        async { Ok(reply(500, "{}")) }
    });
    for _ in 0..3 {
        assert_eq!(send_json(&app, &alexa("user-1")).await.status, 500);
    }
    layer.drain().await;
}

#[tokio::test]
async fn it_cannot_be_started_outside_an_open_turn() {
    let layer = layer().on_outage(OnOutage::Degrade);
    let kept = Arc::new(Mutex::new(None));
    let keeps = Arc::clone(&kept);
    let is_checked = Arc::new(AtomicUsize::new(0));
    let checks = Arc::clone(&is_checked);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        let (user, ..) = handles(&request).unwrap();
        let start = || after_reply.spawn(|_| async { Ok(()) });
        if user.is_degraded() {
            let error = start().unwrap_err();
            assert!(error.is_database() && error.status() == 503, "{error:?}");
        } else {
            let inside = user.update(|_| start().unwrap_err().is_reentrant());
            assert!(inside.unwrap());
            user.forget().unwrap();
            assert!(start().unwrap_err().is_turn_ended());
        }
        checks.fetch_add(1, Ordering::Relaxed);
        *keeps.lock().unwrap() = Some(after_reply.clone());
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.database().on_load(Behaviour::Fails);
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.database().on_load(Behaviour::Works);
    assert_eq!(is_checked.load(Ordering::Relaxed), 2);

    let keeps = Arc::clone(&kept);
    let app = serve(&layer, move |request| {
        *keeps.lock().unwrap() = request.extensions().get::<AfterReply>().cloned();
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let kept = kept.lock().unwrap().take().unwrap();
    assert!(kept.spawn(|_| async { Ok(()) }).unwrap_err().is_turn_ended());
    assert_eq!(format!("{kept:?}"), r#"AfterReply { platform: "alexa", .. }"#);
    layer.drain().await;
}

#[tokio::test]
async fn the_requests_handles_are_of_no_use_in_it() {
    let layer = layer();
    let checked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&checked);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        let (user, ..) = handles(&request).unwrap();
        let checked = Arc::clone(&counted);
        let work = move |turn: Handles| async move {
            assert!(user.set("a", 1).unwrap_err().is_turn_ended());
            turn.user.set("a", 2)?;
            checked.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        after_reply.spawn(work).unwrap();
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(
        (checked.load(Ordering::Relaxed), data(&layer, "user-1").await["a"].clone()),
        (1, 2.into())
    );
}

#[tokio::test]
async fn what_fails_or_panics_stores_nothing_and_holds_up_nothing() {
    let layer = layer().detached_limit(1);
    for failure in ["fails", "panics at once", "panics", "works"] {
        let app = starting(&layer, 200, move || {
            move |turn: Handles| {
                assert!(failure != "panics at once", "as it must");
                async move {
                    turn.user.set("works", failure)?;
                    match failure {
                        "fails" => Err("as it must".into()),
                        "panics" => panic!("as it must"),
                        _ => Ok(()),
                    }
                }
            }
        });
        send_json(&app, &alexa("user-1")).await.assert_ok();
        layer.drain().await;
    }
    assert_eq!(data(&layer, "user-1").await, json!({ "visits": 4, "works": "works" }));
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_its_time_limit() {
    let layer = layer();
    let hangs = || |_: Handles| pending::<Result<(), BoxError>>();
    let app = starting(&layer, 200, hangs);
    let began = Instant::now();
    send_json(&app, &alexa("user-1")).await.assert_ok();
    // The next one begins all the same.
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let next = starting(&layer, 200, move || counting(&counted));
    send_json(&next, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(began.elapsed(), Duration::from_secs(5 * 60), "`detached_timeout`");
    assert_eq!(data(&layer, "user-1").await, json!({ "visits": 2, "works": 1 }));
    let began = Instant::now();
    let limited = layer.clone().detached_timeout(Duration::from_secs(7));
    send_json(&starting(&limited, 200, hangs), &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(began.elapsed(), Duration::from_secs(7), "clones share what is under way");
}

#[tokio::test]
async fn it_belongs_to_the_stored_session_and_adds_an_output_to_the_history() {
    let history = HistoryElement::new()
        .input(false)
        .nlu(false)
        .custom("by", |user, _| Some(if user.is_new() { "request" } else { "work" }.into()));
    let layer = layer();
    let elements = StoredElements::new().session(true).history(history).meta_data(true);
    let layer = layer.stored_elements(elements);
    let app = starting(&layer, 200, || {
        |turn: Handles| async move {
            assert!(!turn.session.is_new() && turn.session.id() == Some("session-1"));
            turn.session.set("step", 2)?;
            turn.history.set_output("later")?;
            Ok(())
        }
    });
    send_json(&app, &alexa_session("user-1", "session-1", true)).await.assert_ok();
    layer.drain().await;
    let record = stored(&layer.database().items, "user-1").await.unwrap();
    assert_eq!(record["session"]["id"], "session-1");
    assert_eq!(record["session"]["data"], json!({ "step": 2 }));
    assert_eq!(record["metaData"]["sessionsCount"], 1);
    let items = json!([{ "output": "later", "by": "work" }, { "by": "request" }]);
    assert_eq!(record["history"]["items"], items);

    // The client's session left with the reply.
    let layer = PersistenceLayer::new(TestDb::default());
    let refused = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&refused);
    let app = starting(&layer, 200, move || {
        let refused = Arc::clone(&counted);
        move |turn: Handles| async move {
            assert!(turn.session.set("step", 2).unwrap_err().is_element_disabled());
            refused.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(refused.load(Ordering::Relaxed), 1);
    assert_eq!(layer.database().calls().saves, 1, "no change, no write");
}

#[tokio::test]
async fn a_user_who_was_deleted_since_stays_deleted() {
    // Before it has begun, while it waits for an earlier one.
    let layer = layer();
    let gates = [Gate::new(), Gate::new()];
    for gate in &gates {
        send_json(&gated(&layer, gate, "a"), &alexa("user-1")).await.assert_ok();
    }
    gates[0].until_begun().await;
    layer.forget("alexa", "user-1").await.unwrap();
    // The first has begun, so that its save is refused.
    gates[0].go.notify_one();
    gates[1].go.notify_one();
    layer.drain().await;
    assert!(layer.database().items.is_empty());
    assert!(!gates[1].has_begun());

    // By the handler, and while the request's turn is saved.
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let app = starting(&layer, 200, move || counting(&counted));
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    layer.database().on_save(Behaviour::Waits);
    let request = tokio::spawn(async move { send_json(&app, &alexa("user-1")).await });
    layer.database().until_waiting().await;
    layer.database().on_save(Behaviour::Works);
    tower_persistence::Database::delete(&layer.database().items, "user-1").await.unwrap();
    layer.database().go();
    request.await.unwrap().assert_ok();
    layer.drain().await;
    assert_eq!(runs.load(Ordering::Relaxed), 1, "the first");
    let counted = Arc::clone(&runs);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        after_reply.spawn(counting(&counted)).unwrap();
        handles(&request).unwrap().0.forget().unwrap();
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    layer.drain().await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(layer.database().items.is_empty());
}

/// A chat of one user, whose events are receipts.
struct Receipts;

impl Platform for Receipts {
    fn name(&self) -> &str {
        "receipts"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        request.json()?.get("receipt")?;
        Some(vec![Event::default().user_id(Some("anna".into())).receipt()])
    }
}

#[tokio::test]
async fn work_for_a_user_who_is_not_stored_can_create_one_but_not_recreate_one() {
    for is_deleted in [false, true] {
        let layer = layer().platform(Receipts);
        let (gate, runs) = (Gate::new(), Arc::new(AtomicUsize::new(0)));
        let (waits, counted) = (gate.clone(), Arc::clone(&runs));
        let app = serve(&layer, move |request| {
            let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
            let gate = waits.clone();
            let holds_up = move |_| async move {
                gate.pass().await;
                Ok(())
            };
            after_reply.spawn(holds_up).unwrap();
            after_reply.spawn(counting(&counted)).unwrap();
            async { Ok(reply(200, "{}")) }
        });
        send_json(&app, &json!({ "receipt": 1 })).await.assert_ok();
        gate.until_begun().await;
        if is_deleted {
            layer.forget("receipts", "anna").await.unwrap();
        }
        gate.go.notify_one();
        layer.drain().await;
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        let created = stored(&layer.database().items, "receipts:anna").await;
        assert_eq!(created.is_some(), !is_deleted, "{created:?}");
    }
}

#[tokio::test]
async fn each_event_of_a_batch_starts_its_own_once() {
    let layer = layer();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let app = starting(&layer, 200, move || counting(&counted));
    let batch = messenger_batch(&[("anna", "m-1"), ("bert", "m-2"), ("anna", "m-3")]);
    for _ in 0..2 {
        send_json(&app, &batch).await.assert_ok();
        layer.drain().await;
        assert_eq!(runs.load(Ordering::Relaxed), 3, "the repeat starts nothing");
    }
    assert_eq!(data(&layer, "anna").await, json!({ "visits": 2, "works": 2 }));
    assert_eq!(data(&layer, "bert").await, json!({ "visits": 1, "works": 1 }));
}

/// Runs itself again in a process of its own with the environment of Lambda.
#[tokio::test]
async fn on_lambda_it_is_an_error() {
    const NAMES: [&str; 2] = ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME"];
    if NAMES.iter().all(|name| std::env::var_os(name).is_none()) {
        for name in NAMES {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "after_reply::on_lambda_it_is_an_error"]);
            let output = child.env(name, "127.0.0.1:9001").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{name}: {text}");
        }
        return;
    }
    let layer = layer();
    let errors = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&errors);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        let error = after_reply.spawn(|_| async { Ok(()) }).unwrap_err();
        noted.lock().unwrap().push(error);
        async { Ok(reply(200, "{}")) }
    });
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let errors = errors.lock().unwrap();
    assert!(errors.len() == 1 && errors[0].is_configuration(), "{errors:?}");
    assert!(errors[0].to_string().contains("before the handler answers"));
}

/// Posts `body` on a connection of its own.
async fn connect(address: std::net::SocketAddr, body: &Value) -> TcpStream {
    let body = body.to_string();
    let head =
        "POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json";
    let text = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn listen(app: axum::Router) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_socket_the_answer_comes_first_and_a_hang_up_does_not_matter() {
    let layer = layer();
    let gate = Gate::new();
    let waits = gate.clone();
    let handler = move |after_reply: AfterReply, user: User| {
        let gate = waits.clone();
        async move {
            user.increment("visits", 1)?;
            after_reply.spawn(move |turn| async move {
                gate.pass().await;
                turn.user.increment("works", 1)?;
                Ok(())
            })?;
            Ok::<_, Error>("ack")
        }
    };
    let address =
        listen(axum::Router::new().route("/", post_to(handler)).layer(layer.clone())).await;
    let mut answer = String::new();
    let mut stream = connect(address, &alexa("user-1")).await;
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ack"), "{answer}");
    gate.until_begun().await;
    assert_eq!(data(&layer, "user-1").await, json!({ "visits": 1 }));
    gate.go.notify_one();
    layer.drain().await;

    // A client that hangs up while its turn is saved.
    layer.database().on_save(Behaviour::Waits);
    let stream = connect(address, &alexa("user-1")).await;
    layer.database().until_waiting().await;
    drop(stream);
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    gate.until_begun().await;
    gate.go.notify_one();
    layer.drain().await;
    assert_eq!(data(&layer, "user-1").await, json!({ "visits": 2, "works": 2 }));
}

#[tokio::test]
async fn as_an_extractor_it_rejects_as_the_handles_do() {
    async fn needs(_: AfterReply) -> &'static str {
        "ack"
    }
    async fn takes(after_reply: Option<AfterReply>) -> String {
        after_reply.is_some().to_string()
    }
    let routes =
        || axum::Router::new().route("/needs", post_to(needs)).route("/takes", post_to(takes));
    let ask = async |app: axum::Router, path: &str, body: &Value| {
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(axum::body::Body::from(body.to_string())).unwrap();
        let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let with_layer = || routes().layer(layer());
    assert_eq!(ask(with_layer(), "/needs", &alexa("user-1")).await, (200, "ack".to_owned()));
    assert_eq!(ask(with_layer(), "/needs", &json!({})).await.0, 400);
    assert_eq!(ask(with_layer(), "/takes", &alexa("user-1")).await.1, "true");
    assert_eq!(ask(with_layer(), "/takes", &json!({})).await.1, "false");
    assert_eq!(ask(routes(), "/needs", &alexa("user-1")).await.0, 500);
}

#[tokio::test]
async fn it_does_not_begin_if_nothing_of_the_turn_may_be_stored() {
    let layer = layer();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let app = serve(&layer, move |request| {
        let after_reply = request.extensions().get::<AfterReply>().unwrap().clone();
        after_reply.spawn(counting(&counted)).unwrap();
        async { Ok(reply(200, "[]")) }
    });
    // The reply cannot hand over the id that was created for the user.
    let google = json!({
        "handler": { "name": "h" },
        "session": { "id": "google-session-1", "params": {} },
        "user": { "verificationStatus": "VERIFIED", "params": {} },
        "device": { "capabilities": ["SPEECH"] },
    });
    send_json(&app, &google).await.assert_ok();
    assert!(layer.database().items.is_empty());

    // Another process handles the events meanwhile.
    layer.database().on_save(Behaviour::Waits);
    let batch = messenger_batch(&[("anna", "m-1"), ("anna", "m-2")]);
    let request = tokio::spawn(async move { send_json(&app, &batch).await });
    layer.database().until_waiting().await;
    let entry = |id| json!({ "id": id, "until": "2999-01-01T00:00:00.000Z" });
    let ids = ["facebookmessenger:m-2", "facebookmessenger:m-1"];
    let handled = json!({ "handledEvents": ids.map(entry) });
    store(&layer.database().items, "anna", &handled).await;
    layer.database().on_save(Behaviour::Works);
    layer.database().go();
    request.await.unwrap().assert_ok();
    layer.drain().await;
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}
