//! Whose request it is: the trait every platform implements, and the platforms that come with the crate.
//!
//! A platform is asked with a [`Document`], the request body parsed once for all of them:
//!
//! ```
//! use tower_persistence::platform::{Alexa, Document, NewSession, Platform};
//!
//! let body = br#"{"version":"1.0","session":{"new":true,"sessionId":"session-1"},
//!     "context":{"System":{"user":{"userId":"user-1"}}},"request":{"requestId":"request-1"}}"#;
//! let document = Document::parse(body).expect("this is JSON");
//! let events = Alexa.recognise(&document).expect("this is a request from Alexa");
//! assert_eq!(events[0].user_id.as_deref(), Some("user-1"));
//! assert_eq!(events[0].new_session, NewSession::Yes);
//! ```
//!
//! A platform of your own is either declared with JSON pointers, as [`JsonPlatform`], or written as an
//! implementation of [`Platform`].

mod alexa;
mod carried;
mod core;
mod dialogflow;
mod dialogflow_google;
mod document;
mod event;
mod facebook_messenger;
mod fingerprint;
mod google_assistant;
mod google_business;
mod hidden_caller;
mod instagram;
mod json;
mod kept;
mod lex;
mod meta;
mod raw;
mod reply;
mod same;
mod web;

#[cfg(test)]
mod tests;

use std::any::{Any, TypeId};
use std::sync::Arc;

pub use self::alexa::Alexa;
pub use self::carried::{ClientSession, ReplyState, SessionForm};
pub use self::core::Core;
pub use self::dialogflow::Dialogflow;
pub use self::dialogflow_google::DialogflowGoogle;
pub use self::document::Document;
pub use self::event::{Event, Input, NewSession};
pub use self::facebook_messenger::FacebookMessenger;
pub use self::google_assistant::GoogleAssistant;
pub use self::google_business::GoogleBusiness;
pub use self::instagram::Instagram;
pub use self::json::JsonPlatform;
pub use self::lex::Lex;
pub use self::reply::Reply;
pub use self::web::Web;

/// A voice or chat platform: tells its requests from others', and whose they are.
///
/// It sees nothing but the document. What stands in a request is data from outside: whether the
/// request is genuine has to be checked in front of the layer.
pub trait Platform: Any + Send + Sync {
    /// The name, such as `alexa`: what `User::platform` and `Error::platform` return.
    fn name(&self) -> &str;

    /// The events in the request, or `None` if the request is another platform's.
    ///
    /// Almost always it is one event. A request of this platform that concerns no user has an event without
    /// user id, or no event at all; it passes through to the handler, with a session if the platform
    /// [carries](Self::has_client_sessions) it. Each of several events needs a [`body`](Event::body) of its own, which the handler gets in the place
    /// of the whole.
    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>>;

    /// What the user said, for the history elements `input`, `nlu` and `asr`. It is asked for only where history
    /// stores one of them, after [`recognise`](Self::recognise) found the request to be this platform's.
    ///
    /// By default there is nothing.
    fn input(&self, request: &Document<'_>) -> Input {
        let _ = request;
        Input::default()
    }

    /// Whether the platform brings back with the next request what [`write_reply`](Self::write_reply) wrote of the
    /// session into the reply. Sessions then work without being stored, and for requests without a user as well.
    ///
    /// By default it does not: sessions have to be stored.
    fn has_client_sessions(&self) -> bool {
        false
    }

    /// An id for the user of a request that holds none, where the app is to make it. It has to be impossible to guess, and
    /// [`write_reply`](Self::write_reply) has to hand it to the platform, or the user is never found again.
    ///
    /// By default there is none: the request has no user.
    fn create_user_id(&self, request: &Document<'_>) -> Option<String> {
        let _ = request;
        None
    }

    /// Writes into the reply to `request` what the platform is to bring back: the session, or a
    /// user id that was created. It is called only where there is one of them and the reply is a
    /// JSON object. What the handler wrote itself stays, but for a copy of what came:
    /// [`Reply::put_over`]. A created id that does not stand in the reply afterwards is not handed
    /// over, and its user is not stored: it is called on trial before the save.
    ///
    /// By default nothing is written.
    fn write_reply(&self, request: &Document<'_>, carried: &ReplyState<'_>, reply: &mut Reply) {
        let _ = (request, carried, reply);
    }

    /// The body of a reply that says nothing, and that the platform takes for success: JSON, or empty. The layer sends it with a
    /// 200 where no handler runs, as for an event that was handled before.
    ///
    /// By default it is empty.
    fn empty_reply(&self) -> &'static str {
        ""
    }
}

/// A platform with its name at hand: handing it out copies nothing.
#[derive(Clone)]
pub(crate) struct NamedPlatform {
    pub(crate) name: Arc<str>,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) is_built_in: bool,
}

impl From<Arc<dyn Platform>> for NamedPlatform {
    fn from(platform: Arc<dyn Platform>) -> Self {
        let is_built_in = is_built_in(&*platform);
        Self { name: platform.name().into(), platform, is_built_in }
    }
}

/// The platforms that the layer knows by itself, in the order in which they are asked.
pub(crate) fn all() -> Vec<Arc<dyn Platform>> {
    vec![
        Arc::new(Alexa),
        Arc::new(Core),
        Arc::new(Web),
        Arc::new(GoogleAssistant),
        Arc::new(DialogflowGoogle),
        Arc::new(Dialogflow),
        Arc::new(FacebookMessenger::new()),
        Arc::new(Instagram::new()),
        Arc::new(GoogleBusiness),
        Arc::new(Lex),
    ]
}

/// Returns whether `platform` is one of [`all`], which Jovo knows as well.
pub(crate) fn is_built_in(platform: &dyn Platform) -> bool {
    let platform: &dyn Any = platform;
    let built_in = [
        TypeId::of::<Alexa>(),
        TypeId::of::<Core>(),
        TypeId::of::<Web>(),
        TypeId::of::<GoogleAssistant>(),
        TypeId::of::<DialogflowGoogle>(),
        TypeId::of::<Dialogflow>(),
        TypeId::of::<FacebookMessenger>(),
        TypeId::of::<Instagram>(),
        TypeId::of::<GoogleBusiness>(),
        TypeId::of::<Lex>(),
    ];
    built_in.contains(&platform.type_id())
}

/// The longest user or session id in bytes: DynamoDB's limit for a partition key
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub(crate) const LONGEST_ID: usize = 2048;

/// How many events one request may have: what Meta puts into one batch at most
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).
pub(crate) const MAX_EVENTS: usize = 1000;

pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID
}
