//! Bodies that are not sent by accident: they cause no panic and no overflow, and never yield a
//! user id that is not in the body.

use std::collections::HashSet;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::Value;

use super::today::TODAY;
use super::{a_few, claims, form, is_form, names, parsed, sample, value};
use crate::platform::{Event, JsonPlatform, MAX_EVENTS, NewSession, Platform, all};

/// Makes every platform read everything that it reads.
fn read_everything(bytes: &[u8]) {
    let Some(request) = parsed(bytes) else { return };
    for platform in all() {
        platform.recognise(&request);
        platform.input(&request);
    }
    for pointer in ["/entry/0/messaging/0", "/context/System/user/userId", "/0/0", "/a/a/a"] {
        let _ = request.json().unwrap().pointer(pointer);
    }
}

/// Writes `value` as JSON in which every member stands twice, the first time as `decoy`, and in
/// which value number `replaced.0` is `replaced.1`.
struct Writer<'a> {
    decoy: Option<&'a str>,
    replaced: Option<(usize, &'a str)>,
    written: usize,
    text: String,
}

impl<'a> Writer<'a> {
    fn write(value: &Value, decoy: Option<&'a str>, replaced: Option<(usize, &'a str)>) -> Self {
        let mut writer = Self { decoy, replaced, written: 0, text: String::new() };
        writer.value(value);
        writer
    }

    fn value(&mut self, value: &Value) {
        self.written += 1;
        if let Some((_, replacement)) = self.replaced.filter(|(at, _)| *at == self.written) {
            self.text.push_str(replacement);
            return;
        }
        match value {
            Value::Object(members) => {
                self.text.push('{');
                for (at, (name, member)) in members.iter().enumerate() {
                    self.text.push_str(if at == 0 { "" } else { "," });
                    let name = Value::from(name.as_str()).to_string();
                    if let Some(decoy) = self.decoy {
                        self.text.push_str(&format!("{name}:{decoy},"));
                    }
                    self.text.push_str(&format!("{name}:"));
                    self.value(member);
                }
                self.text.push('}');
            }
            Value::Array(elements) => {
                self.text.push('[');
                for (at, element) in elements.iter().enumerate() {
                    self.text.push_str(if at == 0 { "" } else { "," });
                    self.value(element);
                }
                self.text.push(']');
            }
            Value::String(text) if text.starts_with('{') => {
                let inner: Value = serde_json::from_str(text).expect("JSON in JSON");
                let inner = Writer::write(&inner, self.decoy, None).text;
                self.text.push_str(&Value::from(inner).to_string());
            }
            other => self.text.push_str(&other.to_string()),
        }
    }
}

/// Returns the contents of a sample's events and input in a form that can be compared.
type Reading =
    Vec<(String, Vec<(Option<String>, Option<String>, NewSession, Value, bool)>, [Value; 3])>;

fn reading(bytes: &[u8]) -> Reading {
    let request = parsed(bytes).expect("JSON");
    let event = |event: Event<'_>| {
        let data = event.session_data.map_or(Value::Null, |data| {
            serde_json::from_str(data.get()).expect("session data is JSON")
        });
        let [user_id, session_id] =
            [event.user_id, event.session_id].map(|id| id.map(String::from));
        (user_id, session_id, event.new_session, data, event.sessionless)
    };
    let claim = |(platform, events): (Arc<dyn Platform>, Vec<Event<'_>>)| {
        let input = platform.input(&request);
        let input = [input.input, input.nlu, input.asr].map(Option::unwrap_or_default);
        (platform.name().to_owned(), events.into_iter().map(event).collect(), input)
    };
    claims(&request).into_iter().map(claim).collect()
}

#[test]
fn the_last_of_two_members_with_the_same_name_counts() {
    let decoys = [
        "null",
        "7",
        "true",
        r#""decoy""#,
        r#"["decoy"]"#,
        r#"{"data":1,"id":"decoy"}"#,
        r#"{"userId":"decoy","user":{"userId":"decoy","id":"decoy"},"System":{"user":{"userId":"decoy"}}}"#,
    ];
    for name in names() {
        let expected = reading(&sample(name));
        for decoy in decoys {
            let body = Writer::write(&value(name), Some(decoy), None).text;
            assert_eq!(reading(body.as_bytes()), expected, "{name} with {decoy}");
        }
    }
}

#[test]
fn a_name_with_a_slash_is_not_a_path() {
    let body = r#"{"version":"1.0","request":{"requestId":"r"},"context":{"System/user/userId":"u",
        "System":{"user/userId":"u","user":{"user/userId":"u","userId/":"u"}}},"session":{"user/userId":"u"}}"#;
    let reading = reading(body.as_bytes());
    assert_eq!((reading[0].0.as_str(), &reading[0].1[0].0), ("alexa", &None));
}

#[test]
fn names_may_be_written_with_escapes() {
    let body = r#"{"version":"1.0","re\u0071uest":{"request\u0049d":"r"},"context":{"S\u0079stem":{"user":{"userId":"\u0075"}}}}"#;
    assert_eq!(reading(body.as_bytes())[0].1[0].0.as_deref(), Some("u"));
}

fn deep(levels: usize, (open, close): (&str, &str)) -> String {
    format!("{}1{}", open.repeat(levels), close.repeat(levels))
}

const FORMS: [(&str, &str); 4] =
    [("[", "]"), (r#"{"a":"#, "}"), (r#"{"user":"#, "}"), (r#"[{"a":"#, "}]")];

#[test]
fn depth_overflows_no_stack() {
    for form in FORMS {
        let alone = deep(100_000, form);
        read_everything(alone.as_bytes());
        read_everything(form.0.repeat(100_000).as_bytes());
        let bytes = format!(r#"{{"a":{alone}}}"#);
        let request = parsed(bytes.as_bytes()).expect("JSON");
        let platform =
            JsonPlatform::new("deep").detect("/a").user_id("/a/a/a/0").session_data("/a");
        assert_eq!(platform.recognise(&request).map(|events| events.len()), Some(1));
    }
    for (name, member) in
        [("alexa/intent", "context"), ("alexa/intent", "session"), ("core/intent", "input")]
    {
        let mut sample = value(name);
        sample[member] = Value::from("deep");
        for form in FORMS {
            let body = sample.to_string().replace(r#""deep""#, &deep(100_000, form));
            read_everything(body.as_bytes());
        }
    }
}

/// The stack is so small that unbounded recursion would overflow it.
#[test]
fn depth_at_any_place_overflows_no_stack() {
    let everywhere = || {
        for name in a_few() {
            let sample = value(name);
            let values = Writer::write(&sample, None, None).written;
            for at in 1..=values {
                let deep = deep(2_000, FORMS[at % 2]);
                read_everything(Writer::write(&sample, None, Some((at, &deep))).text.as_bytes());
            }
        }
    };
    let thread = std::thread::Builder::new().stack_size(512 * 1024).spawn(everywhere);
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn a_megabyte_of_anything_is_read() {
    let fill = |unit: &str, before: &str, after: &str| {
        let units = vec![unit; 1_000_000 / unit.len()].join(",");
        format!("{before}{units}{after}")
    };
    let user = r#"{"sender":{"id":"u"}}"#;
    let session = r#"{"responseId":"r","session":"s","originalDetectIntentRequest":{},"queryResult":{"parameters":{"#;
    let bodies = [
        (1, fill(r#""m":1"#, r#"{"version":"1","request":{"requestId":"r"},"#, "}")),
        (
            1,
            fill(
                r#""user":{"userId":"u"}"#,
                r#"{"version":"1","request":{"requestId":"r"},"context":{"System":{"#,
                "}}}",
            ),
        ),
        (MAX_EVENTS + 1, fill(user, r#"{"object":"page","entry":[{"messaging":["#, "]}]}")),
        (
            MAX_EVENTS + 1,
            fill(
                r#"{"messaging":[{"sender":{"id":"u3456"}}]}"#.replace("3456", "34").as_str(),
                r#"{"object":"instagram","entry":["#,
                "]}",
            ),
        ),
        (0, fill("1", r#"{"object":"page","entry":["#, "]}")),
        (
            1,
            fill(
                r#"{"name":"s/contexts/_jovo_sessio"}"#,
                r#"{"responseId":"r","session":"s","queryResult":{"outputContexts":["#,
                "]}}",
            ),
        ),
        (
            1,
            fill(
                r#""a":"b""#,
                session,
                r#"},"outputContexts":[{"name":"s/contexts/_jovo_session_a","parameters":{"a":1,"b":2}}]}}"#,
            ),
        ),
        (
            1,
            fill(
                r#""a.original":{}"#,
                r#"{"responseId":"r","session":"s","queryResult":{"parameters":{"a":1},"outputContexts":[{"name":"s/contexts/_jovo_session_a","parameters":{"#,
                "}}]}}",
            ),
        ),
    ];
    for (events, body) in bodies {
        let request = parsed(body.as_bytes()).expect("JSON");
        let claims = claims(&request);
        assert_eq!(claims.len(), 1, "{}", &body[..80]);
        claims[0].0.input(&request);
        assert_eq!(claims[0].1.len(), events, "{}", &body[..80]);
    }
}

/// Returns all texts and numbers in `value`, including those in JSON texts, also in Base64.
fn texts(value: &Value, found: &mut HashSet<String>) {
    match value {
        Value::String(text) => {
            let decoded = STANDARD.decode(text).unwrap_or_default();
            for inner in [text.as_bytes(), &decoded] {
                if let Ok(inner @ Value::Object(_)) = serde_json::from_slice(inner) {
                    texts(&inner, found);
                }
            }
            found.insert(text.clone());
        }
        Value::Number(number) => drop(found.insert(number.to_string())),
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, found)),
        Value::Object(members) => members.values().for_each(|member| texts(member, found)),
        _ => {}
    }
}

/// A change to the bytes of a sample: its kind, position, length and new bytes.
type Change = (u8, prop::sample::Index, usize, u8, (prop::sample::Index, prop::sample::Index));

fn change(bytes: &mut Vec<u8>, (kind, at, length, byte, (other, from)): Change) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    let end = bytes.len().min(at + length);
    match kind {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let names = names();
            let other = sample(names[other.index(names.len())]);
            let from = from.index(other.len());
            let part = &other[from..other.len().min(from + length)];
            bytes.splice(at..end, part.iter().copied());
        }
    }
}

/// A change to the values of a sample: the `n`th value becomes another sample's value.
fn splice(name: &str, at: prop::sample::Index, other: &str, from: prop::sample::Index) -> String {
    let (body, other) = (value(name), value(other));
    let mut values = Vec::new();
    collect(&other, &mut values);
    let part = values[from.index(values.len())].to_string();
    let count = Writer::write(&body, None, None).written;
    Writer::write(&body, None, Some((1 + at.index(count), &part))).text
}

fn collect<'a>(value: &'a Value, values: &mut Vec<&'a Value>) {
    values.push(value);
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| collect(element, values)),
        Value::Object(members) => members.values().for_each(|member| collect(member, values)),
        _ => {}
    }
}

/// Fails if an event has an id that is not `known`.
fn check_ids(events: Vec<Event<'_>>, known: impl Fn(&str) -> bool) -> Result<(), TestCaseError> {
    for event in events {
        let ids = [event.user_id, event.session_id, event.scope, event.account, event.thread];
        for id in ids.into_iter().flatten().chain(event.also_known_as) {
            prop_assert!(known(&id), "{id:?} does not stand in the body");
        }
        // A conversation of two numbers has both, and a reaction names its space within its name.
        if let Some(conversation) = event.conversation {
            let mut slashes = conversation.match_indices('/');
            let is_known = known(&conversation)
                || conversation.starts_with("spaces/")
                || slashes
                    .any(|(at, _)| known(&conversation[..at]) && known(&conversation[at + 1..]));
            prop_assert!(is_known, "{conversation:?} does not stand in the body");
        }
    }
    Ok(())
}

/// Fails if a platform finds an id that a handler would not see in the body.
fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    read_everything(bytes);
    let Some(request) = parsed(bytes) else {
        // A body that is not JSON to the platforms is not JSON to a handler either.
        prop_assert!(serde_json::from_slice::<Value>(bytes).is_err());
        return Ok(());
    };
    let Ok(body) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    let mut known = HashSet::new();
    texts(&body, &mut known);
    for (_, events) in claims(&request) {
        check_ids(events, |id| known.contains(id))?;
    }
    Ok(())
}

/// Returns the fields of a form as another parser reads them, and what JSON there is in them.
fn check_form(bytes: &[u8]) -> Result<(), TestCaseError> {
    let request = form(bytes);
    let mut known = HashSet::new();
    let mut is_readable = true;
    for (_, value) in form_urlencoded::parse(bytes) {
        is_readable &= !value.starts_with('{') || serde_json::from_str::<Value>(&value).is_ok();
        texts(&Value::from(value.into_owned()), &mut known);
    }
    for (platform, events) in claims(&request) {
        platform.input(&request);
        // As with a body of JSON, platforms read some texts that a parser of values refuses.
        if is_readable {
            check_ids(events, |id| known.contains(id))?;
        }
    }
    Ok(())
}

fn any_form() -> impl Strategy<Value = &'static str> {
    let forms = TODAY.iter().map(|(name, _)| *name).filter(|name| is_form(name));
    prop::sample::select(forms.collect::<Vec<_>>())
}

fn any_sample() -> impl Strategy<Value = &'static str> {
    prop::sample::select(names())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check(&bytes)?;
    }

    #[test]
    fn any_tokens_are_read(tokens in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\ud800", "null", "true", "-1", "1e999", " ",
        "\"version\":", "\"request\":", "\"requestId\":", "\"context\":", "\"user\":", "\"id\"",
    ]), 0..64)) {
        check(tokens.concat().as_bytes())?;
    }

    #[test]
    fn a_damaged_request_gives_no_id_that_it_does_not_hold(
        name in any_sample(),
        changes in prop::collection::vec((0u8..5, any::<prop::sample::Index>(), 1usize..64, any::<u8>(), any::<(prop::sample::Index, prop::sample::Index)>()), 1..4),
    ) {
        let mut bytes = sample(name);
        for one in changes {
            change(&mut bytes, one);
        }
        check(&bytes)?;
    }

    #[test]
    fn requests_made_of_two_give_no_id_that_they_do_not_hold(
        name in any_sample(),
        at in any::<prop::sample::Index>(),
        other in any_sample(),
        from in any::<prop::sample::Index>(),
    ) {
        check(splice(name, at, other, from).as_bytes())?;
    }

    #[test]
    fn any_bytes_are_read_as_a_form(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        check_form(&bytes)?;
    }

    #[test]
    fn any_fields_are_read(fields in prop::collection::vec(prop::sample::select(vec![
        "&", "=", "%", "+", "%7B", "%22", "%FF", "payload=", "AccountSid=", "CallSid=", "From=",
        "To=", "MessageSid=", "CallStatus=", "command=", "user_id=", "team_id=", "a", "{", "\"",
    ]), 0..64)) {
        check_form(fields.concat().as_bytes())?;
    }

    #[test]
    fn a_damaged_form_gives_no_id_that_it_does_not_hold(
        name in any_form(),
        changes in prop::collection::vec((0u8..5, any::<prop::sample::Index>(), 1usize..64, any::<u8>(), any::<(prop::sample::Index, prop::sample::Index)>()), 1..4),
    ) {
        let mut bytes = sample(name);
        for one in changes {
            change(&mut bytes, one);
        }
        check_form(&bytes)?;
    }
}
