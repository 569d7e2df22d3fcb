//! Twilio: messages and calls.

use std::borrow::Cow;

use super::hidden_caller::is_hidden;
use super::{Event, Form, Input, Platform, PlatformRequest};

/// Twilio: SMS, WhatsApp and RCS by [Messaging], and calls by [Voice]. Its requests are forms.
///
/// It has no client-side sessions: they must be [stored](crate::StoredElements::session).
///
/// | | messages | calls |
/// | --- | --- | --- |
/// | recognised by | `AccountSid`, `MessageSid`, `From` and `To` | `AccountSid`, `CallSid` and `CallStatus` |
/// | user id | `From`, such as `+15550100` or `whatsapp:+15550100` | `From`, in a call that the app made `To` |
/// | conversation, session id | `From` and `To` | `CallSid` |
/// | account | `AccountSid` | `AccountSid` |
/// | event id | `MessageSid` | – |
///
/// A caller with a hidden number has no user id, because the placeholder, such as `anonymous` or
/// `+266696687`, is the same for all of them.
///
/// * A *turn*: a message that came in, and each step of a call.
/// * A [receipt](Event::is_receipt): the status of a message that the app sent (`MessageStatus`),
///   which has no user; the status of a call (`CallbackSource`, or a `CallStatus` of `completed`,
///   `busy`, `failed`, `no-answer` or `canceled`).
///
/// The reply is TwiML.
///
/// [Messaging]: https://www.twilio.com/docs/messaging/guides/webhook-request
/// [Voice]: https://www.twilio.com/docs/usage/webhooks/voice-webhooks
#[derive(Clone, Copy, Debug, Default)]
pub struct Twilio;

/// The last states of a call.
const ENDED: [&str; 5] = ["completed", "busy", "failed", "no-answer", "canceled"];

impl Platform for Twilio {
    fn name(&self) -> &str {
        "twilio"
    }

    fn reads_forms(&self) -> bool {
        true
    }

    fn recognise<'a>(&self, request: &PlatformRequest<'a>) -> Option<Vec<Event<'a>>> {
        let form = request.form()?;
        let account = form.id("AccountSid")?;
        let event = match form.id("CallSid") {
            Some(call) => call_event(form, call)?,
            None => message(form)?,
        };
        Some(vec![event.account(Some(account))])
    }

    fn input(&self, request: &PlatformRequest<'_>) -> Input {
        let Some(form) = request.form() else { return Input::default() };
        match (form.get("SpeechResult"), form.get("Body").or_else(|| form.get("Digits"))) {
            (Some(said), _) => Input::of_type("TRANSCRIBED_SPEECH").speech(&said),
            (None, Some(text)) => Input::of_type("TEXT").text(&text),
            (None, None) => Input::default(),
        }
    }
}

fn message<'a>(form: &Form<'a>) -> Option<Event<'a>> {
    let (message, from, to) = (form.id("MessageSid")?, form.id("From")?, form.id("To")?);
    if form.get("MessageStatus").is_some() {
        return Some(Event::default().receipt());
    }
    let user = caller(Some(from));
    // Hidden callers have no conversation either: they would all share it.
    let conversation = user.as_ref().map(|from| format!("{from}/{to}").into());
    Some(Event::default().user_id(user).id(Some(message)).conversation(conversation))
}

fn call_event<'a>(form: &Form<'a>, call: Cow<'a, str>) -> Option<Event<'a>> {
    let status = form.get("CallStatus")?;
    let is_ours = form.get("Direction").is_some_and(|it| it.starts_with("outbound"));
    let user = form.id(if is_ours { "To" } else { "From" });
    let event = Event::default().user_id(caller(user)).conversation(Some(call));
    let is_receipt = form.get("CallbackSource").is_some() || ENDED.contains(&&*status);
    Some(if is_receipt { event.receipt() } else { event })
}

fn caller(number: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    number.filter(|number| !is_hidden(number))
}
