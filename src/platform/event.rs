//! The events of a request, as a platform reports them.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{SessionForm, raw};

/// A single event of a single user, as the platform sent it.
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
    /// The id of the user that sent the event. If it is `None`, empty or longer than 2,048 bytes,
    /// there is no [`User`](crate::User), unless the platform [creates an
    /// id](super::Platform::create_user_id).
    pub user_id: Option<Cow<'a, str>>,
    /// The part of the platform within which the user id is unique, such as Slack's team; `None`
    /// if ids are unique on the whole platform. It becomes part of the key of the user's
    /// record.
    pub scope: Option<Cow<'a, str>>,
    /// The platform's id of the session.
    pub session_id: Option<Cow<'a, str>>,
    /// The id of the conversation: a chat, a channel, a room. Its participants share the data of
    /// [`Conversation`](crate::Conversation). It is also the session's id unless
    /// [`session_id`](Self::session_id) is set.
    pub conversation: Option<Cow<'a, str>>,
    /// The root of the thread within the conversation. It is then part of the session's id.
    pub thread: Option<Cow<'a, str>>,
    /// The part of the platform that received the event, if user ids are unique without it:
    /// Discord's guild, WhatsApp's phone number, Twilio's account. It is not part of any key.
    pub account: Option<Cow<'a, str>>,
    /// Further ids of the same user, in their order, such as WhatsApp's phone number beside the
    /// business-scoped id. Records that are stored under them become aliases of the one under
    /// [`user_id`](Self::user_id).
    pub also_known_as: Vec<Cow<'a, str>>,
    /// States whether this event starts a session.
    pub new_session: NewSession,
    /// The session data that the platform sent back, if there is any: an object.
    pub session_data: Option<Cow<'a, RawValue>>,
    /// The form of the session data.
    pub session_form: SessionForm,
    /// The household member speaking, if the platform recognises the voice. It is never stored.
    pub person_id: Option<Cow<'a, str>>,
    /// Set if the event belongs to no session, as Alexa's AudioPlayer events do. The handler then
    /// gets an empty session, and a stored or client-side session stays as it is.
    pub sessionless: bool,
    /// Set if the event is a receipt, not a turn of the user: a delivery or read receipt, a
    /// reaction, an echo. It reaches the handler without a session. By itself it creates no user,
    /// starts or extends no session, and adds nothing to the history.
    pub is_receipt: bool,
    /// Set if the user has left and the platform asks for the deletion of their data: see
    /// [`forget_on_skill_disabled`](crate::PersistenceLayer::forget_on_skill_disabled).
    pub deletion_requested: bool,
    /// The platform's id of the event, unique among the user's events, which identifies repeats.
    pub id: Option<Cow<'a, str>>,
    /// Set if other events have the same id, as the clicks on one message have. It then does not
    /// identify repeats.
    pub has_shared_id: bool,
    /// The time for which the platform sends the event again until it is answered with success;
    /// `None` if it does not, or if it reads the reply. An event with an id that is repeated
    /// is served once.
    pub repeats: Option<Duration>,
    /// The request body with this event alone, if the request has several; `None` if the event is
    /// the whole request.
    pub body: Option<Bytes>,
}

/// The platform's statement about whether an event starts a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewSession {
    /// The platform states nothing: the stored session decides.
    #[default]
    Unknown,
    /// The platform states that the session is new.
    Yes,
    /// The platform states that the session continues.
    No,
    /// The platform states nothing, and did not send back the data that the app would have put into
    /// an earlier reply; Jovo treats this as a new session. A stored session of the same id, or
    /// session data in the request, takes precedence.
    Presumed,
}

impl NewSession {
    /// Converts the platform's own flag; returns `otherwise` if there is none.
    pub(crate) fn from_flag(flag: Option<&RawValue>, otherwise: Self) -> Self {
        match raw::boolean(flag) {
            Some(true) => Self::Yes,
            Some(false) => Self::No,
            None => otherwise,
        }
    }
}

impl<'a> Event<'a> {
    /// Sets the user id. Default: `None`, the event has no user.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().user_id(Some("user-1".into()));
    /// assert_eq!(event.user_id.as_deref(), Some("user-1"));
    /// ```
    #[must_use]
    pub fn user_id(mut self, user_id: Option<Cow<'a, str>>) -> Self {
        self.user_id = user_id;
        self
    }

    /// Sets the part of the platform within which the user id is unique. Default: `None`, the whole
    /// platform.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().user_id(Some("U1".into())).scope(Some("T1".into()));
    /// assert_eq!(event.scope.as_deref(), Some("T1"));
    /// ```
    #[must_use]
    pub fn scope(mut self, scope: Option<Cow<'a, str>>) -> Self {
        self.scope = scope;
        self
    }

    /// Sets the id of the conversation: a chat, a channel, a room. Default: `None`.
    ///
    /// It is the session's id unless [`session`](Self::session) sets one, followed by the
    /// [thread](Self::thread) if there is one: each thread of a channel has a session of its own.
    /// In a direct message, where threads do not part the conversation, set the conversation as
    /// the session as well.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().conversation(Some("C1".into()));
    /// assert_eq!(event.conversation.as_deref(), Some("C1"));
    /// ```
    #[must_use]
    pub fn conversation(mut self, conversation: Option<Cow<'a, str>>) -> Self {
        self.conversation = conversation;
        self
    }

    /// Sets the root of the thread within the [conversation](Self::conversation). Default: `None`.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().conversation(Some("C1".into())).thread(Some("17.5".into()));
    /// assert_eq!(event.thread.as_deref(), Some("17.5"));
    /// ```
    #[must_use]
    pub fn thread(mut self, thread: Option<Cow<'a, str>>) -> Self {
        self.thread = thread;
        self
    }

    /// Sets the part of the platform that received the event, which is not part of the user's key.
    /// Default: `None`.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().user_id(Some("user-1".into())).account(Some("guild-1".into()));
    /// assert_eq!(event.account.as_deref(), Some("guild-1"));
    /// ```
    #[must_use]
    pub fn account(mut self, account: Option<Cow<'a, str>>) -> Self {
        self.account = account;
        self
    }

    /// Adds a further id of the same user, with the same [scope](Self::scope). Default: none.
    ///
    /// The data stored under such an id is joined into the user's record, and the id leads to that
    /// from then on, also if a later event names it alone. Two ids belong to one user only if the
    /// platform says so in one genuine request.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().user_id(Some("US.13491208".into()));
    /// let event = event.also_known_as("15550100");
    /// assert_eq!(event.also_known_as, ["15550100"]);
    /// ```
    #[must_use]
    pub fn also_known_as(mut self, id: impl Into<Cow<'a, str>>) -> Self {
        self.also_known_as.push(id.into());
        self
    }

    /// Sets the session's id, and whether the session is new. Default: `None` and
    /// [`NewSession::Unknown`].
    ///
    /// ```
    /// use tower_persistence::platform::{Event, NewSession};
    ///
    /// let event = Event::default().session(Some("session-1".into()), NewSession::Yes);
    /// assert_eq!(event.new_session, NewSession::Yes);
    /// ```
    #[must_use]
    pub fn session(mut self, session_id: Option<Cow<'a, str>>, new_session: NewSession) -> Self {
        self.session_id = session_id;
        self.new_session = new_session;
        self
    }

    /// Sets the session data that the platform sent back, in either form of
    /// [`ClientSession`](super::ClientSession). Default: `None`.
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use tower_persistence::platform::{Document, Event};
    ///
    /// let request = Document::parse(br#"{"data":{"step":1}}"#).expect("JSON");
    /// let event = Event::default().session_data(request.get("data").map(Cow::Borrowed));
    /// assert_eq!(event.session_data.unwrap().get(), r#"{"step":1}"#);
    /// ```
    #[must_use]
    pub fn session_data(mut self, session_data: Option<Cow<'a, RawValue>>) -> Self {
        self.session_data = session_data;
        self
    }

    /// Sets the session data that the platform sent back, for platforms that always send the data
    /// itself: [`SessionForm::Plain`].
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use tower_persistence::platform::{Document, Event, SessionForm};
    ///
    /// let request = Document::parse(br#"{"data":{"step":1}}"#).expect("JSON");
    /// let event = Event::default().plain_session_data(request.get("data").map(Cow::Borrowed));
    /// assert_eq!(event.session_form, SessionForm::Plain);
    /// ```
    #[must_use]
    pub fn plain_session_data(mut self, session_data: Option<Cow<'a, RawValue>>) -> Self {
        self.session_data = session_data;
        self.session_form = SessionForm::Plain;
        self
    }

    /// Sets the session data that the platform sent back, for platforms that always send an
    /// envelope with `data` and `state`: [`SessionForm::Envelope`].
    ///
    /// ```
    /// use std::borrow::Cow;
    /// use tower_persistence::platform::{Document, Event, SessionForm};
    ///
    /// let request = Document::parse(br#"{"session":{"data":{"step":1}}}"#).expect("JSON");
    /// let session = request.get("session").map(Cow::Borrowed);
    /// let event = Event::default().enveloped_session_data(session);
    /// assert_eq!(event.session_form, SessionForm::Envelope);
    /// ```
    #[must_use]
    pub fn enveloped_session_data(mut self, session_data: Option<Cow<'a, RawValue>>) -> Self {
        self.session_data = session_data;
        self.session_form = SessionForm::Envelope;
        self
    }

    /// Sets the id of the household member speaking. Default: `None`.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().person_id(Some("person-1".into()));
    /// assert_eq!(event.person_id.as_deref(), Some("person-1"));
    /// ```
    #[must_use]
    pub fn person_id(mut self, person_id: Option<Cow<'a, str>>) -> Self {
        self.person_id = person_id;
        self
    }

    /// Marks the event as a receipt, and with it as [`sessionless`](Self::sessionless). Default:
    /// not a receipt.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().user_id(Some("user-1".into())).receipt();
    /// assert!(event.is_receipt && event.sessionless);
    /// ```
    #[must_use]
    pub fn receipt(mut self) -> Self {
        self.is_receipt = true;
        self.sessionless = true;
        self
    }

    /// Marks the event as a request to delete the user's data. Default: not requested.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().user_id(Some("user-1".into())).deletion_requested();
    /// assert!(event.deletion_requested);
    /// ```
    #[must_use]
    pub fn deletion_requested(mut self) -> Self {
        self.deletion_requested = true;
        self
    }

    /// Sets the event's id, which identifies repeats. Default: `None`, each repeat counts as a new
    /// event.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().id(Some("message-1".into()));
    /// assert_eq!(event.id.as_deref(), Some("message-1"));
    /// ```
    #[must_use]
    pub fn id(mut self, id: Option<Cow<'a, str>>) -> Self {
        self.id = id;
        self
    }

    /// Marks the [`id`](Self::id) as one that other events have as well, such as that of the
    /// message on which users act. Default: it is the event's own.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let click = Event::default().id(Some("spaces/1/messages/1".into())).shared_id();
    /// assert!(click.has_shared_id);
    /// ```
    #[must_use]
    pub fn shared_id(mut self) -> Self {
        self.has_shared_id = true;
        self
    }

    /// Sets how long the platform sends the event again until it is answered with success. Its
    /// [`id`](Self::id) is then stored with what the turn did, and a repeat gets an empty success
    /// without reaching the handler. Default: `None`, the platform does not repeat the event, or it
    /// reads the reply: see [`deduplicate`](crate::PersistenceLayer::deduplicate).
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::platform::Event;
    ///
    /// let hour = Duration::from_secs(60 * 60);
    /// let event = Event::default().id(Some("message-1".into())).repeats(hour);
    /// assert_eq!(event.repeats, Some(hour));
    /// ```
    #[must_use]
    pub fn repeats(mut self, within: Duration) -> Self {
        self.repeats = Some(within);
        self
    }

    /// Sets the request body with this event alone. Default: `None`, the body of the request.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// let event = Event::default().body(r#"{"events":[{"id":1}]}"#);
    /// assert_eq!(event.body.unwrap(), r#"{"events":[{"id":1}]}"#);
    /// ```
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Marks the event as one that belongs to no session. Default: it may have a session.
    ///
    /// ```
    /// use tower_persistence::platform::Event;
    ///
    /// assert!(Event::default().sessionless().sessionless);
    /// ```
    #[must_use]
    pub fn sessionless(mut self) -> Self {
        self.sessionless = true;
        self
    }

    /// Returns the event with texts of its own, for one that was read from text within the request.
    pub(super) fn into_owned(self) -> Event<'static> {
        fn owned(text: Option<Cow<'_, str>>) -> Option<Cow<'static, str>> {
            text.map(|text| Cow::Owned(text.into_owned()))
        }
        Event {
            user_id: owned(self.user_id),
            scope: owned(self.scope),
            session_id: owned(self.session_id),
            conversation: owned(self.conversation),
            thread: owned(self.thread),
            account: owned(self.account),
            also_known_as: self
                .also_known_as
                .into_iter()
                .map(|id| id.into_owned().into())
                .collect(),
            new_session: self.new_session,
            session_data: self.session_data.map(|data| Cow::Owned(data.into_owned())),
            session_form: self.session_form,
            person_id: owned(self.person_id),
            sessionless: self.sessionless,
            is_receipt: self.is_receipt,
            deletion_requested: self.deletion_requested,
            has_shared_id: self.has_shared_id,
            repeats: self.repeats,
            id: owned(self.id),
            body: self.body,
        }
    }

    /// Takes the session's id: the one that is set, else the conversation with its thread.
    pub(crate) fn take_session_id(&mut self) -> Option<Cow<'a, str>> {
        let own = self.session_id.take();
        own.or_else(|| match (&self.conversation, &self.thread) {
            (Some(conversation), Some(thread)) => Some(format!("{conversation}/{thread}").into()),
            (conversation, _) => conversation.clone(),
        })
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
            .field("has_account", &self.account.is_some())
            .field("has_conversation", &self.conversation.is_some())
            .field("has_thread", &self.thread.is_some())
            .field("further_ids", &self.also_known_as.len())
            .field("deletion_requested", &self.deletion_requested)
            .field("has_id", &self.id.is_some())
            .field("has_shared_id", &self.has_shared_id)
            .field("repeats", &self.repeats)
            .field("has_body", &self.body.is_some())
            .finish()
    }
}
