//! Facebook Messenger; its batches are read by `meta`.

use super::{Event, Input, Platform, PlatformRequest, meta};

/// Facebook Messenger ([webhook
/// reference](https://developers.facebook.com/docs/messenger-platform/reference/webhook-events)).
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | |
/// | --- | --- |
/// | recognised by | `object: "page"` and an `entry` that is not empty |
/// | … or a single entry | `id`, `time` and a `messaging` that is not empty |
/// | user id | `sender.id`, in an echo `recipient.id` |
///
/// A request is a batch: every element of every entry's `messaging` is an event. Its members decide
/// its kind:
///
/// * A *turn*: `message`, including deleted and unsupported ones, `message_edit`, `postback`,
///   `referral`, `account_linking`, `game_play`, and everything not listed below.
/// * A [receipt](Event::is_receipt): `delivery`, `read`, `reaction`, `optin`,
///   `pass_thread_control`, `take_thread_control`, `request_thread_control`, `app_roles`,
///   `policy_enforcement`; and every element of an entry's `standby`, which another app answers.
/// * An *echo*: `message` with `is_echo`, and everything that the page itself sent. It is skipped,
///   or passed on as a receipt with [`echoes`](Self::echoes).
/// * An event *without a user*: one without `sender.id`, and an entry's `changes`.
///
/// An event's id is its message's `mid`, followed by the kind of event if that is not a message.
/// Without a `mid` it is a hash of the whole event.
///
/// ```
/// use tower_persistence::platform::{FacebookMessenger, Platform, PlatformRequest};
///
/// let body = br#"{"object":"page","entry":[{"id":"page-1","time":1,"messaging":[
///     {"sender":{"id":"user-1"},"recipient":{"id":"page-1"},"read":{"watermark":1}}]}]}"#;
/// let (head, body) = http::Request::post("/").body(body)?.into_parts();
/// let request = PlatformRequest::parse(&head, body).expect("JSON");
/// let events = FacebookMessenger::new().recognise(&request).expect("from Messenger");
/// assert_eq!(events[0].user_id.as_deref(), Some("user-1"));
/// assert!(events[0].is_receipt);
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FacebookMessenger {
    echoes: bool,
}

impl FacebookMessenger {
    /// Creates the platform with its defaults: echoes are skipped.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether echoes are passed to the handler: copies of messages that the page itself sent,
    /// by this app, another app or a person in Meta's inbox. A bot needs them to notice that a
    /// person took over. Each echo is a [receipt](Event::is_receipt), and its user is the
    /// recipient. Default: `false`, echoes are skipped with an empty 200.
    ///
    /// ```
    /// use tower_persistence::platform::FacebookMessenger;
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let messenger = FacebookMessenger::new().echoes(true);
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platforms(vec![Box::new(messenger)]);
    /// ```
    #[must_use]
    pub fn echoes(mut self, echoes: bool) -> Self {
        self.echoes = echoes;
        self
    }
}

impl Platform for FacebookMessenger {
    fn name(&self) -> &str {
        "facebookmessenger"
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let request = request.json()?;
        // Jovo adds `$type` to entries that it takes out of a batch, but its samples lack it.
        let is_entry = || {
            request.get("object").is_none()
                && request.get("$type").is_none_or(|kind| kind.get() == r#""facebook""#)
        };
        meta::batch(request, "page", self.echoes)
            .or_else(|| is_entry().then(|| meta::entry(request, self.echoes)).flatten())
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(request) = request.json() else { return Input::default() };
        meta::input(request)
    }
}
