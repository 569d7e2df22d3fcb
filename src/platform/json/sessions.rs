//! The setters of the places of sessions and conversations, and of what goes into the reply.

use super::{JsonPlatform, Pointers};
#[cfg(doc)]
use crate::platform::Event;

impl JsonPlatform {
    /// Sets the pointer to the session id. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let kiosk = JsonPlatform::new("kiosk").detect("/badge").session_id("/session/id");
    /// ```
    #[must_use]
    pub fn session_id(mut self, pointers: impl Into<Pointers>) -> Self {
        self.session_id = pointers.into();
        self
    }

    /// Sets the pointers to the conversation's id, which is also the session's if there is no
    /// [`session_id`](Self::session_id): [`Event::conversation`]. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let chat = JsonPlatform::new("chat").detect("/room").conversation_id("/room/id");
    /// ```
    #[must_use]
    pub fn conversation_id(mut self, pointers: impl Into<Pointers>) -> Self {
        self.conversation_id = pointers.into();
        self
    }

    /// Sets the pointers to the root of the thread within the conversation: each thread has a
    /// session of its own, see [`Event::thread`]. Default: none.
    ///
    /// ```
    /// use tower_persistence::platform::JsonPlatform;
    ///
    /// let chat = JsonPlatform::new("chat").detect("/room").conversation_id("/room/id");
    /// let chat = chat.thread(["/thread/id", "/message/id"]);
    /// ```
    #[must_use]
    pub fn thread(mut self, pointers: impl Into<Pointers>) -> Self {
        self.thread = pointers.into();
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
