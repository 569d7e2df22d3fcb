//! Recognising requests and identifying their users: the trait of all platforms, and the built-in
//! platforms.
//!
//! A platform receives a [`PlatformRequest`]: the request's body, parsed once for all platforms, and
//! its head:
//!
//! ```
//! use tower_persistence::platform::{Alexa, NewSession, Platform, PlatformRequest};
//!
//! let body = br#"{"version":"1.0","session":{"new":true,"sessionId":"session-1"},
//!     "context":{"System":{"user":{"userId":"user-1"}}},"request":{"requestId":"request-1"}}"#;
//! let (head, body) = http::Request::post("/").body(body)?.into_parts();
//! let request = PlatformRequest::parse(&head, body).expect("this is JSON");
//! let events = Alexa.recognise(&request).expect("this is a request from Alexa");
//! assert_eq!(events[0].user_id.as_deref(), Some("user-1"));
//! assert_eq!(events[0].new_session, NewSession::Yes);
//! # Ok::<(), http::Error>(())
//! ```
//!
//! To support another platform, declare it with JSON pointers as a [`JsonPlatform`], or implement
//! [`Platform`].

mod alexa;
mod built_in;
mod claim;
mod client_session;
mod core;
mod dialogflow;
mod dialogflow_cx;
mod dialogflow_google;
mod discord;
mod document;
mod event;
mod facebook_messenger;
mod fingerprint;
mod form;
mod google_assistant;
mod google_business;
mod google_chat;
mod hidden_caller;
mod input;
mod instagram;
mod json;
mod kept;
mod lex;
mod line;
mod mcp;
mod meta;
mod raw;
mod reply;
mod request;
mod same;
mod several;
mod slack;
mod teams;
mod telegram;
mod twilio;
mod use_chat;
mod web;
mod whatsapp;

#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;

pub use self::alexa::Alexa;
pub(crate) use self::built_in::all;
pub(crate) use self::claim::{Claim, claim, reads};
pub use self::client_session::{ClientSession, ReplyState, SessionForm};
pub use self::core::Core;
pub use self::dialogflow::Dialogflow;
pub use self::dialogflow_cx::DialogflowCx;
pub use self::dialogflow_google::DialogflowGoogle;
pub use self::discord::Discord;
pub use self::document::Document;
pub use self::event::{Event, NewSession};
pub use self::facebook_messenger::FacebookMessenger;
pub use self::form::Form;
pub use self::google_assistant::GoogleAssistant;
pub use self::google_business::GoogleBusiness;
pub use self::google_chat::GoogleChat;
pub use self::input::Input;
pub use self::instagram::Instagram;
pub use self::json::{JsonPlatform, Pointers};
pub use self::lex::Lex;
pub use self::line::Line;
pub use self::mcp::Mcp;
pub use self::reply::Reply;
pub use self::request::PlatformRequest;
pub use self::slack::Slack;
pub use self::teams::Teams;
pub use self::telegram::Telegram;
pub use self::twilio::Twilio;
pub use self::use_chat::UseChat;
pub use self::web::Web;
pub use self::whatsapp::WhatsApp;

/// A voice or chat platform: recognises its own requests and identifies their user.
///
/// It sees only the parsed body and the head, and everything in a request is untrusted: verify that
/// the request is genuine in front of the layer.
///
/// ```
/// use tower_persistence::platform::{Event, Platform, PlatformRequest};
///
/// struct Kiosk;
///
/// impl Platform for Kiosk {
///     fn name(&self) -> &str {
///         "kiosk"
///     }
///
///     fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
///         let badge: &str = serde_json::from_str(request.json()?.get("badge")?.get()).ok()?;
///         Some(vec![Event::default().user_id(Some(badge.into()))])
///     }
/// }
///
/// let (head, body) = http::Request::post("/").body(br#"{"badge":"user-1"}"#)?.into_parts();
/// let request = PlatformRequest::parse(&head, body).expect("JSON");
/// let events = Kiosk.recognise(&request).expect("from a kiosk");
/// assert_eq!(events[0].user_id.as_deref(), Some("user-1"));
/// # Ok::<(), http::Error>(())
/// ```
pub trait Platform: Any + Send + Sync {
    /// Returns the name, such as `alexa`. `User::platform` and `Error::platform` return it.
    fn name(&self) -> &str;

    /// Returns the events in the request, or `None` if the request is another platform's.
    ///
    /// Most requests are one event. A request of this platform that concerns no user has an event
    /// without a user id, or no event at all; it passes through to the handler, with a session if
    /// the platform has [client-side sessions](Self::has_client_sessions). If there are several
    /// events, each needs its own [`body`](Event::body), which the handler receives in place of the
    /// whole.
    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>>;

    /// Returns whether the platform's requests may be forms (`application/x-www-form-urlencoded`).
    /// Bodies of forms are read only if an enabled platform returns `true`, and only those platforms
    /// are asked about them.
    ///
    /// Default: `false`, only JSON is read.
    fn reads_forms(&self) -> bool {
        false
    }

    /// Returns whether conversations of the platform have threads, each with a session of its own.
    /// Then 16 sessions of a user are kept side by side instead of four, unless
    /// [`sessions_kept`](crate::stored_elements::SessionElement::sessions_kept) sets a number.
    ///
    /// Default: `false`.
    fn has_threads(&self) -> bool {
        false
    }

    /// Returns the user's input, for the history elements `input`, `nlu` and `asr`. It is called
    /// only if one of them is stored, and after [`recognise`](Self::recognise) returned events for
    /// the request.
    ///
    /// Default: an empty input.
    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let _ = request;
        Input::default()
    }

    /// Returns whether the platform sends back with the next request the session that
    /// [`write_reply`](Self::write_reply) wrote into the reply. Such client-side sessions work
    /// without being stored, also for requests without a user.
    ///
    /// Default: `false`, sessions work only if they are stored.
    fn has_client_sessions(&self) -> bool {
        false
    }

    /// Creates an id for the user of a request that holds none, if the platform leaves ids to the
    /// app. It must be impossible to guess, and [`write_reply`](Self::write_reply) must hand it to
    /// the platform, or the user is never found again.
    ///
    /// Default: `None`, the request has no user.
    fn create_user_id(&self, request: &PlatformRequest<'_>) -> Option<String> {
        let _ = request;
        None
    }

    /// Writes into the reply to `request` the values that the platform should send back: the
    /// session, or a user id that was created. It is called only if there is such a value and the
    /// reply is a JSON object.
    ///
    /// Values that the handler wrote itself should stay, except copies of the request's:
    /// [`Reply::put_over`]. The layer calls this method once before the save, on trial: if a
    /// created id is missing from the reply afterwards, it would not reach the platform, and its
    /// user is not stored.
    ///
    /// Default: writes nothing.
    fn write_reply(
        &self,
        request: &PlatformRequest<'_>,
        state: &ReplyState<'_>,
        reply: &mut Reply,
    ) {
        let _ = (request, state, reply);
    }

    /// Returns the body of an empty reply that the platform accepts as success: JSON, or an empty
    /// body. The layer sends it with status 200 if no handler runs, as for an event that was
    /// handled before.
    ///
    /// Default: an empty body.
    fn empty_reply(&self) -> &'static str {
        ""
    }
}

/// A platform with its name, which can be shared without copying.
#[derive(Clone)]
pub(crate) struct NamedPlatform {
    pub(crate) name: Arc<str>,
    pub(crate) platform: Arc<dyn Platform>,
    pub(crate) is_built_in: bool,
    pub(crate) reads_forms: bool,
    /// The [marks](Document::has_marks) of the members of which each of its JSON requests has one;
    /// `None` if they are not known.
    marks: Option<u64>,
}

impl From<Arc<dyn Platform>> for NamedPlatform {
    fn from(platform: Arc<dyn Platform>) -> Self {
        let members = built_in::members(&*platform);
        let (is_built_in, reads_forms) = (members.is_some(), platform.reads_forms());
        let marks = members.map(Document::marks);
        Self { name: platform.name().into(), platform, is_built_in, reads_forms, marks }
    }
}

/// The maximum length of a user or session id in bytes: DynamoDB's limit for a partition key
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub(crate) const LONGEST_ID: usize = 2048;

/// The maximum number of events in one request: the largest batch that Meta sends
/// (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).
pub(crate) const MAX_EVENTS: usize = 1000;

pub(crate) fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= LONGEST_ID
}
