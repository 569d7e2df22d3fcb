//! Users of all servers are served by a database that knows one of them.

use tower_persistence::testing::conformance as conforms;
use tower_persistence::{Database, RedisDb};

use super::{Cluster, TAGS};
use crate::outage::outage;
use crate::redis::{all, load, save, visits};

pub(crate) async fn conformance(cluster: Cluster) {
    conforms(async || cluster.db(0).await).await;
    let same = cluster.db(1).await;
    conforms(async || same.clone()).await;
}

pub(crate) async fn users_of_all_servers(cluster: Cluster) {
    let (db, elsewhere) = (cluster.db(0).await, cluster.db(2).await);
    db.ensure_ready().await.unwrap();
    let ids: Vec<_> = (0..100).map(|number| format!("user-{number}")).collect();
    for id in &ids {
        let version = save(&db, id, &visits(1), None).await;
        let version = save(&elsewhere, id, &visits(2), Some(&version)).await;
        assert_eq!(load(&db, id).await.version, version);
    }
    for node in &cluster.nodes {
        let keys: Vec<String> = node.ask(&["KEYS", "*"]).await;
        assert!(keys.len() > 10, "each server has a share: {keys:?}");
    }
    db.close().await.unwrap();
    for id in &ids {
        db.delete(id).await.unwrap();
        assert_eq!(elsewhere.load(id).await.unwrap(), None);
    }

    // A cluster has one database.
    let url = format!("{}/1", cluster.servers[0].endpoint());
    let db = RedisDb::connect(url).await.unwrap();
    let error = db.load("anna").await.unwrap_err();
    assert!(all(&error).contains("one database"), "{error:?}");
}

/// Each server tells where a key is, if that is all that it may tell.
pub(crate) async fn a_role_that_may_not_ask_for_the_slots(cluster: Cluster) {
    for node in &cluster.nodes {
        let mut rules = vec!["ACL", "SETUSER", "anna", "on", ">SECRET", "~tower-persistence:*"];
        rules.extend(["+hmget", "+hget", "+hexists", "+hkeys", "+hset", "+hdel", "+exists"]);
        rules.extend(["+persist", "+pexpire", "+eval", "+evalsha", "+asking"]);
        node.ask::<()>(&rules).await;
    }
    let url = cluster.servers[1].endpoint().replacen("://", "://anna:SECRET@", 1);
    let db = RedisDb::connect(url).await.unwrap();
    db.ensure_ready().await.unwrap();
    for number in 0..30 {
        save(&db, &format!("user-{number}"), &visits(number), None).await;
    }
    let elsewhere = cluster.db(2).await;
    for number in 0..30 {
        assert_eq!(load(&elsewhere, &format!("user-{number}")).await.record, visits(number));
    }
}

/// As the outage of a server that stands alone; users of the others are served all the time.
pub(crate) async fn a_server_that_is_killed_and_comes_back(mut cluster: Cluster) {
    let [killed, known] = [TAGS[0], TAGS[1]];
    let of_another = cluster.db_of(known, 0).await;
    let version = save(&of_another, "bert", &visits(1), None).await;
    let builder = RedisDb::builder().prefix(format!("{killed}:"));
    let builder = builder.url(cluster.servers[1].endpoint());
    let server = cluster.servers.remove(0);
    outage(server, async |_| builder.clone().connect().await.unwrap()).await;
    save(&of_another, "bert", &visits(2), Some(&version)).await;
}
