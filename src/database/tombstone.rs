//! Tombstones: the marks that deletions leave, so that a turn that began before a deletion cannot
//! bring the user back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Version;

/// The time for which a tombstone counts: the longest that AWS Lambda lets a request run, so that
/// no turn outlasts it.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const LIFETIME: Duration = Duration::from_secs(15 * 60);

/// Makes the version of a tombstone. Its form tells it from a record's.
pub(crate) fn version(number: u64) -> Version {
    Version::new(format!("{PREFIX}{number}"))
}

/// Makes the version of a tombstone whose own version is text.
#[cfg(feature = "postgres")]
pub(crate) fn of(version: impl std::fmt::Display) -> Version {
    Version::new(format!("{PREFIX}{version}"))
}

/// Returns the own version of the tombstone that `version` stands for, if it stands for one.
#[cfg(feature = "postgres")]
pub(crate) fn own(version: &Version) -> Option<&str> {
    version.as_str().strip_prefix(PREFIX)
}

/// Makes the version of a tombstone that no other deletion of any process has.
#[cfg(feature = "redis")]
pub(crate) fn unique() -> Version {
    Version::new(format!("{PREFIX}{}", Version::unique()))
}

const PREFIX: &str = "absent-";

const NOTHING: &str = "absent";

/// Makes the version that stands for neither a record nor a tombstone.
pub(crate) fn nothing() -> Version {
    Version::new(NOTHING)
}

pub(crate) fn is_nothing(version: &Version) -> bool {
    version.as_str() == NOTHING
}

/// Returns whether a save may proceed: `expected` is the version it expects, `current` the version
/// of the record or tombstone that is stored, if any.
pub(crate) fn permits(expected: Option<&Version>, current: Option<&Version>) -> bool {
    let is_tombstone = |version: &Version| version.as_str().starts_with(PREFIX);
    match (expected, current) {
        // A caller that does not ask for tombstones is not held back by them.
        (None, current) => current.is_none_or(is_tombstone),
        (Some(expected), Some(current)) => expected == current,
        // An expired tombstone holds no save back, least of all one that expects that tombstone.
        (Some(expected), None) => is_nothing(expected) || is_tombstone(expected),
    }
}

/// The tombstones of a database that belongs to one process. Kept in memory only: no turn from
/// before a restart is still running after it.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    by_id: HashMap<Arc<str>, Tombstone>,
    /// Sorted by expiry.
    ends: VecDeque<(Instant, Arc<str>)>,
}

#[derive(Debug)]
struct Tombstone {
    version: Version,
    expires: Instant,
}

impl Tombstones {
    pub(crate) fn get(&self, id: &str, now: Instant) -> Option<&Version> {
        let tombstone = self.by_id.get(id)?;
        (now < tombstone.expires).then_some(&tombstone.version)
    }

    /// Adds a tombstone, replacing any other of the same user, and removes the expired ones.
    pub(crate) fn put(&mut self, id: Arc<str>, version: Version, now: Instant) {
        self.clear_away(now);
        let expires = now + LIFETIME;
        self.ends.push_back((expires, Arc::clone(&id)));
        self.by_id.insert(id, Tombstone { version, expires });
    }

    pub(crate) fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
    }

    fn clear_away(&mut self, now: Instant) {
        while let Some((_, id)) = self.ends.front().filter(|(expires, _)| *expires <= now) {
            // A later tombstone may have taken its place.
            if self.by_id.get(id).is_some_and(|tombstone| tombstone.expires <= now) {
                self.by_id.remove(id);
            }
            self.ends.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_save_is_permitted_if_the_stored_version_is_the_expected_one() {
        let (record, first, second) = (Version::from(1), version(2), version(3));
        let nothing = nothing();
        for (expected, current, is_permitted) in [
            (None, None, true),
            (Some(&record), None, false),
            (Some(&first), None, true),
            (None, Some(&record), false),
            (Some(&record), Some(&record), true),
            (Some(&first), Some(&record), false),
            (None, Some(&first), true),
            (Some(&nothing), None, true),
            (Some(&nothing), Some(&record), false),
            (Some(&nothing), Some(&first), false),
            (Some(&record), Some(&first), false),
            (Some(&first), Some(&first), true),
            (Some(&first), Some(&second), false),
        ] {
            assert_eq!(permits(expected, current), is_permitted, "{expected:?} {current:?}");
        }
    }

    #[test]
    fn tombstones_count_until_they_expire_and_later_ones_clear_them_away() {
        let mut tombstones = Tombstones::default();
        let begin = Instant::now();
        let at = |minutes: u64| begin + Duration::from_secs(minutes * 60);
        tombstones.put("a".into(), Version::from(1), at(0));
        tombstones.put("b".into(), Version::from(2), at(1));
        tombstones.put("a".into(), Version::from(3), at(10));
        assert_eq!(tombstones.get("a", at(10)), Some(&Version::from(3)));
        assert_eq!(tombstones.get("b", at(15)), Some(&Version::from(2)));
        assert_eq!(tombstones.get("b", at(16)), None, "expired, though not cleared away");

        tombstones.put("c".into(), Version::from(4), at(16));
        assert_eq!(tombstones.get("a", at(16)), Some(&Version::from(3)), "the later one");
        assert_eq!((tombstones.by_id.len(), tombstones.ends.len()), (2, 2));

        tombstones.remove("a");
        assert_eq!(tombstones.get("a", at(16)), None, "a record took its place");
        tombstones.put("d".into(), Version::from(5), at(60));
        assert_eq!((tombstones.by_id.len(), tombstones.ends.len()), (1, 1));
    }
}
