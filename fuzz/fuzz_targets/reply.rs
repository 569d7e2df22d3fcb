//! `Reply` finds again what it put, and changes nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tower_persistence::platform::Reply;

fuzz_target!(|input: (&str, &[u8])| {
    let (pointer, body) = input;
    for pointer in [pointer, "/session/attributes", "/response/0/text"] {
        put(pointer, body);
        push(pointer, body);
    }
});

fn put(pointer: &str, body: &[u8]) {
    let Some(mut reply) = Reply::parse(body) else { return };
    let before = reply.text().to_owned();
    let value = json!({ "step": 1 });
    if !reply.put(pointer, &value) {
        assert_eq!(reply.text(), before);
        return;
    }
    assert_eq!(found(&reply, pointer), Some(value));
    // What is there now is not nothing.
    let after = reply.text().to_owned();
    assert!(!reply.put(pointer, &json!("other")));
    assert_eq!(reply.text(), after);
    assert_same_members(&before, &after, pointer);
}

fn push(pointer: &str, body: &[u8]) {
    let Some(mut reply) = Reply::parse(body) else { return };
    let before = reply.text().to_owned();
    if !reply.push(pointer, &7) {
        assert_eq!(reply.text(), before);
        return;
    }
    let after = found(&reply, pointer).expect("an array that serde_json reads");
    let last = after.as_array().and_then(|elements| elements.last());
    assert_eq!(last, Some(&json!(7)));
    assert_same_members(&before, reply.text(), pointer);
}

/// `None` for what a `Value` cannot hold.
fn found(reply: &Reply, pointer: &str) -> Option<Value> {
    assert!(Reply::parse(reply.text().as_bytes()).is_some(), "it is a JSON object no more");
    serde_json::from_str(reply.get(pointer)?.get()).ok()
}

/// Every member but the one on the way to `pointer` is as it was.
fn assert_same_members(before: &str, after: &str, pointer: &str) {
    let Ok(Value::Object(before)) = serde_json::from_str(before) else { return };
    let after: Value = serde_json::from_str(after).expect("what it was, and one value more");
    let changed = pointer.split('/').nth(1).unwrap_or("").replace("~1", "/").replace("~0", "~");
    for (name, value) in before.iter().filter(|(name, _)| **name != changed) {
        assert_eq!(after.get(name), Some(value));
    }
}
