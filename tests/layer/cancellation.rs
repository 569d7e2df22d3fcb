//! Requests that are dropped at any point where they wait: no lock remains, nothing is half done,
//! and changes of a handler that has answered are stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::yield_now;
use tower::ServiceExt;
use tower_persistence::{
    Database, Error, Expected, Loaded, MemoryDb, OnConflict, PersistenceLayer, Record, Saved,
    VersionedRecord,
};

use crate::common::*;

/// Waits several times in each call, and stores a record of another process before the first save
/// of each request.
#[derive(Clone, Debug, Default)]
struct SlowDb {
    items: MemoryDb,
    intrudes: Arc<AtomicBool>,
}

const WAITS: usize = 3;

async fn wait() {
    for _ in 0..WAITS {
        yield_now().await;
    }
}

impl Database for SlowDb {
    async fn ensure_ready(&self) -> Result<(), Error> {
        yield_now().await;
        Ok(())
    }

    async fn load(&self, id: &str) -> Result<Option<VersionedRecord>, Error> {
        self.load_for_update(id).await.map(Loaded::into_record)
    }

    async fn load_for_update(&self, id: &str) -> Result<Loaded, Error> {
        wait().await;
        let found = self.items.load_for_update(id).await;
        wait().await;
        found
    }

    async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        wait().await;
        if self.intrudes.swap(false, Ordering::Relaxed) {
            let mut item = stored(&self.items, id).await.unwrap_or_else(|| json!({}));
            item["user"]["data"]["theirs"] = true.into();
            store(&self.items, id, &item).await;
        }
        let saved = self.items.save(id, record, expected).await;
        wait().await;
        saved
    }

    async fn delete(&self, id: &str) -> Result<(), Error> {
        self.items.delete(id).await
    }
}

/// Drops a request after `polls` polls; returns whether it had already ended.
async fn drop_after(polls: usize, policy: OnConflict, is_held_up: bool) -> bool {
    let db = SlowDb::default();
    let layer = PersistenceLayer::new(db.clone()).on_conflict(policy);
    let has_answered = Arc::new(AtomicBool::new(false));
    let app = app(&layer, {
        let has_answered = Arc::clone(&has_answered);
        move |user, _, _| {
            let has_answered = Arc::clone(&has_answered);
            async move {
                wait().await;
                user.increment("visits", 1)?;
                wait().await;
                has_answered.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    });
    store(&db.items, "user-1", &json!({ "user": { "data": { "visits": 0 } } })).await;
    db.intrudes.store(true, Ordering::Relaxed);

    // The previous turn, for which this one waits.
    let mut before =
        tokio_test::task::spawn(app.clone().oneshot(post(alexa("user-1").to_string())));
    if is_held_up {
        assert!(before.poll().is_pending());
    }
    let mut request =
        tokio_test::task::spawn(app.clone().oneshot(post(alexa("user-1").to_string())));
    let mut has_ended = false;
    for _ in 0..polls {
        if request.poll().is_ready() {
            has_ended = true;
            break;
        }
        yield_now().await;
    }
    drop(request);
    let answered_by_then = has_answered.load(Ordering::Relaxed);
    drop(before);

    // No lock remains; and because turns are ordered, this one runs after any turn in progress.
    db.intrudes.store(false, Ordering::Relaxed);
    send_json(&app, &alexa("user-1")).await.assert_ok();
    let data = stored(&db.items, "user-1").await.unwrap()["user"]["data"].take();
    let visits = data["visits"].as_i64().unwrap();
    assert_eq!(visits, 1 + i64::from(answered_by_then), "after {polls} polls: {data}");
    has_ended
}

#[tokio::test(start_paused = true)]
async fn at_every_point_where_a_request_waits() {
    for is_held_up in [false, true] {
        let mut points = 0;
        // A request that never continues does not end, so every point is one of waiting for the
        // turn.
        while points < 100 && !drop_after(points, OnConflict::Merge, is_held_up).await {
            points += 1;
        }
        // `ready` and `load` twice, the handler three times, a conflict and the save after it.
        assert!(points > 8 * WAITS || is_held_up, "{points}");
    }
}

#[tokio::test(start_paused = true)]
async fn at_every_point_of_a_rerun_before_the_handler_has_answered_again() {
    let mut points = 0;
    loop {
        let db = SlowDb::default();
        let layer =
            PersistenceLayer::new(db.clone()).on_conflict(OnConflict::Rerun { attempts: 3 });
        let app = app(&layer, |user, _, _| async move {
            wait().await;
            user.increment("visits", 1)?;
            Ok(())
        });
        store(&db.items, "user-1", &json!({ "user": { "data": { "visits": 0 } } })).await;
        db.intrudes.store(true, Ordering::Relaxed);
        let mut request =
            tokio_test::task::spawn(app.clone().oneshot(post(alexa("user-1").to_string())));
        let mut has_ended = false;
        for _ in 0..points {
            has_ended = has_ended || request.poll().is_ready();
            if has_ended {
                break;
            }
            yield_now().await;
        }
        drop(request);
        db.intrudes.store(false, Ordering::Relaxed);
        send_json(&app, &alexa("user-1")).await.assert_ok();
        let visits = stored(&db.items, "user-1").await.unwrap()["user"]["data"]["visits"].as_i64();
        // An unacknowledged turn is stored at most once.
        assert!(matches!(visits, Some(1 | 2)), "after {points} polls: {visits:?}");
        if has_ended {
            assert_eq!(visits, Some(2));
            break;
        }
        points += 1;
    }
    assert!(points > 8 * WAITS, "{points}");
}
