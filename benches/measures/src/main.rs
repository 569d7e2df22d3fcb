//! Measures the layer and its databases, and draws the figures. See `README.md`.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod draw;
mod figures;
#[cfg(feature = "flame")]
mod flame;
mod instructions;
mod measure;
mod services;
mod stores;
mod subject;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::figures::Figure;

/// Measures the layer and its databases.
///
/// POSTGRES_URL and REDIS_URL name servers. The tables `measures_users` and `measures_bare`, and
/// the keys that begin with `measures`, are deleted and made anew. What needs a server that is
/// not named is left out.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures in turns, prints tables, and draws the figures.
    Figures {
        /// The directory of the figures.
        directory: PathBuf,
        /// Batches of each subject, of 40 ms each.
        #[arg(long, default_value_t = 10)]
        rounds: usize,
        /// Draws these alone.
        #[arg(long, value_delimiter = ',')]
        only: Vec<Figure>,
    },
    /// Prints the names of the subjects.
    Names,
    /// Repeats a subject, for a profiler.
    Repeat {
        subject: String,
        count: usize,
        /// The size of the records in a database.
        #[arg(long, default_value_t = 181)]
        bytes: usize,
    },
    /// Counts instructions with valgrind, and prints tables.
    Instructions {
        /// Rounds of each subject, of which three times as many are made a second time.
        #[arg(long, default_value_t = 20)]
        rounds: usize,
    },
    /// Draws the flame graph of a subject.
    #[cfg(feature = "flame")]
    Flame {
        subject: String,
        file: PathBuf,
        /// The size of the records in a database.
        #[arg(long, default_value_t = 181)]
        bytes: usize,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
}

fn main() {
    match Arguments::parse().command {
        Command::Figures { directory, rounds, only } => {
            let figures = if only.is_empty() { Figure::value_variants() } else { &only };
            figures::draw(figures, &directory, rounds);
        }
        Command::Names => subject::names().iter().for_each(|name| println!("{name}")),
        Command::Repeat { subject, count, bytes } => subject::repeat(&subject, bytes, count),
        Command::Instructions { rounds } => instructions::count(rounds),
        #[cfg(feature = "flame")]
        Command::Flame { subject, file, bytes, seconds } => {
            flame::draw(&subject, bytes, std::time::Duration::from_secs(seconds), &file);
        }
    }
}
