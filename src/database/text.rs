//! The record in a stored text, and the text of a record, for databases that store texts.
//!
//! Other programs may write texts, and spell JSON otherwise than `serde_json`: numbers beyond 64
//! bits, `1e3`, spaces. Such a text travels with the version that was loaded, so that a save
//! leaves what it does not change as it was. A text that `serde_json` would write the same way,
//! as all that come from here, does not have to.

use std::collections::HashMap;
use std::io;

use serde::Serialize;
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::same::{is_same, is_same_object};
use crate::error::Error;
use crate::record::{Record, is_text_of};

/// `serde_json` reads 127 levels.
const LEVELS: usize = 127;

/// A text that is not spelled as `serde_json` would, with the record that it was read as.
#[derive(Debug)]
pub(super) struct Source {
    text: String,
    record: Record,
}

/// Reads the record in a stored text.
pub(super) fn read(text: String) -> Result<(Record, Option<Source>), Error> {
    let text = match Record::of_text(text, LEVELS) {
        Ok(record) => return Ok((record, None)),
        Err(text) => text,
    };
    let record: Record = serde_json::from_str(&text).map_err(|error| {
        // Of another type than an object it would quote the value.
        let why = match error.classify() {
            Category::Data => "it is not a JSON object".to_owned(),
            _ => format!("{error} of the record"),
        };
        Error::decode(format!(
            "a stored record cannot be read: {why}. It is left as it is; repair it in the database"
        ))
    })?;
    let source = source(text, &record);
    Ok((record, source))
}

/// The text, where it has to be kept.
fn source(text: String, record: &Record) -> Option<Source> {
    (!is_text_of(&text, record)).then(|| Source { record: record.clone(), text })
}

/// Writes the text of a record that takes the place of `source`, in at most `limit` bytes.
pub(super) fn write(
    record: &Record,
    source: Option<&Source>,
    limit: usize,
) -> Result<String, Error> {
    check_depth(record)?;
    let text = match source {
        None => record.to_text().map_err(|error| Error::encode(error.to_string()))?,
        Some(source) => {
            let mut text = String::with_capacity(source.text.len());
            let (new, old) = (record.fields(), source.record.fields());
            if is_same_object(new, old) {
                text.push_str(&source.text);
            } else {
                write_object(&mut text, new, old, &source.text);
            }
            text
        }
    };
    check_size(record, &text, limit)?;
    Ok(text)
}

/// Returns `text` where it has to be kept. `replaced` is that of the text in whose place it came.
pub(super) fn written(text: &str, record: &Record, replaced: Option<&Source>) -> Option<Source> {
    // Without a spelling of its own before, it has none now.
    replaced.and_then(|_| source(text.to_owned(), record))
}

fn write_value(text: &mut String, new: &Value, old: Option<(&Value, &str)>) {
    match (new, old) {
        (_, Some((old, source))) if is_same(new, old) => text.push_str(source),
        (Value::Object(new), Some((Value::Object(old), source))) => {
            write_object(text, new, old, source);
        }
        (Value::Array(new), Some((Value::Array(old), source))) => {
            write_array(text, new, old, source);
        }
        _ => text.push_str(&new.to_string()),
    }
}

fn write_object(
    text: &mut String,
    new: &Map<String, Value>,
    old: &Map<String, Value>,
    source: &str,
) {
    let sources: HashMap<String, &RawValue> = serde_json::from_str(source).unwrap_or_default();
    text.push('{');
    for (index, (name, value)) in new.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(name.as_str()).to_string());
        text.push(':');
        let old = old.get(name).zip(sources.get(name).map(|source| source.get()));
        write_value(text, value, old);
    }
    text.push('}');
}

fn write_array(text: &mut String, new: &[Value], old: &[Value], source: &str) {
    let sources: Vec<&RawValue> = serde_json::from_str(source).unwrap_or_default();
    let old: Vec<_> = old.iter().zip(sources.into_iter().map(RawValue::get)).collect();
    // The history moves its elements, so each may have been another one.
    let by_value: HashMap<String, &str> =
        old.iter().map(|(value, source)| (value.to_string(), *source)).collect();
    let in_place = new.len() == old.len();
    text.push('[');
    for (index, value) in new.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match by_value.get(&value.to_string()) {
            Some(source) => text.push_str(source),
            None => write_value(text, value, old.get(index).copied().filter(|_| in_place)),
        }
    }
    text.push(']');
}

/// Refuses what could be written but not be read again.
fn check_depth(record: &Record) -> Result<(), Error> {
    if record.all(|value, around| fits(value, LEVELS - around)) {
        return Ok(());
    }
    let path = path(record.fields(), |value, levels| !fits(value, levels));
    let Some(path) = path else { return Ok(()) };
    Err(Error::encode(format!(
        "`{path}` is nested more than {LEVELS} levels deep and could not be read again: store it \
         as text, or nest it less"
    )))
}

fn check_size(record: &Record, text: &str, limit: usize) -> Result<(), Error> {
    if text.len() <= limit {
        return Ok(());
    }
    // The field that is over the limit, if it is a single one.
    let path = path(record.fields(), |value, _| is_over(value, limit));
    let name = path.map_or_else(|| "the record".to_owned(), |path| format!("`{path}`"));
    Err(Error::encode(format!(
        "{name} is longer than the {limit} bytes that the database stores: store less"
    )))
}

fn is_over(value: &Value, limit: usize) -> bool {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    value.serialize(&mut serde_json::Serializer::new(&mut count)).is_ok() && count.0 > limit
}

/// Finds the path of the first value that `is_wrong`, given the levels that it may have. Names
/// further down are data, and do not stand in errors.
fn path(fields: &Map<String, Value>, is_wrong: impl Fn(&Value, usize) -> bool) -> Option<String> {
    let (first, value) = fields.iter().find(|(_, value)| is_wrong(value, LEVELS - 1))?;
    let data = ["user", "session"].contains(&first.as_str()).then(|| value.get("data"));
    match data.flatten() {
        Some(data) if is_wrong(data, LEVELS - 2) => {
            let mut members = data.as_object().into_iter().flatten();
            let member = members.find(|(_, value)| is_wrong(value, LEVELS - 3));
            let member = member.map_or_else(String::new, |(name, _)| format!(".{name}"));
            Some(format!("{first}.data{member}"))
        }
        _ => Some(first.clone()),
    }
}

/// Returns whether `value` has at most this many levels. No recursion is deeper than that.
fn fits(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(members) => {
            levels > 0 && members.values().all(|value| fits(value, levels - 1))
        }
        Value::Array(elements) => {
            levels > 0 && elements.iter().all(|value| fits(value, levels - 1))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIMIT: usize = 1_000_000;

    fn load(text: &str) -> (Record, Option<Source>) {
        read(text.to_owned()).unwrap()
    }

    fn written_text(record: &Record, source: Option<&Source>) -> String {
        write(record, source, LIMIT).unwrap()
    }

    #[test]
    fn a_text_of_serde_json_is_not_carried() {
        for text in [
            "{}",
            r#"{"b":1,"a":[1.0,-0.0,1e+300,18446744073709551615],"c":{"é\n\u0000":"\\ud83d"}}"#,
        ] {
            let (record, source) = load(text);
            assert!(source.is_none(), "{text}");
            assert_eq!(written_text(&record, None), text);
        }
    }

    #[test]
    fn another_spelling_stays_where_nothing_is_changed() {
        let text = r#"{ "user": {"data":{"big":123456789012345678901234567890, "n":1E3,"s":"\u00e9"}},
            "history":{"items":[{"a":1.00},{"a":2.00},{"a":[3.00, 4.0]}]}, "z": 1.50 }"#;
        let (mut record, source) = load(text);
        assert_eq!(written_text(&record, source.as_ref()), text);

        record.object_mut(&["user", "data"]).insert("n".to_owned(), json!(7));
        let items = record.object_mut(&["history"]).get_mut("items").unwrap();
        let items = items.as_array_mut().unwrap();
        items.remove(0);
        items.push(json!({ "a": 5 }));
        let changed = written_text(&record, source.as_ref());
        let expected = r#"{"user":{"data":{"big":123456789012345678901234567890,"n":7,"s":"\u00e9"}},"history":{"items":[{"a":2.00},{"a":[3.00, 4.0]},{"a":5}]},"z":1.50}"#;
        assert_eq!(changed, expected);

        // The next save over what this one wrote keeps it as well.
        let source = written(&changed, &record, source.as_ref());
        assert_eq!(written_text(&record, source.as_ref()), expected);
        record.object_mut(&[]).insert("z".to_owned(), json!(-0.0));
        assert_eq!(written_text(&record, source.as_ref()), expected.replace("1.50", "-0.0"));
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused_by_name() {
        let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let of = |value: Value| Record::new(value.as_object().unwrap().clone());
        for (record, path) in [
            (json!({ "own": deep(127) }), "`own`"),
            (json!({ "user": { "data": { "list": deep(125), "b": 1 } } }), "`user.data.list`"),
            (json!({ "session": { "state": deep(200) } }), "`session`"),
        ] {
            let error = write(&of(record), None, LIMIT).unwrap_err();
            assert!(error.is_encode() && error.to_string().contains(path), "{error}");
        }
        let fits = of(json!({ "own": deep(126), "user": { "data": { "list": deep(124) } } }));
        let text = written_text(&fits, None);
        assert_eq!(read(text).unwrap().0, fits);

        let record = of(json!({ "user": { "data": { "a": "x", "text": "x".repeat(90) } } }));
        let text = written_text(&record, None);
        let error = check_size(&record, &text, 80).unwrap_err();
        assert!(error.is_encode() && error.to_string().contains("`user.data.text`"), "{error}");
        check_size(&record, &text, text.len()).unwrap();
    }

    #[test]
    fn a_text_that_cannot_be_read_does_not_stand_in_the_error() {
        for text in
            ["SECRET", r#""SECRET""#, r#"["SECRET"]"#, r#"{"a":SECRET}"#, r#"{"SECRET":1e999}"#]
        {
            let error = read(text.to_owned()).unwrap_err();
            assert!(error.is_decode() && !format!("{error:?}").contains("SECRET"), "{error:?}");
        }
    }
}
