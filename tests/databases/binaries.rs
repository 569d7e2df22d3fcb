//! The binaries of the examples, which are packages of their own.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::process::{end, watched};

/// Bounds the build. `scripts/test` leaves little to do for it, other commands compile more.
const LIMIT: Duration = Duration::from_secs(900);

/// Selects the packages of `scripts/test`, and examples, which need the dev-dependencies as tests
/// do. So the features are the same, and no dependency is compiled a second time.
const BUILD: &str = "build --locked --workspace --exclude benches --all-features --examples \
    --bin voice-app --bin lambda --message-format=json-render-diagnostics";

/// Returns the path of a binary. The first call builds all of them.
pub(crate) fn binary(name: &str) -> PathBuf {
    static BINARIES: OnceLock<HashMap<String, PathBuf>> = OnceLock::new();
    let binaries = BINARIES.get_or_init(build);
    binaries.get(name).unwrap_or_else(|| panic!("cargo did not build {name}: see above")).clone()
}

fn build() -> HashMap<String, PathBuf> {
    let mut cargo = watched(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(BUILD.split_ascii_whitespace()).current_dir(env!("CARGO_MANIFEST_DIR"));
    // These say of which package the test is. Build scripts that look at them would run again, and
    // everything that depends on them would be compiled a second time.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            cargo.env_remove(&name);
        }
    }
    let mut cargo = cargo.stdout(Stdio::piped()).spawn().expect("`sh`");
    let messages = BufReader::new(cargo.stdout.take().unwrap()).lines().map_while(Result::ok);
    let (built, binaries) = mpsc::channel();
    thread::spawn(move || built.send(messages.filter_map(|line| executable(&line)).collect()));
    let binaries = binaries.recv_timeout(LIMIT);
    end(cargo, "cargo");
    binaries.unwrap_or_else(|_| panic!("cargo did not build the examples within {LIMIT:?}"))
}

/// Reads a message of cargo's: name and path of a binary, if it reports one.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message["executable"].as_str()?;
    let target = &message["target"];
    let is_binary = target["kind"] == serde_json::json!(["bin"]);
    is_binary.then(|| Some((target["name"].as_str()?.to_owned(), path.into())))?
}
