//! One server: the connection that all calls share, and those on which a call waits.

use std::sync::{Arc, Mutex, PoisonError};

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisResult};

use super::link::Link;

/// The host and port of a server.
pub(super) type Address = (String, u16);

pub(super) struct Node {
    client: Client,
    link: Link,
    /// Connections on which no call waits.
    idle: Mutex<Vec<Link>>,
}

impl Node {
    pub(super) fn new(client: Client) -> Self {
        Self { link: Link::new(client.clone()), client, idle: Mutex::default() }
    }

    /// Makes another server of the same cluster: all else is as with this one.
    pub(super) fn another(&self, (host, port): Address) -> RedisResult<Self> {
        let info = self.client.get_connection_info().clone();
        let address = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        Client::open(info.set_addr(address).into_connection_info()?).map(Self::new)
    }

    /// Returns where it is. A server with a socket of Unix has no such address.
    pub(super) fn address(&self) -> Option<(&str, u16)> {
        match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host, *port))
            }
            _ => None,
        }
    }

    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Lends a connection to a call: the shared one, or one of its `own`.
    pub(super) fn lend(self: &Arc<Self>, own: bool) -> Lent {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let link = || idle().unwrap_or_else(|| Link::new(self.client.clone()));
        let own = own.then(|| Box::new(link()));
        Lent { node: Arc::clone(self), own }
    }

    /// Closes the connections as soon as the calls that wait for an answer have ended.
    pub(super) fn close(&self) {
        self.link.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A connection of a call.
pub(super) struct Lent {
    pub(super) node: Arc<Node>,
    /// Boxed, as most calls have none.
    own: Option<Box<Link>>,
}

impl Lent {
    pub(super) fn link(&self) -> &Link {
        self.own.as_deref().unwrap_or(&self.node.link)
    }

    /// Gives it back for another call. One on which something failed is not given back.
    pub(super) fn give_back(&mut self) {
        if let Some(link) = self.own.take() {
            self.node.idle.lock().unwrap_or_else(PoisonError::into_inner).push(*link);
        }
    }
}
