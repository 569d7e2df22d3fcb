//! The policies for conflicting writes, for outages of the database, and for replies that are
//! streamed.

/// The policy if another process saved the same user's record between load and save.
///
/// Within one process, the requests of a user run one after the other, but turns
/// [after a reply](crate::AfterReply) run beside them and count as another process; their own
/// conflicts are merged under every policy. A user deleted in the meantime stays deleted under
/// every policy, and the reply is sent.
///
/// ```
/// use tower_persistence::{MemoryDb, OnConflict, PersistenceLayer};
///
/// let rerun = OnConflict::Rerun { attempts: 3 };
/// let layer = PersistenceLayer::new(MemoryDb::new()).on_conflict(rerun);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnConflict {
    /// Applies the changes of this turn to the stored record, key by key of user and session data:
    ///
    /// * A key that only one side changed is taken from that side; if both values are objects, the
    ///   same holds for their keys. Arrays and other values are taken as a whole.
    /// * The sum of this turn's `increment`s is added to the stored number.
    /// * A key that both sides changed to different values, or that one side removed and the other
    ///   changed, is a conflict: nothing is written, and the error is
    ///   [`is_conflict`](crate::Error::is_conflict), a 409.
    /// * The history holds the turns of both sides. Timestamps, session counts and the session's
    ///   state never conflict.
    #[default]
    Merge,
    /// Runs the handler again on the stored record, for handlers without effects elsewhere. It is
    /// called with the same request and fresh handles, by a clone of the inner service. After the
    /// last attempt the turn fails with a conflict.
    Rerun {
        /// The maximum number of additional runs.
        attempts: u32,
    },
    /// Replaces the stored record with this turn's. The changes of the other process are lost.
    Overwrite,
}

/// The policy if loading fails or takes too long.
///
/// ```
/// use tower_persistence::{MemoryDb, OnOutage, PersistenceLayer};
///
/// let layer = PersistenceLayer::new(MemoryDb::new()).on_outage(OnOutage::Degrade);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnOutage {
    /// Does not run the handler; the reply is a 503, or that of
    /// [`on_error`](crate::PersistenceLayer::on_error).
    #[default]
    Reject,
    /// Runs the handler without memory, which [`User::is_degraded`](crate::User::is_degraded)
    /// reports. Everything reads as empty, the handler can read its own writes in this turn, and
    /// nothing is stored.
    Degrade,
}

/// The moment at which a turn ends: its changes are stored then, and the user's next turn begins.
///
/// The layer's option is [`turn_end`](crate::PersistenceLayer::turn_end). A handler overrides it
/// for one reply by the response's extensions; with axum:
///
/// ```
/// use axum::Extension;
/// use axum::response::IntoResponse;
/// use axum::response::sse::{Event, Sse};
/// use futures_util::stream;
/// use tower_persistence::{Error, TurnEnd, User};
///
/// async fn answer(user: User) -> impl IntoResponse {
///     let events = stream::once(async move {
///         user.increment("answers", 1)?;
///         Ok::<_, Error>(Event::default().data("42"))
///     });
///     (Extension(TurnEnd::Body), Sse::new(events))
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TurnEnd {
    /// When the handler returns the response. A body that is streamed later cannot write any more.
    #[default]
    Head,
    /// When the body ends. Until then handles can be written, and the user's later turns wait. The
    /// end of the stream reaches the client after the changes are stored: a reply of known length
    /// keeps back its last frame, and where storing fails, the stream ends with an error.
    /// [`StreamedTurn::finish`](crate::StreamedTurn::finish) ends the turn earlier.
    ///
    /// The turn ends with the head all the same if the status is a 4xx or 5xx, or if the whole body
    /// is there together with the head, as that of a `String` or of axum's `Json` is.
    ///
    /// A stream cannot carry a [client-side session](crate::Platform::has_client_sessions) or a
    /// created user id, and the history does not store it as `response`.
    /// [`OnConflict::Rerun`] acts as [`OnConflict::Merge`], since the client has the beginning of
    /// the reply.
    Body,
}

/// The policy if the client hangs up while a reply is streamed whose turn
/// [ends with the body](TurnEnd::Body).
///
/// ```
/// use tower_persistence::{MemoryDb, OnHangUp, PersistenceLayer};
///
/// let layer = PersistenceLayer::new(MemoryDb::new()).on_hang_up(OnHangUp::Discard);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnHangUp {
    /// Stores the changes made until then: a language model has been paid for what it said.
    #[default]
    Save,
    /// Stores nothing.
    Discard,
}
