//! Saves a record on the condition of its version, and interprets the result.

use mongodb::bson::raw::RawDocumentBuf;

use super::MongoDb;
use super::known::Known;
use super::update::{Changes, Update, Write};
use super::{document, failure};
use crate::database::tombstone::is_nothing;
use crate::database::{Expected, Saved};
use crate::error::Error;
use crate::record::Record;

/// The obstacles that an insertion may replace.
#[derive(Clone, Copy)]
enum Replaceable<'a> {
    Nothing,
    Tombstone(&'a Known),
    /// Any tombstone, for a caller that knows nothing of tombstones.
    AnyTombstone,
}

impl MongoDb {
    /// Saves the record if the stored state is the `expected` one.
    pub(super) async fn write(
        &self,
        id: &str,
        record: &Record,
        expected: Expected<'_>,
    ) -> Result<Saved, Error> {
        self.shared.prepare().await;
        let Some(version) = expected.version() else {
            return self.insert(id, record, Replaceable::AnyTombstone).await;
        };
        if is_nothing(version) {
            return self.insert(id, record, Replaceable::Nothing).await;
        }
        match Known::carried(version) {
            Some(known) if known.is_tombstone => {
                self.insert(id, record, Replaceable::Tombstone(known)).await
            }
            Some(known) => self.update(id, record, known).await,
            // No document has such a version.
            None => {
                self.shared.layout.document(id, record, None)?;
                let current = self.find_user(id).await?;
                current.map_or(Ok(Saved::Conflict(None)), |current| self.conflict(current))
            }
        }
    }

    /// Inserts the record, or replaces a tombstone by it.
    async fn insert(
        &self,
        id: &str,
        record: &Record,
        replaceable: Replaceable<'_>,
    ) -> Result<Saved, Error> {
        let layout = self.shared.layout;
        let (_, raw, written) = layout.document(id, record, None)?;
        if let Replaceable::Tombstone(tombstone) = replaceable
            && self.replace(id, &raw, tombstone).await?
        {
            return Ok(Saved::Written(written.version()));
        }
        let collection = self.shared.collection().await?;
        // Tries again if the obstacle disappeared before it was looked at or replaced.
        for _ in 0..3 {
            match collection.insert_one(&raw).await {
                Ok(_) => return Ok(Saved::Written(written.version())),
                Err(error) if failure::is_duplicate_key(&error) => {}
                Err(error) => return Err(self.failed("writing to", &error)),
            }
            let Some(current) = self.find_user(id).await? else { continue };
            let (known, _) = Known::of(&current, layout)?;
            let is_in_the_way =
                !known.is_tombstone || !matches!(replaceable, Replaceable::AnyTombstone);
            if known.has_expired() || !is_in_the_way {
                match self.replace(id, &raw, &known).await? {
                    true => return Ok(Saved::Written(written.version())),
                    false => continue,
                }
            }
            return self.compared(written, current);
        }
        Err(failure::failed(
            "writing to",
            &self.shared.place(),
            "an index other than that of `_id` is unique; drop it",
        ))
    }

    /// Stores the document if the stored one is still `known`, and returns whether it did.
    async fn replace(&self, id: &str, raw: &RawDocumentBuf, known: &Known) -> Result<bool, Error> {
        let collection = self.shared.collection().await?;
        let replaced = collection.replace_one(known.filter(id), raw).await;
        let replaced = replaced.map_err(|error| self.failed("writing to", &error))?;
        Ok(replaced.matched_count > 0)
    }

    /// Writes the parts of the record that have changed.
    async fn update(&self, id: &str, record: &Record, known: &Known) -> Result<Saved, Error> {
        let changes = Changes::new(known, record);
        let layout = self.shared.layout;
        let old = match changes.need_document() {
            true => match self.find(known.filter(id)).await? {
                Some(old) => Some(document::decode(&old)?),
                None => return self.after_conflict(id, known, None).await,
            },
            false => None,
        };
        let Update { write, known: written } = changes.update(layout, id, old.as_ref())?;
        let is_stored = match write {
            Write::Replacement(document) => {
                self.replace(id, &document::raw(&document)?, known).await?
            }
            Write::Update(operators) => {
                let collection = self.shared.collection().await?;
                let updated = collection.update_one(known.filter(id), operators).await;
                updated.map_err(|error| self.failed("writing to", &error))?.matched_count > 0
            }
        };
        match is_stored {
            true => Ok(Saved::Written(written.version())),
            false => self.after_conflict(id, known, Some(written)).await,
        }
    }

    /// Interprets a save whose version is no longer stored. The save may have stored `written` all
    /// the same.
    async fn after_conflict(
        &self,
        id: &str,
        known: &Known,
        written: Option<Known>,
    ) -> Result<Saved, Error> {
        match (self.find_user(id).await?, written) {
            (Some(current), Some(written)) => self.compared(written, current),
            (Some(current), None) => self.conflict(current),
            // A deletion by this crate would have left a tombstone. A document that a TTL index
            // removed must not pass for a user who wanted to be forgotten.
            (None, _)
                if known.is_of(id) && (self.shared.removes_tombstones() || known.has_expired()) =>
            {
                let reason = "the document was removed during the turn, by a TTL index or another program; nothing \
                              was stored, and the next turn starts anew";
                Err(failure::failed("writing to", &self.shared.place(), reason))
            }
            (None, _) => Ok(Saved::Conflict(None)),
        }
    }

    fn compared(&self, written: Known, current: RawDocumentBuf) -> Result<Saved, Error> {
        let (stored, _) = Known::of(&current, self.shared.layout)?;
        // The driver repeats a write whose answer was lost.
        match written.is_same_write(&stored) {
            true => Ok(Saved::Written(written.version())),
            false => self.conflict(current),
        }
    }

    fn conflict(&self, current: RawDocumentBuf) -> Result<Saved, Error> {
        Ok(Saved::Conflict(self.shared.layout.found(current)?.into_record()))
    }
}
