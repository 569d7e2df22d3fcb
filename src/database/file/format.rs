//! The text of db.json: which items it holds, and whose they are.
//!
//! Items stay the text that they are in the file. So what nobody touches is written back byte for
//! byte, and reading the file does not build a tree of every user's data.

use std::borrow::Cow;
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::items::{Item, Items, Key};
use super::old::is_first_jovo;
use super::{half_pairs, raw};

/// What JSON takes for space. (`trim_ascii` takes more.)
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// Why a text is not a db.json. The texts follow upon the file's name and show nothing that is in
/// the file.
#[derive(Debug)]
pub(super) enum Defect {
    /// Not JSON, or nothing at all: what an interrupted write of another program leaves.
    Damaged(String),
    /// JSON of another form: somebody's data, which is not ours to move or overwrite.
    Foreign(String),
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) items: Items,
    /// Whether an item that was not known before holds half of a surrogate pair.
    pub(super) has_half_pairs: bool,
}

/// Reads the items in the order of the file. Those that are the same text as in `before` stay what
/// they are there, and are not read again.
pub(super) fn read(text: &[u8], before: &Items) -> Result<Content, Defect> {
    let text = str::from_utf8(text).map_err(|error| {
        let (valid, _) = text.split_at(error.valid_up_to());
        Defect::Damaged(format!("is not UTF-8 text at line {}", line(valid)))
    })?;
    // Some editors put a byte order mark first.
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
        Err(Stop::Item(why)) => {
            // What is damaged somewhere is not of another make.
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

/// What ends the reading of a file.
enum Stop {
    Syntax,
    Item(BadItem),
}

enum BadItem {
    /// The last item.
    Unknown(&'static str),
    /// The last item has the `id` of the one with this number.
    Duplicate(usize),
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    content: Content,
    /// Where the items begin.
    places: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn array(&mut self, before: &Items) -> Result<(), Stop> {
        self.content.items.reserve(before.len());
        self.token('[')?;
        if self.token(']').is_err() {
            // Which item of `before` comes next if nothing was added or removed here.
            let mut expected = 0;
            loop {
                self.item(before, &mut expected)?;
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

    fn item(&mut self, before: &Items, expected: &mut usize) -> Result<(), Stop> {
        self.space();
        self.places.push(self.at);
        // What begins with the text of a whole object is that object.
        let (key, item) = match before.get_index(*expected) {
            Some((key, item)) if self.rest().starts_with(&*item.text) => {
                *expected += 1;
                (key.clone(), item.clone())
            }
            _ => {
                let text = self.value()?;
                let owner = owner(text).map_err(|why| Stop::Item(BadItem::Unknown(why)))?;
                let known = owner.as_deref().and_then(|id| before.get_full(id));
                if let Some((index, ..)) = known {
                    *expected = index + 1;
                }
                match known {
                    Some((_, key, item)) if *item.text == *text => (key.clone(), item.clone()),
                    _ => {
                        self.content.has_half_pairs |= half_pairs::contains(text);
                        let key = known
                            .map(|(_, key, _)| key.clone())
                            .or_else(|| owner.map(|id| Key::User(Arc::from(id))));
                        (key.unwrap_or_else(Key::of_no_user), Item::new(Arc::from(text)))
                    }
                }
            }
        };
        self.at = self.places[self.places.len() - 1] + item.text.len();
        match self.content.items.insert_full(key, item) {
            (_, None) => Ok(()),
            (first, Some(_)) => Err(Stop::Item(BadItem::Duplicate(first))),
        }
    }

    /// The next value, whatever it is.
    fn value(&self) -> Result<&'a str, Stop> {
        let mut values = serde_json::Deserializer::from_str(self.rest()).into_iter::<&RawValue>();
        values.next().and_then(Result::ok).map(RawValue::get).ok_or(Stop::Syntax)
    }

    fn describe(&self, item: &BadItem) -> String {
        let place = |index: usize| {
            let before = &self.text.as_bytes()[..self.places[index]];
            format!("item {} (line {})", index + 1, line(before))
        };
        let last = place(self.places.len() - 1);
        match item {
            BadItem::Unknown(why) => format!("has {last}: {why}"),
            BadItem::Duplicate(first) => format!(
                "has the same `id` twice: {} and {last}; one of them has to go",
                place(*first)
            ),
        }
    }
}

/// The id of the user to whom an item belongs; `None` where it belongs to none, since the id is not
/// text.
fn owner(item: &str) -> Result<Option<Cow<'_, str>>, &'static str> {
    if !item.starts_with('{') {
        return Err("it is not an object");
    }
    let members = raw::members(item);
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
