//! The servers: one, or the primaries of a cluster, each with its slots.
//!
//! A server that is one of a cluster says so by itself: to a call for a key of another server it
//! answers with that server's address and does nothing. So nothing has to be set, and a server that
//! stands alone is not asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Client, ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::time::{Instant, timeout};

use super::node::{Address, Node};
use super::slot::{SLOTS, slot};

/// The time limit of a server that is asked for the cluster's slots.
const ANSWER: Duration = Duration::from_millis(500);

/// The known servers that are asked for the slots until one answers.
const ASKED: usize = 3;

/// While the slots are so fresh they are not asked for again when one of them turns out to have
/// moved: the server's answer says where that one is.
const FRESH: Duration = Duration::from_millis(250);

pub(super) struct Nodes {
    /// The server that the app has named.
    first: Arc<Node>,
    map: Mutex<Map>,
    /// The time of the last question for the slots, and whether a server answered it. Held
    /// meanwhile, so that other calls wait.
    asked: tokio::sync::Mutex<Option<(Instant, bool)>>,
}

/// Empty unless the server is one of a cluster.
#[derive(Default)]
struct Map {
    nodes: HashMap<Address, Arc<Node>>,
    /// The primary of each slot, as far as it is known.
    slots: Vec<Option<Arc<Node>>>,
}

/// The server that a call goes to after another one refused it.
pub(super) struct Redirection {
    pub(super) node: Arc<Node>,
    /// Set while the slot moves there: the server serves only who says that it was sent.
    pub(super) is_asking: bool,
}

impl Nodes {
    pub(super) fn new(client: Client) -> Self {
        let first = Arc::new(Node::new(client));
        Self { first, map: Mutex::default(), asked: tokio::sync::Mutex::default() }
    }

    pub(super) fn first(&self) -> &Arc<Node> {
        &self.first
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the server for a key. Any server tells where a key is that it does not have.
    pub(super) fn route(&self, key: &str) -> Arc<Node> {
        self.map().primary(key).unwrap_or_else(|| Arc::clone(&self.first))
    }

    /// Returns all primaries that are known.
    pub(super) fn primaries(&self) -> Vec<Arc<Node>> {
        let nodes: Vec<_> = self.map().nodes.values().cloned().collect();
        if nodes.is_empty() { vec![Arc::clone(&self.first)] } else { nodes }
    }

    /// Follows the answer of `from` that another server has the slot, or is getting it.
    pub(super) async fn follow(&self, error: &RedisError, from: &Arc<Node>) -> Option<Redirection> {
        use ServerErrorKind::{Ask, Moved};

        let ErrorKind::Server(kind @ (Ask | Moved)) = error.kind() else { return None };
        let (address, slot) = error.redirect_node()?;
        let (host, port) = address.rsplit_once(':')?;
        let address = at(from, host.as_bytes(), port.parse().ok()?)?;
        if kind == Ask {
            return Some(Redirection { node: self.map().node(from, address)?, is_asking: true });
        }
        let since = Instant::now().checked_sub(FRESH).unwrap_or_else(Instant::now);
        self.learn([Arc::clone(from)], since).await;
        let mut map = self.map();
        let node = map.node(from, address)?;
        // More recent than what another call may have learned, and all there is where a role may
        // not ask for the slots.
        map.set(slot, &node);
        Some(Redirection { node, is_asking: false })
    }

    /// Returns another server to turn to where `gone` cannot be used: the new primary after a
    /// fail-over, or one that can tell. Returns none while the cluster knows of no other.
    pub(super) async fn around(&self, gone: &Node, key: &str) -> Option<Arc<Node>> {
        let since = Instant::now();
        let others = self.map().nodes.values().filter(|it| !it.is(gone)).cloned().collect();
        let mut others: Vec<_> = others;
        others.sort_by_key(|node| !node.link().is_open());
        others.truncate(ASKED);
        // Its name may lead to a server that lives.
        others.extend((!self.first.is(gone)).then(|| Arc::clone(&self.first)));
        let is_learned = self.learn(others.iter().cloned(), since).await;
        let primary = self.map().primary(key).filter(|primary| !primary.is(gone));
        primary.or_else(|| others.into_iter().next().filter(|_| !is_learned))
    }

    /// Asks servers, one after the other, for the slots, until one answers, unless that has been
    /// done `since` then. Returns whether one answered.
    pub(super) async fn learn(
        &self,
        servers: impl IntoIterator<Item = Arc<Node>>,
        since: Instant,
    ) -> bool {
        let mut asked = self.asked.lock().await;
        if let Some((began, is_answered)) = *asked
            && began >= since
        {
            return is_answered;
        }
        let began = Instant::now();
        let mut is_answered = false;
        for server in servers {
            if let Ok(Some(ranges)) = timeout(ANSWER, ask(&server)).await {
                self.map().replace(&server, ranges);
                is_answered = true;
                break;
            }
        }
        *asked = Some((began, is_answered));
        is_answered
    }

    pub(super) fn close(&self) {
        self.first.close();
        self.map().nodes.values().for_each(|node| node.close());
    }
}

impl Node {
    /// Returns whether both are the same server under the same name.
    pub(super) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.address().is_some_and(|it| other.address() == Some(it))
    }
}

impl Map {
    fn primary(&self, key: &str) -> Option<Arc<Node>> {
        if self.slots.is_empty() {
            return None;
        }
        self.slots.get(usize::from(slot(key))).cloned().flatten()
    }

    /// Returns the server at an address, as a new one if it is not known.
    fn node(&mut self, from: &Node, address: Address) -> Option<Arc<Node>> {
        if let Some(node) = self.nodes.get(&address) {
            return Some(Arc::clone(node));
        }
        let node = Arc::new(from.another(address.clone()).ok()?);
        self.nodes.insert(address, Arc::clone(&node));
        Some(node)
    }

    fn set(&mut self, slot: u16, node: &Arc<Node>) {
        self.slots.resize(usize::from(SLOTS), None);
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = Some(Arc::clone(node));
        }
    }

    /// Takes what a server has answered. Servers that it does not name are forgotten.
    fn replace(&mut self, from: &Node, ranges: Vec<Range>) {
        let mut old = std::mem::take(self);
        for Range { first, last, primary } in ranges {
            if let Some(node) = old.node(from, primary.clone()) {
                (first..=last).for_each(|slot| self.set(slot, &node));
                self.nodes.insert(primary, node);
            }
        }
    }
}

/// The slots of a primary.
#[derive(Debug, PartialEq)]
struct Range {
    first: u16,
    last: u16,
    primary: Address,
}

async fn ask(server: &Node) -> Option<Vec<Range>> {
    let mut open = server.link().open().await.ok()?;
    let command = redis::cmd("CLUSTER").arg("SLOTS").take();
    let answer = server.link().ask(&mut open, &command, false).await.ok()?;
    let ranges = ranges(&answer, server);
    // A server that was expelled from its cluster knows of none.
    (!ranges.is_empty()).then_some(ranges)
}

/// <https://valkey.io/commands/cluster-slots/>
fn ranges(answer: &Value, from: &Node) -> Vec<Range> {
    let Value::Array(ranges) = answer else { return Vec::new() };
    let range = |range: &Value| {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &parts[..] else {
            return None;
        };
        let [host, Value::Int(port), ..] = &primary[..] else { return None };
        let host = match host {
            Value::BulkString(host) => host.as_slice(),
            _ => b"",
        };
        let primary = at(from, host, u16::try_from(*port).ok()?)?;
        Some(Range { first: slot_of(*first)?, last: slot_of(*last)?, primary })
    };
    ranges.iter().filter_map(range).collect()
}

fn slot_of(number: i64) -> Option<u16> {
    u16::try_from(number).ok().filter(|slot| *slot < SLOTS)
}

/// Returns the address that a server gives. No host stands for the server's own, and `?` for one
/// that it does not know.
fn at(from: &Node, host: &[u8], port: u16) -> Option<Address> {
    match std::str::from_utf8(host).ok()? {
        "?" => None,
        "" => from.address().map(|(host, _)| (host.to_owned(), port)),
        host => Some((host.trim_matches(['[', ']']).to_owned(), port)),
    }
}
