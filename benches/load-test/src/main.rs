//! Loads a server over HTTP, and says what a request costs it.
//!
//! ```text
//! cargo run --profile bench -p load-test -- --database sqlite:/tmp/users.sqlite --users 100000
//! ```
//!
//! | option | default | |
//! | --- | --- | --- |
//! | `--service` | `layer` | `layer`, `bare` (axum alone) or `tower-sessions` (in memory, behind identity) |
//! | `--database` | `memory:` | the database of the layer, as `connect` takes it |
//! | `--connections` | 16 | connections, each with one request at a time |
//! | `--duration` | 10 | seconds |
//! | `--users` | 10000 | users |
//! | `--zipf` | 1.0 | exponent of Zipf's distribution of requests over users; 0 is even |
//! | `--workers` | 1 | threads of the server |
//!
//! The server is a process of its own, so that CPU and memory are the server's alone. They are read
//! from Linux' `/proc`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod clients;
mod options;
mod process;
mod server;

use std::time::Duration;

use crate::options::Options;
use crate::process::Server;

fn main() {
    let options = Options::read(std::env::args().skip(1));
    if options.serves {
        return server::run(&options);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(load(&options));
}

async fn load(options: &Options) {
    let server = Server::start(options).await;
    // Fills the caches of both sides.
    clients::run(options, server.port, Duration::from_millis(500)).await;
    let before = server.cpu();
    let latencies = clients::run(options, server.port, options.duration).await;
    let cpu = server.cpu() - before;
    let count = latencies.len();
    let seconds = options.duration.as_secs_f64();
    println!(
        "{} on {}: {} connections, {} users, Zipf {}, {} workers",
        options.service,
        options.scheme(),
        options.connections,
        options.users,
        options.zipf,
        options.workers
    );
    println!("{:>10.0} requests/s ({count} in {seconds} s)", count as f64 / seconds);
    for percentile in [50.0, 90.0, 99.0, 99.9, 100.0] {
        let millis = latencies.value_at_percentile(percentile) as f64 / 1000.0;
        println!("{millis:>10.2} ms for {percentile} %");
    }
    println!(
        "{:>10.1} µs of the server's CPU for each request",
        cpu.as_secs_f64() * 1e6 / count as f64
    );
    println!("{:>10.1} MB resident", server.resident() as f64 / 1e6);
}
