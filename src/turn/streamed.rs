//! The handle to the end of a turn whose reply is streamed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::Session;
use super::ending::StreamEnd;
use super::state::Turn;
use crate::error::{Error, Kind};

/// The time that [`finish`](StreamedTurn::finish) waits for the reply to begin. A handler that
/// awaits it before it answers waits for itself.
const BEGINS_WITHIN: Duration = Duration::from_secs(5);

/// The turn of a reply that is streamed, which [ends with the body](crate::TurnEnd::Body): ends it
/// early, and tells whether the client is still there.
///
/// With feature `axum` it is an extractor; elsewhere it is made of the [`Session`], which each
/// request with a turn has. Clones work from spawned tasks as well.
///
/// Clients of server-sent events take a marker such as `data: [DONE]` for the end of the reply, and
/// do not look at what comes behind it. [`finish`](Self::finish) the turn before the marker, so that
/// the marker says that the turn is stored:
///
/// ```
/// use std::convert::Infallible;
///
/// use axum::Extension;
/// use axum::response::sse::{Event, Sse};
/// use axum::response::IntoResponse;
/// use futures_util::{StreamExt, stream};
/// use tower_persistence::{Error, StreamedTurn, TurnEnd, User};
///
/// async fn answer(user: User, turn: StreamedTurn) -> impl IntoResponse {
///     let tokens = stream::iter(["The answer ", "is 42."]).map(move |token| {
///         let text: String = user.get("answer")?.unwrap_or_default();
///         user.set("answer", text + token)?;
///         Ok::<_, Error>(Event::default().data(token))
///     });
///     let done = stream::once(async move {
///         turn.finish().await?;
///         Ok(Event::default().data("[DONE]"))
///     });
///     (Extension(TurnEnd::Body), Sse::new(tokens.chain(done)))
/// }
/// ```
#[derive(Clone)]
pub struct StreamedTurn(Arc<Turn>);

impl StreamedTurn {
    /// Makes the handle to the turn of this session.
    ///
    /// ```
    /// use http::Request;
    /// use tower_persistence::{Session, StreamedTurn};
    ///
    /// fn turn<B>(request: &Request<B>) -> Option<StreamedTurn> {
    ///     request.extensions().get::<Session>().map(StreamedTurn::from_session)
    /// }
    /// ```
    #[must_use]
    pub fn from_session(session: &Session) -> Self {
        Self(Arc::clone(&session.0))
    }

    /// Ends the turn now, and returns once it is stored. The stream may go on, while the user's next
    /// turn begins; from now on writing through the handles is an error.
    ///
    /// Called again, it returns the same. After it has failed, the stream ends with an error
    /// whatever the handler still yields, so that no client takes it for complete. It waits for a
    /// reply that has not begun yet, for 5 seconds at most: call it from the stream, or from a task
    /// that feeds it, and not before the handler answers.
    ///
    /// ```
    /// # use tower_persistence::{Error, StreamedTurn, User};
    /// # async fn example(user: User, turn: StreamedTurn) -> Result<(), Error> {
    /// user.set("answer", "42")?;
    /// turn.finish().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of saving, a [conflict](Error::is_conflict) among them;
    /// [`is_turn_ended`](Error::is_turn_ended) where the turn ended with the reply's head, or where
    /// nothing is stored since the stream failed or the client hung up;
    /// [`is_timeout`](Error::is_timeout) where the reply does not begin.
    pub async fn finish(&self) -> Result<(), Error> {
        let ending = self.0.ending();
        let begins = ending.until(|| (ending.is_streamed() || self.0.is_sealed()).then_some(()));
        timeout(BEGINS_WITHIN, begins).await.map_err(|_| {
            let message = format!(
                "the reply did not begin within {BEGINS_WITHIN:?}: call `finish` from the stream, \
                 not before the handler answers"
            );
            Error::new(Kind::Timeout, message)
        })?;
        if !ending.is_streamed() {
            let message = "the turn has ended with the reply's head: set `turn_end` to \
                           `TurnEnd::Body`, and stream the reply";
            return Err(Error::new(Kind::TurnEnded, message));
        }
        let _request = ending.request_finish();
        ending.until(|| ending.result()).await
    }

    /// Returns whether the client hung up before the stream ended, or the stream counts as hung up,
    /// since it yielded nothing or was not read for
    /// [`stream_idle_timeout`](crate::PersistenceLayer::stream_idle_timeout).
    ///
    /// The body is dropped as soon as the client hangs up, and a stream inside it ends where it
    /// waits. What its destructors write is still stored. So this is for tasks that feed the
    /// stream.
    ///
    /// ```
    /// # use tower_persistence::StreamedTurn;
    /// # fn example(turn: &StreamedTurn) {
    /// if turn.is_hung_up() {
    ///     println!("Stop the model: its words reach no client.");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        matches!(self.0.ending().stream_end(), Some(StreamEnd::HungUp | StreamEnd::Idle))
    }

    /// Waits until the stream has ended for the turn, and returns whether the client hung up, as
    /// [`is_hung_up`](Self::is_hung_up) does.
    ///
    /// ```
    /// # use tower_persistence::StreamedTurn;
    /// # fn example(turn: StreamedTurn, model: tokio::task::AbortHandle) {
    /// tokio::spawn(async move {
    ///     if turn.hung_up().await {
    ///         model.abort();
    ///     }
    /// });
    /// # }
    /// ```
    pub async fn hung_up(&self) -> bool {
        let ending = self.0.ending();
        let has_ended = || {
            let is_over = ending.stream_end().is_some() || ending.result().is_some();
            is_over || (!ending.is_streamed() && self.0.is_sealed())
        };
        ending.until(|| has_ended().then_some(())).await;
        self.is_hung_up()
    }
}

/// Shows neither the user nor data.
impl fmt::Debug for StreamedTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamedTurn")
            .field("is_hung_up", &self.is_hung_up())
            .finish_non_exhaustive()
    }
}
