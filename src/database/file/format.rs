//! The text of db.json: which items it holds, and how an item is written.
//!
//! Items stay the text that they are in the file. So what nobody touches is written back byte for byte, and
//! reading the file does not build a tree of every user's data.

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Error, Record};

/// `serde_json` reads 127 levels. One of them is the array of the file, which another program reads as a whole.
const LEVELS: usize = 126;

/// Why a text is not a db.json. The texts follow upon the file's name and show nothing that is in the file.
#[derive(Debug)]
pub(super) enum Defect {
    /// Not JSON, or nothing at all: what an interrupted write of another program leaves.
    Damaged(String),
    /// JSON of another form: somebody's data, which is not ours to move or overwrite.
    Foreign(String),
}

/// The ids and the texts of the items, in the order of the file.
pub(super) fn items(text: &[u8]) -> Result<Vec<(Cow<'_, str>, &str)>, Defect> {
    let text = str::from_utf8(text).map_err(|error| {
        let (valid, _) = text.split_at(error.valid_up_to());
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Defect::Damaged(format!("is not UTF-8 text at line {line}"))
    })?;
    // Some editors put a byte order mark first.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = text.trim_ascii_start();
    if root.is_empty() {
        return Err(Defect::Damaged("is empty; without users it holds `[]`".to_owned()));
    }
    let broken = |error: serde_json::Error| Defect::Damaged(format!("is not valid JSON: {error}"));
    if !root.starts_with('[') {
        serde_json::from_str::<&RawValue>(text).map_err(broken)?;
        let hint = if root.starts_with('{') {
            "; an object with the user ids as keys is what an early Jovo v1 wrote"
        } else {
            ""
        };
        return Err(Defect::Foreign(format!("is JSON, but not an array of users{hint}")));
    }
    let raw: Vec<&RawValue> = serde_json::from_str(text).map_err(broken)?;
    let place = |index: usize| {
        let before = raw[index].get().as_ptr() as usize - text.as_ptr() as usize;
        let line = 1 + text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count();
        format!("item {} (line {line})", index + 1)
    };
    let mut items = Vec::with_capacity(raw.len());
    for (index, item) in raw.iter().enumerate() {
        let id = id(item).map_err(|why| Defect::Foreign(format!("has {}: {why}", place(index))))?;
        items.push((id, item.get()));
    }
    if let Some((first, second)) = duplicate(&items) {
        let (first, second) = (place(first), place(second));
        return Err(Defect::Foreign(format!(
            "has the same `id` twice: {first} and {second}; one of them has to go"
        )));
    }
    Ok(items)
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(rename = "userId", borrow)]
    user_id: Option<&'a RawValue>,
    #[serde(rename = "userData", borrow)]
    user_data: Option<&'a RawValue>,
}

fn id(item: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    // Serde would also fill the struct from an array.
    if !item.get().starts_with('{') {
        return Err("it is not an object");
    }
    let head: Head<'_> = serde_json::from_str(item.get())
        .map_err(|_| "it has `id`, `userId` or `userData` twice, or a name that is not text")?;
    match head.id {
        Some(id) => match serde_json::from_str(id.get()) {
            Ok(Text(id)) => Ok(id),
            Err(_) => Err("its `id` is not a string"),
        },
        None if head.user_id.is_some() || head.user_data.is_some() => {
            Err("it has no `id` but looks like a user of Jovo v1, v2 or v3 (`userId`, `userData`)")
        }
        None => Err("it has no `id`"),
    }
}

fn duplicate(items: &[(Cow<'_, str>, &str)]) -> Option<(usize, usize)> {
    let mut places = std::collections::HashMap::with_capacity(items.len());
    items
        .iter()
        .enumerate()
        .find_map(|(index, (id, _))| places.insert(id.as_ref(), index).map(|first| (first, index)))
}

/// The record in the text of an item.
pub(super) fn record(text: &str) -> Result<Record, Error> {
    let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
        // What `serde_json` says here is about the syntax and shows nothing of the text.
        Error::decode(format!("a stored item cannot be read: {error} of the item"))
    })?;
    fields.shift_remove("id");
    Ok(Record::new(fields))
}

/// The text of an item as it stands in the file, indented as a member of its array.
pub(super) fn text(id: &str, record: &Record) -> Result<String, Error> {
    struct Item<'a>(&'a str, &'a Map<String, Value>);

    impl Serialize for Item<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut item = serializer.serialize_map(None)?;
            item.serialize_entry("id", self.0)?;
            for (name, value) in self.1.iter().filter(|(name, _)| *name != "id") {
                item.serialize_entry(name, value)?;
            }
            item.end()
        }
    }

    let fields = record.fields();
    if fields.get("id").is_some_and(|other| other != id) {
        return Err(Error::encode(
            "`id` of the record is not the user's id, whose place this is in the file",
        ));
    }
    check_depth(fields)?;
    let array = serde_json::to_string_pretty(&[Item(id, fields)])
        .map_err(|error| Error::encode("the record has no JSON form").with_source(error))?;
    let item = array.strip_prefix("[\n  ").and_then(|rest| rest.strip_suffix("\n]"));
    Ok(item.unwrap_or(&array).to_owned())
}

/// Refuses what could be written but not be read again. Not recursive, or the depth that it guards against
/// would end it.
fn check_depth(fields: &Map<String, Value>) -> Result<(), Error> {
    type Path<'a> = [Option<&'a str>; 3];
    fn below<'a>(path: Path<'a>, name: &'a str) -> Path<'a> {
        match path {
            [None, ..] => [Some(name), None, None],
            [first, None, _] => [first, Some(name), None],
            [first, second, None] => [first, second, Some(name)],
            full => full,
        }
    }

    let mut waiting: Vec<(&Value, usize, Path<'_>)> =
        fields.iter().map(|(name, value)| (value, 2, below([None; 3], name))).collect();
    while let Some((value, level, path)) = waiting.pop() {
        if level > LEVELS && (value.is_object() || value.is_array()) {
            let path: Vec<&str> = path.into_iter().flatten().collect();
            let path = path.join(".");
            return Err(Error::encode(format!(
                "`{path}` is nested more than {LEVELS} levels deep and could not be read again"
            )));
        }
        match value {
            Value::Object(members) => waiting
                .extend(members.iter().map(|(name, value)| (value, level + 1, below(path, name)))),
            Value::Array(elements) => {
                waiting.extend(elements.iter().map(|value| (value, level + 1, path)));
            }
            _ => {}
        }
    }
    Ok(())
}
