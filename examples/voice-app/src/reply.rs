//! The reply in each platform's own form.

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tower_persistence::platform::Form;

/// Returns the request's body as JSON: a form as an object of those of its fields that a reply depends on.
pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Value {
    const FIELDS: [&str; 4] = ["AccountSid", "CallSid", "MessageStatus", "command"];
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    if !content_type.is_some_and(|it| it.starts_with("application/x-www-form-urlencoded")) {
        return serde_json::from_slice(body).unwrap_or_default();
    }
    let form = Form::parse(body);
    if let Some(payload) = form.get("payload") {
        return serde_json::from_str(&payload).unwrap_or_default();
    }
    let field = |name: &str| Some((name.to_owned(), Value::from(form.get(name)?)));
    Value::Object(FIELDS.into_iter().filter_map(field).collect::<Map<_, _>>())
}

/// Returns the reply in the form of `platform`.
pub(crate) fn reply(platform: &str, request: &Value, text: &str) -> Response {
    let has = |pointer| request.pointer(pointer).is_some();
    let reply = match platform {
        "alexa" => json!({
            "version": "1.0",
            "response": {
                "outputSpeech": { "type": "PlainText", "text": text },
                "shouldEndSession": true,
            },
        }),
        "core" | "web" => json!({
            "version": "4.0.0",
            "platform": platform,
            "output": [{ "message": text }],
            "context": {
                "request": { "id": request["id"] },
                "session": { "id": request["context"]["session"]["id"], "data": {}, "end": true },
                "user": { "data": {} },
            },
        }),
        "googleassistant" => json!({
            "session": { "id": request["session"]["id"] },
            "prompt": { "firstSimple": { "speech": text, "text": text } },
        }),
        "dialogflow" => json!({ "fulfillmentText": text }),
        "dialogflow-cx" => json!({
            "fulfillmentResponse": { "messages": [{ "text": { "text": [text] } }] },
        }),
        "dialogflow-google" => json!({
            "fulfillmentText": text,
            "payload": {
                "google": {
                    "expectUserResponse": false,
                    "richResponse": { "items": [{ "simpleResponse": { "textToSpeech": text } }] },
                },
            },
        }),
        "lex" if has("/sessionState") => json!({
            "sessionState": {
                "dialogAction": { "type": "Close" },
                "intent": {
                    "name": request["sessionState"]["intent"]["name"],
                    "state": "Fulfilled",
                },
            },
            "messages": [{ "contentType": "PlainText", "content": text }],
        }),
        "lex" => json!({
            "dialogAction": {
                "type": "Close",
                "fulfillmentState": "Fulfilled",
                "message": { "contentType": "PlainText", "content": text },
            },
        }),
        "telegram" => match chat(request) {
            Some(chat) => json!({ "method": "sendMessage", "chat_id": chat, "text": text }),
            None => return StatusCode::OK.into_response(),
        },
        "discord" => match request["type"].as_u64() {
            Some(1) if has("/token") => json!({ "type": 1 }),
            Some(2..) => json!({ "type": 4, "data": { "content": text } }),
            // A webhook event.
            _ => return StatusCode::NO_CONTENT.into_response(),
        },
        "slack" if has("/challenge") => json!({ "challenge": request["challenge"] }),
        "slack" if has("/command") => json!({ "response_type": "ephemeral", "text": text }),
        // An event or a button: the app answers through Slack's API.
        "slack" => return StatusCode::OK.into_response(),
        "msteams" if request["type"] == "invoke" => json!({
            "statusCode": 200,
            "type": "application/vnd.microsoft.activity.message",
            "value": text,
        }),
        "msteams" if request["deliveryMode"] == "expectReplies" => {
            json!({ "activities": [{ "type": "message", "text": text }] })
        }
        "twilio" => return twiml(request, text),
        "googlechat" if has("/chat") => json!({
            "hostAppDataAction": {
                "chatDataAction": { "createMessageAction": { "message": { "text": text } } },
            },
        }),
        "usechat" => return ui_message_stream(text),
        "mcp" => json!({
            "jsonrpc": "2.0",
            "id": request["id"],
            "result": { "content": [{ "type": "text", "text": text }] },
        }),
        // WhatsApp, LINE, Messenger and others do not read the reply: they are answered through their APIs.
        _ => json!({ "text": text }),
    };
    Json(reply).into_response()
}

/// Returns the chat of Telegram's update.
fn chat(update: &Value) -> Option<&Value> {
    let mut kinds = update.as_object()?.values();
    kinds.find_map(|kind| kind.pointer("/chat/id").or_else(|| kind.pointer("/message/chat/id")))
}

/// Returns TwiML: words in a call, a text message otherwise, and nothing in answer to a status.
fn twiml(request: &Value, text: &str) -> Response {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let verb = match (request.get("CallSid"), request.get("MessageStatus")) {
        (Some(_), _) => format!("<Say>{text}</Say>"),
        (None, None) => format!("<Message>{text}</Message>"),
        (None, Some(_)) => String::new(),
    };
    let body = format!(r#"<?xml version="1.0" encoding="UTF-8"?><Response>{verb}</Response>"#);
    ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

/// Returns the AI SDK's stream of a message (<https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol>).
fn ui_message_stream(text: &str) -> Response {
    let parts = [
        json!({ "type": "start" }),
        json!({ "type": "text-start", "id": "1" }),
        json!({ "type": "text-delta", "id": "1", "delta": text }),
        json!({ "type": "text-end", "id": "1" }),
        json!({ "type": "finish" }),
    ];
    let mut body: String = parts.iter().map(|part| format!("data: {part}\n\n")).collect();
    body.push_str("data: [DONE]\n\n");
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        ("x-vercel-ai-ui-message-stream", "v1"),
    ];
    (headers, body).into_response()
}

/// Guesses the platform of a request without user: Alexa's certification, Google's guests, Dialogflow's console and
/// the handshakes of others send such.
pub(crate) fn guess_platform(request: &Value) -> &str {
    let has = |pointer| request.pointer(pointer).is_some();
    match request.pointer("/originalDetectIntentRequest/source").and_then(Value::as_str) {
        Some("google") if has("/queryResult") => "dialogflow-google",
        _ if has("/queryResult") => "dialogflow",
        _ if has("/detectIntentResponseId") => "dialogflow-cx",
        _ if has("/handler") => "googleassistant",
        _ if has("/version") && has("/request/requestId") => "alexa",
        _ if has("/version") && has("/input/type") => request["platform"].as_str().unwrap_or(""),
        _ if has("/bot") => "lex",
        _ if has("/application_id") => "discord",
        _ if has("/challenge") || has("/event_id") => "slack",
        _ if has("/update_id") => "telegram",
        _ if has("/AccountSid") => "twilio",
        _ if has("/jsonrpc") => "mcp",
        _ if has("/trigger") => "usechat",
        _ => "",
    }
}
