//! Checks of user ids, which are untrusted.

use serde_json::json;

use super::subject::{Outcome, Subject};
use super::values::shown;
use crate::database::Database;

/// DynamoDB's limit for a key; the layer passes on no longer ids.
const LONGEST: usize = 2048;

/// Ids that look like paths, patterns, queries and placeholders, or like one another.
const ODD: [&str; 46] = [
    "x",
    "X",
    "ß",
    "SS",
    "ı",
    "i",
    "İ",
    "\u{212a}",
    "k",
    "K",
    "é",
    "e\u{301}",
    "ö",
    "ﬁ",
    "fi",
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\0",
    "\u{feff}",
    "\u{200b}",
    "\u{a0}",
    "../x",
    "..",
    ".",
    "a/b",
    "a\\b",
    "a.b",
    "a%2Fb",
    "a+b",
    "$where",
    "{\"$ne\":1}",
    "'",
    "\"",
    "' OR '1'='1",
    ":v",
    "#n",
    "*",
    "?",
    "null",
    "0",
    "00",
    "👩‍👩‍👧",
    "ключ",
];

pub(super) async fn long<D: Database>(subject: &Subject<D>) -> Outcome {
    let filled = |first: char, last: &str| {
        let length = LONGEST - subject.user_around("", last).len();
        let fill = String::from_iter(std::iter::repeat_n(first, length / first.len_utf8()));
        subject.user_around(&format!("{}{fill}", "_".repeat(length - fill.len())), last)
    };
    let ids = [filled('a', "a"), filled('a', "b"), filled('é', ""), filled('😀', "")];
    if let Some(id) = ids.iter().find(|id| id.len() != LONGEST) {
        return Err(format!("the suite is wrong: an id has {} bytes", id.len()));
    }
    distinct(subject, &ids).await
}

pub(super) async fn odd<D: Database>(subject: &Subject<D>) -> Outcome {
    let ids = ODD.iter().flat_map(|odd| {
        let between = format!("-{odd}-");
        [subject.user_around(odd, ""), subject.user_around("", odd), subject.user(&between)]
    });
    let ids: Vec<_> = ids.chain([subject.user_around("", "")]).collect();
    distinct(subject, &ids).await
}

/// Checks that each id has its own record.
async fn distinct<D: Database>(subject: &Subject<D>, ids: &[String]) -> Outcome {
    let fields = |index: usize| json!({ "user": { "data": { "number": index } } });
    let named =
        |id: &str, why: String| format!("with the user id {}: {why}", shown(format!("{id:?}")));
    let mut versions = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        let stored = subject.store(id, &fields(index), None).await;
        versions.push(stored.map_err(|why| named(id, why))?);
    }
    for (index, (id, version)) in ids.iter().zip(&versions).enumerate() {
        subject.holds(id, &fields(index), version).await.map_err(|why| named(id, why))?;
    }
    // Deleting one user must not delete another.
    for id in ids.iter().step_by(2) {
        subject.delete(id).await.map_err(|why| named(id, why))?;
    }
    for (index, (id, version)) in ids.iter().zip(&versions).enumerate() {
        let is_right = match index % 2 {
            0 => subject.holds_nothing(id).await,
            _ => subject.holds(id, &fields(index), version).await,
        };
        is_right.map_err(|why| named(id, why))?;
    }
    Ok(())
}
