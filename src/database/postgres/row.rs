//! Rows of the table, and the versions that stand in them.

use tokio_postgres::Row as PgRow;
use uuid::Uuid;

use super::escape;
use crate::database::text::{self, Source};
use crate::database::tombstone::{self, nothing};
use crate::database::{Loaded, Version, VersionedRecord};
use crate::error::Error;

/// A user's row, or a tombstone's, whose record is `NULL`.
#[derive(Debug)]
pub(super) struct Row {
    record: Option<String>,
    version: Uuid,
}

impl Row {
    pub(super) fn read(row: &PgRow) -> Result<Self, tokio_postgres::Error> {
        Ok(Self { record: row.try_get(0)?, version: row.try_get(1)? })
    }

    /// Returns whether this row holds a record that was saved as `version`.
    pub(super) fn is_record(&self, version: Uuid) -> bool {
        self.record.is_some() && self.version == version
    }

    fn loaded(self) -> Result<Loaded, Error> {
        let Some(record) = self.record else {
            return Ok(Loaded::Absent(Some(tombstone::of(self.version))));
        };
        let (record, source) = text::read(escape::open(record))?;
        Ok(Loaded::Present(VersionedRecord { record, version: version(self.version, source) }))
    }
}

pub(super) fn loaded(row: Option<Row>) -> Result<Loaded, Error> {
    row.map_or_else(|| Ok(Loaded::Absent(Some(nothing()))), Row::loaded)
}

/// Returns a version that carries the text that was loaded or saved under it, where it has to.
pub(super) fn version(version: Uuid, source: Option<Source>) -> Version {
    let version = Version::new(version.to_string());
    match source {
        Some(source) => version.with_loaded(source),
        None => version,
    }
}
