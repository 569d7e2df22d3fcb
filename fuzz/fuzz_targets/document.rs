//! `Document` finds in a body what serde_json finds in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;
use tower_persistence::platform::Document;

fuzz_target!(|body: &[u8]| {
    let document = Document::parse(body);
    // `Document` also takes numbers beyond `f64` and deep nesting, which a `Value` cannot hold.
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return };
    let document = document.expect("this is JSON");
    compare(&document, "", &value);
    assert!(document.pointer("/no/such/member").is_none() || value.get("no").is_some());
});

/// Looks up each member and element by its pointer.
fn compare(document: &Document<'_>, pointer: &str, value: &Value) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, it)| (escape(name), it)).collect(),
        // A body that is an array has no members.
        Value::Array(elements) if !pointer.is_empty() => {
            elements.iter().enumerate().map(|(index, it)| (index.to_string(), it)).collect()
        }
        _ => return,
    };
    // Each lookup reads the text anew.
    for (name, child) in children.into_iter().take(16) {
        let pointer = format!("{pointer}/{name}");
        let found = document.pointer(&pointer).map(RawValue::get);
        let found = found.unwrap_or_else(|| panic!("nothing under {pointer}"));
        assert_eq!(serde_json::from_str::<Value>(found).ok().as_ref(), Some(child), "{pointer}");
        if pointer.len() < 64 {
            compare(document, &pointer, child);
        }
    }
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
