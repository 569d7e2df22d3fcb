//! Saves and deletes a record, and interprets the server's answer.

use redis::Value;

use super::RedisDb;
use super::failure::{self, Action};
use super::known::Known;
use super::script::{Call, DELETE, SAVE};
use super::shared::milliseconds;
use crate::database::text;
use crate::database::{Expected, Loaded, Saved, Version, VersionedRecord, tombstone};
use crate::error::Error;
use crate::record::Record;

/// The longest text that Redis takes.
/// <https://redis.io/docs/latest/develop/data-types/strings/>
const MAX_BYTES: usize = 512 * 1024 * 1024;

impl RedisDb {
    pub(super) async fn find(&self, id: &str) -> Result<Loaded, Error> {
        let key = self.shared.key(id);
        let answer = self.shared.call(Action::Load, &Call::Load { key: &key }).await?;
        let fields = fields(answer.value).ok_or_else(|| self.senseless(Action::Load))?;
        match fields {
            (Some(version), Some(record)) => stored(id, version, record).map(Loaded::Present),
            (Some(version), None) => Ok(Loaded::Absent(Some(Version::new(version)))),
            (None, None) => Ok(Loaded::Absent(Some(tombstone::nothing()))),
            (None, Some(_)) => Err(Error::decode(
                "a stored record has no version and is left as it is: set the field `version` of \
                 its hash to any text of your own",
            )),
        }
    }

    pub(super) async fn write(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let known = expected.version().and_then(Version::loaded::<Known>);
        let source = known.and_then(|known| known.source.as_ref());
        let text = text::write(record, source, MAX_BYTES)?;
        let expires = self.shared.expire_users_after.map(milliseconds);
        let expires = expires.map_or_else(String::new, |expires| expires.to_string());
        let (key, new) = (self.shared.key(id), Version::unique());
        let over = expected.version().map_or("", Version::as_str);
        let arguments = [new.as_str(), over, &text, &expires];
        let call = Call::Script { script: &SAVE, key: &key, arguments: &arguments };
        let answer = self.shared.write(Action::Save, &call, has_written).await?;
        let is_repeated = answer.is_repeated;
        match outcome(answer.value).ok_or_else(|| self.senseless(Action::Save))? {
            Outcome::Written => {
                let source = text::written(&text, record, source);
                Ok(Saved::Written(Known::new(id, source).carried_by(new)))
            }
            // This save may have been the one before.
            Outcome::Conflict(..) if is_repeated => Err(failure::uncertain(&self.shared.prefix)),
            Outcome::Conflict(version, record) => {
                Ok(Saved::Conflict(Some(stored(id, version, record)?)))
            }
            // A deletion leaves a tombstone. Any other disappearance must not pass for a user who
            // wanted to be forgotten.
            Outcome::Absent { is_deleted: false } if known.is_some_and(|known| known.is_of(id)) => {
                Err(failure::gone(&self.shared.prefix))
            }
            Outcome::Absent { .. } => Ok(Saved::Conflict(None)),
            Outcome::Foreign => Err(failure::foreign(Action::Save, &self.shared.prefix)),
        }
    }

    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        let (key, tombstone) = (self.shared.key(id), tombstone::unique());
        let expires = milliseconds(tombstone::LIFETIME).to_string();
        let arguments = [tombstone.as_str(), &expires];
        let call = Call::Script { script: &DELETE, key: &key, arguments: &arguments };
        self.shared.write(Action::Delete, &call, has_written).await.map(drop)
    }

    fn senseless(&self, action: Action) -> Error {
        failure::senseless(action, &self.shared.prefix)
    }
}

/// The result of the script that saves.
enum Outcome {
    Written,
    Conflict(String, Vec<u8>),
    Absent { is_deleted: bool },
    Foreign,
}

fn outcome(value: Value) -> Option<Outcome> {
    let values = match value {
        Value::Int(1) => return Some(Outcome::Written),
        Value::Int(3) => return Some(Outcome::Foreign),
        Value::Array(values) => values,
        _ => return None,
    };
    let mut values = values.into_iter();
    match (values.next()?, values.next(), values.next()) {
        (Value::Int(2), Some(version), Some(Value::BulkString(record))) => {
            Some(Outcome::Conflict(version_text(version)??, record))
        }
        (Value::Int(0), version, None) => {
            let is_deleted = matches!(version, Some(Value::BulkString(_)));
            Some(Outcome::Absent { is_deleted })
        }
        _ => None,
    }
}

fn has_written(value: &Value) -> bool {
    matches!(value, Value::Int(1))
}

/// The version and the record in the answer to a load.
fn fields(value: Value) -> Option<(Option<String>, Option<Vec<u8>>)> {
    let Value::Array(values) = value else { return None };
    let [version, record]: [Value; 2] = values.try_into().ok()?;
    let record = match record {
        Value::BulkString(record) => Some(record),
        Value::Nil => None,
        _ => return None,
    };
    Some((version_text(version)?, record))
}

fn version_text(value: Value) -> Option<Option<String>> {
    match value {
        // Another program may have written any bytes; they are compared as they are shown.
        Value::BulkString(version) => String::from_utf8(version).ok().map(Some),
        Value::Nil => Some(None),
        _ => None,
    }
}

fn stored(id: &str, version: String, record: Vec<u8>) -> Result<VersionedRecord, Error> {
    let text = String::from_utf8(record).map_err(|_| {
        Error::decode(
            "a stored record is not UTF-8. It is left as it is; repair it in the database",
        )
    })?;
    let (record, source) = text::read(text)?;
    let version = Known::new(id, source).carried_by(Version::new(version));
    Ok(VersionedRecord { record, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call allocates its future. What is seldom needed must not come back into it: it is boxed
    /// where it is awaited.
    #[tokio::test]
    async fn the_futures_of_calls_are_small() {
        let db = RedisDb::connect("redis://localhost").await.unwrap();
        let record = Record::default();
        let load = size_of_val(&db.find("anna"));
        let save = size_of_val(&db.write("anna", &record, Expected::Absent));
        assert!(load < 2500 && save < 2500, "{load} {save}");
    }
}
