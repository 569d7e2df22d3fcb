//! The three handles of a turn without a request.

use std::sync::Arc;

use super::state::Turn;
use super::{Conversation, History, Session, User};

/// The handles of a turn without a request, as its closure gets them.
///
/// ```
/// use tower_persistence::{Error, Handles, MemoryDb, PersistenceLayer};
///
/// async fn deliver(handles: Handles) -> Result<i64, Error> {
///     handles.user.increment("parcels", 1)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// let layer = PersistenceLayer::new(MemoryDb::new());
/// assert_eq!(layer.turn("alexa", "user-1", deliver).await?, 1);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handles {
    /// The handle to the user's data.
    pub user: User,
    /// The handle to the session.
    pub session: Session,
    /// The handle to the history.
    pub history: History,
    /// The conversation of the request, if the turn follows one that has a conversation.
    pub conversation: Option<Conversation>,
}

impl Handles {
    pub(crate) fn new(turn: &Arc<Turn>, conversation: Option<Conversation>) -> Self {
        Self {
            user: User(Arc::clone(turn)),
            session: Session(Arc::clone(turn)),
            history: History(Arc::clone(turn)),
            conversation,
        }
    }
}
