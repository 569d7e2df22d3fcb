//! The options of the command line.

use std::fmt;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Loads servers over HTTP, one after the other, and says what a request costs each of them.
///
/// A request is an Alexa request of 3 KB. The server finds its user, reads that user's name,
/// increments a counter, and stores the user. Each server is a process of its own, so that CPU and
/// memory are the server's alone; they are read from Linux' `/proc`. What a database's own server
/// uses is not part of them.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// The services.
    #[arg(long, value_delimiter = ',', default_values = ["bare", "tower-sessions", "layer"])]
    pub(crate) services: Vec<Service>,
    /// The databases, each as `connect` takes it: memory:, file:PATH, sqlite:PATH, postgres://…,
    /// redis://…, mongodb://…, dynamodb://… Data is left in them.
    #[arg(long = "database", value_name = "URL", default_value = "memory:")]
    pub(crate) databases: Vec<String>,
    /// The program of `benches/peers`, for tower-sessions on its stores in files, SQLite,
    /// PostgreSQL and Redis.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) peer: Option<PathBuf>,
    /// Connections, each with one request at a time, and with users of its own.
    #[arg(long, default_value_t = 16)]
    pub(crate) connections: usize,
    /// Seconds for which each server is loaded.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) duration: f64,
    /// Users of all connections together.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) users: usize,
    /// Exponent of Zipf's distribution of requests over users; 0 is even.
    #[arg(long, default_value_t = 1.0)]
    pub(crate) zipf: f64,
    /// Threads of the server.
    #[arg(long, default_value_t = 1)]
    pub(crate) workers: usize,
    /// Times that each server is loaded, in turns. The table shows medians.
    #[arg(long, default_value_t = 1)]
    pub(crate) rounds: usize,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Is the server: prints its port, and serves until it is killed.
    #[command(hide = true)]
    Serve { service: Service, database: String, workers: usize },
}

/// A service to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// axum alone, which reads the body.
    Bare,
    /// tower-sessions, which finds a session by a cookie, and a handler that finds the user.
    TowerSessions,
    /// The layer.
    Layer,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare",
            Self::TowerSessions => "tower-sessions",
            Self::Layer => "layer",
        })
    }
}
