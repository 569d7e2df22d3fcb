//! A cluster of three primaries, each with a third of the slots.

mod fail_over;
mod moving;
mod served;

use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use tower_persistence::RedisDb;

use super::Place;
use crate::process::Server;
use crate::servers::Servers;

const EXTRA: &[&str] = &[
    "--cluster-enabled",
    "yes",
    // The others go on while one is down.
    "--cluster-require-full-coverage",
    "no",
];

/// The last slots of the primaries.
const LAST: [u16; 3] = [5460, 10922, 16383];

/// Braces that put a key into a slot of the primary with this number.
const TAGS: [&str; 3] = ["{b}", "{c}", "{d}"];

pub(super) fn trials(servers: &Servers) -> Vec<Trial> {
    macro_rules! trials {
        ($($file:ident :: $name:ident)*) => {
            vec![$(servers.trial_with_own_server(
                concat!("cluster_", stringify!($name)),
                EXTRA,
                async |server| $file::$name(Cluster::start(server).await).await,
            )),*]
        };
    }
    trials! {
        served::conformance
        served::users_of_all_servers
        served::a_role_that_may_not_ask_for_the_slots
        served::a_server_that_is_killed_and_comes_back
        moving::a_slot_that_moves_is_followed
        moving::users_of_a_slot_that_moves_lose_nothing
        moving::a_save_recognises_itself_on_another_server
        moving::a_server_that_has_left_the_cluster_is_passed_by
        fail_over::a_replica_that_is_promoted_is_found
    }
}

struct Cluster {
    servers: Vec<Server>,
    /// A client of each server.
    nodes: Vec<Place>,
    /// The names of the servers in the cluster.
    ids: Vec<String>,
}

impl Cluster {
    async fn start(first: Server) -> Self {
        let others = tokio::task::block_in_place(|| [first.another(EXTRA), first.another(EXTRA)]);
        let mut cluster = Self { servers: vec![first], nodes: Vec::new(), ids: Vec::new() };
        cluster.servers.extend(others);
        let mut begin = 0;
        for (server, last) in cluster.servers.iter().zip(LAST) {
            let node = Place::new(server.endpoint()).await;
            let range = [begin.to_string(), last.to_string()];
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]).await;
            cluster.ids.push(node.ask(&["CLUSTER", "MYID"]).await);
            cluster.nodes.push(node);
            begin = last + 1;
        }
        for node in &cluster.nodes[1..] {
            meet(&cluster.nodes[0], node).await;
        }
        for node in &cluster.nodes {
            knows(node, |info| {
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })
            .await;
        }
        cluster
    }

    /// Returns a database that knows the server with this number.
    async fn db(&self, server: usize) -> RedisDb {
        RedisDb::builder().url(self.servers[server].endpoint()).connect().await.unwrap()
    }

    /// Returns a database whose users are all in one slot, of the server that `tag` belongs to, and
    /// which knows the server with this number.
    async fn db_of(&self, tag: &str, server: usize) -> RedisDb {
        let builder = RedisDb::builder().prefix(format!("{tag}:"));
        builder.url(self.servers[server].endpoint()).connect().await.unwrap()
    }

    /// Returns the slot of a tag.
    async fn slot(&self, tag: &str) -> String {
        let slot: u16 = self.nodes[0].ask(&["CLUSTER", "KEYSLOT", tag]).await;
        slot.to_string()
    }

    async fn begin_to_move(&self, slot: &str, from: usize, to: usize) {
        let ids = &self.ids;
        self.nodes[to].ask::<()>(&["CLUSTER", "SETSLOT", slot, "IMPORTING", &ids[from]]).await;
        self.nodes[from].ask::<()>(&["CLUSTER", "SETSLOT", slot, "MIGRATING", &ids[to]]).await;
    }

    /// Moves the keys of a slot, one after the other.
    async fn move_keys(&self, slot: &str, from: usize, to: usize) {
        let address = self.servers[to].endpoint().rsplit('/').next().unwrap().to_owned();
        let (host, port) = address.rsplit_once(':').unwrap();
        let from = &self.nodes[from];
        loop {
            let keys: Vec<String> = from.ask(&["CLUSTER", "GETKEYSINSLOT", slot, "1"]).await;
            let [key] = &keys[..] else { break };
            from.ask::<()>(&["MIGRATE", host, port, key, "0", "5000"]).await;
        }
    }

    async fn end_the_move(&self, slot: &str, to: usize) {
        let id = &self.ids[to];
        // First the new one, or the slot could be lost.
        self.nodes[to].ask::<()>(&["CLUSTER", "SETSLOT", slot, "NODE", id]).await;
        for node in &self.nodes {
            node.ask::<()>(&["CLUSTER", "SETSLOT", slot, "NODE", id]).await;
        }
    }

    async fn move_slot(&self, slot: &str, from: usize, to: usize) {
        self.begin_to_move(slot, from, to).await;
        self.move_keys(slot, from, to).await;
        self.end_the_move(slot, to).await;
    }
}

async fn meet(one: &Place, other: &Place) {
    let port: Vec<String> = other.ask(&["CONFIG", "GET", "cluster-port"]).await;
    let address = other.address();
    let (host, client_port) = address.rsplit_once(':').unwrap();
    one.ask::<()>(&["CLUSTER", "MEET", host, client_port, &port[1]]).await;
}

/// Waits until the server says so about its cluster.
async fn knows(node: &Place, is_so: impl Fn(&str) -> bool) {
    let since = Instant::now();
    loop {
        let info: String = node.ask(&["CLUSTER", "INFO"]).await;
        if is_so(&info) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a server names this port to clients.
async fn named(node: &Place, port: &str) {
    let since = Instant::now();
    loop {
        let nodes: String = node.ask(&["CLUSTER", "NODES"]).await;
        if nodes.contains(&format!(":{port}@")) {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{nodes}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
