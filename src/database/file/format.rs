//! Reads the text of db.json: its records, and the users to which they belong.
//!
//! A record stays the text that it is in the file. Untouched records are written back byte for
//! byte, and reading the file does not build a tree of every user's data.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::half_pairs;
use super::old::is_first_jovo;
use super::raw;
use super::records::{Key, RecordText, Records};

/// The characters that JSON counts as space. (`trim_ascii` removes more.)
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The reason why a text is not a db.json. Its message follows the file's name, and shows nothing
/// from the file.
#[derive(Debug)]
pub(super) enum Defect {
    /// Not JSON, or empty: the remains of another program's interrupted write.
    Damaged(String),
    /// JSON of another form: data of another program, which must not be moved or overwritten.
    Foreign(String),
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) records: Records,
    /// Set if a new record holds half of a surrogate pair.
    pub(super) has_half_pairs: bool,
}

/// Reads the records in the order of the file. A record with the same text as in `before` keeps its
/// version and is not parsed again.
pub(super) fn read(text: &[u8], before: &Records) -> Result<Content, Defect> {
    let text = str::from_utf8(text).map_err(|error| {
        let (valid, _) = text.split_at(error.valid_up_to());
        Defect::Damaged(format!("is not UTF-8 text at line {}", line(valid)))
    })?;
    // Some editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root = text.trim_ascii_start();
    if root.is_empty() {
        return Err(Defect::Damaged("is empty; without users it holds `[]`".to_owned()));
    }
    if !root.starts_with('[') {
        valid(text)?;
        let hint = if root.starts_with('{') {
            "; an object with the user ids as keys is what an early Jovo v1 wrote"
        } else {
            ""
        };
        return Err(Defect::Foreign(format!("is JSON, but not an array of users{hint}")));
    }
    let mut walk = Walk { text, at: 0, content: Content::default(), places: Vec::new() };
    match walk.array(before) {
        Ok(()) => Ok(walk.content),
        Err(Stop::Syntax) => {
            valid(text)?;
            Err(Defect::Damaged("is not a valid JSON array".to_owned()))
        }
        Err(Stop::Record(why)) => {
            // A file that is damaged anywhere is not another program's.
            valid(text)?;
            Err(Defect::Foreign(walk.describe(&why)))
        }
    }
}

fn valid(text: &str) -> Result<(), Defect> {
    match serde_json::from_str(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(error) => Err(Defect::Damaged(format!("is not valid JSON: {error}"))),
    }
}

fn line(before: &[u8]) -> usize {
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Ends the reading of a file.
enum Stop {
    Syntax,
    Record(BadRecord),
}

enum BadRecord {
    /// The last record.
    Unknown(&'static str),
    /// The last record has the same `id` as the record with this number.
    Duplicate(usize),
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    content: Content,
    /// The offsets at which the records begin.
    places: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn array(&mut self, before: &Records) -> Result<(), Stop> {
        self.content.records.reserve(before.len());
        self.token('[')?;
        if self.token(']').is_err() {
            // The index in `before` of the next record, provided that no record was added or
            // removed here.
            let mut expected = 0;
            loop {
                self.record(before, &mut expected)?;
                if self.token(',').is_err() {
                    self.token(']')?;
                    break;
                }
            }
        }
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(Stop::Syntax) }
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(SPACE).len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn token(&mut self, token: char) -> Result<(), Stop> {
        self.space();
        if !self.rest().starts_with(token) {
            return Err(Stop::Syntax);
        }
        self.at += token.len_utf8();
        Ok(())
    }

    fn record(&mut self, before: &Records, expected: &mut usize) -> Result<(), Stop> {
        self.space();
        self.places.push(self.at);
        // A text that begins with the text of a whole object is that object.
        let (key, record) = match before.get_index(*expected) {
            Some((key, record)) if self.rest().starts_with(&*record.text) => {
                *expected += 1;
                (key.clone(), record.clone())
            }
            _ => {
                let text = self.value()?;
                let owner = owner(text).map_err(|why| Stop::Record(BadRecord::Unknown(why)))?;
                let known = owner.as_deref().and_then(|id| before.get_full(id));
                if let Some((index, ..)) = known {
                    *expected = index + 1;
                }
                match known {
                    Some((_, key, record)) if *record.text == *text => {
                        (key.clone(), record.clone())
                    }
                    _ => {
                        self.content.has_half_pairs |= half_pairs::contains(text);
                        let key = known
                            .map(|(_, key, _)| key.clone())
                            .or_else(|| owner.map(|id| Key::User(Arc::from(id))));
                        (key.unwrap_or_else(Key::of_no_user), RecordText::new(Arc::from(text)))
                    }
                }
            }
        };
        self.at = self.places[self.places.len() - 1] + record.text.len();
        match self.content.records.insert_full(key, record) {
            (_, None) => Ok(()),
            (first, Some(_)) => Err(Stop::Record(BadRecord::Duplicate(first))),
        }
    }

    /// Returns the next value, of any type.
    fn value(&self) -> Result<&'a str, Stop> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<&RawValue>();
        values.next().and_then(Result::ok).map(RawValue::get).ok_or(Stop::Syntax)
    }

    fn describe(&self, record: &BadRecord) -> String {
        let place = |index: usize| {
            let before = &self.text.as_bytes()[..self.places[index]];
            format!("record {} (line {})", index + 1, line(before))
        };
        let last = place(self.places.len() - 1);
        match record {
            BadRecord::Unknown(why) => format!("has {last}: {why}"),
            BadRecord::Duplicate(first) => format!(
                "has the same `id` twice: {} and {last}; one of them has to go",
                place(*first)
            ),
        }
    }
}

/// Returns the id of the user to whom a record belongs, or `None` if its id is not text.
fn owner(record: &str) -> Result<Option<Cow<'_, str>>, &'static str> {
    if !record.starts_with('{') {
        return Err("it is not an object");
    }
    let members = raw::members(record);
    let find = |name| {
        let mut values = members.iter().filter(|(other, _)| raw::is_string(other, name));
        let value = values.next().map(|(_, value)| *value).filter(|value| *value != "null");
        if values.next().is_some() {
            return Err("it has `id`, `userId` or `userData` twice");
        }
        Ok(value)
    };
    let (id, user_id, user_data) = (find("id")?, find("userId")?, find("userData")?);
    let id = match (id, user_data) {
        (Some(id), _) => id,
        (None, Some(user_data)) if is_first_jovo(user_id, user_data, &members) => {
            user_id.unwrap_or_default()
        }
        (None, _) if user_id.is_some() || user_data.is_some() => {
            return Err(
                "it has no `id` but looks like a user of Jovo v1, v2 or v3 (`userId`, `userData`)",
            );
        }
        (None, _) => return Err("it has no `id`"),
    };
    match id.strip_prefix('"').and_then(|id| id.strip_suffix('"')) {
        None => Err("its `id` is not a string"),
        Some(plain) if !plain.contains('\\') => Ok(Some(Cow::Borrowed(plain))),
        Some(_) if half_pairs::contains(id) => Ok(None),
        Some(_) => Ok(raw::string(id).map(Cow::Owned)),
    }
}
