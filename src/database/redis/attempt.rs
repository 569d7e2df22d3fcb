//! The attempts of one call: which server is asked next, and how.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::link::{Failure, leads_elsewhere};
use super::node::Node;
use super::nodes::Nodes;

/// Attempts of a call: two connections may have been closed while they were idle, and one server
/// may not know a script.
const ATTEMPTS: u32 = 4;

/// Servers of a cluster to which a call is sent on. A slot that moves takes two of them.
const REDIRECTIONS: u32 = 5;

pub(super) struct Attempt {
    pub(super) node: Arc<Node>,
    /// Set if the server does not know the script.
    pub(super) in_full: bool,
    /// Set if another server has sent the call here while the slot moves.
    pub(super) is_asking: bool,
    /// Set if an earlier attempt, whose answer was lost, may have taken effect.
    pub(super) is_repeated: bool,
    met_replica: bool,
    attempts: u32,
    redirections: u32,
    /// A server that cannot be used, and why.
    gone: Option<(Arc<Node>, RedisError)>,
}

impl Attempt {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self {
            node,
            in_full: false,
            is_asking: false,
            is_repeated: false,
            met_replica: false,
            attempts: 1,
            redirections: 0,
            gone: None,
        }
    }

    /// Prepares the next attempt, or fails with the error of the call if there is none.
    pub(super) async fn after(
        &mut self,
        failure: Failure,
        nodes: &Nodes,
        key: &str,
    ) -> Result<(), RedisError> {
        let was_asking = std::mem::take(&mut self.is_asking);
        match failure {
            Failure::Lost(error) => {
                self.is_repeated = true;
                self.count(error)?;
                self.node = nodes.route(key);
            }
            Failure::NotSent(error) => self.turn_away(error, nodes, key).await?,
            Failure::Refused(error) if is(&error, ServerErrorKind::NoScript) => {
                self.count(error)?;
                (self.in_full, self.is_asking) = (true, was_asking);
            }
            // A new connection may find the new primary.
            Failure::Refused(error)
                if is(&error, ServerErrorKind::ReadOnly) && !self.met_replica =>
            {
                self.count(error)?;
                self.met_replica = true;
            }
            Failure::Refused(error) if leads_elsewhere(&error) => {
                self.turn_away(error, nodes, key).await?;
            }
            Failure::Refused(error) => {
                let Some(next) = nodes.follow(&error, &self.node).await else { return Err(error) };
                if let Some((_, error)) = self.gone.take_if(|(gone, _)| gone.is(&next.node)) {
                    return Err(error);
                }
                self.count_redirection(error)?;
                (self.node, self.is_asking) = (next.node, next.is_asking);
            }
        }
        Ok(())
    }

    /// Turns to another server where this one has done nothing and will not.
    async fn turn_away(
        &mut self,
        error: RedisError,
        nodes: &Nodes,
        key: &str,
    ) -> Result<(), RedisError> {
        let Some(next) = nodes.around(&self.node, key).await else { return Err(error) };
        self.count_redirection(error.clone())?;
        self.gone = Some((std::mem::replace(&mut self.node, next), error));
        Ok(())
    }

    fn count(&mut self, error: RedisError) -> Result<(), RedisError> {
        self.attempts += 1;
        if self.attempts > ATTEMPTS { Err(error) } else { Ok(()) }
    }

    fn count_redirection(&mut self, error: RedisError) -> Result<(), RedisError> {
        self.redirections += 1;
        if self.redirections > REDIRECTIONS { Err(error) } else { Ok(()) }
    }
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == ErrorKind::Server(kind)
}
