//! Saves and deletions.

use std::time::Instant;

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::connections::Value;
use super::failure::{Effect, Failure, failed};
use super::row::{self, Row};
use super::{Shared, escape, expiry};
use crate::database::text::{self, Source};
use crate::database::tombstone::{self, LIFETIME, is_nothing};
use crate::database::{Expected, Saved, Version};
use crate::error::Error;
use crate::record::Record;

pub(super) const READING: &str = "reading from";
pub(super) const WRITING: &str = "writing to";
pub(super) const DELETING: &str = "deleting from";

/// PostgreSQL's limit for a message is 1 GiB, and some bytes are for the other values.
/// <https://www.postgresql.org/docs/current/limits.html>
const MAX_BYTES: usize = 999_000_000;

/// The statement of a save, with the version that it expects.
struct Condition<'a> {
    sql: &'a str,
    expected: Option<Uuid>,
}

impl Shared {
    /// Saves the record if the stored state is the `expected` one.
    ///
    /// The version is made here, before the statement is sent. If its answer is lost, the statement
    /// is sent again: whichever takes effect first, the other one does not find the expected
    /// version any more.
    pub(super) async fn save(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        let (over, since) = (expected.version(), Instant::now());
        let source = over.and_then(Version::loaded::<Source>);
        let text = text::write(record, source, MAX_BYTES)?;
        let Some(condition) = self.condition(over) else {
            // No row has such a version.
            return Self::conflict(self.find(id).await?);
        };
        let (key, stored) = (escape::id(id), escape::seal(text.clone()));
        let (version, expires) = (Uuid::new_v4(), self.expires_after.map(expiry::seconds));
        let mut values: Vec<Value<'_>> = vec![
            (&key, Type::TEXT),
            (&stored, Type::TEXT),
            (&version, Type::UUID),
            (&expires, Type::FLOAT8),
        ];
        values.extend(condition.expected.as_ref().map(|expected| (expected as _, Type::UUID)));
        let mut was_lost = false;
        let is_written = loop {
            match self.connections.query(condition.sql, &values).await {
                Ok(rows) => break !rows.is_empty(),
                Err(failure) if failure.effect == Effect::Unknown && !was_lost => was_lost = true,
                Err(mut failure) => {
                    // The first attempt may have taken effect.
                    if was_lost {
                        failure.effect = Effect::Unknown;
                    }
                    return Err(self.failed(WRITING, failure));
                }
            }
        };
        let written = || {
            let source = text::written(&text, record, source);
            Saved::Written(row::version(version, source))
        };
        if is_written {
            self.clean_up(since).await;
            return Ok(written());
        }
        match self.find(id).await? {
            Some(row) if row.is_record(version) => Ok(written()),
            // It may have taken effect before the other one did, and must not be applied again.
            _ if was_lost => Err(failed(
                WRITING,
                &self.table.name,
                "the connection broke off, and the record was changed since; whether this took \
                 effect before is not known",
            )),
            row => Self::conflict(row),
        }
    }

    fn conflict(row: Option<Row>) -> Result<Saved, Error> {
        row::loaded(row).map(|found| Saved::Conflict(found.into_record()))
    }

    fn condition(&self, over: Option<&Version>) -> Option<Condition<'_>> {
        let table = &self.table;
        let Some(over) = over else {
            return Some(Condition { sql: &table.insert_over_any_tombstone, expected: None });
        };
        if is_nothing(over) {
            return Some(Condition { sql: &table.insert, expected: None });
        }
        let (sql, version) = match tombstone::own(over) {
            Some(version) => (&table.insert_over_tombstone, version),
            None => (&table.update, over.as_str()),
        };
        Some(Condition { sql, expected: Some(Uuid::try_parse(version).ok()?) })
    }

    /// Deletes the record, and leaves a tombstone in its place.
    pub(super) async fn delete(&self, id: &str) -> Result<(), Error> {
        let since = Instant::now();
        let (key, expires) = (escape::id(id), expiry::seconds(LIFETIME));
        let version = Uuid::new_v4();
        let values: [Value<'_>; 3] =
            [(&key, Type::TEXT), (&version, Type::UUID), (&expires, Type::FLOAT8)];
        let deleted = self.connections.query_once(&self.table.write_tombstone, &values).await;
        let deleted = match deleted {
            // A constraint of the app's asks for a record in each row.
            Err(failure) if failure.is_constraint() => {
                self.connections.query_once(&self.table.delete, &values[..1]).await
            }
            deleted => deleted,
        };
        deleted.map_err(|failure| self.failed(DELETING, failure))?;
        self.clean_up(since).await;
        Ok(())
    }

    /// Finds a row that has not expired.
    pub(super) async fn find(&self, id: &str) -> Result<Option<Row>, Error> {
        let key = escape::id(id);
        let found = self.connections.read(&self.table.load, &[(&key, Type::TEXT)]).await;
        let rows = found.map_err(|failure| self.failed(READING, failure))?;
        let row = rows.first().map(Row::read).transpose();
        row.map_err(|error| self.failed(READING, Failure::of_statement(&error)))
    }

    fn failed(&self, action: &str, failure: Failure) -> Error {
        self.distrust(&failure);
        failure.into_error(action, &self.table.name)
    }
}
