//! Slots that move from one server to another while their users are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tower_persistence::{Database, Expected, Saved};

use super::{Cluster, EXTRA, TAGS, knows, meet, named};
use crate::common::{alexa, post, send};
use crate::erasure::patient;
use crate::layer::{count, counter};
use crate::redis::proxy::Proxy;
use crate::redis::{Place, load, save, visits};

/// Each stage of a move, with a user who has moved and one who has not.
pub(crate) async fn a_slot_that_moves_is_followed(cluster: Cluster) {
    let tag = TAGS[0];
    let slot = cluster.slot(tag).await;
    let db = cluster.db_of(tag, 2).await;
    let moved = save(&db, "moved", &visits(1), None).await;
    save(&db, "moved-and-deleted", &visits(1), None).await;
    cluster.begin_to_move(&slot, 0, 1).await;
    cluster.move_keys(&slot, 0, 1).await;
    // These go to the new server at once.
    let created = save(&db, "created", &visits(1), None).await;
    db.delete("moved-and-deleted").await.unwrap();
    assert_eq!(db.load("absent").await.unwrap(), None);
    let moved = save(&db, "moved", &visits(2), Some(&moved)).await;
    let late = db.save("moved", &visits(9), Expected::Absent).await.unwrap();
    assert!(matches!(late, Saved::Conflict(Some(_))), "{late:?}");
    assert_eq!(load(&db, "created").await.version, created);
    let keys: Vec<String> = cluster.nodes[0].ask(&["KEYS", "*"]).await;
    assert_eq!(keys, Vec::<String>::new());
    cluster.end_the_move(&slot, 1).await;
    save(&db, "moved", &visits(3), Some(&moved)).await;

    // Back, and a user is deleted before it moves.
    save(&db, "stays", &visits(1), None).await;
    save(&db, "deleted", &visits(1), None).await;
    cluster.begin_to_move(&slot, 1, 2).await;
    let stays = load(&db, "stays").await.version;
    save(&db, "stays", &visits(2), Some(&stays)).await;
    db.delete("deleted").await.unwrap();
    let key = format!("{tag}:deleted");
    let fields: Vec<String> = cluster.nodes[1].ask(&["HKEYS", &key]).await;
    assert_eq!(fields, ["version"], "a tombstone, where the record was");
    cluster.move_keys(&slot, 1, 2).await;
    cluster.end_the_move(&slot, 2).await;
    for (id, visited) in [("stays", 2), ("created", 1), ("moved", 3)] {
        assert_eq!(load(&db, id).await.record, visits(visited), "{id}");
    }
    assert_eq!(db.load("deleted").await.unwrap(), None);
    let lifetime: i64 = cluster.nodes[2].ask(&["PTTL", &key]).await;
    assert!(lifetime > 60_000, "the tombstone expires: {lifetime}");
}

/// Two processes count for users whose slot moves all the time: not one visit is refused.
pub(crate) async fn users_of_a_slot_that_moves_lose_nothing(cluster: Cluster) {
    const USERS: usize = 6;
    const MOVES: usize = 30;
    let tag = TAGS[0];
    let slot = cluster.slot(tag).await;
    let apps = [
        counter(&patient(cluster.db_of(tag, 1).await)),
        counter(&patient(cluster.db_of(tag, 2).await)),
    ];
    let is_over = Arc::new(AtomicBool::new(false));
    let counts: Arc<Vec<AtomicU64>> = Arc::new((0..USERS).map(|_| AtomicU64::new(0)).collect());
    let mut clients = JoinSet::new();
    for number in 0..2 * USERS {
        let (app, user) = (apps[number / USERS].clone(), number % USERS);
        let (is_over, counts) = (Arc::clone(&is_over), Arc::clone(&counts));
        clients.spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let answer = send(&app, post(alexa(&format!("user-{user}")).to_string())).await;
                if answer.status == 200 {
                    counts[user].fetch_add(1, Ordering::Relaxed);
                } else {
                    // A conflict: the other process was faster each time.
                    assert_eq!(answer.status, 409, "{:?}", answer.error());
                }
            }
        });
    }
    let mut moves = 0;
    for number in 0..MOVES {
        let (from, to) = (number % 3, (number + 1) % 3);
        cluster.begin_to_move(&slot, from, to).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        cluster.move_keys(&slot, from, to).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        cluster.end_the_move(&slot, to).await;
        moves += usize::from(clients.try_join_next().is_none());
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    assert_eq!(moves, MOVES, "a client has ended");
    let db = cluster.db_of(tag, 0).await;
    for (user, expected) in counts.iter().enumerate() {
        let expected = expected.load(Ordering::Relaxed);
        assert!(expected as usize > MOVES, "{expected}");
        assert_eq!(count(&db, &format!("user-{user}")).await, expected);
    }
}

/// A save is done, its answer is lost, and its slot moves before it can be repeated.
pub(crate) async fn a_save_recognises_itself_on_another_server(cluster: Cluster) {
    let tag = TAGS[0];
    let slot = cluster.slot(tag).await;
    let proxy = Proxy::start(cluster.nodes[0].address()).await;
    let (_, port) = proxy.url.rsplit_once(':').unwrap();
    // The cluster names the proxy in place of the server.
    cluster.nodes[0].ask::<()>(&["CONFIG", "SET", "cluster-announce-port", port]).await;
    let (db, elsewhere) = (cluster.db_of(tag, 1).await, cluster.db_of(tag, 2).await);
    named(&cluster.nodes[1], port).await;
    named(&cluster.nodes[2], port).await;
    let mut versions = Vec::new();
    for id in ["anna", "bert"] {
        versions.push(save(&db, id, &visits(1), None).await);
    }
    assert!(proxy.commands().len() > 1, "it does not go by the proxy");
    proxy.lose();
    let saving = tokio::spawn({
        let (db, over) = (db.clone(), versions[0].clone());
        async move { db.save("anna", &visits(2), Expected::Version(&over)).await }
    });
    proxy.lost.notified().await;
    cluster.move_slot(&slot, 0, 1).await;
    proxy.go.notify_one();
    let Saved::Written(version) = saving.await.unwrap().unwrap() else {
        panic!("it is a conflict")
    };
    let stored = load(&elsewhere, "anna").await;
    assert_eq!((stored.version, stored.record), (version, visits(2)));

    // Another process saves before the repetition.
    cluster.move_slot(&slot, 1, 0).await;
    load(&db, "bert").await;
    proxy.lose();
    let saving = tokio::spawn({
        let (db, over) = (db.clone(), versions[1].clone());
        async move { db.save("bert", &visits(2), Expected::Version(&over)).await }
    });
    proxy.lost.notified().await;
    cluster.move_slot(&slot, 0, 2).await;
    let current = load(&elsewhere, "bert").await;
    assert_eq!(current.record, visits(2), "stored, and not answered");
    save(&elsewhere, "bert", &visits(3), Some(&current.version)).await;
    proxy.go.notify_one();
    let error = saving.await.unwrap().unwrap_err();
    assert!(format!("{error} {error:?}").contains("not known"), "{error:?}");
    assert_eq!(load(&db, "bert").await.record, visits(3));
}

/// It no longer knows where anything is.
pub(crate) async fn a_server_that_has_left_the_cluster_is_passed_by(mut cluster: Cluster) {
    let tag = TAGS[0];
    let slot = cluster.slot(tag).await;
    let left = tokio::task::block_in_place(|| cluster.servers[0].another(EXTRA));
    let node = Place::new(left.endpoint()).await;
    // It would follow its last slot, as a replica.
    node.ask::<()>(&["CONFIG", "SET", "cluster-allow-replica-migration", "no"]).await;
    meet(&cluster.nodes[0], &node).await;
    cluster.ids.push(node.ask(&["CLUSTER", "MYID"]).await);
    cluster.servers.push(left);
    cluster.nodes.push(node);
    for node in &cluster.nodes {
        knows(node, |info| info.contains("cluster_known_nodes:4")).await;
    }
    cluster.move_slot(&slot, 0, 3).await;
    // A new primary takes no writes for a moment.
    knows(&cluster.nodes[3], |info| info.contains("cluster_state:ok")).await;
    let db = cluster.db_of(tag, 1).await;
    let version = save(&db, "anna", &visits(1), None).await;
    let keys: Vec<String> = cluster.nodes[3].ask(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    cluster.move_slot(&slot, 3, 0).await;
    cluster.nodes[3].ask::<()>(&["CLUSTER", "RESET"]).await;
    let version = save(&db, "anna", &visits(2), Some(&version)).await;
    assert_eq!(load(&db, "anna").await.version, version);
}
