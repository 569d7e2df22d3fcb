//! A primary is killed, and the cluster promotes its replica.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tower_persistence::{Database, Expected, RedisDb, Saved};

use super::{Cluster, EXTRA, TAGS, knows, meet};
use crate::redis::{Place, load, visits};

const LIMIT: Duration = Duration::from_secs(60);

pub(crate) async fn a_replica_that_is_promoted_is_found(mut cluster: Cluster) {
    let replica = block_in_place(|| cluster.servers[0].another(EXTRA));
    let node = Place::new(replica.endpoint()).await;
    meet(&cluster.nodes[0], &node).await;
    knows(&node, |info| info.contains("cluster_known_nodes:4")).await;
    let since = Instant::now();
    while node.try_ask::<()>(&["CLUSTER", "REPLICATE", &cluster.ids[0]]).await.is_err() {
        assert!(since.elapsed() < LIMIT, "it does not know the primary");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for node in cluster.nodes.iter().chain([&node]) {
        node.ask::<()>(&["CONFIG", "SET", "cluster-node-timeout", "1500"]).await;
    }
    // One process knows the server that will be killed, another one the replica alone.
    let mut databases = Vec::new();
    for url in [cluster.servers[0].endpoint(), replica.endpoint()] {
        let builder = RedisDb::builder().url(url).wait_replicas(1, Duration::from_secs(30));
        let db = builder.timeout(Duration::from_secs(30)).connect().await.unwrap();
        // A user of another server: now it knows the cluster.
        assert_eq!(db.load(TAGS[1]).await.unwrap(), None);
        databases.push(db);
    }
    let ids = ["anna", "bert"].map(|name| format!("{}{name}", TAGS[0]));
    let mut versions = Vec::new();
    for (db, id) in databases.iter().zip(&ids) {
        let saved = db.save(id, &visits(1), Expected::Absent).await.unwrap();
        let Saved::Written(version) = saved else { panic!("{saved:?}") };
        versions.push(version);
    }
    block_in_place(|| cluster.servers[0].stop());
    for ((db, id), version) in databases.iter().zip(&ids).zip(&versions) {
        let since = Instant::now();
        let stored = loop {
            match db.load(id).await {
                Ok(stored) => break stored.unwrap(),
                Err(error) if since.elapsed() < LIMIT => drop(error),
                Err(error) => {
                    let nodes: String = node.ask(&["CLUSTER", "NODES"]).await;
                    panic!("{error:?}: {nodes}");
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!((&stored.version, stored.record), (version, visits(1)));
        println!("{id} is served {:.1?} after", since.elapsed());
    }
    // There is no replica any more that could confirm.
    let db = cluster.db(1).await;
    let saved = db.save(&ids[0], &visits(2), Expected::Version(&versions[0])).await.unwrap();
    assert!(matches!(saved, Saved::Written(_)), "{saved:?}");
    assert_eq!(load(&databases[1], &ids[0]).await.record, visits(2));
}
