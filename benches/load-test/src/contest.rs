//! The servers that are loaded in turns, and the table of their results.

use std::path::PathBuf;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clients;
use crate::options::{Options, Service};
use crate::process::Server;

/// The time in which both sides fill their caches.
const WARM_UP: Duration = Duration::from_millis(500);

const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// The schemes for which `benches/peers` has a store.
const PEERS: [&str; 6] = ["file", "sqlite", "postgres", "postgresql", "redis", "valkey"];

/// A server to load.
pub(crate) struct Contestant {
    pub(crate) service: Service,
    pub(crate) database: String,
    /// Set if it is not this program.
    pub(crate) program: Option<PathBuf>,
}

/// The results of a server in one round.
struct Result {
    latencies: Histogram<u64>,
    cpu: Duration,
    resident: u64,
}

impl Contestant {
    /// Returns the kind of the database. The rest of its URL may hold a password.
    fn scheme(&self) -> &str {
        self.database.split(':').next().unwrap_or_default()
    }

    async fn load(&self, options: &Options, round: usize) -> Result {
        let server = Server::start(self, options.workers).await;
        clients::run(options, server.port, round, WARM_UP).await;
        let before = server.cpu();
        let duration = Duration::from_secs_f64(options.duration);
        let latencies = clients::run(options, server.port, round, duration).await;
        let result = Result { latencies, cpu: server.cpu() - before, resident: server.resident() };
        server.end().await;
        result
    }
}

/// Returns the servers that the options ask for.
fn contestants(options: &Options) -> Vec<Contestant> {
    let mut all = Vec::new();
    for &service in &options.services {
        for database in &options.databases {
            let mut one = Contestant { service, database: database.clone(), program: None };
            let (is_first, is_memory) = (*database == options.databases[0], database == "memory:");
            match service {
                // It has no database.
                Service::Bare if !is_first => continue,
                Service::Bare => "none".clone_into(&mut one.database),
                Service::TowerSessions if !is_memory => {
                    if !PEERS.contains(&one.scheme()) {
                        eprintln!("left out: tower-sessions has no store for {}:", one.scheme());
                        continue;
                    }
                    let Some(program) = &options.peer else {
                        eprintln!("left out: tower-sessions on {}: needs --peer", one.scheme());
                        continue;
                    };
                    one.program = Some(program.clone());
                }
                Service::TowerSessions | Service::Layer => {}
            }
            all.push(one);
        }
    }
    all
}

/// Loads all servers in turns, and prints the table.
pub(crate) async fn run(options: &Options) {
    let contestants = contestants(options);
    let mut results: Vec<Vec<Result>> = contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..options.rounds {
        for (contestant, results) in contestants.iter().zip(&mut results) {
            results.push(contestant.load(options, round).await);
        }
    }
    let Options { connections, duration, users, zipf, workers, rounds, .. } = options;
    println!(
        "{connections} connections, {users} users, Zipf {zipf}, workers of the server: {workers}; \
         medians of {rounds} rounds of {duration} s\n"
    );
    let percentiles = PERCENTILES.map(|percentile| format!(" ms, {percentile} % |")).concat();
    println!("| service | database | requests/s |{percentiles} CPU µs/request | RSS MB |");
    println!("| --- | --- |{}", " --: |".repeat(PERCENTILES.len() + 3));
    for (contestant, results) in contestants.iter().zip(&results) {
        println!("{}", row(contestant, results, *duration));
    }
}

fn row(contestant: &Contestant, results: &[Result], duration: f64) -> String {
    let median = |of: &dyn Fn(&Result) -> f64| {
        let mut values: Vec<f64> = results.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let count = |result: &Result| result.latencies.len() as f64;
    let latencies = PERCENTILES.map(|percentile| {
        let micros = |result: &Result| result.latencies.value_at_percentile(percentile) as f64;
        format!(" {:.2} |", median(&micros) / 1e3)
    });
    format!(
        "| {} | {} | {:.0} |{} {:.1} | {:.1} |",
        contestant.service,
        contestant.scheme(),
        median(&|result| count(result) / duration),
        latencies.concat(),
        median(&|result| result.cpu.as_secs_f64() * 1e6 / count(result)),
        median(&|result| result.resident as f64 / 1e6),
    )
}
