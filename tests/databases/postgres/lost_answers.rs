//! Writes that take effect although their answer is lost.

use std::sync::Arc;

use tower_persistence::{Database, PostgresDb};

use super::proxy::Proxy;
use super::{Place, all, stored, visits};
use crate::common::{App, alexa, send_json, sync_app};
use crate::erasure::patient;
use crate::layer::count;

fn counting(database: PostgresDb) -> App {
    sync_app(&patient(database), |user, _, _| user.increment("count", 1).map(drop))
}

/// Returns the status of a turn whose first write takes effect without an answer, and how often
/// that turn, and another one where it is `overtaken`, are stored.
async fn lost(place: &Place, is_new: bool, is_overtaken: bool) -> (u16, u64) {
    let id = format!("{is_new} {is_overtaken}");
    let elsewhere = counting(place.db().await);
    if !is_new {
        send_json(&elsewhere, &alexa(&id)).await.assert_ok();
    }
    let proxy = Proxy::start(place.address()).await;
    let url = place.through(&proxy.address);
    let here = counting(place.builder().url(url).connect().await.unwrap());
    // Connects, so that the next write is the turn's.
    send_json(&here, &alexa("another")).await.assert_ok();
    proxy.lose(if is_new { "INSERT" } else { "UPDATE" });
    let user = id.clone();
    let turn = tokio::spawn(async move { send_json(&here, &alexa(&user)).await.status });
    proxy.lost.notified().await;
    if is_overtaken {
        send_json(&elsewhere, &alexa(&id)).await.assert_ok();
    }
    proxy.go.notify_one();
    let status = turn.await.unwrap().as_u16();
    let stored = count(&place.db().await, &id).await;
    (status, stored - u64::from(!is_new))
}

/// The repeated save finds its own version.
pub(super) async fn no_turn_is_applied_twice(place: Arc<Place>) {
    for is_new in [true, false] {
        assert_eq!(lost(&place, is_new, false).await, (200, 1), "{is_new}");
    }
}

/// The repeated save finds another one's version, and cannot know whether that stands on its own.
pub(super) async fn a_turn_that_is_overtaken_is_unknown(place: Arc<Place>) {
    for is_new in [true, false] {
        assert_eq!(lost(&place, is_new, true).await, (503, 2), "{is_new}");
    }
}

pub(super) async fn a_deletion_is_not_repeated(place: Arc<Place>) {
    let proxy = Proxy::start(place.address()).await;
    let db = place.builder().url(place.through(&proxy.address)).connect().await.unwrap();
    stored(&db, "a", &visits(1), None).await;
    let before = proxy.statements().len();
    proxy.lose("INSERT");
    proxy.go.notify_one();
    let error = db.delete("a").await.unwrap_err();
    assert!(all(&error).contains("whether it took effect is not known"), "{}", all(&error));
    assert_eq!(proxy.statements().len(), before + 1);
    assert_eq!(place.db().await.load("a").await.unwrap(), None);
}
