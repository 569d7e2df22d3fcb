//! Every platform reads any body, and finds no user id that is not in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_persistence::platform::{
    Alexa, Core, Dialogflow, DialogflowGoogle, FacebookMessenger, GoogleAssistant, GoogleBusiness,
    Instagram, Lex, Platform, PlatformRequest, Web,
};

fuzz_target!(|body: &[u8]| {
    let (head, ()) = http::Request::new(()).into_parts();
    let Some(request) = PlatformRequest::parse(&head, body) else { return };
    let mut texts = Vec::new();
    if let Ok(value) = serde_json::from_slice(body) {
        collect(&value, &mut texts);
    }
    read(&Alexa, &request, &texts);
    read(&Core, &request, &texts);
    read(&Web, &request, &texts);
    read(&GoogleAssistant, &request, &texts);
    read(&DialogflowGoogle, &request, &texts);
    read(&Dialogflow, &request, &texts);
    read(&FacebookMessenger::new(), &request, &texts);
    read(&Instagram::new(), &request, &texts);
    read(&GoogleBusiness, &request, &texts);
    read(&Lex, &request, &texts);
});

fn read(platform: &impl Platform, request: &PlatformRequest<'_>, texts: &[String]) {
    let events = platform.recognise(request).unwrap_or_default();
    platform.input(request);
    platform.create_user_id(request);
    for user_id in events.iter().filter_map(|event| event.user_id.as_deref()) {
        // A body that a `Value` cannot hold has no texts here. JSON within a text is escaped.
        let is_known = texts.is_empty() || texts.iter().any(|text| text.contains(user_id));
        assert!(is_known, "{}: {user_id:?} is not in the body", platform.name());
    }
}

/// Collects all texts and numbers.
fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                collect(&inner, texts);
            }
            texts.push(text.clone());
        }
        Value::Number(number) => texts.push(number.to_string()),
        Value::Array(elements) => elements.iter().for_each(|it| collect(it, texts)),
        Value::Object(members) => members.values().for_each(|it| collect(it, texts)),
        Value::Null | Value::Bool(_) => {}
    }
}
