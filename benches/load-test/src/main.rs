//! Loads servers over HTTP, and says what a request costs them.
//!
//! ```text
//! cargo run --profile bench -p load-test -- --database sqlite:/tmp/users.sqlite --users 100000
//! ```
//!
//! `--help` has the options.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod clients;
mod contest;
mod options;
mod process;
mod requests;
mod server;

use clap::Parser;

use crate::options::{Command, Options};

fn main() {
    let options = Options::parse();
    if let Some(Command::Serve { service, database, workers }) = &options.command {
        return server::run(*service, database, *workers);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(contest::run(&options));
}
