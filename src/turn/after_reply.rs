//! Work after the reply: how a handler starts it, and where it waits until its turn is stored.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::handles::Handles;
use super::state::{Basis, Phase, Turn};
use crate::error::{BoxError, Error, Kind};
use crate::incoming::{Identity, Left, Recognised};
use crate::under_way::{UnderWay, WorkUnderWay};

/// Starts work that goes on after the handler has answered, as a turn of the request's user.
///
/// **Work after the answer is done at most once.** A process that dies, or is stopped before
/// [`PersistenceLayer::drain`](crate::PersistenceLayer::drain) has ended, loses it, and since the
/// platform has its answer, it does not send the event again. Where that is too little, answer
/// after the work.
///
/// It is for platforms that wait only seconds for an answer and get the reply by another call, as
/// Slack, Discord, Messenger and Teams do. Like [`User`](crate::User) it is in the request's
/// extensions, and an extractor with feature `axum`.
///
/// ```
/// use tower_persistence::{AfterReply, Error, User};
///
/// # async fn ask_model(question: &str) -> Result<String, std::io::Error> { Ok(question.into()) }
/// # async fn send(answer: &str) -> Result<(), std::io::Error> { Ok(()) }
/// async fn handler(after_reply: AfterReply, question: String) -> Result<&'static str, Error> {
///     after_reply.spawn(|turn| async move {
///         let answer = ask_model(&question).await?;
///         send(&answer).await?;
///         turn.history.set_output(&answer)?;
///         turn.user.increment("answers", 1)?;
///         Ok(())
///     })?;
///     Ok("I am thinking …")
/// }
/// ```
///
/// # When it begins
///
/// The work begins once the request's turn is stored, if the handler answered with a status below
/// 400. Otherwise it is dropped: after a 4xx, a 5xx, a panic or an error of the handler, a save
/// that failed, a client that hung up before the handler answered, a user who was deleted, and an
/// earlier run of [`OnConflict::Rerun`](crate::OnConflict::Rerun). An event that was handled
/// before does not reach the handler, so that it starts nothing either. In a batch, each event
/// starts its own.
///
/// Once begun, it does not depend on the client.
///
/// # The turn
///
/// It is a turn [without a request](crate::PersistenceLayer::turn), except that it belongs to the
/// stored session of its request. A session that the client keeps left with the reply; writing to
/// it is an [error](Error::is_element_disabled). Nothing of it is stored if the closure returns an
/// error or panics, if it takes longer than
/// [`detached_timeout`](crate::PersistenceLayer::detached_timeout), or if saving fails: the log
/// says so, and the metric `tower_persistence.detached`. A user who was deleted after the request
/// stays deleted; the closure does not run.
///
/// Turns after a reply run one after the other, in the order of their user's requests. Later
/// requests do not wait for them, so that they can be acknowledged meanwhile. Where both write,
/// they merge as two processes do, whatever the layer's
/// [`on_conflict`](crate::PersistenceLayer::on_conflict) is: running the closure again would do its
/// work twice, and to overwrite would undo the requests that came meanwhile. So write with
/// [`increment`](crate::User::increment), or to keys that no handler changes. A request whose own
/// save meets such a write resolves that as the layer is told.
#[derive(Clone)]
pub struct AfterReply {
    turn: Arc<Turn>,
    under_way: UnderWay,
    limit: usize,
}

/// Work that waits for its request's turn to be stored.
pub(crate) struct DetachedWork {
    pub(crate) run: Box<dyn FnOnce(Handles) -> BoxFuture<'static, Result<(), BoxError>> + Send>,
    pub(crate) under_way: WorkUnderWay,
}

impl AfterReply {
    pub(crate) fn new(turn: &Arc<Turn>, under_way: &UnderWay, limit: usize) -> Self {
        Self { turn: Arc::clone(turn), under_way: under_way.clone(), limit }
    }

    /// Starts `work` after the reply: **at most once**, since a process that dies loses it, and the
    /// platform does not send the event again.
    ///
    /// The handler cannot wait for it, because it begins only when the handler's turn is stored.
    /// See [`AfterReply`] for when that is, and for what the closure may do.
    ///
    /// ```
    /// # use tower_persistence::{AfterReply, Error};
    /// # fn example(after_reply: &AfterReply) -> Result<(), Error> {
    /// after_reply.spawn(|turn| async move {
    ///     turn.user.set("welcomed", true)?;
    ///     Ok(())
    /// })?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Answer with it, so that the platform sends the event again:
    ///
    /// * [`is_detached_limit`](Error::is_detached_limit), a 503, if
    ///   [`detached_limit`](crate::PersistenceLayer::detached_limit) turns are under way;
    /// * [`is_configuration`](Error::is_configuration) on AWS Lambda, which is told by its
    ///   [environment](https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html)
    ///   (`AWS_LAMBDA_RUNTIME_API` or `AWS_LAMBDA_FUNCTION_NAME`), because Lambda
    ///   [freezes](https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html)
    ///   the process after the reply;
    /// * [`is_database`](Error::is_database), a 503, in a turn that
    ///   [is degraded](crate::User::is_degraded), since it is not stored;
    /// * [`is_turn_ended`](Error::is_turn_ended) after the turn has ended, or its user was
    ///   forgotten in it, and [`is_reentrant`](Error::is_reentrant) inside the closure of an
    ///   `update`.
    pub fn spawn<F, R>(&self, work: F) -> Result<(), Error>
    where
        F: FnOnce(Handles) -> R + Send + 'static,
        R: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        if is_on_lambda() {
            let message = "nothing runs after the reply on AWS Lambda, which freezes the process: \
                           do the work before the handler answers";
            return Err(Error::new(Kind::Configuration, message));
        }
        if self.turn.is_degraded() {
            let message = "the turn runs without memory, so nothing begins after its reply: answer \
                           with an error, so that the platform sends the event again";
            return Err(Error::new(Kind::Database, message));
        }
        let under_way = self.under_way.begin_within(self.limit).ok_or_else(|| {
            let message = format!(
                "{} turns are under way after their replies: let the platform send the event \
                 again, or raise `detached_limit`",
                self.limit
            );
            Error::new(Kind::DetachedLimit, message)
        })?;
        let run = Box::new(move |handles| Box::pin(work(handles)) as BoxFuture<'static, _>);
        self.turn.hold(DetachedWork { run, under_way })
    }
}

fn is_on_lambda() -> bool {
    let names = ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME"];
    names.iter().any(|name| std::env::var_os(name).is_some())
}

impl Turn {
    /// Keeps work until the turn is stored.
    fn hold(&self, work: DetachedWork) -> Result<(), Error> {
        let mut state = self.state();
        self.check_not_updating(&state)?;
        let is_open = state.phase == Phase::Open && !self.event.deletion_requested;
        match state.detached.as_mut().filter(|_| is_open) {
            Some(detached) => detached.push(work),
            None => {
                // Not dropped under the lock: what the closure holds may use a handle.
                drop(state);
                let message = "the turn has ended, or its user was forgotten: start work before \
                               that";
                return Err(Error::new(Kind::TurnEnded, message));
            }
        }
        Ok(())
    }

    /// Returns the work that the handler started. From now on it cannot start any.
    pub(crate) fn take_detached(&self) -> Vec<DetachedWork> {
        self.state().detached.take().unwrap_or_default()
    }

    /// Makes the event of the work after the reply, once the turn is stored. `is_written` says
    /// whether there was something to store.
    pub(crate) fn detached_event(&self, is_written: bool) -> Option<Box<Recognised>> {
        let user = self.user()?.clone();
        // The further ids are tied to the record by now.
        let user = Identity { is_created: false, aliases: Vec::new(), ..user };
        let left = match &self.loaded {
            Basis::Absent(tombstone) if !is_written => Left::Absent(tombstone.clone()),
            Basis::Absent(_) | Basis::Record(_) | Basis::Joined { .. } => Left::Stored,
            Basis::Unknown => return None,
        };
        let mut event = Recognised::without_request(self.platform().clone(), user);
        event.sessionless = self.state().session.times().is_none();
        event.session_id = self.event.session_id.clone();
        event.conversation = self.event.conversation.clone();
        event.left = Some(left);
        Some(event)
    }
}

impl fmt::Debug for AfterReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AfterReply")
            .field("platform", &self.turn.platform().name)
            .finish_non_exhaustive()
    }
}
