//! A connection to the server: opened when it is needed, shared by concurrent calls, and replaced
//! as soon as it may be dead.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, RedisResult, ServerErrorKind, Value,
};
use tokio::time::{Instant, timeout};

/// Less than the 2 seconds for which the layer waits by default, so that its error states the cause
/// rather than a time-out.
const OPENING: Duration = Duration::from_millis(1500);

/// A call that is given up after this time without an answer takes its connection along: the next
/// one opens another. A server that a firewall has cut off does not say so.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that was idle for this long is asked whether it is still alive. Load balancers and
/// firewalls drop idle connections, some without a word.
const IDLE: Duration = Duration::from_secs(60);

/// The time limit of that question.
const PING: Duration = Duration::from_millis(500);

/// The result of a command that was not answered, or answered with an error.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not sent: no connection could be opened.
    NotSent(RedisError),
    /// The connection ended before the answer: the command may have taken effect.
    Lost(RedisError),
    /// The server refused it: it had no effect.
    Refused(RedisError),
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub(super) struct Open {
    number: u64,
    connection: MultiplexedConnection,
    /// The time of the call that got the last answer over it, or of the call that has this clone.
    used_at: Instant,
}

impl Open {
    /// Lets the patience for the next answer begin anew.
    pub(super) fn use_again(&mut self) {
        self.used_at = Instant::now();
    }
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Connections opened so far.
    count: u64,
}

/// Holds at most one connection.
pub(super) struct Link {
    client: Client,
    config: AsyncConnectionConfig,
    state: Mutex<State>,
    /// Held by the caller that opens a connection; the last failure, for those who waited for it.
    opening: tokio::sync::Mutex<Option<(Instant, RedisError)>>,
}

impl Link {
    pub(super) fn new(client: Client) -> Self {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(OPENING))
            // Each call has a limit of its own.
            .set_response_timeout(None);
        let opening = tokio::sync::Mutex::default();
        Self { client, config, state: Mutex::default(), opening }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether there is a connection, which may be dead.
    pub(super) fn is_open(&self) -> bool {
        self.state().open.is_some()
    }

    fn peek(&self) -> Option<Open> {
        self.state().open.clone()
    }

    /// Returns the connection; opens one, once for all concurrent callers.
    pub(super) async fn open(&self) -> Result<Open, Failure> {
        let now = Instant::now();
        match self.peek() {
            Some(open) if now.duration_since(open.used_at) < IDLE => {
                Ok(Open { used_at: now, ..open })
            }
            // Kept apart, as it is large and each call would carry it along.
            idle => Box::pin(self.renew(idle)).await,
        }
    }

    /// Asks an idle connection whether it is alive, and opens another one unless it is.
    async fn renew(&self, idle: Option<Open>) -> Result<Open, Failure> {
        if let Some(idle) = idle {
            let mut open = Open { used_at: Instant::now(), ..idle };
            match timeout(PING, self.ask(&mut open, &redis::cmd("PING"), false)).await {
                Ok(Ok(_) | Err(Failure::Refused(_))) => {
                    open.use_again();
                    return Ok(open);
                }
                _ => self.discard(open.number),
            }
        }
        let since = Instant::now();
        let mut failed = self.opening.lock().await;
        if let Some(open) = self.peek() {
            return Ok(Open { used_at: Instant::now(), ..open });
        }
        if let Some((_, error)) = failed.as_ref().filter(|(began, _)| *began >= since) {
            return Err(Failure::NotSent(error.clone()));
        }
        let began = Instant::now();
        match self.client.get_multiplexed_async_connection_with_config(&self.config).await {
            Ok(connection) => {
                *failed = None;
                let mut state = self.state();
                state.count += 1;
                let open = Open { number: state.count, connection, used_at: Instant::now() };
                state.open = Some(open.clone());
                Ok(open)
            }
            Err(error) => {
                *failed = Some((began, error.clone()));
                Err(Failure::NotSent(error))
            }
        }
    }

    /// Sends a command over this connection. With `is_asking` it tells the server, in one piece
    /// with it, that another one of the cluster has sent it here.
    pub(super) async fn ask(
        &self,
        open: &mut Open,
        command: &Cmd,
        is_asking: bool,
    ) -> Result<Value, Failure> {
        let mut waiting = Waiting { link: self, number: open.number, since: Some(open.used_at) };
        let answer = match is_asking {
            // Not `query_async`, which allocates the future.
            false => open.connection.send_packed_command(command).await,
            true => Box::pin(both(&mut open.connection, command)).await,
        };
        waiting.since = None;
        match answer.and_then(Value::extract_error) {
            Ok(value) => {
                self.answered(open);
                Ok(value)
            }
            Err(error) if is_answer(&error) => {
                self.answered(open);
                if leads_elsewhere(&error) {
                    self.discard(open.number);
                }
                Err(Failure::Refused(error))
            }
            Err(error) => {
                self.discard(open.number);
                Err(Failure::Lost(error))
            }
        }
    }

    fn answered(&self, by: &Open) {
        if let Some(open) = self.state().open.as_mut().filter(|open| open.number == by.number) {
            open.used_at = open.used_at.max(by.used_at);
        }
    }

    /// Lets the next call open another connection. Calls that wait for an answer go on waiting.
    fn discard(&self, number: u64) {
        self.state().open.take_if(|open| open.number == number);
    }

    /// Closes the connection as soon as the calls that wait for an answer have ended.
    pub(super) fn close(&self) {
        self.state().open = None;
    }
}

/// Discards the connection of a call that is given up after it waited in vain.
struct Waiting<'a> {
    link: &'a Link,
    number: u64,
    /// `None` once there is an answer.
    since: Option<Instant>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            self.link.discard(self.number);
        }
    }
}

/// Returns the second answer of two.
async fn both(connection: &mut MultiplexedConnection, command: &Cmd) -> RedisResult<Value> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("ASKING").add_command(command.clone()).ignore_errors();
    let answers: Vec<RedisResult<Value>> = pipeline.query_async(connection).await?;
    answers.into_iter().next_back().unwrap_or(Ok(Value::Nil))
}

/// Returns whether the server itself answered with this error.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

/// Returns whether another server may serve what this one refuses: after a fail-over the name of
/// the primary stands for another one, the old primary is a replica, and a server that has left its
/// cluster knows no slots.
pub(super) fn leads_elsewhere(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};

    matches!(error.kind(), ErrorKind::Server(ReadOnly | MasterDown | BusyLoading | ClusterDown))
}
