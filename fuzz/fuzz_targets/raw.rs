//! Every platform reads any body, and finds no user id that is not in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_persistence::platform::{
    Alexa, Core, Dialogflow, DialogflowGoogle, Document, FacebookMessenger, GoogleAssistant,
    GoogleBusiness, Instagram, Lex, Platform, Web,
};

fuzz_target!(|body: &[u8]| {
    let Some(document) = Document::parse(body) else { return };
    let mut texts = Vec::new();
    if let Ok(value) = serde_json::from_slice(body) {
        collect(&value, &mut texts);
    }
    read(&Alexa, &document, &texts);
    read(&Core, &document, &texts);
    read(&Web, &document, &texts);
    read(&GoogleAssistant, &document, &texts);
    read(&DialogflowGoogle, &document, &texts);
    read(&Dialogflow, &document, &texts);
    read(&FacebookMessenger::new(), &document, &texts);
    read(&Instagram::new(), &document, &texts);
    read(&GoogleBusiness, &document, &texts);
    read(&Lex, &document, &texts);
});

fn read(platform: &impl Platform, document: &Document<'_>, texts: &[String]) {
    let events = platform.recognise(document).unwrap_or_default();
    platform.input(document);
    platform.create_user_id(document);
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
