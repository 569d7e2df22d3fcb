//! All users of a file at once, for another database that takes them over.

use std::path::Path;
use std::sync::Arc;

use super::disk::Disk;
use super::format::Defect;
use super::lock::Lock;
use super::records::{Key, Records};
use super::shared::{self, Unreadable};
use super::{half_pairs, raw, text};
use crate::error::{Error, Kind};

/// The users of a file with the texts of their records, in the order of the file.
#[derive(Debug)]
pub(crate) struct Export {
    pub(crate) users: Vec<(Arc<str>, String)>,
    /// Records that belong to no user, since their `id` holds half of a surrogate pair.
    pub(crate) skipped: usize,
}

/// Reads the file at `path`, which no `FileDb` may have open. Blocks.
pub(crate) fn export(path: &Path) -> Result<Export, Error> {
    if !path.exists() {
        let text = format!("{} was not found: name the file of a `FileDb`", path.display());
        return Err(Error::configuration(text));
    }
    let disk = Disk::locate(path)?;
    let _lock = Lock::take(&disk)?;
    let (content, _) =
        shared::read(&disk, &Records::new()).map_err(|unreadable| match unreadable {
            Unreadable::Failed(error) => disk.failed("read", error),
            Unreadable::Defect(Defect::Damaged(why) | Defect::Foreign(why)) => {
                Error::new(Kind::Database, format!("{} {why}. It was left as it is", disk.name()))
            }
        })?;
    let mut export = Export { users: Vec::with_capacity(content.records.len()), skipped: 0 };
    for (key, record) in content.records {
        match key {
            Key::User(id) => export.users.push((id, compact(&record.text)?)),
            Key::NoUser(_) => export.skipped += 1,
        }
    }
    Ok(export)
}

/// Returns the text of a record without `id`, and without spaces between its parts.
fn compact(whole: &str) -> Result<String, Error> {
    let members = raw::members(whole);
    let is_id = |(name, value): &(&str, &str)| raw::is_string(name, "id") && *value != "null";
    if !members.iter().any(is_id) {
        // A record of the first Jovo, which is read as one of today.
        let record = text::read(whole)?;
        return serde_json::to_string(&record).map_err(|error| Error::encode(error.to_string()));
    }
    let mut text = String::with_capacity(whole.len());
    text.push('{');
    for (name, value) in members.into_iter().filter(|member| !raw::is_string(member.0, "id")) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        push_compact(&mut text, value);
    }
    text.push('}');
    Ok(half_pairs::replace(&text).into_owned())
}

/// Adds `json` without the spaces that stand outside of its strings.
fn push_compact(text: &mut String, json: &str) {
    let (mut is_string, mut is_escaped) = (false, false);
    text.extend(json.chars().filter(|&char| {
        if is_string {
            is_string = is_escaped || char != '"';
            is_escaped = !is_escaped && char == '\\';
            return true;
        }
        is_string = char == '"';
        !char.is_ascii_whitespace()
    }));
}
