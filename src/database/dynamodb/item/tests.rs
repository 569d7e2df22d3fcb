use serde_json::json;

use super::*;

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
    let mut reader = Reader::new();
    let mut record = reader.fields(attributes.clone()).unwrap();
    let expected = json!({ "a/b": {
        "binary": "AP8=",
        "binaries": ["AQ==", "Ag=="],
        "strings": ["x", "y"],
        "numbers": [1, 0.3],
        "digits": 1.2345678901234568e21,
    }});
    assert_eq!(Value::Object(record.clone()), expected);

    let mut writer = Writer::new(Some(&reader.types));
    assert_eq!(writer.fields(&record).unwrap(), attributes);
    assert_eq!(writer.types, reader.types);

    // A value that no longer fits its original type is written as the type of its JSON.
    record["a/b"]["binary"] = json!("not base64");
    record["a/b"]["strings"] = json!([]);
    record["a/b"]["binaries"] = json!(["AQ==", "AQ=="]);
    record["a/b"]["numbers"] = json!([1, 2]);
    record["a/b"]["digits"] = json!(7);
    let mut writer = Writer::new(Some(&reader.types));
    let written = writer.fields(&record).unwrap();
    assert_eq!(Reader::new().fields(written.clone()).unwrap(), record);
    assert_eq!(writer.types, Types::from([("/a~1b/numbers".to_owned(), Type::Numbers)]));
    let numbers = vec!["1".to_owned(), "2".to_owned()];
    assert_eq!(written["a/b"].as_m().unwrap()["numbers"], AttributeValue::Ns(numbers));
}

#[test]
fn fields_of_jovo_come_first() {
    let names = ["z", "updatedAt", "history", "a", "user"];
    let item = names.map(|name| (name.to_owned(), AttributeValue::Null(true))).into();
    let record = Reader::new().record(item).unwrap();
    assert!(record.keys().eq(["user", "history", "updatedAt", "a", "z"]), "{record:?}");
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
        let error = Writer::new(None).fields(&fields(record)).unwrap_err();
        assert!(error.is_encode());
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("SECRET"), "{text}");
    }
    let long = json!({ "x".repeat(65_536): 1 });
    assert!(Writer::new(None).fields(&fields(long)).unwrap_err().is_encode());
}

#[test]
fn thirty_two_levels_are_accepted() {
    let mut deep = json!("deepest");
    for _ in 0..31 {
        deep = json!({ "k": deep });
    }
    let record = fields(json!({ "deep": deep }));
    let written = Writer::new(None).fields(&record).unwrap();
    assert_eq!(Reader::new().fields(written).unwrap(), record);
}
