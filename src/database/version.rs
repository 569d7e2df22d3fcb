//! Versions of stored records.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The version of a stored record. Only the database that made it interprets it.
///
/// ```
/// use tower_persistence::Version;
///
/// assert_eq!(Version::new("7"), Version::from(7));
/// ```
#[derive(Clone)]
pub struct Version {
    text: Arc<str>,
    /// The state that was loaded under this version, so that a save can compare with it. It plays
    /// no part in equality, and `Debug` does not show it.
    #[cfg(any(
        feature = "dynamodb",
        feature = "mongodb",
        feature = "postgres",
        feature = "sqlite",
        feature = "redis"
    ))]
    loaded: Option<Arc<dyn std::any::Any + Send + Sync>>,
}

impl Version {
    /// Creates a version from text, such as a counter, an entity tag, or a time stamp with a
    /// counter.
    ///
    /// ```
    /// use tower_persistence::Version;
    ///
    /// assert_eq!(Version::new("etag-1").to_string(), "etag-1");
    /// ```
    pub fn new(version: impl Into<Arc<str>>) -> Self {
        Self {
            text: version.into(),
            #[cfg(any(
                feature = "dynamodb",
                feature = "mongodb",
                feature = "postgres",
                feature = "sqlite",
                feature = "redis"
            ))]
            loaded: None,
        }
    }

    /// Creates a version that no other write of any process has: a random number of 128 bits.
    #[cfg(any(feature = "dynamodb", feature = "mongodb", feature = "redis"))]
    pub(crate) fn unique() -> Self {
        use std::hash::{BuildHasher, RandomState};

        // The keys of a thread's states come from the system's source of random numbers, and no two
        // states have the same ones.
        let now = std::time::SystemTime::now();
        let random = || RandomState::new().hash_one(now);
        let digits = uuid::Uuid::from_u64_pair(random(), random()).simple();
        // `format!` takes ten times as long.
        Self::new(&*digits.encode_lower(&mut [0; 32]))
    }

    /// Attaches the state that was loaded under this version.
    #[cfg(any(
        feature = "dynamodb",
        feature = "mongodb",
        feature = "postgres",
        feature = "sqlite",
        feature = "redis"
    ))]
    pub(crate) fn with_loaded<T: Send + Sync + 'static>(self, loaded: T) -> Self {
        Self { loaded: Some(Arc::new(loaded)), ..self }
    }

    /// Returns the state that [`with_loaded`](Self::with_loaded) attached.
    #[cfg(any(
        feature = "dynamodb",
        feature = "mongodb",
        feature = "postgres",
        feature = "sqlite",
        feature = "redis"
    ))]
    pub(crate) fn loaded<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.loaded.as_deref()?.downcast_ref()
    }

    /// Returns the version as text.
    ///
    /// ```
    /// use tower_persistence::Version;
    ///
    /// assert_eq!(Version::from(7).as_str(), "7");
    /// ```
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl From<u64> for Version {
    fn from(version: u64) -> Self {
        Self::new(version.to_string())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Version").field(&self.text).finish()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(all(test, any(feature = "dynamodb", feature = "mongodb", feature = "redis")))]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn unique_versions_have_32_digits_and_differ() {
        let versions: Vec<_> = (0..10_000).map(|_| Version::unique()).collect();
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        for version in &versions {
            let text = version.as_str();
            assert!(text.len() == 32 && text.bytes().all(is_digit), "{version}");
        }
        assert_eq!(versions.iter().collect::<HashSet<_>>().len(), versions.len());
    }
}
