//! Creates the table, or checks the one that is there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::Shared;
use super::failure::{Failure, failed, text};
use super::table::Table;
use crate::error::Error;

/// The columns, with their types.
const COLUMNS: [(&str, &str); 6] = [
    ("id", "text"),
    ("record", "json"),
    ("version", "uuid"),
    ("created_at", "timestamp with time zone"),
    ("updated_at", "timestamp with time zone"),
    ("expires_at", "timestamp with time zone"),
];

/// The advisory lock of those who create a table. Its number is that of this crate's name.
const LOCK: i64 = 0x746f_7765_722d_7065;

/// Finds the columns of the table `$1`: no rows, no table. The key must tell all ids apart.
const CHECK: &str = "SELECT a.attname::text, format_type(a.atttypid, NULL), \
    COALESCE((SELECT c.collisdeterministic FROM pg_collation c WHERE c.oid = a.attcollation), true) \
    AND EXISTS (SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique \
    AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indnkeyatts = 1 \
    AND i.indkey[0] = a.attnum), \
    current_setting('server_encoding') \
    FROM pg_attribute a \
    WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";

const CHECKING: &str = "looking at";
const CREATING: &str = "creating";

impl Table {
    /// Returns statements that create the table. In one transaction, they wait for others who
    /// create a table: the function is the schema's, and PostgreSQL refuses two who replace it at
    /// once.
    pub(super) fn definition(&self) -> String {
        format!(
            "DO $tower_persistence$ BEGIN PERFORM pg_advisory_xact_lock({LOCK}); \
             END $tower_persistence$;\n{}",
            self.statements()
        )
    }

    /// The index is for the removal of what has expired. The trigger gives a row that another
    /// program changes a new version, so that a turn under way notices.
    fn statements(&self) -> String {
        let Self { quoted, schema, .. } = self;
        format!(
            "{}\
             CREATE OR REPLACE FUNCTION {schema}tower_persistence_new_version() RETURNS trigger\n\
             LANGUAGE plpgsql AS $body$ BEGIN\n    \
                 NEW.version := gen_random_uuid();\n    \
                 RETURN NEW;\n\
             END $body$;\n\
             CREATE TRIGGER tower_persistence_new_version BEFORE UPDATE ON {quoted}\n    \
                 FOR EACH ROW WHEN (NEW.version = OLD.version)\n    \
                 EXECUTE FUNCTION {schema}tower_persistence_new_version();\n",
            self.columns()
        )
    }

    fn columns(&self) -> String {
        let quoted = &self.quoted;
        format!(
            "CREATE TABLE {quoted} (\n    \
                 id text COLLATE \"C\" PRIMARY KEY,\n    \
                 record json,\n    \
                 version uuid NOT NULL DEFAULT gen_random_uuid(),\n    \
                 created_at timestamptz NOT NULL DEFAULT now(),\n    \
                 updated_at timestamptz NOT NULL DEFAULT now(),\n    \
                 expires_at timestamptz\n\
             );\n\
             CREATE INDEX ON {quoted} (expires_at) WHERE expires_at IS NOT NULL;\n"
        )
    }

    /// Returns a statement that creates the table unless it is there, even if another process does
    /// so at the same time.
    fn creation(&self) -> String {
        let Self { quoted, .. } = self;
        format!(
            "DO $tower_persistence$ BEGIN\n\
             PERFORM pg_advisory_xact_lock({LOCK});\n\
             IF to_regclass('{quoted}') IS NULL THEN\n{}END IF;\n\
             END $tower_persistence$",
            self.statements()
        )
    }
}

impl Shared {
    /// Waits until the table can be used. Costs nothing once that is so. The work is shared by all
    /// who wait, and goes on when one gives up.
    pub(super) async fn ready(self: &Arc<Self>) -> Result<(), Error> {
        if self.is_ready.load(Ordering::Acquire) {
            return Ok(());
        }
        let shared = Arc::clone(self);
        self.flight
            .join(async move {
                let limit = shared.ready_limit;
                let work = timeout(limit, shared.prepare());
                work.await.unwrap_or_else(|_| Err(shared.late(CHECKING, limit)))
            })
            .await
    }

    async fn prepare(&self) -> Result<(), Error> {
        let mut is_there = self.check().await?;
        if !is_there {
            self.create().await?;
            is_there = self.check().await?;
        }
        if !is_there {
            let reason = "it was removed at once: look for another program that does so";
            return Err(failed(CREATING, &self.table.name, reason));
        }
        self.was_seen.store(true, Ordering::Relaxed);
        self.is_ready.store(true, Ordering::Release);
        Ok(())
    }

    /// Has the next call look at the table again, if `failure` says that it is another one.
    pub(super) fn distrust(&self, failure: &Failure) {
        if failure.is_other_table() {
            self.is_ready.store(false, Ordering::Release);
        }
    }

    async fn create(&self) -> Result<(), Error> {
        let refused = |reason: &str| {
            let text = text(CHECKING, &self.table.name, reason);
            Err(Error::configuration(text))
        };
        if self.was_seen.load(Ordering::Relaxed) {
            // A new one would be empty, and nothing would say so.
            return refused("it was there and is gone: restore it, or restart to create a new one");
        }
        if !self.creates_table {
            return refused(
                "it does not exist: create it with the SQL of `PostgresDbBuilder::table_sql`, or \
                 set `create_table(true)`",
            );
        }
        let created = self.connections.batch(&self.table.creation()).await;
        created.map_err(|failure| failure.into_error(CREATING, &self.table.name))
    }

    /// Returns whether the table is there.
    ///
    /// # Errors
    ///
    /// It is not one for records.
    async fn check(&self) -> Result<bool, Error> {
        let columns = self.connections.read(CHECK, &[(&self.table.quoted, Type::TEXT)]).await;
        let columns = columns.map_err(|failure| failure.into_error(CHECKING, &self.table.name))?;
        match wrong(&columns) {
            Ok(None) => Ok(!columns.is_empty()),
            Ok(Some(why)) => Err(Error::configuration(text(CHECKING, &self.table.name, &why))),
            Err(error) => {
                let failure = Failure::of_statement(&error);
                Err(failure.into_error(CHECKING, &self.table.name))
            }
        }
    }
}

/// Returns what is wrong with a table that has these columns.
fn wrong(columns: &[Row]) -> Result<Option<String>, tokio_postgres::Error> {
    let Some(first) = columns.first() else { return Ok(None) };
    for (name, expected) in COLUMNS {
        let mut found = None;
        for column in columns {
            if column.try_get::<_, &str>(0)? == name {
                found = Some((column.try_get::<_, &str>(1)?, column.try_get::<_, bool>(2)?));
            }
        }
        let why = match found {
            None => "it has no",
            Some((kind, _)) if kind != expected => "it has another type of",
            Some((_, false)) if name == "id" => "it has no primary key on",
            Some(_) => continue,
        };
        return Ok(Some(format!(
            "{why} column `{name}` ({expected}): name another table, or create it with the SQL of \
             `PostgresDbBuilder::table_sql`"
        )));
    }
    let encoding: &str = first.try_get(3)?;
    Ok((encoding != "UTF8").then(|| {
        "the database has an encoding that cannot hold every text: create one with \
         `ENCODING 'UTF8'`, and name it in the URL"
            .to_owned()
    }))
}
