//! One subject by its name, for profilers.

use std::path::Path;

use measures::samples;
use tempfile::tempdir;
use tokio::runtime::{Builder, Runtime};

use crate::measure::Subject;
use crate::services;
use crate::stores::{PAIRS, Pair, Place};

/// Repeats a subject a number of times.
pub(crate) fn repeat(name: &str, bytes: usize, count: usize) {
    with(name, bytes, |subject| subject.run(count));
}

/// Passes on the subject of this name, with records of `bytes` bytes.
pub(crate) fn with(name: &str, bytes: usize, work: impl FnOnce(&mut Subject<'_>)) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempdir().expect("a directory");
    let subject = find(&runtime, directory.path(), name, bytes);
    work(
        &mut subject.unwrap_or_else(|| panic!("no subject is named {name}: see `measures names`")),
    );
}

fn find<'a>(
    runtime: &'a Runtime,
    directory: &'a Path,
    name: &str,
    bytes: usize,
) -> Option<Subject<'a>> {
    let is_named = |subject: &Subject<'_>| subject.name == name;
    let services = services::all(runtime).into_iter().find(is_named);
    services.or_else(|| {
        let place = Place { runtime, directory, users: 1, bytes };
        let is_of = |pair: &&Pair| name.starts_with(pair.name) || name.starts_with(pair.bare);
        let pair = PAIRS.iter().find(is_of)?;
        (pair.open)(&place).into_iter().find(is_named)
    })
}

/// Returns the names of all subjects.
pub(crate) fn names() -> Vec<String> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let directory = tempdir().expect("a directory");
    let bytes = samples::SIZES[0];
    let place = Place { runtime: &runtime, directory: directory.path(), users: 1, bytes };
    let services = services::all(&runtime).into_iter();
    let stores = PAIRS.iter().flat_map(|pair| (pair.open)(&place));
    services.chain(stores).map(|subject| subject.name).collect()
}
