use std::borrow::Cow;

use uuid::Uuid;

use super::raw::{filled_object, id, text, truthy};
use super::{Carried, Document, Event, NewSession, Platform, Reply};

/// A platform of your own, declared with JSON pointers ([RFC 6901](https://www.rfc-editor.org/rfc/rfc6901)).
///
/// ```
/// use tower_persistence::platform::{Document, JsonPlatform, Platform};
///
/// let slack = JsonPlatform::new("slack")
///     .detect("/event_id")
///     .detect_value("/type", "event_callback")
///     .user_id("/event/user")
///     .session_id("/event/channel");
///
/// let body = br#"{"type":"event_callback","event_id":"Ev1","event":{"user":"U1","channel":"C1"}}"#;
/// let events = slack.recognise(&Document::parse(body).expect("JSON")).expect("from Slack");
/// assert_eq!(events[0].user_id.as_deref(), Some("U1"));
/// ```
///
/// It needs at least one [`detect`](Self::detect) or [`detect_value`](Self::detect_value), or it recognises nothing. A
/// pointer that does not start with `/` finds nothing. Ids are text: a number, empty text and more than 2,048 bytes
/// are no ids.
#[derive(Clone, Debug)]
pub struct JsonPlatform {
    name: String,
    detect: Vec<(String, Option<String>)>,
    user_id: Option<String>,
    session_id: Option<String>,
    new_session: Option<String>,
    session_data: Option<String>,
    reply_session_data: Option<String>,
    reply_user_id: Option<String>,
}

impl JsonPlatform {
    /// A platform of this name, which recognises nothing yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            detect: Vec::new(),
            user_id: None,
            session_id: None,
            new_session: None,
            session_data: None,
            reply_session_data: None,
            reply_user_id: None,
        }
    }

    /// Takes only requests that have something there: neither `null`, `false`, zero nor empty text.
    #[must_use]
    pub fn detect(mut self, pointer: impl Into<String>) -> Self {
        self.detect.push((pointer.into(), None));
        self
    }

    /// Takes only requests that have this text there.
    #[must_use]
    pub fn detect_value(mut self, pointer: impl Into<String>, text: impl Into<String>) -> Self {
        self.detect.push((pointer.into(), Some(text.into())));
        self
    }

    /// Where the user id stands. A request without it is nobody's.
    #[must_use]
    pub fn user_id(mut self, pointer: impl Into<String>) -> Self {
        self.user_id = Some(pointer.into());
        self
    }

    /// Where the session's id stands.
    #[must_use]
    pub fn session_id(mut self, pointer: impl Into<String>) -> Self {
        self.session_id = Some(pointer.into());
        self
    }

    /// Where it says whether the session is new: `true` or `false`. Anything else leaves it to what is stored.
    #[must_use]
    pub fn new_session(mut self, pointer: impl Into<String>) -> Self {
        self.new_session = Some(pointer.into());
        self
    }

    /// Where the session data stands, an object.
    #[must_use]
    pub fn session_data(mut self, pointer: impl Into<String>) -> Self {
        self.session_data = Some(pointer.into());
        self
    }

    /// Where the session data is put in the reply, so that the platform brings it back with the next request under
    /// [`session_data`](Self::session_data). Sessions then work without being stored.
    #[must_use]
    pub fn reply_session_data(mut self, pointer: impl Into<String>) -> Self {
        self.reply_session_data = Some(pointer.into());
        self
    }

    /// Where a user id that was created is put in the reply: a random UUID, made for a request that names no user. The platform has to
    /// send it along from then on, under [`user_id`](Self::user_id).
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

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
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
        let event = Event::default()
            .user_id(id(find(&self.user_id)))
            .session(id(find(&self.session_id)), new_session)
            .plain_session_data(filled_object(find(&self.session_data)).map(Cow::Borrowed));
        Some(vec![event])
    }

    fn carries_session(&self) -> bool {
        self.reply_session_data.is_some()
    }

    fn create_user_id(&self, _: &Document<'_>) -> Option<String> {
        self.reply_user_id.as_ref().map(|_| Uuid::new_v4().to_string())
    }

    fn write_reply(&self, request: &Document<'_>, carried: &Carried<'_>, reply: &mut Reply) {
        if let (Some(pointer), Some(session)) = (&self.reply_session_data, carried.session) {
            let came = self.session_data.as_deref().and_then(|data| request.pointer(data));
            reply.put_over(pointer, came, &session.attributes());
        }
        if let (Some(pointer), Some(user_id)) = (&self.reply_user_id, carried.created_user_id) {
            reply.put(pointer, user_id);
        }
    }
}
