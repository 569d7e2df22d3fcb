//! The content of a version: the user whose record it is of, and a text that is to be kept.

use crate::database::Version;
use crate::database::text::Source;

#[derive(Debug)]
pub(super) struct Known {
    id: Box<str>,
    pub(super) source: Option<Source>,
}

impl Known {
    pub(super) fn new(id: &str, source: Option<Source>) -> Self {
        Self { id: id.into(), source }
    }

    pub(super) fn carried_by(self, version: Version) -> Version {
        version.with_loaded(self)
    }

    /// Returns whether this is a record of that user.
    pub(super) fn is_of(&self, id: &str) -> bool {
        &*self.id == id
    }
}
