//! The state that all clones share, and the calls: repeated where a connection was lost, within a
//! time limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use redis::{Client, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::attempt::Attempt;
use super::check;
use super::failure::{self, Action};
use super::link::{Failure, Open};
use super::node::{Lent, Node};
use super::nodes::Nodes;
use super::script::Call;
use crate::error::Error;

/// Saves and deletions that wait for replicas at the same time. Each has a connection of its own,
/// which `WAIT` blocks.
const WAITING: usize = 16;

/// The replicas that have to confirm a save, and the time that they have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) timeout: Duration,
}

/// The state that all clones share.
pub(super) struct Shared {
    pub(super) prefix: String,
    pub(super) database: i64,
    pub(super) expire_users_after: Option<Duration>,
    pub(super) replicas: Option<Replicas>,
    limit: Duration,
    nodes: Nodes,
    is_checked: AtomicBool,
    permits: Semaphore,
}

/// The answer to a call.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Set if an earlier attempt, whose answer was lost, may have taken effect.
    pub(super) is_repeated: bool,
}

/// An answer, and the connection that brought it.
struct Brought {
    answer: Answer,
    lent: Lent,
    open: Open,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        prefix: String,
        expire_users_after: Option<Duration>,
        replicas: Option<Replicas>,
        limit: Duration,
    ) -> Self {
        Self {
            prefix,
            database: client.get_connection_info().redis_settings().db(),
            expire_users_after,
            replicas,
            limit,
            nodes: Nodes::new(client),
            is_checked: AtomicBool::new(false),
            permits: Semaphore::new(WAITING),
        }
    }

    pub(super) fn key(&self, id: &str) -> String {
        [&self.prefix, id].concat()
    }

    /// Makes a call that writes nothing, or whose effect no replica has to confirm.
    pub(super) fn call(
        &self,
        action: Action,
        call: &Call<'_>,
    ) -> impl Future<Output = Result<Answer, Error>> {
        self.in_time(action, self.attempt(action, call))
    }

    /// Makes a call that writes, and waits for the replicas if it `wrote`.
    pub(super) async fn write(
        &self,
        action: Action,
        call: &Call<'_>,
        wrote: impl Fn(&Value) -> bool,
    ) -> Result<Answer, Error> {
        let Some(replicas) = self.replicas else { return self.call(action, call).await };
        let confirmed = async {
            // An error says that it was closed, which this one never is.
            let _permit = self.permits.acquire().await;
            let attempt = Attempt::new(self.nodes.route(call.key()));
            let mut brought = self.attempts(action, call, attempt, true).await?;
            if wrote(&brought.answer.value) {
                self.confirm(&mut brought, action, replicas).await?;
            }
            brought.lent.give_back();
            Ok(brought.answer)
        };
        // Boxed, as calls that wait for no replica would carry it along.
        Box::pin(self.in_time(action, confirmed)).await
    }

    /// Waits until so many replicas have what this connection has written: on any other, `WAIT`
    /// would not know what to wait for.
    async fn confirm(
        &self,
        Brought { lent, open, .. }: &mut Brought,
        action: Action,
        replicas: Replicas,
    ) -> Result<(), Error> {
        let mut wait = redis::cmd("WAIT");
        // 0 would wait for ever.
        let milliseconds = milliseconds(replicas.timeout).max(1);
        wait.arg(replicas.count).arg(milliseconds);
        open.use_again();
        match lent.link().ask(open, &wait, false).await {
            Ok(Value::Int(count)) if count >= i64::from(replicas.count) => Ok(()),
            Ok(Value::Int(count)) => {
                Err(failure::unconfirmed(action, &self.prefix, count, replicas))
            }
            Ok(_) => Err(failure::senseless(action, &self.prefix)),
            Err(Failure::NotSent(error) | Failure::Lost(error) | Failure::Refused(error)) => {
                Err(failure::failed(action, &self.prefix, &error, true))
            }
        }
    }

    /// Makes a call. All that follows a failed attempt is kept apart, as it is large and seldom
    /// needed.
    async fn attempt(&self, action: Action, call: &Call<'_>) -> Result<Answer, Error> {
        let node = self.nodes.route(call.key());
        let asked = async {
            let mut open = node.link().open().await?;
            node.link().ask(&mut open, &call.command(false), false).await
        };
        match asked.await {
            Ok(value) => Ok(Answer { value, is_repeated: false }),
            Err(failure) => {
                let again = self.attempt_again(action, call, Attempt::new(node), failure);
                Box::pin(again).await.map(|brought| brought.answer)
            }
        }
    }

    /// Makes the attempts that follow a failed one.
    async fn attempt_again(
        &self,
        action: Action,
        call: &Call<'_>,
        mut attempt: Attempt,
        failure: Failure,
    ) -> Result<Brought, Error> {
        self.prepare(&mut attempt, failure, action, call).await?;
        self.attempts(action, call, attempt, false).await
    }

    /// Makes a call, over a connection of its `own` if that is wanted. Each can be repeated: a load
    /// reads, a save recognises itself, and a deletion is the same a second time. A server of a
    /// cluster that sends a call on has done nothing.
    async fn attempts(
        &self,
        action: Action,
        call: &Call<'_>,
        mut attempt: Attempt,
        own: bool,
    ) -> Result<Brought, Error> {
        loop {
            let lent = attempt.node.lend(own);
            let asked = async {
                let mut open = lent.link().open().await?;
                let command = call.command(attempt.in_full);
                let value = lent.link().ask(&mut open, &command, attempt.is_asking).await?;
                Ok((value, open))
            };
            let failure = match asked.await {
                Ok((value, open)) => {
                    let answer = Answer { value, is_repeated: attempt.is_repeated };
                    return Ok(Brought { answer, lent, open });
                }
                Err(failure) => failure,
            };
            self.prepare(&mut attempt, failure, action, call).await?;
        }
    }

    /// Prepares the next attempt, or fails if this was the last one.
    async fn prepare(
        &self,
        attempt: &mut Attempt,
        failure: Failure,
        action: Action,
        call: &Call<'_>,
    ) -> Result<(), Error> {
        let after = attempt.after(failure, &self.nodes, call.key()).await;
        after.map_err(|error| failure::failed(action, &self.prefix, &error, attempt.is_repeated))
    }

    /// Limits a call: a server that accepts connections may still not answer.
    ///
    /// Not an `async fn`, which would hold the call twice and copy it.
    fn in_time<T>(
        &self,
        action: Action,
        call: impl Future<Output = Result<T, Error>>,
    ) -> impl Future<Output = Result<T, Error>> {
        timeout(self.limit, call).map(move |result| {
            result.unwrap_or_else(|_| Err(failure::late(action, &self.prefix, self.limit)))
        })
    }

    /// Opens the connection, and has a look at the server's settings beside the requests, once.
    pub(super) async fn ensure_ready(self: &Arc<Self>) -> Result<(), Error> {
        match self.is_checked.load(Ordering::Acquire) {
            true => Ok(()),
            false => Box::pin(self.make_ready()).await,
        }
    }

    async fn make_ready(self: &Arc<Self>) -> Result<(), Error> {
        let opened = async {
            let opened = self.nodes.first().link().open().await;
            opened.map(drop).map_err(|failure| match failure {
                Failure::NotSent(error) | Failure::Lost(error) | Failure::Refused(error) => {
                    failure::failed(Action::Connect, &self.prefix, &error, false)
                }
            })
        };
        self.in_time(Action::Connect, opened).await?;
        if !self.is_checked.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.check().await });
        }
        Ok(())
    }

    /// Learns the servers of a cluster, and warns of their settings.
    async fn check(&self) {
        let first = self.nodes.first();
        let infos = match self.info(first).await {
            Some(info) if !check::is_of_cluster(&info) => vec![info],
            // A server that stands alone refuses it, where a role may not ask what it is.
            _ => {
                self.nodes.learn([Arc::clone(first)], Instant::now()).await;
                let primaries = self.nodes.primaries().into_iter();
                let asked = primaries.map(async |node| self.info(&node).await);
                join_all(asked).await.into_iter().flatten().collect()
            }
        };
        check::warn(&infos);
    }

    /// Returns what a server tells of itself. A role may not be allowed to ask, and then there is
    /// nothing to say.
    async fn info(&self, node: &Node) -> Option<Value> {
        let info = async {
            let mut open = node.link().open().await?;
            node.link().ask(&mut open, &redis::cmd("INFO"), false).await
        };
        timeout(self.limit, info).await.ok()?.ok()
    }

    pub(super) fn close(&self) {
        self.nodes.close();
    }
}

/// The milliseconds of a duration, so many at most that the server can add them to the time of day.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    const MOST: u64 = 1 << 53;
    u64::try_from(duration.as_millis()).map_or(MOST, |milliseconds| milliseconds.min(MOST))
}
