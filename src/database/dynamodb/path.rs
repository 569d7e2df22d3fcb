//! Paths to the parts of an item, as JSON pointers, and parts that cannot be read or written.

use crate::error::Error;

/// Returns the part of a path that errors may show: down to the first key of user data, because
/// deeper names may be user data themselves.
pub(super) fn shown(path: &str) -> &str {
    let mut end = 0;
    loop {
        let rest = path.get(end + 1..).unwrap_or_default();
        end = rest.find('/').map_or(path.len(), |slash| end + 1 + slash);
        if end == path.len() || !is_known(&path[..end]) {
            return &path[..end];
        }
    }
}

/// Returns whether the names directly below this path may be shown.
pub(super) fn is_known(path: &str) -> bool {
    ["/user", "/user/data", "/session", "/session/data", "/history"].contains(&path)
}

/// A part that cannot be read or written. Its path grows on the way out, so that it costs nothing
/// where all is well.
#[derive(Debug)]
pub(super) struct Refused {
    /// The names that lead to it, innermost first.
    path: Vec<String>,
    why: String,
}

impl Refused {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { path: Vec::new(), why: why.into() }
    }

    pub(super) fn under(mut self, name: &str) -> Self {
        self.path.push(name.replace('~', "~0").replace('/', "~1"));
        self
    }

    /// Makes the error of one of these kinds.
    pub(super) fn into_error(self, error: fn(String) -> Error) -> Error {
        let path: String = self.path.iter().rev().flat_map(|name| ["/", name]).collect();
        let place = if path.is_empty() { "the item".into() } else { format!("`{}`", shown(&path)) };
        error(format!("{place} {}", self.why))
    }
}
