//! The platforms that the layer knows without being told.

use std::any::{Any, TypeId};
use std::sync::Arc;

use super::{
    Alexa, Core, Dialogflow, DialogflowCx, DialogflowGoogle, Discord, FacebookMessenger,
    GoogleAssistant, GoogleBusiness, GoogleChat, Instagram, Lex, Line, Mcp, Platform, Slack, Teams,
    Telegram, Twilio, UseChat, Web, WhatsApp,
};

/// Returns the built-in platforms, in the order in which they are asked.
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
        Arc::new(WhatsApp),
        Arc::new(Telegram),
        Arc::new(Slack),
        Arc::new(Teams),
        Arc::new(Discord),
        Arc::new(Line),
        Arc::new(Twilio),
        Arc::new(GoogleChat),
        Arc::new(DialogflowCx),
        Arc::new(UseChat),
        Arc::new(Mcp),
    ]
}

/// Returns the names of members of which each JSON request of a built-in `platform` has at least
/// one, so that most of them need not be asked. Returns `None` for one of the app's own.
pub(super) fn members(platform: &dyn Platform) -> Option<&'static [&'static str]> {
    let platform: &dyn Any = platform;
    let built_in: [(_, &[_]); 21] = [
        (TypeId::of::<Alexa>(), &["request"]),
        (TypeId::of::<Core>(), &["platform", "type"]),
        (TypeId::of::<Web>(), &["platform", "type"]),
        (TypeId::of::<GoogleAssistant>(), &["handler"]),
        (TypeId::of::<DialogflowGoogle>(), &["queryResult"]),
        (TypeId::of::<Dialogflow>(), &["queryResult"]),
        (TypeId::of::<FacebookMessenger>(), &["object", "messaging"]),
        (TypeId::of::<Instagram>(), &["object", "messaging"]),
        (TypeId::of::<GoogleBusiness>(), &["conversationId"]),
        (TypeId::of::<Lex>(), &["bot"]),
        (TypeId::of::<WhatsApp>(), &["object"]),
        (TypeId::of::<Telegram>(), &["update_id"]),
        (TypeId::of::<Slack>(), &["type"]),
        (TypeId::of::<Teams>(), &["channelId"]),
        (TypeId::of::<Discord>(), &["application_id"]),
        (TypeId::of::<Line>(), &["destination"]),
        // Its requests are forms.
        (TypeId::of::<Twilio>(), &[]),
        (TypeId::of::<GoogleChat>(), &["chat", "eventTime", "message"]),
        (TypeId::of::<DialogflowCx>(), &["fulfillmentInfo"]),
        (TypeId::of::<UseChat>(), &["messages", "message"]),
        (TypeId::of::<Mcp>(), &["jsonrpc"]),
    ];
    let known = built_in.into_iter().find(|(id, _)| *id == platform.type_id());
    known.map(|(_, members)| members)
}
