//! Checks that a saved record is loaded unchanged.

use std::ops::AsyncFn;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use super::subject::{Outcome, Subject};
use super::values::{KEYS, Range, shown, value};
use crate::database::Database;

/// The number of random values, and the number of steps to simplify a value that fails.
const CASES: usize = 48;
const SMALLER: usize = 64;

pub(super) async fn round_trip<D: Database>(subject: &Subject<D>) -> Outcome {
    for (name, sample) in samples() {
        comes_back(subject, &sample).await.map_err(|why| format!("{name}: {why}"))?;
    }
    for_any(Range::Common, CASES, async |value| comes_back(subject, value).await).await
}

/// Checks random values; a value that fails is simplified first.
pub(super) async fn for_any(
    range: Range,
    cases: usize,
    check: impl AsyncFn(&Value) -> Outcome,
) -> Outcome {
    let (mut runner, strategy) = (TestRunner::default(), value(range));
    for _ in 0..cases {
        let mut tree = strategy.new_tree(&mut runner).map_err(|error| error.to_string())?;
        let mut value = tree.current();
        let Err(mut why) = check(&value).await else { continue };
        for _ in 0..SMALLER {
            if !tree.simplify() {
                break;
            }
            match check(&tree.current()).await {
                Err(simpler) => (value, why) = (tree.current(), simpler),
                Ok(()) if tree.complicate() => {}
                Ok(()) => break,
            }
        }
        return Err(format!("with the value {}: {why}", shown(&value)));
    }
    Ok(())
}

/// Returns a record with `value` in the user's data, under `probe`.
pub(super) fn around(value: &Value) -> Value {
    json!({ "user": { "data": { "probe": value } }, "createdAt": "2021-06-30T05:50:04.034Z" })
}

async fn comes_back<D: Database>(subject: &Subject<D>, value: &Value) -> Outcome {
    let (id, fields) = (subject.user("value"), around(value));
    // Created, then saved over another record: a database may handle the two differently.
    let version = subject.store(&id, &fields, None).await?;
    subject.holds(&id, &fields, &version).await?;
    let version = subject.store(&id, &around(&json!({ "a": [1] })), Some(&version)).await?;
    let version = subject.store(&id, &fields, Some(&version)).await?;
    subject.holds(&id, &fields, &version).await?;
    subject.delete(&id).await
}

fn samples() -> Vec<(&'static str, Value)> {
    let keys = KEYS.iter().map(|key| ((*key).to_owned(), json!({ *key: key })));
    let nested = (0..13).fold(json!(1), |inner, _| json!([inner]));
    let nested = json!([nested, (0..13).fold(json!({}), |inner, _| json!({ "a": inner }))]);
    vec![
        ("nothing", json!([null, "", {}, [], false, 0])),
        (
            "empty within empty",
            json!({ "a": {}, "b": [], "c": [[]], "d": [{}], "e": { "f": {} }, "g": "" }),
        ),
        (
            "null within maps and arrays",
            json!({ "a": null, "b": [null, null], "c": { "d": null } }),
        ),
        ("keys with `.`, `$`, spaces and quotes", Value::Object(Map::from_iter(keys))),
        ("the extremes of i64", json!([i64::MIN, i64::MAX, i64::MIN + 1, i64::MAX - 1, -1, 0])),
        (
            "integers that no float holds",
            json!([9_007_199_254_740_993_i64, -9_007_199_254_740_993_i64]),
        ),
        (
            "floats",
            json!([0.1, -0.5, 1.0, 1e20, 1e-100, 1e100, 0.1 + 0.2, f64::EPSILON, 1.0 / 3.0]),
        ),
        (
            "texts",
            json!(["Zoë", "e\u{301}", "👩‍👩‍👧", "\0", "\u{10ffff}", "\\u0041", "\r\n", "\u{2028}"]),
        ),
        (
            "texts that look like something else",
            json!(["null", "1", "true", "2021-06-30T05:50:04.034Z", "AQID"]),
        ),
        ("arrays of several types", json!([1, "1", [1], { "1": 1 }, null, true, 1.5])),
        ("a date in MongoDB's JSON", json!({ "$date": "2021-06-30T05:50:04.034Z" })),
        ("an id in MongoDB's JSON", json!({ "$oid": "507f1f77bcf86cd799439011" })),
        ("a number in MongoDB's JSON", json!([{ "$numberLong": "5" }, { "$numberDouble": "NaN" }])),
        (
            "a type in DynamoDB's JSON",
            json!([{ "S": "a" }, { "N": "1" }, { "NULL": true }, { "M": {} }]),
        ),
        ("a set in other formats", json!([["a", "b", "a"], [1, 1]])),
        ("16 levels", nested),
        ("128 KiB", json!("é".repeat(64 * 1024))),
        (
            "1,000 keys",
            (0..1000)
                .map(|number| (format!("key {number}"), json!(number)))
                .collect::<Map<_, _>>()
                .into(),
        ),
    ]
}

/// Saves what a turn sets in a record that was loaded, as a database may write that alone: more
/// under the version of each save, and again after a load.
pub(super) async fn set_members<D: Database>(subject: &Subject<D>) -> Outcome {
    for_any(Range::Common, CASES / 4, async |value| is_set(subject, value).await).await
}

async fn is_set<D: Database>(subject: &Subject<D>, value: &Value) -> Outcome {
    const DATA: &[&str] = &["user", "data"];
    let (id, mut fields) = (subject.user("set"), around(&json!({ "a": 1, "b": { "c": [value] } })));
    subject.store(&id, &fields, None).await?;
    let inside = json!({ "a": 1, "b": { "c": [value, 2], "d": value } });
    let steps: [(&[&str], &str, Value); 9] = [
        (DATA, "probe", inside),
        (DATA, "new", value.clone()),
        (&[], "updatedAt", json!("2021-06-30T05:50:05.034Z")),
        (&["user"], "new", json!({ "a": value })),
        (DATA, "probe", value.clone()),
        (DATA, "new", json!({})),
        (&["user"], "data", json!({ "probe": value, "b": {} })),
        (DATA, "probe", json!({ "a": { "b": { "c": { "d": value } } } })),
        (&[], "session", json!({ "data": {} })),
    ];
    // Each by itself, and two at a time.
    for at_once in [1, 2] {
        let loaded = subject.load(&id).await?.ok_or("load does not find a stored user")?;
        let (mut record, mut version) = (loaded.record, loaded.version);
        for steps in steps.chunks(at_once) {
            for (path, name, value) in steps {
                record.set(path, name, value.clone());
                let object = path.iter().fold(&mut fields, |object, name| &mut object[*name]);
                object[*name] = value.clone();
            }
            version = subject.store_record(&id, &record, Some(&version)).await?;
            subject.holds(&id, &fields, &version).await?;
        }
        fields = around(value);
        subject.store(&id, &fields, Some(&version)).await?;
    }
    subject.delete(&id).await
}

/// Returns a record of Jovo v4 with unknown fields at every level.
fn of_jovo() -> Value {
    json!({
        "user": { "data": { "visits": 3, "unknown": {} }, "unknown": [1] },
        "session": {
            "id": "session-1",
            "data": { "a": 1 },
            "state": [{ "component": "Main", "unknown": null }],
            "createdAt": "2021-06-30T05:50:04.034Z",
            "updatedAt": "2021-06-30T05:50:04.034Z",
            "_GOOGLE_ASSISTANT_REPROMPTS_": ["Hello?"],
        },
        "history": { "items": [{ "output": [{ "message": "Hi" }], "unknown": 0.5 }], "unknown": {} },
        "metaData": { "sessionsCount": 1, "unknown": "" },
        "createdAt": "2021-06-30T05:50:04.034Z",
        "updatedAt": "2021-06-30T05:50:04.034Z",
        "unknown": { "deep": [1, [2]] },
        "unknownText": "",
        "unknown_null": null,
        "Unknown": -9_007_199_254_740_993_i64,
    })
}

pub(super) async fn unknown_fields<D: Database>(subject: &Subject<D>) -> Outcome {
    let (id, mut fields) = (subject.user("jovo"), of_jovo());
    let version = subject.store(&id, &fields, None).await?;
    subject.holds(&id, &fields, &version).await?;
    fields["user"]["data"]["visits"] = json!(4);
    fields["updatedAt"] = json!("2022-01-01T00:00:00.000Z");
    let version = subject.store(&id, &fields, Some(&version)).await?;
    subject.holds(&id, &fields, &version).await?;
    // Fields of any type, and no fields, in case a database relies on one.
    for (index, odd) in [json!({}), json!({ "user": null, "createdAt": 1, "history": "none" })]
        .into_iter()
        .enumerate()
    {
        let id = subject.user(&format!("odd {index}"));
        let version = subject.store(&id, &odd, None).await?;
        subject.holds(&id, &odd, &version).await?;
        let version = subject.store(&id, &fields, Some(&version)).await?;
        let version = subject.store(&id, &odd, Some(&version)).await?;
        subject.holds(&id, &odd, &version).await?;
    }
    Ok(())
}

pub(super) async fn removed_keys<D: Database>(subject: &Subject<D>) -> Outcome {
    let removals: [(&str, &str, &str); 8] = [
        ("an unknown field", "", "unknown"),
        ("a known field", "", "session"),
        ("a time", "", "createdAt"),
        ("a key of the user's data", "/user/data", "basket"),
        ("a nested key", "/user/data/order", "drink"),
        ("a nested key with `.`", "/user/data/order", "a.b"),
        ("a key within an array", "/history/items/0", "nlu"),
        ("the last key of a map", "/user/data/last", "one"),
    ];
    let mut fields = of_jovo();
    fields["user"]["data"] = json!({
        "basket": { "items": [1, 2] },
        "order": { "drink": "tea", "cups": 2, "a.b": 1, "a": { "b": 2 } },
        "last": { "one": 1 },
        "list": [1, 2, 3],
    });
    fields["history"]["items"][0]["nlu"] = json!({ "intent": "OrderIntent" });
    let id = subject.user("removed");
    let mut version = subject.store(&id, &fields, None).await?;
    for (name, parent, key) in removals {
        let parent = fields.pointer_mut(parent).and_then(Value::as_object_mut);
        let removed = parent.and_then(|parent| parent.shift_remove(key));
        removed.ok_or_else(|| format!("the suite is wrong: {name} is not there"))?;
        version = subject.store(&id, &fields, Some(&version)).await?;
        subject.holds(&id, &fields, &version).await.map_err(|why| format!("{name}: {why}"))?;
    }
    for shorter in [json!([1, 3]), json!([]), json!(null)] {
        fields["user"]["data"]["list"] = shorter;
        version = subject.store(&id, &fields, Some(&version)).await?;
        subject.holds(&id, &fields, &version).await?;
    }
    let nothing = json!({});
    version = subject.store(&id, &nothing, Some(&version)).await?;
    subject.holds(&id, &nothing, &version).await
}
