//! Converts between a record and its text in the file.
//!
//! Everything that a record has in common with the stored one keeps its text. Numbers keep their
//! spelling, and values that can be read but not written back (an integer beyond 64 bits, half of a
//! surrogate pair) are not lost.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::half_pairs;
use super::old::{Old, OldMembers, OldRecord};
use crate::database::same::{is_same, is_same_object};
use crate::error::Error;
use crate::record::Record;

/// The deepest nesting: `serde_json` reads 127 levels, and one of them is the array of the file,
/// which other programs read as a whole.
const LEVELS: usize = 126;

/// Reads a record from its text.
pub(super) fn read(text: &str) -> Result<Record, Error> {
    let unreadable = |error: serde_json::Error| {
        // The message of `serde_json` is about the syntax and shows nothing of the text.
        Error::decode(format!(
            "a stored record cannot be read: {error} of the record. It is left as it is; repair it in \
             the file"
        ))
    };
    let mut fields: Map<String, Value> =
        serde_json::from_str(&half_pairs::replace(text)).map_err(unreadable)?;
    if fields.shift_remove("id").is_none_or(|id| id.is_null()) {
        let old = Old::Made(OldRecord::of(text).fields).value().map_err(unreadable)?;
        fields = if let Value::Object(fields) = old { fields } else { Map::new() };
    }
    Ok(Record::new(fields))
}

/// Writes the text of a record as it stands in the file, indented as a member of its array.
/// `before` is the text of the record that it replaces.
pub(super) fn write(id: &str, record: &Record, before: Option<&str>) -> Result<String, Error> {
    let fields = record.fields();
    if fields.get("id").is_some_and(|other| other != id) {
        return Err(Error::encode(
            "`id` of the record is not the user's id, which the file stores under that name; use another \
             name",
        ));
    }
    check_depth(fields)?;
    let old = before.map(OldRecord::of);
    let is_current = old.as_ref().is_some_and(|old| old.is_current);
    if let Some(before) = before
        && is_current
        && read(before).is_ok_and(|before| is_same_object(before.fields(), fields))
    {
        return Ok(before.to_owned());
    }
    let id = old.as_ref().and_then(|old| old.id).map_or_else(|| string(id), str::to_owned);
    let mut first = vec![(r#""id""#, id.as_str())];
    let members = old.as_ref().map(|old| &old.fields);
    first.extend(members.into_iter().flat_map(|members| &members.hidden));
    let mut text = String::new();
    let fields = fields.iter().filter(|(name, _)| *name != "id");
    write_members(&mut text, &first, fields, members, 1);
    Ok(text)
}

fn string(text: &str) -> String {
    Value::from(text).to_string()
}

fn write_value(text: &mut String, value: &Value, old: Option<&Old<'_>>, level: usize) {
    if let Some(Old::Text(before)) = old
        && old.is_some_and(|old| old.value().is_ok_and(|old| is_same(&old, value)))
    {
        text.push_str(before);
        return;
    }
    match value {
        Value::Object(members) => {
            let read;
            let old = match old {
                Some(Old::Text(before)) => {
                    read = OldMembers::of(before);
                    Some(&read)
                }
                Some(Old::Made(old)) => Some(old),
                None => None,
            };
            let hidden = old.map_or(&[][..], |old| &old.hidden);
            write_members(text, hidden, members.iter(), old, level);
        }
        Value::Array(elements) if !elements.is_empty() => {
            let old = old.map(Old::elements).unwrap_or_default();
            write_elements(text, elements, &old, level);
        }
        _ => text.push_str(&value.to_string()),
    }
}

fn write_members<'a>(
    text: &mut String,
    first: &[(&str, &str)],
    members: impl Iterator<Item = (&'a String, &'a Value)>,
    old: Option<&OldMembers<'_>>,
    level: usize,
) {
    let mut list = List::begin(text, '{', level);
    for (name, value) in first {
        let text = list.next();
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
    }
    for (name, value) in members {
        let old = old.and_then(|old| old.by_name.get(name));
        let text = list.next();
        match old {
            Some((name, _)) => text.push_str(name),
            None => text.push_str(&string(name)),
        }
        text.push_str(": ");
        write_value(text, value, old.map(|(_, old)| old), level + 1);
    }
    list.end('}');
}

fn write_elements(text: &mut String, elements: &[Value], old: &[&str], level: usize) {
    // The history shifts its elements, so an equal one may stand at another index.
    let by_value: HashMap<String, &str> = old
        .iter()
        .filter_map(|old| Some((Old::Text(old).value().ok()?.to_string(), *old)))
        .collect();
    let in_place = old.len() == elements.len();
    let mut list = List::begin(text, '[', level);
    for (index, element) in elements.iter().enumerate() {
        let text = list.next();
        let same = if by_value.is_empty() { None } else { by_value.get(&element.to_string()) };
        match same {
            Some(old) => text.push_str(old),
            None => {
                let old = old.get(index).filter(|_| in_place).map(|old| Old::Text(old));
                write_value(text, element, old.as_ref(), level + 1);
            }
        }
    }
    list.end(']');
}

/// Writes an object or an array on several lines, as `JSON.stringify` does.
struct List<'a> {
    text: &'a mut String,
    level: usize,
    is_empty: bool,
}

impl<'a> List<'a> {
    fn begin(text: &'a mut String, bracket: char, level: usize) -> Self {
        text.push(bracket);
        Self { text, level, is_empty: true }
    }

    /// Begins the next line, to which the caller appends.
    fn next(&mut self) -> &mut String {
        if !self.is_empty {
            self.text.push(',');
        }
        self.is_empty = false;
        self.line(self.level + 1)
    }

    fn end(mut self, bracket: char) {
        if !self.is_empty {
            self.line(self.level);
        }
        self.text.push(bracket);
    }

    fn line(&mut self, level: usize) -> &mut String {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("  ", level));
        self.text
    }
}

/// Refuses a record that could be written but not read back. Not recursive, since the depth that it
/// guards against would overflow the stack.
fn check_depth(fields: &Map<String, Value>) -> Result<(), Error> {
    type Path<'a> = [Option<&'a str>; 3];
    fn below<'a>(path: Path<'a>, name: &'a str) -> Path<'a> {
        match path {
            [None, ..] => [Some(name), None, None],
            // Deeper names are user data and must not stand in errors.
            [first @ Some("user" | "session"), None, _] => [first, Some(name), None],
            [first, second @ Some("data"), None] => [first, second, Some(name)],
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
