//! Events as the layer hands them on: with the platform and the user behind them.

use std::sync::Arc;

use bytes::Bytes;

use crate::platform::{ClientSession, Input, NamedPlatform, NewSession};

/// One request to the inner service: its body, and the event in it if there is one.
pub(crate) struct EventRequest {
    pub(crate) bytes: Bytes,
    pub(crate) event: Option<Recognised>,
}

/// An event with a user, or with a session at least.
#[derive(Clone)]
pub(crate) struct Recognised {
    pub(crate) platform: NamedPlatform,
    pub(crate) user: Option<Identity>,
    pub(crate) session_id: Option<Arc<str>>,
    pub(crate) new_session: NewSession,
    pub(crate) sessionless: bool,
    pub(crate) is_receipt: bool,
    /// The session that came along, where the platform carries it.
    pub(crate) carried: Option<ClientSession>,
    pub(crate) deletion_requested: bool,
    pub(crate) id: Option<Arc<str>>,
    /// How many events of this user the batch has in which it came; 0 for an event that came
    /// alone.
    pub(crate) batch_size: usize,
    pub(crate) input: Input,
}

/// The identity of a user.
#[derive(Clone, Default)]
pub(crate) struct Identity {
    pub(crate) id: Arc<str>,
    pub(crate) storage_key: Arc<str>,
    pub(crate) person_id: Option<Arc<str>>,
    /// Whether the id was made for this turn.
    pub(crate) is_created: bool,
}
