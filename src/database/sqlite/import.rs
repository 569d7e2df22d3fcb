//! The records of a `FileDb`'s file, copied in.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::batch::Batch;
use super::place::Place;
use super::row::Found;
use crate::database::file;
use crate::error::Error;

/// The result of [`SqliteDb::import_file`](super::SqliteDb::import_file).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// Users who were copied.
    pub users: usize,
    /// Users who were left out: they are in the database already, or were deleted from it within
    /// the last 15 minutes; or their `id` in the file holds half of a surrogate pair, so that no
    /// program could load them.
    pub skipped: usize,
}

#[derive(Debug)]
pub(super) struct Import {
    users: Vec<(Arc<str>, String)>,
    skipped: usize,
    reply: oneshot::Sender<Result<Imported, Error>>,
}

impl Import {
    /// Reads the file. Blocks.
    pub(super) fn read(
        path: &Path,
        reply: oneshot::Sender<Result<Imported, Error>>,
    ) -> Result<Self, Error> {
        let file::Export { users, skipped } = file::export(path)?;
        Ok(Self { users, skipped, reply })
    }

    /// Copies the users; `None` if that was done before.
    pub(super) fn run(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<Imported>> {
        if !batch.begin_import()? {
            return Ok(None);
        }
        let mut imported = Imported { users: 0, skipped: self.skipped };
        for (id, text) in &self.users {
            match batch.find(id)? {
                nothing @ Found::Absent(None) => {
                    batch.put(id, text, &nothing)?;
                    imported.users += 1;
                }
                _ => imported.skipped += 1,
            }
        }
        Ok(Some(imported))
    }

    pub(super) fn reply(self, place: &Place, result: Result<Option<Imported>, Error>) {
        let result = result.and_then(|imported| {
            imported.ok_or_else(|| {
                Error::configuration(format!(
                    "a file was imported into {} before, and nothing was imported now, as that \
                     could bring deleted users back: remove the call of `import_file`",
                    place.name()
                ))
            })
        });
        // Who asked may have gone.
        let _ = self.reply.send(result);
    }
}
