//! A platform sends a batch again until it is answered with 200: on a failing database, each event
//! is stored exactly once, and the events of a user in order.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_persistence::testing::{Faulty, Rates};
use tower_persistence::{BoxError, Database, MemoryDb, PersistenceLayer, User};

const SEEDS: u64 = 100;
const USERS: [&str; 3] = ["anna", "bert", "cleo"];
const EVENTS_OF_EACH: u64 = 4;

/// The maximum number of attempts: even with faults at every call, one of them succeeds.
const MOST: u32 = 500;

async fn serve(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, BoxError> {
    let user = request.extensions().get::<User>().cloned().ok_or("a user")?;
    let body = http_body_util::BodyExt::collect(request.into_body()).await?.to_bytes();
    let body: Value = serde_json::from_slice(&body)?;
    let text = body.pointer("/entry/0/messaging/0/message/text").cloned();
    let mut texts: Vec<Value> = user.get("texts")?.unwrap_or_default();
    texts.extend(text);
    user.set("texts", texts)?;
    user.increment("count", 1)?;
    Ok(Response::new(Full::default()))
}

fn batch() -> Value {
    let events = (0..EVENTS_OF_EACH).flat_map(|number| USERS.map(|user| (user, number)));
    let messaging = events.map(|(user, number)| {
        let message = json!({ "mid": format!("{user}-{number}"), "text": number });
        json!({ "sender": { "id": user }, "timestamp": 1, "message": message })
    });
    let messaging: Vec<_> = messaging.collect();
    json!({ "object": "page", "entry": [{ "id": "page", "time": 1, "messaging": messaging }] })
}

#[test]
fn a_batch_that_is_sent_until_it_is_served_is_served_once() {
    let mut repeats = 0;
    for seed in 0..SEEDS {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        repeats += runtime.block_on(send_until_served(seed));
    }
    assert!(u64::from(repeats) > SEEDS, "{repeats} repeats: nothing has failed");
}

async fn send_until_served(seed: u64) -> u32 {
    let database = Faulty::seeded(MemoryDb::new(), seed);
    let rates = Rates::none().error_before(0.05).error_after(0.1).delay(0.05);
    database.set_rates(rates.conflict(0.1).outage(0.02));
    let service = PersistenceLayer::new(database.clone()).layer(service_fn(serve));
    let mut repeats = 0;
    loop {
        let request = Request::post("/").header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from(batch().to_string()))).unwrap();
        if service.clone().oneshot(request).await.unwrap().status() == 200 {
            break;
        }
        repeats += 1;
        assert!(repeats < MOST, "seed {seed}");
    }
    for user in USERS {
        let stored = database.inner().load(user).await.unwrap().unwrap();
        let data = &stored.record.fields()["user"]["data"];
        let expected: Vec<_> = (0..EVENTS_OF_EACH).collect();
        assert_eq!(
            data,
            &json!({ "texts": expected, "count": EVENTS_OF_EACH }),
            "seed {seed}, {user}"
        );
    }
    repeats
}
