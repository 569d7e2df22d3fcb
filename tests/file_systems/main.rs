//! `FileDb` on file systems, with permissions and as users that obstruct it. Needs Linux and root.
//! Cases that the machine does not permit are reported as ignored.

#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

use libtest_mimic::Arguments;

#[cfg(target_os = "linux")]
mod cases;
#[cfg(target_os = "linux")]
mod child;

#[cfg(target_os = "linux")]
fn main() {
    if let Some(path) = std::env::var_os(child::PATH) {
        child::run(&path);
        return;
    }
    libtest_mimic::run(&Arguments::from_args(), cases::trials()).exit();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    let ignored = libtest_mimic::Trial::test("file_systems", || Ok(()));
    let ignored = ignored.with_kind("needs Linux").with_ignored_flag(true);
    libtest_mimic::run(&Arguments::from_args(), vec![ignored]).exit();
}
