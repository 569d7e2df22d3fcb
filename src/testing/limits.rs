//! Checks that a record which the database cannot hold is refused, and not written.

use serde_json::{Value, json};

use super::records::{around, for_any};
use super::subject::{Outcome, Subject, failed, record};
use super::values::{Range, shown};
use crate::database::{Database, Expected, Saved, Version};
use crate::error::Error;

const CASES: usize = 24;

struct Probe {
    name: &'static str,
    fields: Value,
    /// The parts that the error must name: a part of the path, and a number if there is a limit.
    path: &'static str,
    has_limit: bool,
}

pub(super) async fn limits<D: Database>(subject: &Subject<D>) -> Outcome {
    for probe in probes() {
        let Probe { name, fields, path, has_limit } = &probe;
        let held = is_held_or_refused(subject, fields, path, *has_limit).await;
        held.map_err(|why| format!("{name}: {why}"))?;
    }
    for_any(Range::All, CASES, async |value| {
        is_held_or_refused(subject, &around(value), "probe", false).await
    })
    .await
}

fn probes() -> Vec<Probe> {
    let maps = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "a": inner }));
    let arrays = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        ("u64::MAX", json!(u64::MAX)),
        ("i64::MAX + 1", json!(i64::MAX as u64 + 1)),
        ("the largest float", json!(f64::MAX)),
        ("the smallest float", json!(5e-324)),
        ("1e126", json!(1e126)),
        ("1e-131", json!(1e-131)),
        ("maps nested 30 levels deep", maps(30)),
        ("maps nested 100 levels deep", maps(100)),
        ("maps nested 200 levels deep", maps(200)),
        ("arrays nested 200 levels deep", arrays(200)),
        ("a text of 400 KiB", json!("x".repeat(400 * 1024))),
        ("a text of 17 MiB", json!("x".repeat(17 * 1024 * 1024))),
    ];
    let keys = [("an empty key", json!({ "": 1 })), ("a key with NUL", json!({ "a\0b": 1 }))];
    // Names that a database may reserve or reject.
    let names =
        ["id", "_id", "userId", "version", "_version", "expiresAt", "$set", "a.b", "a b", "#a"];
    let with_path = |path, has_limit| {
        move |(name, value): (_, Value)| Probe { name, fields: around(&value), path, has_limit }
    };
    let fields = names.into_iter().map(|name| Probe {
        name: "a field of the record with an unusual name",
        fields: json!({ "user": { "data": {} }, name: { "a": 1 } }),
        path: name,
        has_limit: false,
    });
    let values = values.into_iter().map(with_path("probe", true));
    let keys = keys.into_iter().map(with_path("probe", false));
    values.chain(keys).chain(fields).collect()
}

/// Checks the record of a new user, and one that replaces another record.
async fn is_held_or_refused<D: Database>(
    subject: &Subject<D>,
    fields: &Value,
    path: &str,
    has_limit: bool,
) -> Outcome {
    let id = subject.user("limit");
    let is_refused = |error: Error| is_refusal(&error, &id, path, has_limit);
    match try_to_store(subject, &id, fields, None).await? {
        Ok(version) => subject.holds(&id, fields, &version).await?,
        Err(error) => {
            is_refused(error)?;
            subject.holds_nothing(&id).await?;
        }
    }
    subject.delete(&id).await?;

    let before = json!({ "user": { "data": { "visits": 1 } } });
    let version = subject.store(&id, &before, None).await?;
    match try_to_store(subject, &id, fields, Some(&version)).await? {
        Ok(version) => subject.holds(&id, fields, &version).await?,
        Err(error) => {
            is_refused(error)?;
            subject.holds(&id, &before, &version).await?;
        }
    }
    subject.delete(&id).await
}

async fn try_to_store<D: Database>(
    subject: &Subject<D>,
    id: &str,
    fields: &Value,
    over: Option<&Version>,
) -> Outcome<Result<Version, Error>> {
    match subject.database.save(id, &record(fields), Expected::from(over)).await {
        Ok(Saved::Written(version)) => Ok(Ok(version)),
        Ok(Saved::Conflict(_)) => Err("a save over the stored version is a conflict".to_owned()),
        Err(error) => Ok(Err(error)),
    }
}

fn is_refusal(error: &Error, id: &str, path: &str, has_limit: bool) -> Outcome {
    let message = format!("{error:?}");
    let said = shown(&message);
    if !error.is_encode() {
        return Err(failed("save")(error.clone()) + ", which is not an encoding error");
    }
    if message.contains(id) {
        return Err(format!("the error shows the user id: {said}"));
    }
    if !message.contains(path) {
        return Err(format!("the error does not name the field `{path}`: {said}"));
    }
    if has_limit && !message.contains(|character: char| character.is_ascii_digit()) {
        return Err(format!("the error does not name the limit: {said}"));
    }
    if message.len() > 4096 {
        return Err(format!("the error is too long for a log line: {said}"));
    }
    Ok(())
}
