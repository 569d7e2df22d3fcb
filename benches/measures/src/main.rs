//! Measures the layer and its databases, and draws the figures. See `README.md`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod draw;
mod figures;
mod measure;
mod rounds;

use std::path::Path;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["figures", directory, batches] => {
            let batches = batches.parse().expect("a number of batches");
            figures::all(Path::new(directory), batches);
        }
        ["rounds", subject, bytes, count] => rounds::run(subject, bytes, count),
        _ => panic!("usage: measures figures DIRECTORY BATCHES | rounds SUBJECT BYTES COUNT"),
    }
}
