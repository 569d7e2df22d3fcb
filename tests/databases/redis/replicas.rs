//! A primary and its replica: fail-over, and saves that wait.

use std::time::{Duration, Instant};

use tower_persistence::{Database, Expected, RedisDb};

use super::proxy::Proxy;
use super::{Place, all, load, save, visits};
use crate::process::Server;

/// Starts a replica of the server, and waits until it follows.
async fn replica_of(primary: &Server) -> (Server, Place) {
    let replica = tokio::task::block_in_place(|| primary.another(&[]));
    let place = Place::new(replica.endpoint()).await;
    let address = primary.endpoint().rsplit('/').next().unwrap().to_owned();
    let (host, port) = address.rsplit_once(':').unwrap();
    place.ask::<()>(&["REPLICAOF", host, port]).await;
    let since = Instant::now();
    loop {
        let info: String = place.ask(&["INFO", "replication"]).await;
        if info.contains("master_link_status:up") {
            return (replica, place);
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn a_fail_over_is_followed(server: Server) {
    let primary = Place::new(server.endpoint()).await;
    let (_replica, replica) = replica_of(&server).await;

    // A replica that was named by mistake.
    let db = replica.db().await;
    let error = db.save("anna", &visits(1), Expected::Absent).await.unwrap_err();
    assert!(all(&error).contains("name the primary"), "{error:?}");
    assert!(all(&db.delete("anna").await.unwrap_err()).contains("name the primary"));

    // The old primary lives on as a replica, and the name of the primary leads to the new one.
    let name = Proxy::start(primary.address()).await;
    let db = RedisDb::builder().url(&name.url).connect().await.unwrap();
    let version = save(&db, "anna", &visits(1), None).await;
    while replica.ask::<i64>(&["EXISTS", "tower-persistence:anna"]).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    replica.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    let address = replica.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    primary.ask::<()>(&["REPLICAOF", host, port]).await;
    name.lead_to(&address);
    save(&db, "anna", &visits(2), Some(&version)).await;
    assert_eq!(load(&db, "anna").await.record, visits(2));
}

pub(crate) async fn saves_wait_for_replicas(server: Server) {
    let (_replica, replica) = replica_of(&server).await;
    let waiting = async |count, milliseconds| {
        let builder = RedisDb::builder().url(server.endpoint());
        let builder = builder.wait_replicas(count, Duration::from_millis(milliseconds));
        builder.connect().await.unwrap()
    };
    let db = waiting(1, 30_000).await;
    let mut version = None;
    for count in 1..20 {
        version = Some(save(&db, "anna", &visits(count), version.as_ref()).await);
        let stored: String = replica.ask(&["HGET", "tower-persistence:anna", "record"]).await;
        assert!(stored.contains(&format!("\"visits\":{count}}}")), "{stored}");
    }
    db.delete("anna").await.unwrap();
    let fields: i64 = replica.ask(&["HLEN", "tower-persistence:anna"]).await;
    assert_eq!(fields, 1, "a tombstone");

    // There is no second replica.
    let db = waiting(2, 100).await;
    let error = db.save("bert", &visits(1), Expected::Absent).await.unwrap_err();
    assert!(error.is_database() && all(&error).contains("1 of 2 replicas"), "{error:?}");
    assert!(all(&db.delete("cleo").await.unwrap_err()).contains("1 of 2 replicas"));
    // A conflict has nothing to wait for.
    let since = Instant::now();
    let version = tower_persistence::Version::new("another");
    db.save("bert", &visits(2), Expected::Version(&version)).await.unwrap();
    assert!(since.elapsed() < Duration::from_millis(90), "{:?}", since.elapsed());

    // Saves wait side by side.
    let since = Instant::now();
    let db = waiting(2, 500).await;
    let record = visits(1);
    let ids: Vec<_> = (0..16).map(|number| format!("user-{number}")).collect();
    let saves = ids.iter().map(|id| db.save(id, &record, Expected::Absent));
    for saved in futures_util::future::join_all(saves).await {
        saved.unwrap_err();
    }
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
}
