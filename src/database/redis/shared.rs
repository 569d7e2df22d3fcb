//! The state that all clones share, and the calls: repeated where a connection was lost, within a
//! time limit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{Client, RedisError, ServerErrorKind, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::check;
use super::failure::{self, Action};
use super::link::{Failure, Link, Open};
use super::script::Call;
use crate::error::Error;

/// Attempts of a call: two connections may have been closed while they were idle, and one server
/// may not know a script.
const ATTEMPTS: u32 = 4;

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
    client: Client,
    link: Link,
    is_checked: AtomicBool,
    /// Connections on which no call waits.
    idle: Mutex<Vec<Link>>,
    permits: Semaphore,
}

/// The answer to a call.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Set if an earlier attempt, whose answer was lost, may have taken effect.
    pub(super) is_repeated: bool,
    /// The connection that brought it.
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
            link: Link::new(client.clone()),
            client,
            is_checked: AtomicBool::new(false),
            idle: Mutex::default(),
            permits: Semaphore::new(WAITING),
        }
    }

    pub(super) fn key(&self, id: &str) -> String {
        format!("{}{id}", self.prefix)
    }

    /// Makes a call that writes nothing, or whose effect no replica has to confirm.
    pub(super) async fn call(&self, action: Action, call: &Call<'_>) -> Result<Answer, Error> {
        self.in_time(action, self.attempt(&self.link, action, call)).await
    }

    /// Makes a call that writes, and waits for the replicas if it `wrote`.
    pub(super) async fn write(
        &self,
        action: Action,
        call: &Call<'_>,
        wrote: impl Fn(&Value) -> bool,
    ) -> Result<Answer, Error> {
        let Some(replicas) = self.replicas else { return self.call(action, call).await };
        self.in_time(action, async {
            // An error says that it was closed, which this one never is.
            let _permit = self.permits.acquire().await;
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let link = idle.unwrap_or_else(|| Link::new(self.client.clone()));
            let answer = self.attempt(&link, action, call).await?;
            if wrote(&answer.value) {
                self.confirm(&link, &answer.open, action, replicas).await?;
            }
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(link);
            Ok(answer)
        })
        .await
    }

    /// Waits until so many replicas have what this connection has written: on any other, `WAIT`
    /// would not know what to wait for.
    async fn confirm(
        &self,
        link: &Link,
        open: &Open,
        action: Action,
        replicas: Replicas,
    ) -> Result<(), Error> {
        let mut wait = redis::cmd("WAIT");
        // 0 would wait for ever.
        let milliseconds = milliseconds(replicas.timeout).max(1);
        wait.arg(replicas.count).arg(milliseconds);
        match link.ask(open, &wait).await {
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

    /// Makes a call over this link. Each can be repeated: a load reads, a save recognises itself,
    /// and a deletion is the same a second time.
    async fn attempt(&self, link: &Link, action: Action, call: &Call<'_>) -> Result<Answer, Error> {
        let (mut is_repeated, mut in_full, mut met_replica) = (false, false, false);
        let failed =
            |error, is_repeated| Err(failure::failed(action, &self.prefix, &error, is_repeated));
        for _ in 1..ATTEMPTS {
            match attempt_once(link, call, in_full).await {
                Ok((value, open)) => return Ok(Answer { value, is_repeated, open }),
                Err(Failure::Lost(_)) => is_repeated = true,
                Err(Failure::Refused(error)) if is(&error, ServerErrorKind::NoScript) => {
                    in_full = true;
                }
                // A new connection may find the new primary.
                Err(Failure::Refused(error))
                    if is(&error, ServerErrorKind::ReadOnly) && !met_replica =>
                {
                    met_replica = true;
                }
                Err(Failure::Refused(error) | Failure::NotSent(error)) => {
                    return failed(error, is_repeated);
                }
            }
        }
        match attempt_once(link, call, in_full).await {
            Ok((value, open)) => Ok(Answer { value, is_repeated, open }),
            Err(Failure::Lost(error)) => failed(error, true),
            Err(Failure::Refused(error) | Failure::NotSent(error)) => failed(error, is_repeated),
        }
    }

    /// Limits a call: a server that accepts connections may still not answer.
    async fn in_time<T>(
        &self,
        action: Action,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let result = timeout(self.limit, call).await;
        result.unwrap_or_else(|_| Err(failure::late(action, &self.prefix, self.limit)))
    }

    /// Opens the connection, and has a look at the server's settings beside the requests, once.
    pub(super) async fn ensure_ready(self: &Arc<Self>) -> Result<(), Error> {
        if self.is_checked.load(Ordering::Acquire) {
            return Ok(());
        }
        let opened = async {
            let opened = self.link.open().await;
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

    async fn check(&self) {
        let info = async {
            let open = self.link.open().await?;
            self.link.ask(&open, &redis::cmd("INFO")).await
        };
        // A role may not be allowed to ask. Then there is nothing to say.
        if let Ok(Ok(value)) = timeout(self.limit, info).await {
            check::warn(&value);
        }
    }

    pub(super) fn close(&self) {
        self.link.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

async fn attempt_once(
    link: &Link,
    call: &Call<'_>,
    in_full: bool,
) -> Result<(Value, Open), Failure> {
    let open = link.open().await?;
    let value = link.ask(&open, &call.command(in_full)).await?;
    Ok((value, open))
}

fn is(error: &RedisError, kind: ServerErrorKind) -> bool {
    error.kind() == redis::ErrorKind::Server(kind)
}

/// The milliseconds of a duration, so many at most that the server can add them to the time of day.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    const MOST: u64 = 1 << 53;
    u64::try_from(duration.as_millis()).map_or(MOST, |milliseconds| milliseconds.min(MOST))
}
