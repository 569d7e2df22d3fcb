//! Recognised events, with the platform and the user behind them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::database::Version;
use crate::platform::{ClientSession, Input, NamedPlatform, NewSession};
use crate::record::Record;

/// One request to the inner service: its body, and its event if a platform recognised one.
pub(crate) struct EventRequest {
    pub(crate) bytes: Bytes,
    /// Boxed: it is large, and moved through the futures of a turn.
    pub(crate) event: Option<Box<Recognised>>,
}

/// The time for which the id of an event is kept if the platform states nothing: a client that
/// repeats its requests does so within minutes, or when it is online again.
pub(crate) const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// An event with a user, or at least with a session that the client keeps.
#[derive(Clone)]
pub(crate) struct Recognised {
    pub(crate) platform: NamedPlatform,
    pub(crate) user: Option<Identity>,
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) new_session: NewSession,
    pub(crate) sessionless: bool,
    pub(crate) is_receipt: bool,
    /// The client's session, if one came with the request and is not stored in the record.
    pub(crate) client_session: Option<Box<ClientSession>>,
    pub(crate) deletion_requested: bool,
    pub(crate) id: Option<Arc<str>>,
    /// The number of this user's events in the batch; 0 for an event that came alone.
    pub(crate) batch_size: usize,
    /// The time for which the id is kept once the event is handled; `None` if it is not kept.
    pub(crate) id_kept_for: Option<Duration>,
    /// Set if the reply is kept with the id.
    pub(crate) keeps_reply: bool,
    /// The user's words, if the history keeps them. Boxed, as the session, since most events come
    /// without.
    pub(crate) input: Option<Box<Input>>,
    /// The conversation that the event belongs to, if the platform names one.
    pub(crate) conversation: Option<Identity>,
    /// Set if `user` is a conversation.
    pub(crate) is_conversation: bool,
    /// Set for a turn without a request. It is a receipt, too, but an output that is set makes an
    /// item of the history.
    pub(crate) without_request: bool,
    /// The user as a request left them, if the turn comes after its reply.
    pub(crate) left: Option<Left>,
}

/// A user as the turn of a request left them.
#[derive(Clone)]
pub(crate) enum Left {
    Stored,
    /// Nothing, as it had found nothing; with the version of the tombstone, if there was one.
    Absent(Option<Version>),
}

impl Recognised {
    /// Makes the event of a turn without a request, outside any session.
    pub(crate) fn without_request(platform: NamedPlatform, user: Identity) -> Box<Self> {
        Box::new(Self {
            platform,
            user: Some(user),
            session_id: None,
            new_session: NewSession::No,
            sessionless: true,
            is_receipt: true,
            client_session: None,
            deletion_requested: false,
            id: None,
            batch_size: 0,
            id_kept_for: None,
            keeps_reply: false,
            input: None,
            conversation: None,
            is_conversation: false,
            without_request: true,
            left: None,
        })
    }

    /// Returns the event with its conversation in the user's place, if it has one.
    pub(crate) fn of_conversation(&self) -> Option<Box<Self>> {
        Some(Box::new(Self {
            platform: self.platform.clone(),
            user: Some(self.conversation.clone()?),
            session_id: None,
            new_session: NewSession::Unknown,
            sessionless: true,
            is_receipt: false,
            client_session: None,
            deletion_requested: false,
            id: self.id.clone(),
            batch_size: self.batch_size,
            // The id is noted with what the event did to the conversation, also where it is not
            // noted in the user's record.
            id_kept_for: self.id_kept_for.or(Some(KEPT_FOR)),
            keeps_reply: false,
            input: None,
            conversation: None,
            is_conversation: true,
            without_request: false,
            left: None,
        }))
    }
}

/// The identity of a user, or of a conversation.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    pub(crate) id: Arc<str>,
    pub(crate) storage_key: Arc<str>,
    /// The keys of the user's further ids.
    pub(crate) aliases: Vec<Alias>,
    pub(crate) person_id: Option<Arc<str>>,
    /// Set if the platform created the id for this turn.
    pub(crate) is_created: bool,
    /// Set if an authentication layer in front has identified the user.
    pub(crate) is_authenticated: bool,
}

/// The key of a user's further id.
#[derive(Clone)]
pub(crate) struct Alias {
    pub(crate) key: Arc<str>,
    /// Set if an alias of the user's record is stored under it.
    pub(crate) is_written: bool,
    /// The record under the key, if it was joined into the user's in this turn.
    pub(crate) joined: Option<Record>,
}

impl From<Arc<str>> for Alias {
    fn from(key: Arc<str>) -> Self {
        Self { key, is_written: false, joined: None }
    }
}
