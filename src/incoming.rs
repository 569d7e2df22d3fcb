//! Recognised events, with the platform and the user behind them.

use std::sync::Arc;

use bytes::Bytes;

use crate::platform::{ClientSession, Input, NamedPlatform, NewSession};

/// One request to the inner service: its body, and its event if a platform recognised one.
pub(crate) struct EventRequest {
    pub(crate) bytes: Bytes,
    pub(crate) event: Option<Recognised>,
}

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
    pub(crate) client_session: Option<ClientSession>,
    pub(crate) deletion_requested: bool,
    pub(crate) id: Option<Arc<str>>,
    /// The number of this user's events in the batch; 0 for an event that came alone.
    pub(crate) batch_size: usize,
    pub(crate) input: Input,
    /// Set for a turn without a request. It is a receipt, too, but an output that is set makes an
    /// item of the history.
    pub(crate) without_request: bool,
}

impl Recognised {
    /// Makes the event of a turn without a request, outside any session.
    pub(crate) fn without_request(platform: NamedPlatform, user: Identity) -> Self {
        Self {
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
            input: Input::default(),
            without_request: true,
        }
    }
}

/// The identity of a user.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    pub(crate) id: Arc<str>,
    pub(crate) storage_key: Arc<str>,
    pub(crate) person_id: Option<Arc<str>>,
    /// Set if the platform created the id for this turn.
    pub(crate) is_created: bool,
}
