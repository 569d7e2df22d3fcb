//! Deletes a document, and leaves a tombstone in its place if MongoDB removes that again.

use mongodb::bson::doc;

use super::fields::ID;
use super::{MongoDb, document, failure};
use crate::error::Error;

impl MongoDb {
    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        self.shared.prepare().await;
        if self.shared.removes_tombstones() && self.write_tombstone(id).await? {
            return Ok(());
        }
        let deleted = self.shared.collection().await?.delete_one(doc! { ID: id }).await;
        deleted.map(drop).map_err(|error| self.failed("deleting from", &error))
    }

    /// Replaces the stored document, if any, by a tombstone. Returns whether the collection accepts
    /// it.
    async fn write_tombstone(&self, id: &str) -> Result<bool, Error> {
        let raw = document::raw(&document::tombstone(id))?;
        let collection = self.shared.collection().await?;
        let mut attempts = 0..3;
        loop {
            let filter = doc! { ID: id };
            match collection.replace_one(filter, &raw).upsert(true).await {
                Ok(_) => return Ok(true),
                // Another request stored the user between the search and the insertion.
                Err(error) if failure::is_duplicate_key(&error) && attempts.next().is_some() => {}
                Err(error) if failure::is_refused_document(&error) => return Ok(false),
                Err(error) => return Err(self.failed("deleting from", &error)),
            }
        }
    }
}
