//! Saves over the loaded version.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tower_persistence::{Database, Expected, Saved};

use super::proxy::Proxy;
use super::{Place, load, stored, visits, with};

pub(super) async fn a_turn_is_one_round_trip_each_way(place: Arc<Place>) {
    let proxy = Proxy::start(place.address()).await;
    let db = place.builder().url(place.through(&proxy.address)).connect().await.unwrap();
    // The first call looks at the table, and the first write is followed by a clean-up.
    stored(&db, "another", &visits(1), None).await;
    proxy.round_trips();
    for turn in 1..10 {
        let loaded = db.load_for_update("a").await.unwrap();
        assert_eq!(proxy.round_trips(), 1, "a load");
        let saved = db.save("a", &visits(turn), loaded.expected()).await.unwrap();
        assert!(matches!(saved, Saved::Written(_)));
        assert_eq!(proxy.round_trips(), 1, "a save");
    }
    db.delete("a").await.unwrap();
    assert_eq!(proxy.round_trips(), 2, "a deletion, and whether the connection is alive");
    let statements = proxy.statements();
    assert!(statements.len() > 20 && statements.iter().all(|(name, _)| name.is_empty()));
}

pub(super) async fn of_sixteen_writers_one_wins_at_any_isolation(place: Arc<Place>) {
    place.ready().await;
    for isolation in ["read committed", "repeatable read", "serializable"] {
        let isolation = isolation.replace(' ', "\\ ");
        let option = format!("-c default_transaction_isolation={isolation}");
        let option = option.replace(' ', "%20").replace('\\', "%5C").replace('=', "%3D");
        let url = with(&place.url, "options", &option);
        let db = place.builder().url(url).max_connections(16).connect().await.unwrap();
        db.delete("a").await.unwrap();
        let mut tasks = JoinSet::new();
        for number in 0..16 {
            let db = db.clone();
            tasks.spawn(async move {
                let mut won = 0;
                for _ in 0..8 {
                    let loaded = db.load_for_update("a").await.unwrap();
                    let record = visits(number);
                    match db.save("a", &record, loaded.expected()).await.unwrap() {
                        Saved::Written(version) => {
                            won += 1;
                            // Nothing can have taken its place without a version of its own.
                            let again = db.save("a", &record, loaded.expected()).await.unwrap();
                            let Saved::Conflict(Some(current)) = again else { panic!("{again:?}") };
                            assert!(current.version == version || current.record != record);
                        }
                        Saved::Conflict(current) => assert!(current.is_some()),
                    }
                }
                won
            });
        }
        let won: u32 = tasks.join_all().await.into_iter().sum();
        assert!((8..=128).contains(&won), "{isolation}: {won}");
    }
}

pub(super) async fn columns_are_what_they_say(place: Arc<Place>) {
    let db = place.ready().await;
    let version = stored(&db, "a", &visits(1), None).await;
    let first = "SELECT concat_ws(',', id, record, created_at = updated_at, expires_at IS NULL) FROM $table";
    assert_eq!(place.text(first).await, r#"a,{"user":{"data":{"visits":1}}},t,t"#);
    assert_eq!(place.text("SELECT version FROM $table").await, version.as_str());
    let next = stored(&db, "a", &visits(2), Some(&version)).await;
    assert_ne!(next, version);
    let second = "SELECT concat_ws(',', created_at < updated_at, updated_at <= now()) FROM $table";
    assert_eq!(place.text(second).await, "t,t");
    // From the next save on, users expire.
    let builder = place.builder().url(&place.url).expire_users_after(Duration::from_secs(3600));
    let expiring = builder.connect().await.unwrap();
    let version = load(&expiring, "a").await.version;
    stored(&expiring, "a", &visits(3), Some(&version)).await;
    let expires = "SELECT expires_at - updated_at FROM $table";
    assert_eq!(place.text(expires).await, "01:00:00");
    let forever = place.builder().url(&place.url).expire_users_after(Duration::MAX);
    let forever = forever.connect().await.unwrap();
    let version = load(&forever, "a").await.version;
    stored(&forever, "a", &visits(4), Some(&version)).await;
    assert_eq!(load(&forever, "a").await.record, visits(4));
}

pub(super) async fn a_user_that_expires_during_a_turn(place: Arc<Place>) {
    let builder = place.builder().url(&place.url).expire_users_after(Duration::from_millis(200));
    let db = builder.connect().await.unwrap();
    let version = stored(&db, "a", &visits(1), None).await;
    while db.load("a").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let saved = db.save("a", &visits(2), Expected::Version(&version)).await.unwrap();
    assert_eq!(saved, Saved::Conflict(None));
    stored(&db, "a", &visits(1), None).await;
    let rows = place.texts("SELECT record #>> '{user,data,visits}' FROM $table").await;
    assert_eq!(json!(rows), json!(["1"]));
}
