//! Platforms declared with JSON pointers.

mod ids;
mod place;
mod sessions;
mod several;

use std::borrow::Cow;
use std::time::Duration;

use uuid::Uuid;

pub use self::place::Pointers;
use self::place::{Condition, Place};
use super::raw::filled_object;
use super::{Event, NewSession, Platform, PlatformRequest, Reply, ReplyState};

/// A custom platform, declared with JSON pointers ([RFC
/// 6901](https://www.rfc-editor.org/rfc/rfc6901)).
///
/// ```
/// use tower_persistence::platform::{JsonPlatform, Platform, PlatformRequest};
///
/// let slack = JsonPlatform::new("slack")
///     .detect("/event_id")
///     .detect_value("/type", "event_callback")
///     .user_id("/event/user")
///     .user_scope("/team_id")
///     .session_id("/event/channel")
///     .event_id("/event_id");
///
/// let body = br#"{"type":"event_callback","team_id":"T1","event_id":"Ev1",
///     "event":{"user":"U1","channel":"C1"}}"#;
/// let (head, body) = http::Request::post("/").body(body)?.into_parts();
/// let request = PlatformRequest::parse(&head, body).expect("JSON");
/// let events = slack.recognise(&request).expect("from Slack");
/// assert_eq!(events[0].user_id.as_deref(), Some("U1"));
/// assert_eq!(events[0].scope.as_deref(), Some("T1"));
/// assert_eq!(events[0].id.as_deref(), Some("Ev1"));
/// # Ok::<(), http::Error>(())
/// ```
///
/// It requires at least one [`detect`](Self::detect) or [`detect_value`](Self::detect_value);
/// without one it recognises nothing. A pointer that does not start with `/` finds nothing. Each
/// place may be several [`Pointers`], of which the first one that finds a value counts. Ids are
/// texts of 1 to 2,048 bytes; anything else is not an id, except that an event's id may be a
/// number, and others with [`numeric_ids`](Self::numeric_ids).
#[derive(Clone, Debug, Default)]
pub struct JsonPlatform {
    name: String,
    is_form: bool,
    detect: Vec<Condition>,
    receipt: Vec<Condition>,
    events: Option<String>,
    user_id: Pointers,
    user_scope: Pointers,
    account: Pointers,
    has_numeric_ids: bool,
    shared_ids: Vec<String>,
    event_id: Pointers,
    repeats: Option<Duration>,
    session_id: Pointers,
    conversation_id: Pointers,
    thread: Pointers,
    new_session: Option<String>,
    session_data: Option<String>,
    reply_session_data: Option<String>,
    reply_user_id: Option<String>,
}

impl JsonPlatform {
    /// Creates a platform of this name, which recognises nothing yet.
    ///
    /// ```
    /// use tower_persistence::platform::{JsonPlatform, Platform};
    ///
    /// assert_eq!(JsonPlatform::new("kiosk").name(), "kiosk");
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Sets whether the requests are forms (`application/x-www-form-urlencoded`) instead of JSON: a
    /// pointer such as `/From` is then the field `From`. Default: `false`.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let sms = JsonPlatform::new("sms").form(true).detect("/MessageSid").user_id("/From");
    /// ```
    #[must_use]
    pub fn form(mut self, form: bool) -> Self {
        self.is_form = form;
        self
    }

    /// Recognises only requests with a value other than `null`, `false`, zero and empty text under
    /// one of these pointers. Several conditions must all hold.
    ///
    /// ```
    /// use tower_persistence::platform::{JsonPlatform, Platform, PlatformRequest};
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect("/kiosk/badge");
    /// let (head, body) = http::Request::post("/").body(br#"{"kiosk":{"badge":"B1"}}"#)?.into_parts();
    /// let request = PlatformRequest::parse(&head, body).expect("JSON");
    /// assert!(kiosk.recognise(&request).is_some());
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn detect(mut self, pointers: impl Into<Pointers>) -> Self {
        self.detect.push(Condition::Is(pointers.into()));
        self
    }

    /// Recognises only requests with this text there. Several conditions must all hold.
    ///
    /// ```
    /// use tower_persistence::platform::{JsonPlatform, Platform, PlatformRequest};
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect_value("/source", "kiosk");
    /// let (head, body) = http::Request::post("/").body(br#"{"source":"kiosk"}"#)?.into_parts();
    /// let request = PlatformRequest::parse(&head, body).expect("JSON");
    /// assert!(kiosk.recognise(&request).is_some());
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn detect_value(mut self, pointers: impl Into<Pointers>, text: impl Into<String>) -> Self {
        self.detect.push(Condition::IsText(pointers.into(), text.into()));
        self
    }

    /// Takes a request or event with a value under one of these pointers for a
    /// [receipt](Event::is_receipt), as [`detect`](Self::detect) would recognise it. Of several
    /// conditions, one suffices. Default: none, no event is a receipt.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let chat = JsonPlatform::new("chat").detect("/chat").receipt(["/delivered", "/seen"]);
    /// ```
    #[must_use]
    pub fn receipt(mut self, pointers: impl Into<Pointers>) -> Self {
        self.receipt.push(Condition::Is(pointers.into()));
        self
    }

    /// Takes a request or event with this text under one of these pointers for a
    /// [receipt](Event::is_receipt). Of several conditions, one suffices. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let chat = JsonPlatform::new("chat").detect("/chat").receipt_value("/event", "seen");
    /// ```
    #[must_use]
    pub fn receipt_value(mut self, pointers: impl Into<Pointers>, text: impl Into<String>) -> Self {
        self.receipt.push(Condition::IsText(pointers.into(), text.into()));
        self
    }

    /// Sets the pointer to an array of events, each of which is an event of its own, with a body of
    /// its own: the array with this event alone, beside the short members of the request. Default:
    /// none, a request is one event.
    ///
    /// All pointers of events are then looked up in an element: user, session, conversation,
    /// thread, event id, receipt. Those of scope and account are looked up there and then in the
    /// request, and those of [`detect`](Self::detect) in the request. An empty array is a request
    /// without a user.
    ///
    /// ```
    /// use tower_persistence::platform::{JsonPlatform, Platform, PlatformRequest};
    ///
    /// let chat = JsonPlatform::new("chat").detect("/bot").events("/events").user_id("/from");
    /// let body = br#"{"bot":"b1","events":[{"from":"u1"},{"from":"u2"}]}"#;
    /// let (head, body) = http::Request::post("/").body(body)?.into_parts();
    /// let request = PlatformRequest::parse(&head, body).expect("JSON");
    /// let events = chat.recognise(&request).expect("from the chat");
    /// assert_eq!(events[1].user_id.as_deref(), Some("u2"));
    /// assert_eq!(events[1].body.as_deref().unwrap(), br#"{"bot":"b1","events":[{"from":"u2"}]}"#);
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn events(mut self, pointer: impl Into<String>) -> Self {
        self.events = Some(pointer.into());
        self
    }
}

impl Platform for JsonPlatform {
    fn name(&self) -> &str {
        &self.name
    }

    fn reads_forms(&self) -> bool {
        self.is_form
    }

    fn has_threads(&self) -> bool {
        !self.thread.0.is_empty()
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let whole = match self.is_form {
            true => Place::Form(request.form()?),
            false => Place::Document(request.json()?),
        };
        if self.detect.is_empty() || !self.detect.iter().all(|condition| condition.holds(&whole)) {
            return None;
        }
        match (&self.events, request.json()) {
            (Some(list), Some(document)) => several::events(self, list, document),
            _ => Some(vec![self.event(whole, whole)]),
        }
    }

    fn has_client_sessions(&self) -> bool {
        self.reply_session_data.is_some()
    }

    fn create_user_id(&self, _: &PlatformRequest<'_>) -> Option<String> {
        self.reply_user_id.as_ref().map(|_| Uuid::new_v4().to_string())
    }

    /// Returns `{}` if the reply holds values for the platform, else an empty body.
    fn empty_reply(&self) -> &'static str {
        let reads_reply = self.reply_session_data.is_some() || self.reply_user_id.is_some();
        if reads_reply { "{}" } else { "" }
    }

    fn write_reply(
        &self,
        request: &PlatformRequest<'_>,
        state: &ReplyState<'_>,
        reply: &mut Reply,
    ) {
        if let (Some(pointer), Some(session)) = (&self.reply_session_data, state.session) {
            let came = request.json().and_then(|it| it.pointer(self.session_data.as_deref()?));
            reply.put_over(pointer, came, &session.attributes());
        }
        if let (Some(pointer), Some(user_id)) = (&self.reply_user_id, state.created_user_id) {
            reply.put(pointer, user_id);
        }
    }
}

impl JsonPlatform {
    /// Returns the event in `place`, which is `whole` or an element of it.
    fn event<'a>(&self, place: Place<'_, 'a>, whole: Place<'_, 'a>) -> Event<'a> {
        let id = |pointers: &Pointers| place.id(pointers, self.has_numeric_ids);
        let of_either =
            |pointers: &Pointers| id(pointers).or_else(|| whole.id(pointers, self.has_numeric_ids));
        let value = |pointer: &Option<String>| place.value(pointer.as_deref()?);
        let new_session = NewSession::from_flag(value(&self.new_session), NewSession::Unknown);
        let scope = of_either(&self.user_scope);
        let has_scope = scope.is_some() || self.user_scope.0.is_empty();
        let user_id = id(&self.user_id).filter(|_| has_scope);
        let event = Event::default()
            .user_id(user_id.filter(|id| !self.shared_ids.iter().any(|shared| shared == id)))
            .scope(scope)
            .account(of_either(&self.account))
            .conversation(id(&self.conversation_id))
            .thread(id(&self.thread))
            .id(place.id(&self.event_id, true))
            .session(id(&self.session_id), new_session)
            .plain_session_data(filled_object(value(&self.session_data)).map(Cow::Borrowed));
        let event = Event { repeats: self.repeats, ..event };
        let is_receipt = self.receipt.iter().any(|condition| condition.holds(&place));
        if is_receipt { event.receipt() } else { event }
    }
}
