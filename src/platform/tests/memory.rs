//! The memory that a request can occupy: a small multiple of its own size.

use std::iter::repeat_n;

use super::{claims, parsed};
use crate::platform::{FacebookMessenger, MAX_EVENTS, Platform};

const MEGABYTE: usize = 1 << 20;

/// Returns `unit` as often as it fits into a body of the maximum size.
fn fill(before: &str, unit: &str, after: &str) -> String {
    let units: Vec<_> = repeat_n(unit, MEGABYTE / (unit.len() + 1)).collect();
    format!("{before}{}{after}", units.join(","))
}

#[test]
fn only_objects_are_events_and_counting_stops_at_the_limit() {
    let messaging = r#"{"object":"page","entry":[{"id":"p","time":1,"messaging":["#;
    let standby = r#"{"object":"page","entry":[{"id":"p","time":1,"standby":["#;
    for (before, unit, after, expected) in [
        (messaging, "1", "]}]}", 0),
        (messaging, "[]", "]}]}", 0),
        (messaging, "{}", "]}]}", MAX_EVENTS + 1),
        (standby, "1", "]}]}", 0),
        (standby, "{}", "]}]}", MAX_EVENTS + 1),
        (r#"{"object":"page","entry":["#, "1", "]}", 0),
        (r#"{"object":"page","entry":["#, "{}", "]}", 0),
        (r#"{"object":"page","entry":["#, r#"{"a":1}"#, "]}", MAX_EVENTS + 1),
        (r#"{"id":"p","time":1,"messaging":["#, "{}", "]}", MAX_EVENTS + 1),
        (messaging, r#"{"message":{"is_echo":true}}"#, "]}]}", 0),
    ] {
        let body = fill(before, unit, after);
        let request = parsed(body.as_bytes()).expect("JSON");
        let events = FacebookMessenger::new().recognise(&request).expect("Messenger's");
        assert_eq!(events.len(), expected, "{unit}");
        assert!(events.capacity() < 4 * MAX_EVENTS, "{unit}: {}", events.capacity());
        assert!(events.iter().all(|event| event.body.is_none()), "{unit}");
    }
}

#[test]
fn a_message_behind_many_echoes_is_found() {
    let echo = r#"{"message":{"is_echo":true}}"#;
    let last = r#",{"sender":{"id":"user-1"},"message":{"mid":"m-1"}}]}]}"#;
    let body = fill(r#"{"object":"page","entry":[{"messaging":["#, echo, last);
    let request = parsed(body.as_bytes()).expect("JSON");
    let events = FacebookMessenger::new().recognise(&request).expect("Messenger's");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].user_id.as_deref(), Some("user-1"));
}

/// Members that the events have in common are not multiplied by their number.
#[test]
fn the_bodies_of_a_batch_are_together_as_large_as_the_batch() {
    let events = vec![r#"{"sender":{"id":"u"}}"#; MAX_EVENTS].join(",");
    let long = "x".repeat(MEGABYTE / 2);
    for body in [
        format!(
            r#"{{"object":"page","entry":[{{"id":"{long}","time":1,"messaging":[{events}]}}]}}"#
        ),
        format!(
            r#"{{"object":"page","entry":[{{"id":"p","time":"{long}","messaging":[{events}]}}]}}"#
        ),
        format!(r#"{{"object":"page","entry":[{{"id":"p","x":"{long}","standby":[{events}]}}]}}"#),
        format!(r#"{{"$type":"facebook","id":"{long}","time":1,"messaging":[{events}]}}"#),
        format!(r#"{{"object":"page","entry":[{{"changes":["{long}"],"messaging":[{events}]}}]}}"#)
            .replacen(r#"{"sender":{"id":"u"}},"#, "", 1),
    ] {
        let request = parsed(body.as_bytes()).expect("JSON");
        let events = FacebookMessenger::new().recognise(&request).expect("Messenger's");
        assert_eq!(events.len(), MAX_EVENTS);
        let sizes = events.iter().map(|event| event.body.as_ref().map_or(0, |body| body.len()));
        assert!(sizes.sum::<usize>() < body.len() + MAX_EVENTS * 256);
    }
}

#[test]
fn a_document_of_many_members_is_searched_instead_of_listed() {
    let members: String = (0..50_000).map(|n| format!(r#""m{n}":{n},"#)).collect();
    let alexa = r#""version":"1.0","request":{"requestId":"r"},"context":{"System":{"user":{"userId":"u"}}}"#;
    let body = format!(r#"{{{members}{alexa}}}"#);
    let request = parsed(body.as_bytes()).expect("JSON");
    let claims = claims(&request);
    assert_eq!(claims.len(), 1);
    assert_eq!(claims[0].1[0].user_id.as_deref(), Some("u"));
    assert_eq!(request.json().unwrap().get("m7").map(|value| value.get()), Some("7"));
    assert_eq!(
        request.json().unwrap().pointer("/context/System/user/userId").map(|id| id.get()),
        Some(r#""u""#)
    );
    assert!(request.json().unwrap().get("m50000").is_none());
    // The last of two members with the same name counts here as well, and garbage is still not
    // JSON.
    let twice = format!(r#"{{{members}"a":1,"a":2}}"#);
    let request = parsed(twice.as_bytes()).expect("JSON");
    assert_eq!(request.json().unwrap().get("a").map(|value| value.get()), Some("2"));
    assert!(parsed(format!("{twice}}}").as_bytes()).is_none());
    assert!(parsed(&twice.as_bytes()[..twice.len() - 1]).is_none());
}

/// Members that the events of WhatsApp and LINE have in common are not multiplied by their number
/// either, and a contact is not looked for in all contacts each time.
#[test]
fn many_events_of_whatsapp_and_line_stay_small() {
    let long = "x".repeat(MEGABYTE / 4);
    let messages = |count: usize| vec![r#"{"from":"1","id":"m"}"#; count].join(",");
    let contacts = vec![r#"{"wa_id":"2"}"#; MEGABYTE / 32].join(",");
    let whatsapp = |count: usize| {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{long}","changes":[{{"field":"{long}","value":{{"metadata":{{"phone_number_id":"p","x":"{long}"}},"contacts":[{contacts},{{"wa_id":"1","x":"{long}"}}],"messages":[{}]}}}}]}}]}}"#,
            messages(count)
        )
    };
    let events = |count: usize| vec![r#"{"source":{"userId":"u"}}"#; count].join(",");
    let line = |count: usize| {
        let destination = "U0123456789abcdef0123456789abcdef";
        format!(r#"{{"x":"{long}","destination":"{destination}","events":[{}]}}"#, events(count))
    };
    for body in [whatsapp(MAX_EVENTS), line(MAX_EVENTS)] {
        let request = parsed(body.as_bytes()).expect("JSON");
        let (_, events) = claims(&request).remove(0);
        assert_eq!(events.len(), MAX_EVENTS);
        let sizes = events.iter().map(|event| event.body.as_ref().map_or(0, |body| body.len()));
        assert!(sizes.sum::<usize>() < MAX_EVENTS * 512);
    }
    for body in [whatsapp(2 * MAX_EVENTS), line(2 * MAX_EVENTS)] {
        let request = parsed(body.as_bytes()).expect("JSON");
        let (_, events) = claims(&request).remove(0);
        assert_eq!(events.len(), MAX_EVENTS + 1);
        assert!(events.iter().all(|event| event.body.is_none()));
    }
}
