use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::primitives::Blob;
use proptest::prelude::*;
use serde_json::json;

use super::super::known::Item;
use super::super::write;
use super::*;
use crate::record::{Path, Record};

#[allow(clippy::needless_pass_by_value)]
fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn types_that_json_lacks_are_written_back() {
    let attributes = Attributes::from([(
        "a/b".to_owned(),
        AttributeValue::M(HashMap::from([
            ("binary".to_owned(), AttributeValue::B(Blob::new([0, 255]))),
            ("binaries".to_owned(), AttributeValue::Bs(vec![Blob::new([1]), Blob::new([2])])),
            ("strings".to_owned(), AttributeValue::Ss(vec!["x".to_owned(), "y".to_owned()])),
            (
                "numbers".to_owned(),
                AttributeValue::Ns(vec!["1".to_owned(), "0.30000000000000000001".to_owned()]),
            ),
            ("digits".to_owned(), AttributeValue::N("1234567890123456789012".to_owned())),
        ])),
    )]);
    let read = attributes.fields();
    let expected = json!({ "a/b": {
        "binary": "AP8=",
        "binaries": ["AQ==", "Ag=="],
        "strings": ["x", "y"],
        "numbers": [1, 0.3],
        "digits": 1.2345678901234568e21,
    }});
    assert_eq!(Value::Object(read.clone()), expected);
    assert!(has_foreign(&attributes).unwrap());
    assert_eq!(write::fields(&read, Some(&attributes)).unwrap(), attributes);
    let part = write::part(&["a/b", "binary"], &read["a/b"]["binary"], Some(&attributes)).unwrap();
    assert_eq!(part, attributes["a/b"].as_m().unwrap()["binary"]);

    // A value that no longer fits its original type is written as the type of its JSON.
    let mut changed = read;
    changed["a/b"]["binary"] = json!("not base64");
    changed["a/b"]["strings"] = json!([]);
    changed["a/b"]["binaries"] = json!(["AQ==", "AQ=="]);
    changed["a/b"]["numbers"] = json!([1, 2]);
    changed["a/b"]["digits"] = json!(7);
    let written = write::fields(&changed, Some(&attributes)).unwrap();
    assert_eq!(written.fields(), changed);
    let numbers = vec!["1".to_owned(), "2".to_owned()];
    let mut written = written["a/b"].as_m().unwrap().clone();
    assert_eq!(written.remove("numbers"), Some(AttributeValue::Ns(numbers)));
    assert!(!has_foreign(&written).unwrap());
}

#[test]
fn fields_of_jovo_come_first() {
    let names = ["z", "updatedAt", "history", "a", "user"];
    let item: Attributes = names.map(|name| (name.to_owned(), AttributeValue::Null(true))).into();
    let fields = item.fields();
    assert!(fields.keys().eq(["user", "history", "updatedAt", "a", "z"]), "{fields:?}");
}

#[test]
fn a_number_that_cannot_be_read_is_named() {
    let number = AttributeValue::N("SECRET".to_owned());
    let far = Attributes::from([("SECRET".to_owned(), AttributeValue::L(vec![number]))]);
    let data = Attributes::from([("far".to_owned(), AttributeValue::M(far))]);
    let user = Attributes::from([("data".to_owned(), AttributeValue::M(data))]);
    let item = Attributes::from([("user".to_owned(), AttributeValue::M(user))]);
    let error = has_foreign(&item).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`/user/data/far` has a number that cannot be read"), "{text}");
    assert!(error.is_decode() && !text.contains("SECRET"), "{text}");
}

#[test]
fn errors_name_values_that_dynamodb_cannot_hold() {
    let mut deep = json!("deepest");
    for _ in 0..32 {
        deep = json!([deep]);
    }
    let cases = [
        (json!({ "user": { "data": { "": 1 } } }), "`/user/data/` has an empty name"),
        (json!({ "": 1 }), "`/` has an empty name"),
        (
            json!({ "user": { "data": { "far": { "SECRET": 1e300 } } } }),
            "`/user/data/far` has a number",
        ),
        (json!({ "others": { "SECRET": 1e300 } }), "`/others` has a number"),
        (json!({ "deep": deep }), "is nested deeper than the 32 levels"),
    ];
    for (record, expected) in cases {
        let error = write::fields(&fields(record), None).unwrap_err();
        assert!(error.is_encode());
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("SECRET"), "{text}");
    }
    let long = json!({ "x".repeat(65_536): 1 });
    assert!(write::fields(&fields(long), None).unwrap_err().is_encode());
}

#[test]
fn thirty_two_levels_are_accepted() {
    let mut deep = json!("deepest");
    for _ in 0..31 {
        deep = json!({ "k": deep });
    }
    let record = fields(json!({ "deep": deep }));
    let written = write::fields(&record, None).unwrap();
    assert_eq!(written.fields(), record);
}

fn attribute() -> impl Strategy<Value = AttributeValue> {
    let texts = prop::collection::btree_set("[ab]{1,2}", 1..3);
    let numbers = prop::sample::select(vec!["1", "-2.50", "0.30000000000000000001", "1E+3"]);
    let leaf = prop_oneof![
        Just(AttributeValue::Null(true)),
        any::<bool>().prop_map(AttributeValue::Bool),
        "[ab]{0,2}".prop_map(AttributeValue::S),
        numbers.clone().prop_map(|number| AttributeValue::N(number.to_owned())),
        any::<[u8; 2]>().prop_map(|bytes| AttributeValue::B(Blob::new(bytes))),
        texts.prop_map(|texts| AttributeValue::Ss(texts.into_iter().collect())),
        prop::collection::btree_set(numbers, 1..3)
            .prop_map(|set| AttributeValue::Ns(set.into_iter().map(str::to_owned).collect())),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(AttributeValue::L),
            prop::collection::hash_map("[ab]", inner, 0..3).prop_map(AttributeValue::M),
        ]
    })
}

const PATHS: [Path; 3] = [&[], &["user"], &["user", "a"]];

proptest! {
    /// After a save of some members, the item is as if the whole record had been written.
    #[test]
    fn parts_make_the_same_item_as_the_whole(
        user in prop::collection::hash_map("[ab]", attribute(), 0..3),
        sets in prop::collection::vec((0..PATHS.len(), "[abc]", attribute()), 0..4),
        whole in any::<bool>(),
    ) {
        let item = Arc::new(Attributes::from([("user".to_owned(), AttributeValue::M(user))]));
        prop_assert!(has_foreign(&item).is_ok());
        let loaded = Record::of_source(item.clone());
        let mut record = loaded.clone();
        for (path, name, value) in sets {
            record.set(PATHS[path], &name, json(&value));
        }
        if whole {
            record = Record::new(record.fields().clone());
        }
        let known = Item { record: loaded, foreign: Some(item.clone()) };
        let changes = known.changes(&record);
        let part = |path: &[&str], new| write::part(path, new, Some(&item)).unwrap();
        let parts: Vec<_> =
            changes.iter().map(|it| (it, it.new.map(|new| part(&it.path, new)))).collect();
        let written = known.foreign_after(&parts).unwrap();
        let expected = write::fields(record.fields(), Some(&item)).unwrap();
        prop_assert_eq!(&*written, &expected);
    }
}
