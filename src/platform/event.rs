use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{SessionForm, raw};

/// One event of one user, as a platform sends it.
///
/// ```
/// use tower_persistence::platform::{Event, NewSession};
///
/// let event = Event::default()
///     .user_id(Some("user-1".into()))
///     .session(Some("session-1".into()), NewSession::No);
/// assert_eq!(event.session_id.as_deref(), Some("session-1"));
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Event<'a> {
    /// Whose event it is. `None`: nobody's, there is no [`User`](crate::User) then, unless the platform
    /// [makes an id](super::Platform::create_user_id); an id that is empty or longer than 2,048 bytes is none.
    pub user_id: Option<Cow<'a, str>>,
    /// The part of the platform within which the user id is unique, such as Slack's team; `None` where ids are unique on the whole
    /// platform. It becomes part of the key under which the user is stored.
    pub scope: Option<Cow<'a, str>>,
    /// The platform's id of the session.
    pub session_id: Option<Cow<'a, str>>,
    /// Whether a session starts with this event.
    pub new_session: NewSession,
    /// The session data that the platform brought along, if there is any: an object.
    pub session_data: Option<Cow<'a, RawValue>>,
    /// The form in which the session data came.
    pub session_form: SessionForm,
    /// Who of the household speaks, where the platform recognises the voice. It is no part of what is stored.
    pub person_id: Option<Cow<'a, str>>,
    /// Whether the event stands outside any session, as Alexa's AudioPlayer events do: the session is then empty, and
    /// what is stored or carried of one stays as it is.
    pub sessionless: bool,
    /// Whether the event is a receipt, and no turn of the user's: a delivery or read receipt, a reaction, an echo. It reaches the
    /// handler outside any session, and creates, starts, extends and remembers nothing by itself.
    pub is_receipt: bool,
    /// Whether the platform says that the user has left and their data is to be deleted: see
    /// [`forget_on_skill_disabled`](crate::PersistenceLayer::forget_on_skill_disabled).
    pub deletion_requested: bool,
    /// The platform's id of the event, unique among the user's, by which a repeated one is known.
    pub id: Option<Cow<'a, str>>,
    /// The request body with this event alone, where the request has several. `None`: the request's own.
    pub body: Option<Bytes>,
}

/// Whether a session starts with an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewSession {
    /// The platform says nothing: what is stored decides.
    #[default]
    Unknown,
    /// The platform says that it is a new session.
    Yes,
    /// The platform says that the session goes on.
    No,
    /// The platform says nothing, but what the app would have sent along in an earlier reply did not come back, which Jovo
    /// takes for a new session. A session of the same id that is stored, or session data that came, outweighs this.
    Presumed,
}

impl NewSession {
    /// What the platform's own flag says; `otherwise` where there is none.
    pub(crate) fn from_flag(flag: Option<&RawValue>, otherwise: Self) -> Self {
        match raw::boolean(flag) {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => otherwise,
        }
    }
}

impl<'a> Event<'a> {
    /// Sets the user id.
    #[must_use]
    pub fn user_id(mut self, user_id: Option<Cow<'a, str>>) -> Self {
        self.user_id = user_id;
        self
    }

    /// Sets the part of the platform within which the user id is unique.
    #[must_use]
    pub fn scope(mut self, scope: Option<Cow<'a, str>>) -> Self {
        self.scope = scope;
        self
    }

    /// Sets the session's id and whether it is new.
    #[must_use]
    pub fn session(mut self, session_id: Option<Cow<'a, str>>, new_session: NewSession) -> Self {
        self.session_id = session_id;
        self.new_session = new_session;
        self
    }

    /// Sets the session data that the platform brought along, in either form of [`ClientSession`](super::ClientSession).
    #[must_use]
    pub fn session_data(mut self, session_data: Option<Cow<'a, RawValue>>) -> Self {
        self.session_data = session_data;
        self
    }

    /// Sets the session data that the platform brought along, where it is always the data itself.
    #[must_use]
    pub fn plain_session_data(mut self, session_data: Option<Cow<'a, RawValue>>) -> Self {
        self.session_data = session_data;
        self.session_form = SessionForm::Plain;
        self
    }

    /// Sets the session data that the platform brought along, where it is always an envelope with
    /// `data` and `state`.
    #[must_use]
    pub fn enveloped_session_data(mut self, session_data: Option<Cow<'a, RawValue>>) -> Self {
        self.session_data = session_data;
        self.session_form = SessionForm::Envelope;
        self
    }

    /// Sets who of the household speaks.
    #[must_use]
    pub fn person_id(mut self, person_id: Option<Cow<'a, str>>) -> Self {
        self.person_id = person_id;
        self
    }

    /// Marks the event as a receipt, which is outside any session.
    #[must_use]
    pub fn receipt(mut self) -> Self {
        self.is_receipt = true;
        self.sessionless = true;
        self
    }

    /// Says that the user has left and their data is to be deleted.
    #[must_use]
    pub fn deletion_requested(mut self) -> Self {
        self.deletion_requested = true;
        self
    }

    /// Sets the event's id.
    #[must_use]
    pub fn id(mut self, id: Option<Cow<'a, str>>) -> Self {
        self.id = id;
        self
    }

    /// Sets the request body with this event alone.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Puts the event outside any session.
    #[must_use]
    pub fn sessionless(mut self) -> Self {
        self.sessionless = true;
        self
    }
}

/// Shows neither ids nor data.
impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("has_user_id", &self.user_id.is_some())
            .field("has_session_id", &self.session_id.is_some())
            .field("new_session", &self.new_session)
            .field("has_session_data", &self.session_data.is_some())
            .field("has_person_id", &self.person_id.is_some())
            .field("sessionless", &self.sessionless)
            .field("is_receipt", &self.is_receipt)
            .field("has_scope", &self.scope.is_some())
            .field("deletion_requested", &self.deletion_requested)
            .field("has_id", &self.id.is_some())
            .field("has_body", &self.body.is_some())
            .finish()
    }
}

/// What the user said, in Jovo v4's form, for the history.
///
/// ```
/// use serde_json::json;
/// use tower_persistence::platform::Input;
///
/// let input = Input::intent("OrderIntent", json!({ "drink": { "value": "tea" } })).text("a tea please");
/// assert_eq!(input.input.unwrap()["type"], "INTENT");
/// assert_eq!(input.nlu.unwrap()["entities"]["drink"]["value"], "tea");
/// assert_eq!(input.asr, None);
/// ```
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Input {
    /// The input: its `type` (`LAUNCH`, `INTENT`, `TEXT`, `END`, …), and `intent`, `entities` and `text` where there are any.
    pub input: Option<Value>,
    /// What the platform understood: `{"intent": {"name": …}, "entities": {…}}`.
    pub nlu: Option<Value>,
    /// What the platform's speech recognition heard: `{"text": …}`.
    pub asr: Option<Value>,
}

impl Input {
    /// An input of this type and nothing more, such as `LAUNCH` or `END`.
    #[must_use]
    pub fn of_type(kind: &str) -> Self {
        Self { input: Some(json!({ "type": kind })), ..Self::default() }
    }

    /// An intent with its entities, an object of objects by name.
    #[must_use]
    pub fn intent(name: &str, entities: Value) -> Self {
        let nlu = json!({ "intent": { "name": name }, "entities": &entities });
        let mut input = json!({ "type": "INTENT", "intent": name });
        input["entities"] = entities;
        Self { input: Some(input), nlu: Some(nlu), asr: None }
    }

    /// Adds what the user wrote.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        let input = self.input.get_or_insert_with(|| json!({ "type": "TEXT" }));
        input.as_object_mut().unwrap_or(&mut Map::new()).insert("text".into(), text.into());
        self
    }

    /// Adds what the user said, as the platform's speech recognition heard it.
    #[must_use]
    pub fn speech(mut self, text: &str) -> Self {
        self.asr = Some(json!({ "text": text }));
        self.text(text)
    }
}

/// Shows which parts there are, not what the user said.
impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input")
            .field("has_input", &self.input.is_some())
            .field("has_nlu", &self.nlu.is_some())
            .field("has_asr", &self.asr.is_some())
            .finish()
    }
}
