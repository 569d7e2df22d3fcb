//! The commands that a turn sends, and those that it sends again.

use std::time::{Duration, Instant};

use tower_persistence::Database;

use super::proxy::Proxy;
use super::{Place, load, save, visits};
use crate::common::{alexa, send_json, sync_app};
use crate::erasure::patient;
use crate::process::Server;

pub(crate) async fn a_turn_is_one_read_and_one_write(place: Place) {
    let proxy = Proxy::start(place.address()).await;
    let db = place.builder().url(&proxy.url).connect().await.unwrap();
    db.ensure_ready().await.unwrap();
    let app = sync_app(&patient(db), |user, _, _| user.increment("visits", 1).map(drop));
    // The first one may have to send the script.
    send_json(&app, &alexa("anna")).await.assert_ok();
    proxy.commands();
    for id in ["anna", "anna", "bert"] {
        send_json(&app, &alexa(id)).await.assert_ok();
        assert_eq!(proxy.commands(), ["HMGET", "EVALSHA"]);
    }
}

pub(crate) async fn scripts_that_the_server_has_forgotten_are_sent_again(mut server: Server) {
    let place = Place::new(server.endpoint()).await;
    let proxy = Proxy::start(place.address()).await;
    let db = place.builder().url(&proxy.url).connect().await.unwrap();
    let mut version = save(&db, "anna", &visits(0), None).await;
    assert_eq!(proxy.commands(), ["EVALSHA", "EVAL"]);
    for count in 1..4 {
        place.ask::<()>(&["SCRIPT", "FLUSH"]).await;
        version = save(&db, "anna", &visits(count), Some(&version)).await;
        db.delete("bert").await.unwrap();
        assert_eq!(proxy.commands(), ["EVALSHA", "EVAL", "EVALSHA", "EVAL"]);
    }
    tokio::task::block_in_place(|| server.start_again());
    version = save(&db, "anna", &visits(4), Some(&version)).await;
    assert_eq!(load(&db, "anna").await.version, version);
}

/// As by the server's `timeout` for idle clients.
pub(crate) async fn closed_connections_are_replaced(place: Place) {
    let proxy = Proxy::start(place.address()).await;
    let db = place.builder().url(&proxy.url).connect().await.unwrap();
    let mut version = save(&db, "anna", &visits(0), None).await;
    for count in 1..4 {
        proxy.cut().await;
        version = save(&db, "anna", &visits(count), Some(&version)).await;
        proxy.cut().await;
        assert_eq!(load(&db, "anna").await.record, visits(count));
        proxy.cut().await;
        db.delete("bert").await.unwrap();
    }
}

/// A load balancer forgets a connection that was not used for a while, and says nothing.
pub(crate) async fn idle_connections_are_asked_before_they_are_used(place: Place) {
    let thread = std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let proxy = Proxy::start(place.address()).await;
            let db = place.builder().url(&proxy.url).timeout(Duration::from_secs(60));
            let db = db.connect().await.unwrap();
            let mut version = None;
            for count in 1..4 {
                version = Some(save(&db, "anna", &visits(count), version.as_ref()).await);
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(61)).await;
                tokio::time::resume();
                proxy.cut_off();
                let since = Instant::now();
                assert_eq!(load(&db, "anna").await.record, visits(count));
                assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
            }
        });
    });
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
}
