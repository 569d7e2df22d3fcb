use super::{Document, Event, Input, Platform, meta};

/// Facebook Messenger
/// ([webhook reference](https://developers.facebook.com/docs/messenger-platform/reference/webhook-events)).
///
/// | | |
/// | --- | --- |
/// | recognised by | `object: "page"` and a filled `entry`; or one entry by itself: `id`, `time` and a filled `messaging` |
/// | user id | `sender.id`, in an echo `recipient.id` |
/// | session | none: it has to be stored |
///
/// A request is a batch: every element of every entry's `messaging` is an event. By what it holds
/// it is one of these:
///
/// | | |
/// | --- | --- |
/// | a turn of the user's | `message`, deleted and unsupported ones included, `message_edit`, `postback`, `referral`, `account_linking`, `game_play` and all else that is not named below |
/// | a [receipt](Event::is_receipt) | `delivery`, `read`, `reaction`, `optin`; `pass_thread_control`, `take_thread_control`, `request_thread_control`, `app_roles`, `policy_enforcement`; every element of an entry's `standby`, which another app answers |
/// | an echo | `message` with `is_echo`, and all that the page itself sent: skipped, or a receipt with [`echoes`](Self::echoes) |
/// | of no user | an event without `sender.id`, and an entry's `changes` |
///
/// An event's id is its message's `mid`, with the kind behind it where that is not a message;
/// without a `mid` of its own it is a hash of the whole event.
///
/// ```
/// use tower_persistence::platform::{Document, FacebookMessenger, Platform};
///
/// let body = br#"{"object":"page","entry":[{"id":"page-1","time":1,"messaging":[
///     {"sender":{"id":"user-1"},"recipient":{"id":"page-1"},"read":{"watermark":1}}]}]}"#;
/// let document = Document::parse(body).expect("JSON");
/// let events = FacebookMessenger::new().recognise(&document).expect("from Messenger");
/// assert_eq!(events[0].user_id.as_deref(), Some("user-1"));
/// assert!(events[0].is_receipt);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct FacebookMessenger {
    echoes: bool,
}

impl FacebookMessenger {
    /// Creates the platform as it is by default, which skips echoes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands echoes over: copies of what the page itself sent, by this app, another one or a person
    /// in Meta's inbox. Each is a [receipt](Event::is_receipt), and its user is the recipient. A
    /// bot needs them to see that a person took over. Default: `false`, they are skipped with an
    /// empty 200.
    ///
    /// ```
    /// use tower_persistence::platform::FacebookMessenger;
    /// use tower_persistence::{MemoryDb, PersistenceLayer};
    ///
    /// let messenger = FacebookMessenger::new().echoes(true);
    /// let layer = PersistenceLayer::new(MemoryDb::new()).platforms([Box::new(messenger)]);
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

    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>> {
        // Jovo's samples have no `$type`, which it adds to entries that it takes out of a batch.
        let is_entry = || {
            request.get("object").is_none()
                && request.get("$type").is_none_or(|kind| kind.get() == r#""facebook""#)
        };
        meta::batch(request, "page", self.echoes)
            .or_else(|| is_entry().then(|| meta::entry(request, self.echoes)).flatten())
    }

    fn input(&self, request: &Document<'_>) -> Input {
        meta::input(request)
    }
}
