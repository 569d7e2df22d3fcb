//! Requests that two platforms could claim.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{SAMPLES, claims, parsed, value};

fn claimed(body: &Value) -> BTreeSet<String> {
    let bytes = body.to_string();
    let request = parsed(bytes.as_bytes()).expect("JSON");
    claims(&request).into_iter().map(|(platform, _)| platform.name().to_owned()).collect()
}

/// Returns `base` overlaid with `over`, member by member.
fn merged(base: &Value, over: &Value, is_deep: bool) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut merged = base.clone();
            for (name, over) in over {
                let value = match merged.get(name) {
                    Some(base) if is_deep => self::merged(base, over, true),
                    _ => over.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        _ => over.clone(),
    }
}

fn platform_of(name: &str) -> &str {
    name.split('/').next().expect("a directory")
}

/// Checks each recorded request against each platform.
#[test]
fn no_recorded_request_is_claimed_twice() {
    for (name, ..) in SAMPLES {
        let platform = platform_of(name);
        let expected: BTreeSet<_> =
            (platform != "unrecognised").then(|| platform.to_owned()).into_iter().collect();
        assert_eq!(claimed(&value(name)), expected, "{name}");
    }
}

/// Two requests in one object are claimed only by their own platforms.
#[test]
fn a_third_platform_claims_nothing_of_two_requests_in_one() {
    for (one, ..) in SAMPLES {
        for (other, ..) in SAMPLES {
            for is_deep in [false, true] {
                let both = merged(&value(one), &value(other), is_deep);
                let allowed =
                    BTreeSet::from([platform_of(one), platform_of(other)].map(str::to_owned));
                let claimed = claimed(&both);
                assert!(claimed.is_subset(&allowed), "{one} and {other}: {claimed:?}");
            }
        }
    }
}

/// A check in front of the layer that knows Jovo Web, and a layer that treats the request as
/// Alexa's, would expose another user's data. Both claims are recognised, so that the layer can
/// refuse.
#[test]
fn a_request_forged_for_two_platforms_is_recognised_as_both() {
    for (one, other) in [
        ("web/text", "alexa/intent"),
        ("web/text", "facebookmessenger/message"),
        ("core/intent", "lex/v2"),
        ("alexa/intent", "facebookmessenger/entry"),
        ("googlebusiness/message", "instagram/message"),
        ("lex/v1", "dialogflow/twilio"),
    ] {
        let both = merged(&value(one), &value(other), true);
        assert_eq!(claimed(&both).len(), 2, "{one} and {other}: {:?}", claimed(&both));
    }
}
