//! Platforms declared with JSON pointers.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::raw::{filled_object, id, text, truthy};
use super::{Event, NewSession, Platform, PlatformRequest, Reply, ReplyState, is_id};

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
/// without one it recognises nothing. A pointer that does not start with `/` finds nothing. Ids are
/// texts of 1 to 2,048 bytes; anything else is not an id, except that an event's id may be a
/// number.
#[derive(Clone, Debug)]
pub struct JsonPlatform {
    name: String,
    detect: Vec<(String, Option<String>)>,
    user_id: Option<String>,
    user_scope: Option<String>,
    session_id: Option<String>,
    event_id: Option<String>,
    repeats: Option<Duration>,
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
        Self {
            name: name.into(),
            detect: Vec::new(),
            user_id: None,
            user_scope: None,
            session_id: None,
            event_id: None,
            repeats: None,
            new_session: None,
            session_data: None,
            reply_session_data: None,
            reply_user_id: None,
        }
    }

    /// Recognises only requests with a value there other than `null`, `false`, zero and empty text.
    /// Several conditions must all hold.
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
    pub fn detect(mut self, pointer: impl Into<String>) -> Self {
        self.detect.push((pointer.into(), None));
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
    pub fn detect_value(mut self, pointer: impl Into<String>, text: impl Into<String>) -> Self {
        self.detect.push((pointer.into(), Some(text.into())));
        self
    }

    /// Sets the pointer to the user id. A request without it has no user. Default: none, no request
    /// has a user.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect("/badge").user_id("/badge/id");
    /// ```
    #[must_use]
    pub fn user_id(mut self, pointer: impl Into<String>) -> Self {
        self.user_id = Some(pointer.into());
        self
    }

    /// Sets the pointer to the part of the platform within which user ids are unique, such as
    /// Slack's team: [`Event::scope`]. A request without it has no user, because its id may belong
    /// to several users. Default: none, ids are unique on the whole platform.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let slack = JsonPlatform::new("slack").user_id("/event/user").user_scope("/team_id");
    /// ```
    #[must_use]
    pub fn user_scope(mut self, pointer: impl Into<String>) -> Self {
        self.user_scope = Some(pointer.into());
        self
    }

    /// Sets the pointer to the event's id, text or a number, which identifies repeats:
    /// [`Event::id`]. Default: none, each repeat counts as a new event.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let slack = JsonPlatform::new("slack").detect("/event_id").event_id("/event_id");
    /// ```
    #[must_use]
    pub fn event_id(mut self, pointer: impl Into<String>) -> Self {
        self.event_id = Some(pointer.into());
        self
    }

    /// Sets how long the platform sends an event again until it is answered with success:
    /// [`Event::repeats`]. Events with an [`event_id`](Self::event_id) are then served once.
    /// Default: none, the platform does not repeat events, or it reads the reply.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let day = Duration::from_secs(24 * 60 * 60);
    /// let slack = JsonPlatform::new("slack").event_id("/event_id").repeats(day);
    /// ```
    #[must_use]
    pub fn repeats(mut self, within: Duration) -> Self {
        self.repeats = Some(within);
        self
    }

    /// Sets the pointer to the session id. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect("/badge").session_id("/session/id");
    /// ```
    #[must_use]
    pub fn session_id(mut self, pointer: impl Into<String>) -> Self {
        self.session_id = Some(pointer.into());
        self
    }

    /// Sets the pointer to a flag that is `true` for a new session and `false` for one that
    /// continues. With any other value, the stored session decides. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").session_id("/id").new_session("/is_new");
    /// ```
    #[must_use]
    pub fn new_session(mut self, pointer: impl Into<String>) -> Self {
        self.new_session = Some(pointer.into());
        self
    }

    /// Sets the pointer to the session data, an object. Default: none.
    ///
    /// See [`reply_session_data`](Self::reply_session_data) for an example.
    #[must_use]
    pub fn session_data(mut self, pointer: impl Into<String>) -> Self {
        self.session_data = Some(pointer.into());
        self
    }

    /// Sets the pointer at which the session data is put into the reply, for a platform that sends
    /// it back with the next request under [`session_data`](Self::session_data). Sessions then work
    /// without being stored. Default: none, sessions work only if they are stored.
    ///
    /// ```
    /// use tower_persistence::platform::{JsonPlatform, Platform};
    ///
    /// let kiosk = JsonPlatform::new("kiosk").session_data("/state").reply_session_data("/state");
    /// assert!(kiosk.has_client_sessions());
    /// ```
    #[must_use]
    pub fn reply_session_data(mut self, pointer: impl Into<String>) -> Self {
        self.reply_session_data = Some(pointer.into());
        self
    }

    /// Sets the pointer at which a created user id is put into the reply: a random UUID, created
    /// for a request without a user id. The platform must send it with every later request, under
    /// [`user_id`](Self::user_id). Default: none, no ids are created.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").user_id("/visitor").reply_user_id("/visitor");
    /// ```
    #[must_use]
    pub fn reply_user_id(mut self, pointer: impl Into<String>) -> Self {
        self.reply_user_id = Some(pointer.into());
        self
    }
}

impl Platform for JsonPlatform {
    fn name(&self) -> &str {
        &self.name
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        let is_there = |(pointer, expected): &(String, Option<String>)| {
            let value = request.pointer(pointer);
            match expected {
                Some(expected) => text(value).is_some_and(|text| text == *expected),
                None => truthy(value),
            }
        };
        if self.detect.is_empty() || !self.detect.iter().all(is_there) {
            return None;
        }
        let find = |pointer: &Option<String>| request.pointer(pointer.as_deref()?);
        let new_session = NewSession::from_flag(find(&self.new_session), NewSession::Unknown);
        let scope = id(find(&self.user_scope));
        let has_scope = scope.is_some() || self.user_scope.is_none();
        let mut event = Event::default()
            .user_id(id(find(&self.user_id)).filter(|_| has_scope))
            .scope(scope)
            .id(id_or_number(find(&self.event_id)))
            .session(id(find(&self.session_id)), new_session)
            .plain_session_data(filled_object(find(&self.session_data)).map(Cow::Borrowed));
        event.repeats = self.repeats;
        Some(vec![event])
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
        let Some(request) = request.json() else { return };
        if let (Some(pointer), Some(session)) = (&self.reply_session_data, state.session) {
            let came = self.session_data.as_deref().and_then(|data| request.pointer(data));
            reply.put_over(pointer, came, &session.attributes());
        }
        if let (Some(pointer), Some(user_id)) = (&self.reply_user_id, state.created_user_id) {
            reply.put(pointer, user_id);
        }
    }
}

/// Returns the value if it is an id, or the digits of a number as they are spelled.
fn id_or_number(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let number = raw
        .map(RawValue::get)
        .filter(|raw| raw.starts_with(|first: char| first == '-' || first.is_ascii_digit()));
    number.filter(|number| is_id(number)).map(Cow::Borrowed).or_else(|| id(raw))
}
