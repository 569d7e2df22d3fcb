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
mod core;
mod dialogflow;
mod dialogflow_google;
mod document;
mod event;
mod facebook_messenger;
mod google_assistant;
mod google_business;
mod instagram;
mod json;
mod lex;
mod raw;
mod web;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::alexa::Alexa;
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
pub use self::web::Web;

/// A voice or chat platform: tells its requests from others', and whose they are.
///
/// It sees nothing but the document. What stands in a request is data from outside: whether the
/// request is genuine has to be checked in front of the layer.
pub trait Platform: Send + Sync + 'static {
    /// The name, such as `alexa`: what `User::platform` and `Error::platform` return.
    fn name(&self) -> &str;

    /// The events in the request, or `None` if the request is another platform's.
    ///
    /// Almost always it is one event. A request of this platform that concerns no user has an event without
    /// user id, or no event at all; it passes through to the handler without handles.
    fn recognise<'a>(&self, request: &Document<'a>) -> Option<Vec<Event<'a>>>;

    /// What the user said, for the history elements `input`, `nlu` and `asr`. It is asked for only where history
    /// stores one of them, after [`recognise`](Self::recognise) found the request to be this platform's.
    ///
    /// By default there is nothing.
    fn input(&self, request: &Document<'_>) -> Input {
        let _ = request;
        Input::default()
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
        Arc::new(FacebookMessenger),
        Arc::new(Instagram),
        Arc::new(GoogleBusiness),
        Arc::new(Lex),
    ]
}

/// The longest user or session id in bytes: DynamoDB's limit for a partition key
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub(crate) const LONGEST_ID: usize = 2048;

pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID
}
