//! Writes that take effect although their answer is lost.

use serde_json::json;
use tower_persistence::{Database, Expected, RedisDb, Saved};

use super::proxy::Proxy;
use super::{Place, all, load, save, visits};
use crate::common::{App, alexa, send_json, sync_app};
use crate::erasure::patient;
use crate::layer::count;

/// A database behind a proxy, with an open connection over which the script was sent.
async fn behind(place: &Place, proxy: &Proxy) -> RedisDb {
    let db = place.builder().url(&proxy.url).connect().await.unwrap();
    save(&db, "another", &visits(1), None).await;
    db.delete("another").await.unwrap();
    db
}

pub(crate) async fn a_save_recognises_itself(place: Place) {
    let proxy = Proxy::start(place.address()).await;
    let db = behind(&place, &proxy).await;
    let mut version = None;
    for count in 1..4 {
        proxy.lose();
        proxy.go.notify_one();
        let written = save(&db, "anna", &visits(count), version.as_ref()).await;
        let stored = load(&db, "anna").await;
        assert_eq!((stored.version, stored.record), (written.clone(), visits(count)));
        version = Some(written);
    }

    // The record is deleted before the save is repeated.
    proxy.lose();
    let over = version.unwrap();
    let saving = tokio::spawn({
        let db = db.clone();
        async move { db.save("anna", &visits(9), Expected::Version(&over)).await }
    });
    proxy.lost.notified().await;
    place.db().await.delete("anna").await.unwrap();
    proxy.go.notify_one();
    assert_eq!(saving.await.unwrap().unwrap(), Saved::Conflict(None));

    // Another program replaces it.
    let over = save(&db, "bert", &visits(1), None).await;
    proxy.lose();
    let saving = tokio::spawn({
        let db = db.clone();
        async move { db.save("bert", &visits(9), Expected::Version(&over)).await }
    });
    proxy.lost.notified().await;
    let elsewhere = place.db().await;
    let current = load(&elsewhere, "bert").await;
    assert_eq!(current.record, visits(9), "stored, and not answered");
    save(&elsewhere, "bert", &visits(10), Some(&current.version)).await;
    proxy.go.notify_one();
    let error = saving.await.unwrap().unwrap_err();
    assert!(error.is_database() && all(&error).contains("not known"), "{error:?}");
    assert_eq!(load(&db, "bert").await.record, visits(10));
}

pub(crate) async fn a_deletion_is_repeated(place: Place) {
    let proxy = Proxy::start(place.address()).await;
    let db = behind(&place, &proxy).await;
    save(&db, "anna", &visits(1), None).await;
    proxy.lose();
    proxy.go.notify_one();
    db.delete("anna").await.unwrap();
    assert_eq!(db.load("anna").await.unwrap(), None);
}

fn counting(database: RedisDb) -> App {
    sync_app(&patient(database), |user, _, _| user.increment("count", 1).map(drop))
}

/// Two turns of two processes, of which the first is stored without an answer before the second.
pub(crate) async fn no_turn_is_applied_twice(place: Place) {
    for is_new in [true, false] {
        let id = if is_new { "new" } else { "known" };
        let elsewhere = counting(place.db().await);
        if !is_new {
            send_json(&elsewhere, &alexa(id)).await.assert_ok();
        }
        let proxy = Proxy::start(place.address()).await;
        let here = counting(behind(&place, &proxy).await);
        proxy.lose();
        let turn = tokio::spawn(async move { send_json(&here, &alexa(id)).await.status });
        proxy.lost.notified().await;
        send_json(&elsewhere, &alexa(id)).await.assert_ok();
        proxy.go.notify_one();
        assert_eq!(turn.await.unwrap(), 503);
        let stored = count(&place.db().await, id).await;
        assert_eq!(stored, 2 + u64::from(!is_new), "both turns, each once");
        let record = load(&place.db().await, id).await.record;
        assert_eq!(record.fields()["user"]["data"], json!({ "count": stored }));
    }
}
