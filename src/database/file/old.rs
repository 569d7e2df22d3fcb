//! Reads a record as it stands in the file, for the text that replaces it.
//!
//! Also converts the records of the first Jovo, `{userId, userData: {data, metaData}}`, to the
//! shape of today.

use indexmap::IndexMap;
use serde_json::Value;

use super::{half_pairs, raw};

/// A value in the file.
#[derive(Debug)]
pub(super) enum Old<'a> {
    Text(&'a str),
    /// An object that is assembled from several places.
    Made(OldMembers<'a>),
}

/// The members of an object in the file.
#[derive(Debug, Default)]
pub(super) struct OldMembers<'a> {
    /// By name as it is read, with the text of the name.
    pub(super) by_name: IndexMap<String, (&'a str, Old<'a>)>,
    /// Members that cannot be read: names that differ only in halves of surrogate pairs are all the
    /// same once read.
    pub(super) hidden: Vec<(&'a str, &'a str)>,
}

impl<'a> Old<'a> {
    pub(super) fn value(&self) -> serde_json::Result<Value> {
        match self {
            Self::Text(text) => serde_json::from_str(&half_pairs::replace(text)),
            Self::Made(members) => {
                let members = members.by_name.iter();
                members.map(|(name, (_, old))| Ok((name.clone(), old.value()?))).collect()
            }
        }
    }

    pub(super) fn elements(&self) -> Vec<&'a str> {
        match self {
            Self::Text(text) => raw::elements(text),
            Self::Made(_) => Vec::new(),
        }
    }
}

impl<'a> OldMembers<'a> {
    /// Returns the members of the object `text`, or none if it is not an object.
    pub(super) fn of(text: &'a str) -> Self {
        let mut members = Self::default();
        for (name, value) in raw::members(text) {
            members.put(name, Old::Text(value));
        }
        members
    }

    fn put(&mut self, name: &'a str, value: Old<'a>) {
        let Some(read) = raw::string(name) else { return };
        // The last of several members counts, as for `serde_json`.
        if let Some((before, Old::Text(value))) = self.by_name.insert(read, (name, value))
            && half_pairs::contains(before)
        {
            self.hidden.push((before, value));
        }
    }

    fn take(&mut self, name: &str) -> Option<&'a str> {
        match self.by_name.shift_remove(name) {
            Some((_, Old::Text(text))) => Some(text),
            _ => None,
        }
    }
}

/// A record in the file.
#[derive(Debug)]
pub(super) struct OldRecord<'a> {
    /// The text of its id.
    pub(super) id: Option<&'a str>,
    pub(super) fields: OldMembers<'a>,
    /// Set if the record has the shape in which records are written.
    pub(super) is_current: bool,
}

impl<'a> OldRecord<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let mut fields = OldMembers::of(text);
        match fields.take("id") {
            Some(id) if id != "null" => Self { id: Some(id), fields, is_current: true },
            _ => {
                let id = fields.take("userId");
                Self { id, fields: of_first_jovo(fields), is_current: false }
            }
        }
    }
}

/// Returns whether a record without `id` is one of the first Jovo.
pub(super) fn is_first_jovo(
    user_id: Option<&str>,
    user_data: &str,
    members: &[(&str, &str)],
) -> bool {
    const TODAYS: [&str; 4] = ["user", "session", "history", "metaData"];
    let has_todays =
        || members.iter().any(|(name, _)| TODAYS.iter().any(|today| raw::is_string(name, today)));
    let user_data = OldMembers::of(user_data);
    let is_object = |name| match user_data.by_name.get(name) {
        Some((_, Old::Text(text))) => Some(text.starts_with('{')),
        _ => None,
    };
    user_id.is_some()
        && is_object("data") == Some(true)
        && is_object("metaData") != Some(false)
        && !has_todays()
}

/// Converts a record of the first Jovo: `userData.data` becomes `user.data`, and
/// `userData.metaData` becomes `metaData` and provides the times of the record. Other members stay
/// in `userData`.
fn of_first_jovo(mut fields: OldMembers<'_>) -> OldMembers<'_> {
    let mut user_data = fields.take("userData").map(OldMembers::of).unwrap_or_default();
    let mut today = OldMembers::default();
    if let Some(data) = user_data.take("data") {
        let mut user = OldMembers::default();
        user.put(r#""data""#, Old::Text(data));
        today.put(r#""user""#, Old::Made(user));
    }
    if let Some(meta_data) = user_data.take("metaData") {
        let mut times = OldMembers::of(meta_data);
        for (name, before) in [(r#""createdAt""#, "createdAt"), (r#""updatedAt""#, "lastUsedAt")] {
            if let Some(time) = times.take(before)
                && time.starts_with('"')
            {
                today.put(name, Old::Text(time));
            }
        }
        today.put(r#""metaData""#, Old::Text(meta_data));
    }
    if !user_data.by_name.is_empty() {
        today.put(r#""userData""#, Old::Made(user_data));
    }
    today.by_name.extend(fields.by_name);
    today.hidden = fields.hidden;
    today
}
